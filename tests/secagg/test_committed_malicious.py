"""Commit, upload, open: what a dishonest operator, a late partner and false messages get, for every homomorphic scheme."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import gmpy2
import pytest
from committed_world import (
    CLIENTS,
    DECRYPTOR,
    LENGTH,
    RUN,
    SETUPS,
    aborts,
    ask,
    forge,
    replaced,
    rounds,
    spoilt,
    start,
)
from stand_ins import CountingRng

from securefl.crypto.paillier import add_ciphertexts, decode_ciphertexts, encode_ciphertexts
from securefl.crypto.plaintext_proof import proof_size
from securefl.errors import AbortReason, ProtocolAbort
from securefl.secagg.base import Continue, RoundContext
from securefl.secagg.committed_messages import (
    Upload,
    commit,
    commitment_size,
    encode_request,
    list_commitments,
    read_commitment_list,
    read_upload,
    upload,
)


@pytest.fixture(scope="module", params=sorted(SETUPS))
def setup(request: pytest.FixtureRequest) -> Any:
    return SETUPS[request.param]()


def test_one_ciphertext_is_never_opened_as_the_sum(setup: Any) -> None:
    play = start(setup)
    uploads = play.uploads()
    for survivors in (CLIENTS[:1], CLIENTS[:3]):
        request = encode_request(play.commitments(), {me: uploads[me] for me in survivors})
        aborts(AbortReason.THRESHOLD_LOWERED, partial(ask, play, request))


def test_a_client_repeated_to_reach_the_minimum_is_refused(setup: Any) -> None:
    play = start(setup)
    one = play.uploads()[CLIENTS[0]].encoded
    listed = play.commitments().encoded
    repeated = (len(one).to_bytes(8, "little") + bytes(one)) * 5
    request = len(listed).to_bytes(4, "little") + listed + b"\5\0" + repeated
    aborts(AbortReason.DUPLICATE_PARTY, lambda: ask(play, request), party=1)
    five = b"\5\0" + play.commits[CLIENTS[0]] * 5
    aborts(AbortReason.DUPLICATE_PARTY, lambda: play.clients[CLIENTS[0]].next(five), party=1)


def test_a_copied_ciphertext_can_not_replace_the_committed_one(setup: Any) -> None:
    play = start(setup)
    copied = bytes(play.uploads()[CLIENTS[0]].body)
    request = encode_request(play.commitments(), replaced(play, CLIENTS[4], copied))
    aborts(AbortReason.BAD_COMMITMENT, lambda: ask(play, request), party=5)


def test_a_copied_commitment_can_not_be_opened(setup: Any) -> None:
    """A partner who commits to another's hash before seeing its ciphertexts, then sends those, is found out."""
    play = start(setup)
    terms, copier = play.scheme.terms, CLIENTS[4]
    listed = play.commitments()
    stolen = listed.by_sender[CLIENTS[0]].value
    own = commit(terms, copier, play.scheme.parties[copier].signer, length=LENGTH, body=b"")
    forged = forge(play, own, stolen)
    commits = {**play.commits, copier: forged.encoded}
    play.clients.pop(copier)
    step = play.server.next(commits)
    assert isinstance(step, Continue)
    honest = {}
    for me in CLIENTS[:4]:
        answer = play.clients[me].next(step.outbound[me])
        assert isinstance(answer, Continue)
        honest[me] = answer.outbound
    seen = read_commitment_list(terms, step.outbound[copier])
    maximum = play.scheme.cipher.maximum_body(LENGTH)
    body = bytes(read_upload(terms, seen, honest[CLIENTS[0]], maximum_body=maximum).body)
    late = upload(terms, seen.by_sender[copier], play.scheme.parties[copier].signer, commitments=seen, body=body)
    aborts(AbortReason.BAD_COMMITMENT, lambda: step.state.next({**honest, copier: late}), party=5)


