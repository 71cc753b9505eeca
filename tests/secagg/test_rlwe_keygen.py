"""Key generation of the threshold RLWE sum: what comes out of it, and who is named when somebody deviates."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from rlwe_world import RUN, aborts
from stand_ins import CountingRng

from securefl.crypto.rlwe import sharing
from securefl.crypto.rlwe.budget import NoiseBudget
from securefl.crypto.rlwe.cipher import generate_part
from securefl.crypto.rlwe.encoding import element_size
from securefl.crypto.rlwe.product import centred, multiply
from securefl.crypto.rlwe.ring import Ring
from securefl.crypto.rlwe.samplers import uniform
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason
from securefl.secagg.base import DECRYPTOR_BASE, Continue, Finished, RoundContext
from securefl.secagg.codec import HASH_SIZE
from securefl.secagg.envelope import Channel, head_size
from securefl.secagg.rlwe_sum import keygen
from securefl.secagg.rlwe_sum.dealing import Dealt, deal_all, sealed_size
from securefl.secagg.rlwe_sum.key import MemberKey
from securefl.secagg.rlwe_sum.keygen import (
    CHECK,
    COIN,
    COMMIT,
    CONFIRM,
    DEAL,
    PHASES,
    REVEAL,
    HolderState,
    generate,
    verify_confirmations,
)
from securefl.secagg.rlwe_sum.messages import encode_bundle
from securefl.secagg.rlwe_sum.talk import KEYGEN_WIRE_ID, KeyTerms, epoch_reference, point_of
from securefl.types import ClientId, Secret

MEMBERS = tuple(ClientId(DECRYPTOR_BASE + i) for i in range(1, 5))
SIGNERS = {member: SigningKey(Secret(bytes([member % 256]) * 32)) for member in MEMBERS}
RING = Ring(1024, (26, 26, 26, 26))
"""Too small to be secure, and quick: the protocol is the same."""
BUDGET = NoiseBudget(ring=RING, holders=4, threshold=3, clients=4, limit=1000, length=1000)
CONTEXT = RoundContext(run_id=RUN, round=7, roster_hash=b"h" * 32, model_hash=bytes(32))
TERMS = KeyTerms(
    channel=Channel(
        wire_id=KEYGEN_WIRE_ID, context=CONTEXT, keys={member: key.verify_key for member, key in SIGNERS.items()}
    ),
    budget=BUDGET,
)
CHEAT = MEMBERS[2]


@dataclass
class Generation:
    """A generation that tests drive phase by phase; ``said`` are the last messages, to be tampered with."""

    states: dict[ClientId, HolderState] = field(default_factory=dict)
    said: dict[ClientId, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for member in MEMBERS:
            step = keygen.begin(TERMS, member, SIGNERS[member], rng=CountingRng(member))
            self.states[member], self.said[member] = step.state, step.outbound

    def step(self, said: Mapping[ClientId, bytes] | None = None) -> None:
        bundle = encode_bundle(self.said if said is None else said)
        for member in MEMBERS:
            onward = self.states[member].next(bundle)
            assert isinstance(onward, Continue)
            self.states[member], self.said[member] = onward.state, onward.outbound

    def until(self, phase: int) -> Generation:
        """Go on until everyone has said ``phase``."""
        for _ in range(phase - 1):
            self.step()
        return self

    def refused(self, said: Mapping[ClientId, bytes] | None = None) -> Callable[[], object]:
        """The first member's next step with these messages."""
        bundle = encode_bundle(self.said if said is None else said)
        return lambda: self.states[MEMBERS[0]].next(bundle)


@pytest.fixture(scope="module")
def generated() -> tuple[dict[ClientId, MemberKey], bytes]:
    return generate(TERMS, SIGNERS, rng=CountingRng(3))


def test_everyone_has_the_same_key_and_any_threshold_of_shares_fits_it(
    generated: tuple[dict[ClientId, MemberKey], bytes],
) -> None:
    keys, _ = generated
    first = keys[MEMBERS[0]]
    for members in itertools.combinations(MEMBERS, 3):
        secret = sharing.combine({point_of(member): keys[member].share for member in members}, RING)
        noise = multiply(secret, TERMS.reference, RING)
        RING.add(noise, first.public)
        # b + a s is the sum of the errors, and s the sum of four ternary secrets: both are small.
        assert np.abs(centred(secret, RING)).max() <= 4
        assert np.abs(centred(noise, RING)).max() <= 4 * 21
        assert 0.5 < centred(noise, RING)[0].var() / (4 * 10.5) < 1.5
    for member, key in keys.items():
        assert np.array_equal(key.public, first.public)
        assert key.key_hash == first.key_hash
        assert {peer: key.masks[peer] for peer in key.masks} == {peer: keys[peer].masks[member] for peer in key.masks}
    two = sharing.combine({point_of(member): keys[member].share for member in MEMBERS[:2]}, RING)
    assert np.abs(centred(two, RING)).max() > 2**20  # the control: two of three shares


