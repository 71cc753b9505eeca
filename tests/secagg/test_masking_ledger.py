"""Sums over the same inputs that no partner has all of: together the partners know them, and refuse what they show."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import pytest
from masking_world import World, make_setup
from test_masking_malicious import refused, resign

from securefl.errors import AbortReason, DecodeError, ProtocolAbort
from securefl.secagg.ledger import Ledger
from securefl.secagg.masking import MaskingOptions, MaskingSetup
from securefl.secagg.masking.messages import Phase, Signed
from securefl.secagg.policy import ExposureRule, Policy
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


def test_a_partner_that_makes_up_a_sum_stops_the_round_and_is_among_those_named() -> None:
    world = World().up_to(Phase.CONSISTENCY)
    lie = forged(world, (frozenset(map(ClientId, (1, 2, 3, 4))),))
    with pytest.raises(ProtocolAbort, match=r"told by \[2\]") as caught:
        world.show(1, lie, Phase.UNMASK)
    assert caught.value.reason is AbortReason.DIFFERENCING


@pytest.mark.parametrize("lies", [True, False], ids=["makes up a sum", "signs and stops"])
def test_who_stops_a_round_and_leaves_does_not_bind_the_others_to_its_presence(lies: bool) -> None:
    """Nothing was opened: the next round over the same inputs goes on without it."""
    setup = make_setup()
    world = World(setup=setup).up_to(Phase.CONSISTENCY)
    for client in (1, 3, 4, 5) if lies else ():
        lie = forged(world, (frozenset(map(ClientId, (1, 3, 4, 5))),))
        refused(AbortReason.DIFFERENCING, partial(world.show, client, lie, Phase.UNMASK))
    after = World(setup=setup, round=2, absent=[2]).up_to(Phase.UNMASK)
    assert after.open().survivors == frozenset({1, 3, 4, 5})


def test_who_released_shares_refuses_the_difference_though_the_sum_was_not_opened_to_it() -> None:
    """The control: the operator has what it needs, whatever it says of it."""
    setup = make_setup()
    World(setup=setup).up_to(Phase.UNMASK)
    after = World(setup=setup, round=2, absent=[2]).up_to(Phase.MASKED_INPUT)
    refused(AbortReason.DIFFERENCING, partial(after.ask, Phase.CONSISTENCY))


@pytest.mark.parametrize(("neighbours", "recorded"), [(0, 0), (4, 1)], ids=["complete", "ring"])
def test_on_a_ring_signing_counts_as_opening(neighbours: int, recorded: int) -> None:
    """There fewer than t clients may release, and two such sets need have nobody in common; two sets of signers do."""
    options = MaskingOptions(neighbours=neighbours, circle_threshold=3 if neighbours else 0)
    setup = make_setup(8, options=options)
    World(setup=setup).up_to(Phase.CONSISTENCY)
    assert {party.ledger.exposure().openings for party in setup.parties.values()} == {recorded}


COLLUDER = ClientId(10)
THRESHOLD = Policy.smallest(10).threshold
STAGINGS = range(18)


def staged(seed: int, *, tell: bool) -> list[frozenset[ClientId]]:
    """The sums that an operator with one colluder opens over one model, each client shown the signatures that it likes.

    A client of a round signs if its ledger lets it, and releases its shares if what it is shown lets it.
    """
    draw = np.random.default_rng(seed)

    def some(of: Iterable[ClientId]) -> frozenset[ClientId]:
        shuffled = draw.permutation(sorted(of)).tolist()
        return frozenset(map(ClientId, shuffled[: draw.integers(THRESHOLD, 11)]))

    ledgers = {client: Ledger(ALL, Policy.smallest(10)) for client in ALL - {COLLUDER}}
    opened = []
    for round in range(1, 13):
        survivors = some(ALL)
        told: dict[ClientId, tuple[frozenset[ClientId], ...]] = {COLLUDER: ()} if COLLUDER in survivors else {}
        for client in sorted(survivors - {COLLUDER}):
            try:
                ledgers[client].require(b"m" * 32, survivors, round=round)
            except ProtocolAbort:
                continue
            told[client] = ledgers[client].told(b"m" * 32, survivors) if tell else ()
        released = {COLLUDER} & survivors
        for client in sorted(set(told) - {COLLUDER}):
            shown = some(told) | {client}
            if len(shown) < THRESHOLD or draw.random() < 0.1:
                continue
            try:
                ledgers[client].compare(survivors, {c: told[c] for c in shown}, round=round)
            except ProtocolAbort:
                continue
            ledgers[client].admit(b"m" * 32, survivors, round=round)
            released |= {client}
        if len(released) >= THRESHOLD:
            opened.append(survivors)
    return opened


def shows_too_few(opened: list[frozenset[ClientId]]) -> bool:
    judge = Ledger(ALL, Policy.smallest(10))
    try:
        for round, row in enumerate(opened):
            judge.admit(b"m" * 32, row, round=round)
    except ProtocolAbort:
        return True
    return False


def test_whatever_an_operator_stages_the_opened_sums_show_no_few_partners() -> None:
    """The control: where nobody tells, the same operators find sums over the same inputs that show two partners."""
    assert any(shows_too_few(staged(seed, tell=False)) for seed in STAGINGS)
    assert not any(shows_too_few(staged(seed, tell=True)) for seed in STAGINGS)


def test_signed_lists_are_read_back_and_rubbish_is_refused() -> None:
    signed = Signed(FIRST, (SECOND, THIRD))
    assert Signed.decode(memoryview(signed.encode()), ALL) == signed
    for payload in (b"", signed.encode()[:-1], signed.encode() + b"\1"):
        with pytest.raises(DecodeError):
            Signed.decode(memoryview(payload), ALL)
