"""Partners that lie about the shares that they release: up to c of them are left out and named, and the sum is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from masking_world import World
from test_masking_malicious import payload_of, refused, resign

from securefl.errors import AbortReason, ProtocolAbort
from securefl.secagg.masking.messages import Phase, ReleasedShare, ShareKind, decode_released, encode_released
from securefl.types import ClientId, Secret


def lie_about_shares(world: World, liar: int, change: Callable[[ReleasedShare], ReleasedShare]) -> None:
    """Replace what ``liar`` releases."""
    released = decode_released(memoryview(payload_of(world, Phase.UNMASK, liar)))
    world.sent[Phase.UNMASK][ClientId(liar)] = resign(world, Phase.UNMASK, liar, encode_released(map(change, released)))


WRONG = Secret((12345).to_bytes(33, "little"))
OTHER = {ShareKind.SELF_MASK_SEED: ShareKind.MASK_KEY, ShareKind.MASK_KEY: ShareKind.SELF_MASK_SEED}
LIES: dict[str, tuple[Callable[[ReleasedShare], ReleasedShare], str]] = {
    "a wrong share of one seed": (lambda row: replace(row, share=WRONG) if row.owner == 3 else row, "of 3 fits"),
    "a wrong share of the key of who dropped": (lambda row: replace(row, share=WRONG) if row.owner == 7 else row, "of 7 fits"),
    "wrong shares": (lambda row: replace(row, share=WRONG), "fits no others"),
    "shares outside the field": (lambda row: replace(row, share=Secret(b"\xff" * 33)), "malformed"),
    "the other kind": (lambda row: replace(row, kind=OTHER[row.kind]), "wrong kind"),
}


def one_dropped() -> World:
    """Seven clients, of whom the last drops out; a sum needs five."""
    world = World(7).up_to(Phase.SHARE_KEYS)
    world.ask(Phase.MASKED_INPUT, clients=[1, 2, 3, 4, 5, 6])
    world.ask(Phase.CONSISTENCY)
    world.ask(Phase.UNMASK)
    return world


@pytest.mark.parametrize("liar", [1, 6])
@pytest.mark.parametrize("lie", LIES, ids=list(LIES))
def test_a_partner_that_lies_about_its_shares_loses_nobody_the_sum(lie: str, liar: int) -> None:
    """The others have bound themselves to it: were it lost, who lied once and left would end the sums over this model."""
    world, (change, why) = one_dropped(), LIES[lie]
    lie_about_shares(world, liar, change)
    opened = world.open()
    assert opened.total.tolist() == world.expected(range(1, 7))
    # A wrong share beyond those that are needed is not even read.
    assert list(opened.refused) == ([liar] if liar == 1 or "fits" not in why else [])
    assert all(why in told for told in opened.refused.values())


def test_a_partner_that_leaves_the_answer_unsigned_is_left_out_too() -> None:
    world = one_dropped()
    message = bytearray(world.sent[Phase.UNMASK][ClientId(2)])
    message[250] ^= 1
    world.sent[Phase.UNMASK][ClientId(2)] = bytes(message)
    opened = world.open()
    assert opened.total.tolist() == world.expected(range(1, 7))
    assert "signature does not verify" in opened.refused[ClientId(2)]


@pytest.mark.parametrize("lie", LIES, ids=list(LIES))
def test_more_liars_than_the_roster_tolerates_lose_the_sum(lie: str) -> None:
    world, (change, _) = one_dropped(), LIES[lie]
    for liar in (1, 2):
        lie_about_shares(world, liar, change)
    with pytest.raises(ProtocolAbort) as caught:
        world.open()
    assert caught.value.reason in (AbortReason.BAD_COMMITMENT, AbortReason.BAD_SHARE, AbortReason.MALFORMED)


def test_who_deals_shares_that_open_nothing_is_named() -> None:
    world = one_dropped()
    for holder in range(1, 7):
        lie_about_shares(world, holder, lambda row: replace(row, share=WRONG) if row.owner == 3 else row)
    refused(AbortReason.BAD_COMMITMENT, world.open, 3)
