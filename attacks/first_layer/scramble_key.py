"""Reading the operator's view back into chemistry: bits by how often they occur.

The operator lacks the key that orders the bits (V2), but a row of the first layer moves the more, the more compounds have its
bit, and how often each bit occurs in molecules is public. Sorting both and pairing them by rank undoes the order where ranks
are far enough apart: for the commonest bits. What is recovered so is the meaning of some coordinates, not a structure.

Scored are the share of the commonest bits that were placed exactly, and the share that were told to be common at all; chance
is a random order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.first_layer.rows import Delta, row_rms
from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.score import proportion

COMMONEST = 100
"""Bits that are asked for: beyond these, ranks of neighbours are closer than any sample can tell apart."""


@dataclass(frozen=True, slots=True)
class Order:
    """``bit`` int64 (rows,): which bit each row of the view is. ``frequency`` (bits,): how often each occurs in public."""

    bit: NDArray[np.int64]
    frequency: NDArray[np.float64]


def by_frequency(delta: Delta, frequency: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return a guess of the bit of each row of ``delta`` (bits, h), int64 (bits,): ranks of row lengths against frequencies.

    >>> by_frequency(np.array([[0.1], [3.0], [1.0]]), np.array([5.0, 1.0, 9.0])).tolist()
    [1, 2, 0]
    """
    guess = np.empty(len(frequency), dtype=np.int64)
    guess[np.argsort(-row_rms(delta), kind="stable")] = np.argsort(-frequency, kind="stable")
    return guess


def run_scramble(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``bit``: what each row means."""
    return {"bit": by_frequency(view.tensors["delta"], view.tensors["frequency"])}


def score_scramble(claims: Claims, earlier: Claims, truth: Order) -> Found:
    """Return how many of the commonest bits were placed exactly, and how many were told to be among the commonest at all."""
    common = np.argsort(-truth.frequency, kind="stable")[:COMMONEST]
    row_of = np.argsort(truth.bit)
    claimed = claims["bit"][row_of[common]]
    rank = np.argsort(np.argsort(-truth.frequency, kind="stable"), kind="stable")
    scores = (
        proportion("bits_placed", int((claimed == common).sum()), len(common), chance=1 / len(rank)),
        proportion("common_told", int((rank[claimed] < len(common)).sum()), len(common), chance=len(common) / len(rank)),
    )
    return Found(scores=scores, detail={"median_rank_error": float(np.median(np.abs(rank[claimed] - rank[common])))})


SCRAMBLE = Attack(
    name="scramble_key",
    asset="substructure",
    views=("V2",),
    reads=("delta", "frequency"),
    run=run_scramble,
    score=score_scramble,
)