def test_clients_accept_a_key_that_all_decryptors_confirmed_and_no_other(
    generated: tuple[dict[ClientId, MemberKey], bytes],
) -> None:
    keys, confirmations = generated
    public = keys[MEMBERS[0]].public
    verify_confirmations(TERMS, public, confirmations)
    swapped = uniform(RING, 1, rng=CountingRng(1))[0]
    aborts(AbortReason.INCONSISTENT_VIEW, lambda: verify_confirmations(TERMS, swapped, confirmations), party=MEMBERS[0])
    size = (len(confirmations) - 2) // 4
    fewer = b"\3\0" + confirmations[2 : 2 + 3 * size]
    aborts(AbortReason.TOO_FEW_CLIENTS, lambda: verify_confirmations(TERMS, public, fewer), party=MEMBERS[3])
    other = replace(TERMS, channel=replace(TERMS.channel, context=replace(CONTEXT, round=8)))
    aborts(AbortReason.WRONG_ROUND, lambda: verify_confirmations(other, public, confirmations), party=MEMBERS[0])


def test_the_reference_element_follows_from_roster_and_epoch() -> None:
    same = epoch_reference(RING, CONTEXT.roster_hash, 7)
    assert np.array_equal(TERMS.reference, same)
    for other in (epoch_reference(RING, CONTEXT.roster_hash, 8), epoch_reference(RING, bytes(32), 7)):
        assert not np.array_equal(other, same)


def test_messages_have_the_sizes_of_the_specification() -> None:
    generation, head = Generation(), head_size(KEYGEN_WIRE_ID)
    sizes = {
        COMMIT: 2 * HASH_SIZE,
        REVEAL: 32 + element_size(RING),
        DEAL: 3 * sealed_size(RING),
        COIN: 32,
        CHECK: 2 + 4 * 4 * 4 * sharing.repetitions(RING),
        CONFIRM: HASH_SIZE,
    }
    assert len(sizes) == len(PHASES)
    for phase, size in sizes.items():
        assert {len(message) for message in generation.said.values()} == {head + size}, phase
        if phase != CONFIRM:
            generation.step()
    ends = [state.next(encode_bundle(generation.said)) for state in generation.states.values()]
    assert all(isinstance(end, Finished) for end in ends)


def retold(generation: Generation, phase: int, payload: bytes, *, by: ClientId = CHEAT) -> dict[ClientId, bytes]:
    """The last messages with that of ``by`` replaced by another payload, properly signed."""
    state: Any = generation.states[by]
    talk = state.talk
    # The state has said its message already: its view and previous envelope are those of that message.
    return {**generation.said, by: talk.say(phase, (payload,))[0]}


def test_a_key_that_was_chosen_after_the_others_were_revealed_is_refused() -> None:
    """The rogue key: minus the others' parts, so that the sum would be the cheat's own."""
    generation = Generation().until(REVEAL)
    rogue = retold(generation, REVEAL, generation.said[MEMBERS[0]][head_size(KEYGEN_WIRE_ID) :])
    aborts(AbortReason.BAD_COMMITMENT, generation.refused(rogue), party=CHEAT)


def test_the_challenge_can_not_be_ground_by_signing_a_coin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature can be made in many ways; if one changed the challenge, the last to show its coin could try them all."""
    monkeypatch.setattr("securefl.secagg.envelope.verify_signature", lambda *signed: None)
    generation = Generation().until(COIN)
    again = bytearray(generation.said[CHEAT])
    again[head_size(KEYGEN_WIRE_ID) - 1] ^= 1
    published = []
    for said in (generation.said, {**generation.said, CHEAT: bytes(again)}):
        step = generation.states[MEMBERS[0]].next(encode_bundle(said))
        assert isinstance(step, Continue)
        published.append(step.outbound[head_size(KEYGEN_WIRE_ID) :])
    assert published[0] == published[1]


def test_a_coin_that_was_not_committed_is_refused() -> None:
    generation = Generation().until(COIN)
    aborts(AbortReason.BAD_COMMITMENT, generation.refused(retold(generation, COIN, bytes(32))), party=CHEAT)


def cheating_dealer(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[ClientId, Dealt]], None]) -> Generation:
    """A generation up to the deal in which CHEAT's shares are changed before they are sealed."""
    generation = Generation().until(REVEAL)
    honest = deal_all
    calls = itertools.count()

    def deal_badly(secret: Any, terms: KeyTerms, *, rng: Any) -> dict[ClientId, Dealt]:
        dealt = honest(secret, terms, rng=rng)
        if next(calls) == MEMBERS.index(CHEAT):
            change(dealt)
        return dealt

    monkeypatch.setattr(keygen, "deal_all", deal_badly)
    generation.step()
    return generation


