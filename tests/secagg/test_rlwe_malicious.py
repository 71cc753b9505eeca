"""The threshold RLWE sum against dishonest operators, decryptors and partners: each deviation is refused by its own reason."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from rlwe_world import (
    CLIENTS,
    DECRYPTORS,
    OTHER_SET,
    SET,
    World,
    aborts,
    answer_message,
    make_setup,
    make_world,
    sum_of,
)
from stand_ins import CountingRng

from securefl.crypto.rlwe.cipher import Half, read_half
from securefl.crypto.rlwe.encoding import encode_elements
from securefl.crypto.rlwe.ring import zeros
from securefl.crypto.rlwe.samplers import uniform
from securefl.errors import AbortReason
from securefl.secagg.base import Continue, RoundContext
from securefl.secagg.committed_messages import ANSWER, encode_request
from securefl.secagg.rlwe_sum.decryption_journal import Kept
from securefl.secagg.rlwe_sum.messages import Asks, encode_bundle
from securefl.secagg.rlwe_sum.protocol import RlweSetup
from securefl.types import ClientId


@pytest.fixture(scope="module")
def setup() -> RlweSetup:
    return make_setup()


@pytest.fixture
def world(setup: RlweSetup) -> World:
    return make_world(setup)


def test_one_ciphertext_is_never_opened_as_the_sum(world: World) -> None:
    uploads = world.uploads()
    for survivors in (CLIENTS[:1], CLIENTS[:3]):
        message = world.request({me: uploads[me] for me in survivors})
        aborts(AbortReason.THRESHOLD_LOWERED, lambda message=message: world.ask(DECRYPTORS[0], message))  # type: ignore[misc]


def test_a_smaller_or_larger_set_than_the_threshold_is_refused(world: World) -> None:
    for members in (SET - {DECRYPTORS[1]}, frozenset(DECRYPTORS)):
        message = world.request(members=members)
        aborts(AbortReason.THRESHOLD_LOWERED, lambda message=message: world.ask(DECRYPTORS[0], message))  # type: ignore[misc]


def test_a_set_with_strangers_or_without_me_is_refused(world: World) -> None:
    strangers = world.request(members=frozenset((*DECRYPTORS[:3], ClientId(5))))
    aborts(AbortReason.UNKNOWN_PARTY, lambda: world.ask(DECRYPTORS[0], strangers), party=5)
    without = world.request(members=OTHER_SET)
    aborts(AbortReason.MISSING_SELF, lambda: world.ask(DECRYPTORS[0], without), party=DECRYPTORS[0])


def test_no_answer_without_everyones_signature_under_the_same_sum_and_set(world: World) -> None:
    message = world.request()
    said = {member: world.ask(member, message) for member in SET}
    first = DECRYPTORS[0]
    missing = encode_bundle({member: said[member] for member in SET if member != DECRYPTORS[2]})
    aborts(AbortReason.TOO_FEW_CLIENTS, lambda: world.ask(first, answer_message(missing)), party=DECRYPTORS[2])
    forged = dict(said)
    forged[DECRYPTORS[2]] = said[DECRYPTORS[2]][:-1] + b"\0"
    aborts(AbortReason.BAD_SIGNATURE, lambda: world.ask(first, answer_message(encode_bundle(forged))), party=DECRYPTORS[2])
    aborts(AbortReason.WRONG_ROUND, lambda: world.ask(first, bytes((Asks.ANSWER_WITH_ZEROS,)) + missing))
    fresh = world.scheme.decryptors(rng=CountingRng())[first]
    aborts(AbortReason.WRONG_ROUND, lambda: fresh.next(answer_message(missing)))


def test_decryptors_that_were_asked_for_different_sets_or_sums_do_not_answer(setup: RlweSetup) -> None:
    """The operator asks one decryptor for another set, another for another sum: nobody gets a full bundle."""
    world = make_world(setup)
    uploads = world.uploads()
    said = {member: world.ask(member, world.request(uploads)) for member in DECRYPTORS[:3]}
    other = {**said, DECRYPTORS[3]: world.ask(DECRYPTORS[3], world.request(uploads, members=OTHER_SET))}
    aborts(AbortReason.SECOND_SET, lambda: world.ask(DECRYPTORS[0], answer_message(encode_bundle(other))), party=DECRYPTORS[3])
    split = make_world(setup)
    parts = split.uploads()
    whole = {member: split.ask(member, split.request(parts)) for member in DECRYPTORS[:3]}
    fewer = split.ask(DECRYPTORS[3], split.request({me: parts[me] for me in CLIENTS[:4]}))
    bundle = encode_bundle({**whole, DECRYPTORS[3]: fewer})
    aborts(AbortReason.INCONSISTENT_VIEW, lambda: split.ask(DECRYPTORS[0], answer_message(bundle)), party=DECRYPTORS[3])


def test_a_copied_ciphertext_is_refused(world: World) -> None:
    message = world.request(world.uploads({CLIENTS[4]: world.bodies[CLIENTS[0]]}))
    aborts(AbortReason.BAD_COMMITMENT, lambda: world.ask(DECRYPTORS[0], message), party=5)


def test_the_negated_sum_of_the_others_is_refused(world: World) -> None:
    """With it the victim's vector alone would be left; it can only be computed after the list is fixed."""
    ring = world.scheme.cipher.budget.ring
    halves = []
    for half in Half:
        total = zeros(ring, 1)
        for me in CLIENTS[1:4]:
            ring.subtract(total, read_half(world.bodies[me], half, slice(0, 1), ring))
        halves.append(encode_elements(total, ring).tobytes())
    message = world.request(world.uploads({CLIENTS[4]: b"".join(halves)}))
    aborts(AbortReason.BAD_COMMITMENT, lambda: world.ask(DECRYPTORS[0], message), party=5)