def test_the_negated_or_doubled_sum_of_the_others_is_refused() -> None:
    """Paillier is malleable: the inverse product of the others' ciphertexts would leave the victim's update alone."""
    play = start(SETUPS["paillier"]())
    cipher: Any = play.scheme.cipher
    public, count = cipher.encryptor.public, cipher.packing.plaintexts(LENGTH)
    start_of = proof_size(cipher.encryptor)
    bodies = {me: decode_ciphertexts(public, one.body[start_of:], count=count) for me, one in play.uploads().items()}
    others = add_ciphertexts(public, [bodies[me] for me in CLIENTS[1:4]])
    negated = encode_ciphertexts(public, [pow(int(c), -1, int(public.n_squared)) for c in others])
    scaled = encode_ciphertexts(public, [int(c) ** 3 % int(public.n_squared) for c in bodies[CLIENTS[0]]])
    for body in (negated, scaled):
        request = encode_request(play.commitments(), replaced(play, CLIENTS[4], body))
        aborts(AbortReason.BAD_COMMITMENT, partial(ask, play, request), party=5)


def test_a_list_without_me_or_with_another_commitment_of_mine_is_refused(setup: Any) -> None:
    play = start(setup)
    listed = play.commitments()
    without = list_commitments(play.scheme.terms, {me: c for me, c in listed.by_sender.items() if me != CLIENTS[0]})
    aborts(AbortReason.MISSING_SELF, lambda: play.clients[CLIENTS[0]].next(without.encoded), party=1)
    other = forge(play, listed.by_sender[CLIENTS[0]], bytes(32))
    changed = list_commitments(play.scheme.terms, {**listed.by_sender, CLIENTS[0]: other})
    aborts(AbortReason.MISSING_SELF, lambda: play.clients[CLIENTS[0]].next(changed.encoded), party=1)


def test_clients_who_were_shown_different_lists_are_found_out(setup: Any) -> None:
    play = start(setup)
    terms, listed = play.scheme.terms, play.commitments()
    fewer = list_commitments(terms, {me: listed.by_sender[me] for me in CLIENTS[:4]})
    split = play.clients[CLIENTS[0]].next(fewer.encoded)
    assert isinstance(split, Continue)
    uploads = {me: play.clients[me].next(listed.encoded) for me in CLIENTS[1:]}
    messages = {me: step.outbound for me, step in uploads.items() if isinstance(step, Continue)}
    encoded = {me: Upload(me, memoryview(b""), message) for me, message in {**messages, CLIENTS[0]: split.outbound}.items()}
    request = encode_request(listed, encoded)
    aborts(AbortReason.INCONSISTENT_SURVIVORS, lambda: ask(play, request), party=1)


def test_lengths_that_differ_are_refused(setup: Any) -> None:
    play = start(setup)
    terms, me = play.scheme.terms, CLIENTS[3]
    longer = commit(terms, me, play.scheme.parties[me].signer, length=LENGTH + 1, body=b"")
    aborts(AbortReason.MALFORMED, lambda: play.server.next({**play.commits, me: longer.encoded}), party=4)
    endless = commit(terms, me, play.scheme.parties[me].signer, length=terms.maximum_length + 1, body=b"")
    aborts(AbortReason.MALFORMED, lambda: play.server.next({**play.commits, me: endless.encoded}), party=4)


