"""Commit, upload, open: what a dishonest operator, a late partner and malformed bytes get, for every homomorphic scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_ins import CountingRng

from securefl.crypto.paillier import add_ciphertexts, decode_ciphertexts, encode_ciphertexts
from securefl.crypto.plaintext_proof import proof_size
from securefl.errors import AbortReason, CapacityError, ParameterError, ProtocolAbort, SecureFLError, TooFewClients
from securefl.quantize import Quantizer
from securefl.secagg import bfv_sum, ckks_sum, paillier_sum
from securefl.secagg.base import DECRYPTOR_BASE, ClientState, Continue, Finished, OpenedSum, RoundContext, ServerState
from securefl.secagg.codec import u32
from securefl.secagg.committed import CommittedScheme
from securefl.secagg.committed_messages import (
    Commitment,
    CommitmentList,
    Upload,
    commit,
    commitment_size,
    encode_request,
    list_commitments,
    read_commitment,
    read_commitment_list,
    read_upload,
    upload,
)
from securefl.secagg.envelope import NO_VIEW, Slip, seal
from securefl.types import ClientId

CLIENTS = tuple(ClientId(i) for i in range(1, 6))
DECRYPTOR = ClientId(DECRYPTOR_BASE + 1)
RUN = b"r" * 32
LENGTH = 40
QUANTIZER = Quantizer.for_sum(len(CLIENTS), clip=1.0, max_weight=8)
VECTORS = {me: np.array([*range(-19, 20), 1 + me % 3], dtype=np.int32).view(np.uint32) * np.uint32(1) for me in CLIENTS}
SHORT = paillier_sum.PaillierOptions(decryption=paillier_sum.Decryption.SINGLE, bits=2048)
EXPECTED = np.sum([VECTORS[me].view(np.int32).astype(np.int64) for me in CLIENTS], axis=0)

SETUPS: dict[str, Callable[[], Any]] = {
    "paillier": lambda: paillier_sum.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(1), options=SHORT),
    "ckks": lambda: ckks_sum.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(1)),
    "bfv": lambda: bfv_sum.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(1)),
}
OPENERS = {"CkksOpener", "PaillierOpener", "BfvOpener"}
_rounds = iter(range(1, 100_000))


@pytest.fixture(scope="module", params=sorted(SETUPS))
def setup(request: pytest.FixtureRequest) -> Any:
    return SETUPS[request.param]()


@dataclass
class Play:
    """A round up to where the operator has the uploads: its own messages can then be replaced by a dishonest operator's."""

    scheme: CommittedScheme
    clients: dict[ClientId, ClientState]
    commits: dict[ClientId, bytes]
    server: ServerState

    def relay_list(self, commits: Mapping[ClientId, bytes] | None = None) -> tuple[ServerState, dict[ClientId, bytes]]:
        step = self.server.next(self.commits if commits is None else commits)
        assert isinstance(step, Continue)
        uploads = {}
        for me, message in step.outbound.items():
            answer = self.clients[me].next(message)
            assert isinstance(answer, Continue)
            assert isinstance(answer.state.next(b""), Finished)
            uploads[me] = answer.outbound
        return step.state, uploads

    def commitments(self) -> CommitmentList:
        terms = self.scheme.terms
        return list_commitments(terms, {me: read_commitment(terms, message) for me, message in self.commits.items()})

    def uploads(self) -> dict[ClientId, Upload]:
        listed, maximum = self.commitments(), self.scheme.cipher.maximum_body(LENGTH)
        raw = self.relay_list()[1]
        return {me: read_upload(self.scheme.terms, listed, message, maximum_body=maximum) for me, message in raw.items()}

    def decryptor(self) -> ClientState:
        return self.scheme.decryptors(rng=CountingRng(9))[DECRYPTOR]


def start(setup: Any, *, round: int | None = None, model: bytes = b"m" * 32) -> Play:
    number = next(_rounds) if round is None else round
    context = RoundContext(run_id=RUN, round=number, roster_hash=setup.roster_hash, model_hash=model)
    scheme = setup.round(context)
    states, commits = {}, {}
    for me in CLIENTS:
        step = scheme.client(me, VECTORS[me], rng=CountingRng(me))
        states[me], commits[me] = step.state, step.outbound
    return Play(scheme, states, commits, scheme.server(frozenset(CLIENTS)))


