"""Sums over the same inputs that no partner has all of: together the partners know them, and refuse what they show."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from masking_world import World, make_setup
from test_masking_malicious import refused, resign

from securefl.errors import AbortReason, DecodeError, ProtocolAbort
from securefl.secagg.masking import MaskingOptions, MaskingSetup
from securefl.secagg.masking.messages import Phase, Signed
from securefl.secagg.policy import ExposureRule
from securefl.types import ClientId

ALL = frozenset(map(ClientId, range(1, 11)))
FIRST, SECOND, THIRD = (frozenset(map(ClientId, who)) for who in (range(1, 7), range(5, 11), (1, 2, 3, 4, 7, 8, 9, 10)))
"""FIRST + SECOND - THIRD is twice partners 5 and 6; each two of them show nothing, and nobody is in all three."""


def played(setup: MaskingSetup, round: int, who: frozenset[ClientId], model: bytes = b"m" * 32) -> World:
    """A round of ``who`` alone, as an operator stages it that declares the others dropped, up to the consistency round."""
    return World(setup=setup, round=round, absent=ALL - who, model_hash=model).up_to(Phase.CONSISTENCY)


def test_three_sums_that_no_partner_has_all_of_are_refused_by_every_partner() -> None:
    setup = make_setup(10)
    for round, who in enumerate((FIRST, SECOND), 1):
        world = played(setup, round, who)
        world.ask(Phase.UNMASK)
        assert world.open().survivors == who
    world = played(setup, 3, THIRD)
    request = world.bundle(Phase.UNMASK)
    for client in THIRD:
        with pytest.raises(ProtocolAbort, match=r"partner 5 \+ 1 x partner 6") as caught:
            world.show(client, request, Phase.UNMASK)
        assert caught.value.reason is AbortReason.DIFFERENCING


def test_over_other_inputs_the_same_sums_are_opened() -> None:
    """The control: what is refused is the lineage, not the cohorts."""
    setup = make_setup(10)
    for round, who in enumerate((FIRST, SECOND, THIRD), 1):
        world = played(setup, round, who, model=bytes([round]) * 32)
        world.ask(Phase.UNMASK)
        assert world.open().total.tolist() == world.expected(who)


def test_where_the_roster_refuses_alike_updates_the_lineage_does_not_matter() -> None:
    setup = make_setup(10, options=MaskingOptions(exposure=ExposureRule.REFUSE))
    for round, who in enumerate((FIRST, SECOND, THIRD), 1):
        world = played(setup, round, who, model=bytes([round]) * 32)
        if who is THIRD:
            refused(AbortReason.DIFFERENCING, partial(world.show, 1, world.bundle(Phase.UNMASK), Phase.UNMASK))
        else:
            world.ask(Phase.UNMASK)


def test_a_round_without_earlier_sums_says_the_survivors_alone() -> None:
    world = World().up_to(Phase.CONSISTENCY)
    sizes = {len(message) for message in world.sent[Phase.CONSISTENCY].values()}
    assert sizes == {285 + 2 + 2 * 5}


def test_what_follows_from_other_sums_is_not_told() -> None:
    ledger = make_setup(10).parties[ClientId(1)].ledger
    low, high = frozenset(map(ClientId, range(1, 6))), frozenset(map(ClientId, range(6, 11)))
    for round, row in enumerate((low, high, ALL), 1):
        ledger.admit(b"m" * 32, row, round=round)
    assert ledger.told(b"m" * 32, FIRST) == (low, high)
    assert ledger.told(b"m" * 32, ALL) == (low,)
    assert ledger.told(b"n" * 32, FIRST) == ()


def forged(world: World, earlier: tuple[frozenset[ClientId], ...]) -> bytes:
    payload = Signed(frozenset(world.clients), earlier).encode()
    return world.bundle(Phase.UNMASK, replace={2: resign(world, Phase.CONSISTENCY, 2, payload)})


def test_a_partner_tells_of_strangers_or_of_more_sums_than_there_can_be() -> None:
    world = World().up_to(Phase.CONSISTENCY)
    three, stranger = frozenset(map(ClientId, (1, 2, 3))), frozenset({ClientId(9)})
    for earlier in ((stranger,), (three,) * 6):
        refused(AbortReason.MALFORMED, partial(world.show, 1, forged(world, earlier), Phase.UNMASK), 2)


def test_a_partner_that_makes_up_a_sum_stops_the_round_and_leaves_no_trace() -> None:
    """Any partner can stop a round; what it told is not taken over, so the next round goes on."""
    setup = make_setup()
    world = World(setup=setup).up_to(Phase.CONSISTENCY)
    lie = forged(world, (frozenset(map(ClientId, (1, 2, 3, 4))),))
    refused(AbortReason.DIFFERENCING, lambda: world.show(1, lie, Phase.UNMASK))
    after = World(setup=replace(setup), round=2).up_to(Phase.UNMASK)
    assert after.open().survivors == frozenset(range(1, 6))


def test_signed_lists_are_read_back_and_rubbish_is_refused() -> None:
    signed = Signed(FIRST, (SECOND, THIRD))
    assert Signed.decode(memoryview(signed.encode()), ALL) == signed
    for payload in (b"", signed.encode()[:-1], signed.encode() + b"\1"):
        with pytest.raises(DecodeError):
            Signed.decode(memoryview(payload), ALL)