@pytest.mark.parametrize("name", sorted(SETUPS))
def test_malformed_ciphertexts_of_a_dishonest_partner_name_it(name: str) -> None:
    """The partner commits to rubbish properly, so that only the decryptor's own check of the ciphertexts is left."""
    setup = SETUPS[name]()
    good = bytes(start(setup).uploads()[CLIENTS[3]].body)
    for body in (b"", good[:-1], good[: len(good) // 2], bytes(len(good)), b"\xff" * len(good), good + b"\0"):
        play = start(setup)
        request = spoilt(play, CLIENTS[3], body)
        with pytest.raises(ProtocolAbort) as caught:
            ask(play, request)
        assert caught.value.reason in (AbortReason.BAD_CIPHERTEXT, AbortReason.MALFORMED)
        assert caught.value.reason is AbortReason.MALFORMED or caught.value.party == CLIENTS[3]


def test_a_spoilt_request_binds_nobody_to_the_partner_who_spoilt_it(setup: Any) -> None:
    """It opened nothing: the others may go on from the same model without that partner."""
    model, cheat = b"spoilt".ljust(32), CLIENTS[3]
    play = start(setup, model=model)
    request = spoilt(play, cheat, bytes(len(play.uploads()[cheat].body)))
    aborts(AbortReason.BAD_CIPHERTEXT, partial(ask, play, request), party=cheat)
    play = start(setup, model=model)
    ask(play, encode_request(play.commitments(), {me: one for me, one in play.uploads().items() if me != cheat}))


def test_well_formed_ciphertexts_whose_sum_is_no_vector_end_the_round() -> None:
    """A dishonest partner encrypts a plaintext beyond the top slot: nobody can tell whose it was, the round ends."""
    play = start(SETUPS["paillier"]())
    cipher: Any = play.scheme.cipher
    body = cipher.encrypt_packed([1 << (32 * cipher.packing.slots)], me=CLIENTS[4], rng=CountingRng())
    aborts(AbortReason.BAD_CIPHERTEXT, partial(ask, play, spoilt(play, CLIENTS[4], body)))


@pytest.mark.parametrize("change", ["run", "round", "model", "roster"])
def test_messages_of_another_run_round_model_or_roster_are_refused(setup: Any, change: str) -> None:
    play = start(setup)
    context = play.scheme.terms.channel.context
    other = {
        "run": replace(context, run_id=b"x" * 32),
        "round": replace(context, round=context.round + 1000),
        "model": replace(context, model_hash=b"x" * 32),
        "roster": replace(context, roster_hash=b"x" * 32),
    }[change]
    moved = replace(play.scheme, terms=replace(play.scheme.terms, channel=replace(play.scheme.terms.channel, context=other)))
    reason = {"model": AbortReason.WRONG_MODEL, "roster": AbortReason.WRONG_ROSTER}.get(change, AbortReason.WRONG_ROUND)
    aborts(reason, lambda: moved.server(frozenset(CLIENTS)).next(play.commits), party=1)
    request = encode_request(play.commitments(), play.uploads())
    aborts(reason, lambda: moved.decryptors(rng=CountingRng())[DECRYPTOR].next(request), party=1)


def test_a_ciphertext_under_another_key_is_not_opened(setup: Any) -> None:
    """The commitment covers the public key: ciphertexts under a key that the operator slipped in do not verify."""
    play = start(setup)
    moved = replace(play.scheme, terms=replace(play.scheme.terms, key_hash=bytes(32)))
    request = encode_request(play.commitments(), play.uploads())
    aborts(AbortReason.BAD_COMMITMENT, lambda: moved.decryptors(rng=CountingRng())[DECRYPTOR].next(request), party=1)


def test_an_unusable_key_names_the_decryptor_that_announced_it(setup: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of other parameters, cut short, or with a modulus that is even, tiny or a prime's power."""
    opener = setup.keys.opener(next(rounds))
    good = opener.encode_key()
    square = int(gmpy2.next_prime(3 << 1022)) ** 2
    wrong = [b"\x08\0" + number.to_bytes(256, "big") + bytes(511) + b"\2" for number in (square - 1, square)]
    for key in (b"", good[:-1], good + b"\0", good[:2] + bytes(len(good) - 2), *wrong):
        monkeypatch.setattr(type(opener), "encode_key", lambda self, key=key: key)
        context = RoundContext(run_id=RUN, round=next(rounds), roster_hash=setup.roster_hash, model_hash=bytes(32))
        aborts(AbortReason.BAD_KEY, partial(setup.round, context), party=DECRYPTOR)


def test_strangers_and_false_signatures_are_refused(setup: Any) -> None:
    play = start(setup)
    aborts(AbortReason.UNKNOWN_PARTY, lambda: play.server.next({**play.commits, CLIENTS[1]: play.commits[CLIENTS[0]]}), party=2)
    tampered = bytearray(play.commits[CLIENTS[0]])
    tampered[commitment_size(play.scheme.terms) - 40] ^= 1
    aborts(AbortReason.BAD_SIGNATURE, lambda: play.server.next({**play.commits, CLIENTS[0]: bytes(tampered)}), party=1)


def test_an_answer_that_was_changed_or_is_another_rounds_is_refused(setup: Any) -> None:
    play = start(setup)
    state, uploads = play.relay_list()
    step = state.next(uploads)
    assert isinstance(step, Continue)
    answer = bytearray(ask(play, step.outbound[DECRYPTOR]))
    answer[-1] ^= 1
    aborts(AbortReason.BAD_SIGNATURE, lambda: step.state.next({DECRYPTOR: bytes(answer)}), party=DECRYPTOR)
    aborts(AbortReason.MALFORMED, lambda: step.state.next({DECRYPTOR: b"rubbish"}))