def ask(play: Play, request: bytes) -> bytes:
    step = play.decryptor().next(request)
    assert isinstance(step, Continue)
    return step.outbound


def aborts(reason: AbortReason, call: Callable[[], object], *, party: int | None = None) -> None:
    with pytest.raises(ProtocolAbort) as caught:
        call()
    assert caught.value.reason is reason, caught.value
    assert caught.value.party == party


def test_an_honest_round_opens_the_sum(setup: Any) -> None:
    play = start(setup)
    state, uploads = play.relay_list()
    step = state.next(uploads)
    assert isinstance(step, Continue)
    assert list(step.outbound) == [DECRYPTOR]
    opened = step.state.next({DECRYPTOR: ask(play, step.outbound[DECRYPTOR])})
    assert isinstance(opened, Finished)
    assert isinstance(opened.result, OpenedSum)
    assert np.abs(opened.result.total - EXPECTED).max() <= opened.result.error_bound
    assert opened.result.total[-1] == EXPECTED[-1]
    assert opened.result.survivors == frozenset(CLIENTS)


def test_a_dropout_before_the_commitment_or_the_upload_leaves_the_survivors_sum(setup: Any) -> None:
    for phase in ("commit", "upload"):
        play = start(setup, model=phase.encode().ljust(32))
        gone = CLIENTS[2]
        kept = {me: message for me, message in play.commits.items() if me != gone or phase == "upload"}
        state, uploads = play.relay_list(kept)
        uploads.pop(gone, None)
        step = state.next(uploads)
        assert isinstance(step, Continue)
        opened = step.state.next({DECRYPTOR: ask(play, step.outbound[DECRYPTOR])})
        assert isinstance(opened, Finished)
        assert opened.result.survivors == frozenset(CLIENTS) - {gone}
        expected = EXPECTED - VECTORS[gone].view(np.int32)
        assert np.abs(opened.result.total - expected).max() <= opened.result.error_bound
        assert opened.result.total[-1] == expected[-1]


def test_sums_over_one_model_whose_difference_is_one_partner_are_refused(setup: Any) -> None:
    """A re-run of a round on the same model without one partner would show that partner's vector."""
    model = b"again".ljust(32)
    play = start(setup, model=model)
    ask(play, encode_request(play.commitments(), play.uploads()))
    play = start(setup, model=model)
    uploads = play.uploads()
    fewer = encode_request(play.commitments(), {me: uploads[me] for me in CLIENTS[:4]})
    aborts(AbortReason.DIFFERENCING, partial(ask, play, fewer))


def test_fewer_than_the_minimum_stop_the_operator_and_the_clients(setup: Any) -> None:
    play = start(setup)
    few = {me: play.commits[me] for me in CLIENTS[:3]}
    with pytest.raises(TooFewClients, match="survivors=3 must be >= 4"):
        play.server.next(few)
    short = b"\3\0" + b"".join(few.values())
    aborts(AbortReason.TOO_FEW_CLIENTS, lambda: play.clients[CLIENTS[0]].next(short))
    state, uploads = play.relay_list()
    with pytest.raises(TooFewClients, match="survivors=3 must be >= 4"):
        state.next({me: uploads[me] for me in CLIENTS[:3]})


def test_no_answer_from_the_decryptor_stops_the_operator(setup: Any) -> None:
    play = start(setup)
    state, uploads = play.relay_list()
    step = state.next(uploads)
    assert isinstance(step, Continue)
    with pytest.raises(TooFewClients, match="survivors=0 must be >= 1"):
        step.state.next({})


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


def replaced(play: Play, me: ClientId, body: bytes) -> dict[ClientId, Upload]:
    """The uploads with client ``me``'s body replaced and signed anew with its real key: a late, dishonest partner."""
    terms, listed = play.scheme.terms, play.commitments()
    uploads = play.uploads()
    message = upload(terms, listed.by_sender[me], play.scheme.parties[me].signer, commitments=listed, body=body)
    return {**uploads, me: Upload(me, memoryview(body), message)}


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