def test_a_list_that_names_a_partner_twice_is_refused(world: World) -> None:
    listed = world.listed
    doubled = b"\5\0" + listed.by_sender[CLIENTS[0]].encoded * 5
    content = len(doubled).to_bytes(4, "little") + doubled + encode_request(listed, world.uploads())[4 + len(listed.encoded) :]
    message = world.request()[: 1 + 1 + 2 + 2 * len(SET)] + len(content).to_bytes(8, "little") + content
    aborts(AbortReason.DUPLICATE_PARTY, lambda: world.ask(DECRYPTORS[0], message), party=1)


@pytest.mark.parametrize("half", list(Half))
def test_non_canonical_coefficients_name_their_sender(setup: RlweSetup, half: Half) -> None:
    """All bits of one residue set, properly committed: decryptors read keyed halves, the operator the others."""

    def spoil(bodies: dict[ClientId, bytes]) -> None:
        size = len(bodies[CLIENTS[3]]) // 2
        content = bytearray(bodies[CLIENTS[3]])
        content[half * size : (half + 1) * size] = b"\xff" * size
        bodies[CLIENTS[3]] = bytes(content)

    world = make_world(setup, spoil)
    aborts(AbortReason.BAD_CIPHERTEXT, world.run, party=4)


def test_ciphertexts_of_other_parameters_name_their_sender(setup: RlweSetup) -> None:
    shorter = make_world(setup, lambda bodies: bodies.update({CLIENTS[3]: bodies[CLIENTS[3]][:-2048]}))
    aborts(AbortReason.BAD_CIPHERTEXT, shorter.run, party=4)
    longer = make_world(setup, lambda bodies: bodies.update({CLIENTS[3]: bodies[CLIENTS[3]] + bytes(1)}))
    message = longer.request()
    aborts(AbortReason.MALFORMED, lambda: longer.ask(DECRYPTORS[0], message))


def test_a_ciphertext_under_another_epochs_key_is_refused(setup: RlweSetup) -> None:
    old = make_world(setup)
    stale = World(replace(make_world(setup).scheme, terms=replace(old.scheme.terms, key_hash=bytes(32))), old.bodies)
    message = stale.request()
    aborts(AbortReason.BAD_COMMITMENT, lambda: old.ask(DECRYPTORS[0], message), party=1)


