"""A partner's say before every round: take part, be absent once, stop, withdraw, or veto.

A stop and a withdrawal take effect from the round before which they are said. Who stops keeps its model of that moment; who
withdraws keeps none and is measured no more. A veto ends the run for everybody: the round does not start, and the model is
that of the rounds which had everybody's consent. The rounds go on without the others as long as the protocol's minimum of
survivors holds, else they abort.

What it does NOT do: take anything back. The sums of past rounds are open and the trunk has learnt from them; nobody can
remove one partner's part from a sum, which is what secure aggregation is for. Only training again without it would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from securefl.config import DepartureConfig
from securefl.errors import DecodeError


class Decision(Enum):
    """What a partner says before a round."""

    TAKE_PART = "take part"
    ABSENT = "absent"
    STOP = "stop"
    WITHDRAW = "withdraw"
    VETO = "veto"

    def encode(self) -> bytes:
        """Return the decision as one byte of a message."""
        return bytes([list(Decision).index(self)])

    @classmethod
    def decode(cls, data: bytes) -> Decision:
        """Return the decision in one byte.

        Raises:
            DecodeError: it is none.
        """
        if len(data) != 1 or data[0] >= len(cls):
            raise DecodeError(f"decision {data[:4].hex()!r} must be one byte under {len(cls)}")
        return list(cls)[data[0]]


LASTING = frozenset({Decision.STOP, Decision.WITHDRAW})
"""Decisions that hold for all later rounds too."""


@dataclass(frozen=True, slots=True)
class Departure:
    """``partner`` (from 0) decided so before ``round`` (from 1)."""

    round: int
    partner: int
    decision: Decision


Consent: TypeAlias = Callable[[int, int], Decision]
"""Called as ``consent(round, partner)`` before each round, rounds from 1 and partners from 0."""


def willing(round: int, partner: int) -> Decision:
    """Take part: the say of a partner that always does."""
    return Decision.TAKE_PART


def planned(departures: Iterable[DepartureConfig]) -> Consent:
    """Return the say that a config plans, for simulations; it counts rounds and partners from 1."""
    plan = {(one.round, one.partner - 1): Decision(one.decision) for one in departures}
    return lambda round, partner: plan.get((round, partner), Decision.TAKE_PART)