def forge(play: Play, own: Commitment, value: bytes) -> Commitment:
    """``own`` with another value, signed by the same partner."""
    channel = play.scheme.terms.channel
    slip = Slip(phase=1, sender=own.sender, previous=channel.genesis(own.sender), view=NO_VIEW)
    sealed = seal(channel, slip, (u32(own.length), value), key=play.scheme.parties[own.sender].signer)
    return read_commitment(play.scheme.terms, sealed.message)


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


def test_two_different_requests_in_a_round_are_refused_and_the_same_one_is_answered_again(setup: Any) -> None:
    play = start(setup)
    uploads, listed = play.uploads(), play.commitments()
    everyone = encode_request(listed, uploads)
    fewer = encode_request(listed, {me: uploads[me] for me in CLIENTS[:4]})
    step = play.decryptor().next(everyone)
    assert isinstance(step, Continue)
    again = step.state.next(everyone)
    assert isinstance(again, Continue)
    assert again.outbound == step.outbound
    aborts(AbortReason.SECOND_UNMASKING, lambda: step.state.next(fewer))
    # A restarted decryptor has its journal: it does not begin the same round twice.
    aborts(AbortReason.ROUND_REUSED, lambda: ask(play, fewer))


def test_a_client_does_not_begin_a_round_twice(setup: Any) -> None:
    play = start(setup)
    aborts(AbortReason.ROUND_REUSED, lambda: play.scheme.client(CLIENTS[0], VECTORS[CLIENTS[0]], rng=CountingRng()))


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
        terms, me = play.scheme.terms, CLIENTS[3]
        rubbish = commit(terms, me, play.scheme.parties[me].signer, length=LENGTH, body=body)
        play.commits[me] = rubbish.encoded
        listed = play.commitments()
        bodies = {one: play.clients[one] for one in CLIENTS if one != me}
        messages = {one: state.next(listed.encoded) for one, state in bodies.items()}
        uploads = {one: step.outbound for one, step in messages.items() if isinstance(step, Continue)}
        uploads[me] = upload(terms, rubbish, play.scheme.parties[me].signer, commitments=listed, body=body)
        request = encode_request(listed, {one: Upload(one, memoryview(b""), message) for one, message in uploads.items()})
        with pytest.raises(ProtocolAbort) as caught:
            ask(play, request)
        assert caught.value.reason in (AbortReason.BAD_CIPHERTEXT, AbortReason.MALFORMED)
        assert caught.value.reason is AbortReason.MALFORMED or caught.value.party == me


def test_well_formed_ciphertexts_whose_sum_is_no_vector_end_the_round() -> None:
    """A dishonest partner encrypts a plaintext beyond the top slot: nobody can tell whose it was, the round ends."""
    play = start(SETUPS["paillier"]())
    cipher: Any = play.scheme.cipher
    terms, me, signer = play.scheme.terms, CLIENTS[4], play.scheme.parties[CLIENTS[4]].signer
    body = cipher.encrypt_packed([1 << (32 * cipher.packing.slots)], me=me, rng=CountingRng())
    own = commit(terms, me, signer, length=LENGTH, body=body)
    play.commits[me] = own.encoded
    listed = play.commitments()
    steps = {one: play.clients[one].next(listed.encoded) for one in CLIENTS[:4]}
    messages = {one: step.outbound for one, step in steps.items() if isinstance(step, Continue)}
    messages[me] = upload(terms, own, signer, commitments=listed, body=body)
    request = encode_request(listed, {one: Upload(one, memoryview(b""), message) for one, message in messages.items()})
    aborts(AbortReason.BAD_CIPHERTEXT, partial(ask, play, request))


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


def test_a_run_or_roster_that_the_setup_does_not_know_is_refused(setup: Any) -> None:
    context = RoundContext(run_id=RUN, round=1, roster_hash=bytes(32), model_hash=bytes(32))
    aborts(AbortReason.WRONG_ROSTER, lambda: setup.round(context))
    aborts(AbortReason.WRONG_ROUND, lambda: setup.round(replace(context, roster_hash=setup.roster_hash, run_id=bytes(32))))