def test_shares_of_no_polynomial_name_their_dealer(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(dealt: dict[ClientId, Dealt]) -> None:
        share = dealt[MEMBERS[0]].share.copy()
        share[1, 100] = (int(share[1, 100]) + 1) % RING.primes[1]
        dealt[MEMBERS[0]] = Dealt(share, dealt[MEMBERS[0]].blinding)

    generation = cheating_dealer(monkeypatch, change)
    generation.step()
    generation.step()
    abort = aborts(AbortReason.BAD_SHARE, generation.refused(), party=CHEAT)
    assert "degree 2" in abort.detail


def test_a_share_that_does_not_open_is_complained_of_and_names_its_dealer() -> None:
    generation = Generation().until(DEAL)
    payload = bytearray(generation.said[CHEAT][head_size(KEYGEN_WIRE_ID) :])
    payload[5] ^= 1  # inside the share for the first member
    said = retold(generation, DEAL, bytes(payload))
    # The cheat itself goes on as if it had sent this message.
    cheat: Any = generation.states[CHEAT]
    generation.states[CHEAT] = replace(cheat, talk=cheat.talk.say(DEAL, (bytes(payload),))[1])
    generation.step(said)
    generation.step()
    abort = aborts(AbortReason.BAD_SHARE, generation.refused(), party=CHEAT)
    assert f"party {MEMBERS[0]} complains" in abort.detail


def test_a_false_check_value_stops_the_generation() -> None:
    generation = Generation().until(CHECK)
    payload = bytearray(generation.said[CHEAT][head_size(KEYGEN_WIRE_ID) :])
    payload[2] ^= 1
    # It looks as if the first member had dealt badly: the signed messages are there for people to decide.
    aborts(AbortReason.BAD_SHARE, generation.refused(retold(generation, CHECK, bytes(payload))), party=MEMBERS[0])


@pytest.mark.parametrize("phase", [COMMIT, REVEAL, DEAL, COIN, CHECK, CONFIRM])
def test_a_missing_party_stops_the_generation_and_is_named(phase: int) -> None:
    generation = Generation().until(phase)
    said = {member: message for member, message in generation.said.items() if member != CHEAT}
    aborts(AbortReason.TOO_FEW_CLIENTS, generation.refused(said), party=CHEAT)


@pytest.mark.parametrize("phase", [REVEAL, COIN])
def test_parties_that_were_shown_different_messages_find_out(phase: int) -> None:
    generation = Generation().until(phase - 1)
    twin: Any = generation.states[CHEAT]
    payload = generation.said[CHEAT][head_size(KEYGEN_WIRE_ID) :]
    # A second, properly signed version of one message, differing in the last byte, goes to one party alone.
    altered = payload[:-1] + bytes([payload[-1] ^ 1])
    message, talk = twin.talk.say(phase - 1, (altered,))
    other = encode_bundle({**generation.said, CHEAT: message})
    generation.states[CHEAT] = replace(twin, talk=talk)
    odd = generation.states[CHEAT].next(other)
    assert isinstance(odd, Continue)
    generation.states[CHEAT] = twin
    generation.step()
    said = {**generation.said, CHEAT: odd.outbound}
    aborts(AbortReason.INCONSISTENT_VIEW, generation.refused(said), party=CHEAT)


def test_ones_own_message_must_come_back_unchanged() -> None:
    generation = Generation()
    said = retold(generation, COMMIT, bytes(64), by=MEMBERS[0])
    aborts(AbortReason.MISSING_SELF, generation.refused(said), party=MEMBERS[0])


def test_messages_of_another_epoch_or_roster_are_refused() -> None:
    generation = Generation()
    for change, reason in (({"round": 8}, AbortReason.WRONG_ROUND), ({"roster_hash": bytes(32)}, AbortReason.WRONG_ROSTER)):
        context = replace(CONTEXT, **change)
        other = replace(TERMS, channel=replace(TERMS.channel, context=context))
        stale = keygen.begin(other, CHEAT, SIGNERS[CHEAT], rng=CountingRng(5)).outbound
        aborts(reason, generation.refused({**generation.said, CHEAT: stale}), party=CHEAT)


@pytest.mark.parametrize("phase", [COMMIT, REVEAL, DEAL, COIN, CHECK])
def test_payloads_of_another_length_name_their_sender(phase: int) -> None:
    generation = Generation().until(phase)
    said = retold(generation, phase, b"short")
    if phase == DEAL:
        cheat: Any = generation.states[CHEAT]
        generation.states[CHEAT] = replace(cheat, talk=cheat.talk.say(DEAL, (b"short",))[1])
        generation.step(said)
        generation.step()
        aborts(AbortReason.BAD_SHARE, generation.refused(), party=CHEAT)
        return
    reason = {COMMIT: AbortReason.MALFORMED, CHECK: AbortReason.MALFORMED}.get(phase, AbortReason.BAD_COMMITMENT)
    aborts(reason, generation.refused(said), party=CHEAT)


def test_contributions_are_fresh() -> None:
    rng = CountingRng(1)
    first, second = (generate_part(TERMS.reference, RING, rng=rng) for _ in range(2))
    assert not np.array_equal(first.secret, second.secret)
    assert set(np.unique(centred(first.secret, RING))) == {-1.0, 0.0, 1.0}