def test_well_formed_ciphertexts_out_of_range_end_the_round_and_nobody_is_named(setup: RlweSetup) -> None:
    def flood(bodies: dict[ClientId, bytes]) -> None:
        ring = setup.budget.ring
        bodies[CLIENTS[3]] = encode_elements(uniform(ring, 2, rng=CountingRng(3)), ring).tobytes()

    aborts(AbortReason.BAD_SHARE, make_world(setup, flood).run)


@pytest.mark.parametrize("change", ["run", "round", "model", "roster"])
def test_requests_of_another_run_round_model_or_roster_are_refused(world: World, change: str) -> None:
    context, terms = world.scheme.terms.channel.context, world.scheme.terms
    other: RoundContext = {
        "run": replace(context, run_id=b"x" * 32),
        "round": replace(context, round=context.round + 1000),
        "model": replace(context, model_hash=b"x" * 32),
        "roster": replace(context, roster_hash=b"x" * 32),
    }[change]
    moved = World(replace(world.scheme, terms=replace(terms, channel=replace(terms.channel, context=other))), world.bodies)
    reason = {"model": AbortReason.WRONG_MODEL, "roster": AbortReason.WRONG_ROSTER}.get(change, AbortReason.WRONG_ROUND)
    message = world.request()
    aborts(reason, lambda: moved.ask(DECRYPTORS[0], message), party=1)


def test_a_wrong_share_is_caught_and_nobody_is_named(world: World) -> None:
    ring = world.scheme.cipher.budget.ring
    member = DECRYPTORS[2]
    wrong = replace(world.scheme.keys[member], share=uniform(ring, 1, rng=CountingRng(5))[0])
    world.scheme = replace(world.scheme, keys={**world.scheme.keys, member: wrong})
    world.waiting = dict(world.scheme.decryptors(rng=CountingRng(9)))
    abort = aborts(AbortReason.BAD_SHARE, world.run)
    assert "noise bound" in abort.detail


@pytest.mark.parametrize("body", [b"", b"\xff" * 53_248])
def test_a_malformed_answer_names_its_sender_and_another_set_opens_the_sum(world: World, body: bytes) -> None:
    step = world.operator()
    onward = step.state.next({member: world.ask(member, message) for member, message in step.outbound.items()})
    assert isinstance(onward, Continue)
    answers = {member: world.ask(member, message) for member, message in onward.outbound.items()}
    cheat = DECRYPTORS[1]
    view = hashlib.sha256(onward.outbound[cheat][1:]).digest()
    genesis = world.scheme.terms.channel.genesis(cheat)
    forged = world.scheme.decryptor(cheat, rng=CountingRng()).sign(ANSWER, previous=genesis, view=view, payload=body)
    again = onward.state.next({**answers, cheat: forged})
    assert isinstance(again, Continue)
    assert sorted(again.outbound) == [member for member in DECRYPTORS if member != cheat]
    aborts(AbortReason.BAD_SHARE, lambda: world.finish(again, lambda step, member: member == DECRYPTORS[4]), party=cheat)
    opened = world.finish(again)
    assert opened.total.tolist() == sum_of(CLIENTS)
    assert list(opened.refused) == [cheat]


def test_an_encryption_of_zero_that_was_not_committed_is_refused(world: World) -> None:
    message = world.request(members=OTHER_SET, attempt=2)
    bundle = world.agree(message, OTHER_SET)
    cheat = DECRYPTORS[1]
    round = world.scheme.terms.channel.context.round
    world.scheme.journals[cheat].keep(round, 2, Kept.ZERO, world.bodies[CLIENTS[0]])
    shown = encode_bundle({member: world.ask(member, answer_message(bundle)) for member in OTHER_SET})
    inbound = bytes((Asks.ANSWER_WITH_ZEROS,)) + shown
    aborts(AbortReason.BAD_COMMITMENT, lambda: world.ask(DECRYPTORS[2], inbound), party=cheat)
