"""How many partners contribute to each row of the first layer: counted once, by one secure sum before the first round.

Every partner that takes part in the first round claims the bits whose rows it would send (at least ``k`` of its compounds have
them): the quantiser's clip there, 0 elsewhere, under the largest weight, summed by the run's own protocol. The opened sum says
how many partners claim each bit; from it each partner works out by itself which rows have fewer than ``guard.partners``, and
withholds them (:mod:`securefl.federation.guards`). The count is bound to one constant instead of a model: a client's ledger of
sums (:mod:`securefl.secagg.ledger`) takes any further count in the run for what it is, a sum over the same inputs.

What it protects: a row that fewer partners would move is not opened, so that neither the operator nor a partner beside it can
put the row down to one partner. A contributor subtracts its own part: of a row of two partners each has the other's, so that
against each other partners need ``guard.partners`` = 3.

What it does NOT protect: the count is a release of its own, without a price. It tells everybody how many partners have ``k``
compounds of each bit, and which bits exactly one has (:data:`attacks.course.differential.COUNTS`); all others together read
the last one's claims. Partners are believed: one that claims every row undoes a minimum of two, and whoever controls c of them
leaves two others in a row only if ``guard.partners`` is c + 2. Rows that enough partners contribute, the other layers and
membership stay as they are. It is not differential privacy.

The cohort is fixed: who joins later is not counted, which withholds too much and never too little. Who is absent later may have
been counted in any row. Partners know how many of the cohort are absent and not which rows they claimed, so each absence takes
one off every count while it lasts. Who drops out *within* a round is noticed too late: a row may then have fewer contributors.
A training that resumes takes the count up and opens no other (:mod:`securefl.federation.snapshots`); killed before its first
round was kept, it counts the same claims again. A second training of the same data, with another seed, ``k`` or cohort, counts
anew: two counts that differ by a partner show its claims.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.quantize import Quantizer
from securefl.secagg import RoundResult
from securefl.types import ClientId

COUNT_HASH = hashlib.sha256(b"securefl/contributors/1").digest()
"""32 bytes that bind the count in place of a model's hash: its inputs don't depend on one."""


@dataclass(frozen=True, slots=True)
class Contributors:
    """The opened ``counts``, int64 (bits,): how many of the ``cohort`` claimed each bit."""

    counts: NDArray[np.int64]
    cohort: frozenset[ClientId]

    @classmethod
    def opened(cls, result: RoundResult, quantizer: Quantizer) -> Contributors:
        """Return the counts that a sum of claims says, rounded: an approximate scheme is far nearer than half a partner."""
        one = quantizer.limit * quantizer.step * quantizer.max_weight
        return cls(np.rint(result.total / one).astype(np.int64), result.survivors)

    def among(self, present: Iterable[ClientId]) -> NDArray[np.int64]:
        """Return how many of ``present`` contribute to each row at least, int64 (bits,)."""
        return np.maximum(self.counts - len(self.cohort.difference(present)), 0)


def claim(sends: NDArray[np.bool_], quantizer: Quantizer) -> NDArray[np.float64]:
    """Return what a partner puts into the count for the bits that it ``sends``, float64 (bits,)."""
    return np.where(sends, quantizer.clip, 0.0)