def test_a_ciphertext_under_another_key_is_not_opened(setup: Any) -> None:
    """The commitment covers the public key: ciphertexts under a key that the operator slipped in do not verify."""
    play = start(setup)
    moved = replace(play.scheme, terms=replace(play.scheme.terms, key_hash=bytes(32)))
    request = encode_request(play.commitments(), play.uploads())
    aborts(AbortReason.BAD_COMMITMENT, lambda: moved.decryptors(rng=CountingRng())[DECRYPTOR].next(request), party=1)


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


def test_a_value_whose_sum_could_wrap_is_not_encrypted(setup: Any) -> None:
    play = start(setup)
    scheme = replace(play.scheme)
    limit = QUANTIZER.max_weight * QUANTIZER.limit
    vector = np.array([limit + 1, 1], dtype=np.int32).view(np.uint32)
    with pytest.raises(CapacityError, match=f"{limit + 1} must be in"):
        scheme.cipher.encrypt(vector, me=CLIENTS[0], rng=CountingRng())


@pytest.mark.parametrize("name", sorted(SETUPS))
def test_the_operator_reaches_no_key(name: str) -> None:
    """Nothing that the operator's states hold leads to a private key or a signing key."""
    play = start(SETUPS[name]())
    state, uploads = play.relay_list()
    step = state.next(uploads)
    assert isinstance(step, Continue)
    for held in (play.server, state, step.state):
        assert not reachable(held) & ({"PrivateKey", "CkksKey", "BfvKey", "SigningKey", "SecretKey"} | OPENERS)
    assert reachable(play.scheme) & OPENERS


def reachable(root: object) -> set[str]:
    """Names of the classes of everything that is reachable through fields, slots, mappings and sequences."""
    seen: set[int] = set()
    names: set[str] = set()
    stack = [root]
    while stack:
        one = stack.pop()
        if id(one) in seen or isinstance(one, bytes | str | int | np.ndarray | memoryview):
            continue
        seen.add(id(one))
        names.add(type(one).__name__)
        if isinstance(one, Mapping):
            stack += list(one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            stack += list(one)
        else:
            slots = [slot for kind in type(one).__mro__ for slot in getattr(kind, "__slots__", ())]
            stack += [getattr(one, slot) for slot in slots if hasattr(one, slot)]
            stack += list(getattr(one, "__dict__", {}).values())
    return names


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=600), cut=st.integers(0, 3000))
def test_any_bytes_give_a_typed_error(setup: Any, content: bytes, cut: int) -> None:
    play = _fuzzed(setup)
    listed = play.commitments().encoded
    for message in (content, listed[:cut] + content, listed + content):
        if message == listed:
            continue
        for receive in (play.clients[CLIENTS[0]].next, play.decryptor().next, lambda m: play.server.next({CLIENTS[0]: m})):
            with pytest.raises(SecureFLError):
                receive(message)


_plays: dict[int, Play] = {}


def _fuzzed(setup: Any) -> Play:
    if id(setup) not in _plays:
        _plays[id(setup)] = start(setup)
    return _plays[id(setup)]


def test_options_of_another_scheme_and_too_few_clients_are_refused() -> None:
    for module, other in (
        (paillier_sum, ckks_sum.CkksOptions()), (ckks_sum, bfv_sum.BfvOptions()), (bfv_sum, paillier_sum.PaillierOptions())
    ):
        with pytest.raises(ParameterError, match="Options"):
            module.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(), options=other)
        with pytest.raises(ParameterError, match="clients=2 must be >= 3"):
            module.set_up(CLIENTS[:2], quantizer=QUANTIZER, run_id=RUN, rng=CountingRng())


@pytest.mark.parametrize("name", sorted(SETUPS))
def test_the_single_decryptor_is_named_in_the_warnings(name: str) -> None:
    assert any("single-decryptor" in warning for warning in SETUPS[name]().warnings)
