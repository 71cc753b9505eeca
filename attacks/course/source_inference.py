"""Source inference: which partner does a compound come from, once it is known that somebody trained on it [HSS+21].

Each partner's update explains its own compounds better than the others' updates do: the projection of a candidate on the column
space of an update (:mod:`attacks.course.trajectory`), summed over rounds and compared between partners. Partners with more
compounds explain more of everything, so each partner's values are first centred and scaled over the candidates.

V3: whoever sees single updates; no label, no head and no key is needed. Of a sum nobody can say whose part explains a compound
(for that see :mod:`attacks.first_layer.partner_grouping`). Not protected by minimum support: a guard leaves the common bits in.

Reference: [HSS+21] Hu, Salcic, Sun, Dobbie, Zhang: Source inference attacks in federated learning, ICDM 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.course.trajectory import CANDIDATES, candidates_in, projection
from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.score import clustered


@dataclass(frozen=True, slots=True)
class Sources:
    """``partner`` int64 (c,): whose each candidate is; ``series`` (c,): those of one series are told or mistaken together."""

    partner: NDArray[np.int64]
    series: NDArray[np.integer[Any]]


def source_of(explained: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the partner of each candidate, int64 (c,), from how much of it each partner's updates explain, (partners, c).

    >>> source_of(np.array([[0.9, 0.8, 0.1, 0.2], [0.7, 0.7, 0.9, 0.95]])).tolist()
    [0, 0, 1, 1]
    """
    centred = explained - explained.mean(axis=1, keepdims=True)
    spread = np.maximum(centred.std(axis=1, keepdims=True), 1e-12)
    return np.asarray((centred / spread).argmax(axis=0), dtype=np.int64)


def run_source(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``partner``: whose each candidate is."""
    candidates = candidates_in(view)
    partners, rounds = (int(view.facts[name] or 0) for name in ("partners", "rounds"))
    explained = [
        np.sum([projection(view.tensors[f"partner.{p}.{t}"], candidates) for t in range(rounds)], axis=0)
        for p in range(partners)
    ]
    return {"partner": source_of(np.array(explained))}


def score_source(claims: Claims, earlier: Claims, truth: Sources) -> Found:
    """Return how many candidates were given to their own partner; chance is to name the partner with the most of them."""
    right = claims["partner"] == truth.partner
    commonest = int(np.bincount(truth.partner).max())
    return Found(scores=(clustered("attributed_right", right, truth.series, chance=commonest / len(right)),))


SOURCE = Attack(
    name="source_inference",
    asset="identity",
    views=("V3",),
    reads=(*CANDIDATES, "partner.*"),
    run=run_source,
    score=score_source,
)
