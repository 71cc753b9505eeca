"""Grouping by partner: which compounds out of a secure sum belong together, in the manner of SRATTA [MKT+23].

Secure aggregation hides who sent what. Recovery (:mod:`attacks.first_layer.fingerprint_recovery`) gives the compounds of
everybody in one heap; this attack sorts the heap. An assay is private to one partner, so two compounds whose error signals
are parallel (:mod:`attacks.first_layer.label_inference` finds those) lie in one assay and so at one partner. Over rounds,
groups that share a compound are one partner's: the more rounds, the fewer groups are left, until there are as many as
partners. Whose a group is takes one compound that the attacker can place, for instance a published one.

V1, V2, V2c: whoever sees an opened sum; a scrambled order of bits hinders nothing. It needs what recovery needs, so it stops
where that stops: under Adam, saturated layers, support guards. A compound in several assays stands alone.

SRATTA groups by the units that two samples share; private heads give a sharper sign of a common owner, so that is used here.

Reference: [MKT+23] Marchand, Loeb, Marteau-Ferey, et al.: SRATTA: sample re-attribution attack, ICML 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from attacks.first_layer.label_inference import label_inference
from attacks.first_layer.on_views import found_fingerprints, patterns
from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.score import clustered
from attacks.view import Truth, layers_in


def grouped_over_rounds(rounds: Sequence[tuple[Sequence[bytes], NDArray[np.int64]]]) -> dict[bytes, int]:
    """Return the group of each compound over all ``rounds``: groups of single rounds that share a compound are one.

    Args:
        rounds: of each round the recovered compounds (any bytes that name them, e.g. their patterns) and their group; -1
            stands alone.

    >>> grouped = grouped_over_rounds([([b"a", b"b", b"c"], np.array([0, 0, 1])), ([b"b", b"d"], np.array([5, 5]))])
    >>> grouped[b"a"] == grouped[b"d"], grouped[b"a"] == grouped[b"c"]
    (True, False)
    """
    names = sorted({name for compounds, _ in rounds for name in compounds})
    number = {name: i for i, name in enumerate(names)}
    pairs: list[tuple[int, int]] = []
    for compounds, group in rounds:
        first: dict[int, int] = {}
        for name, mine in zip(compounds, group.tolist(), strict=True):
            if mine >= 0:
                pairs.append((first.setdefault(mine, number[name]), number[name]))
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    graph = sp.csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(names), len(names)))
    return dict(zip(names, connected_components(graph, directed=False)[1].tolist(), strict=True))


def run_grouping(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim the ``group`` of each recovered compound, -1 for those that stand alone."""
    return {"group": label_inference(found_fingerprints(earlier), earlier["factors"], layers=layers_in(view)).task}


def owners_of(recovered: sp.csr_matrix, truth: Truth) -> NDArray[np.int64]:
    """Return whose each recovered compound is, -1 where it is no true one or several partners have it."""
    if not recovered.shape[0]:
        return np.zeros(0, dtype=np.int64)
    owners: dict[bytes, set[int]] = {}
    for pattern, owner in zip(patterns(truth.fingerprints), truth.owner.tolist(), strict=True):
        owners.setdefault(pattern, set()).add(owner)
    found = [owners.get(pattern, set()) for pattern in patterns(recovered)]
    return np.array([next(iter(one)) if len(one) == 1 else -1 for one in found], dtype=np.int64)


def score_grouping(claims: Claims, earlier: Claims, truth: Truth) -> Found:
    """Return how many compounds stand in the group of their own partner; each group's first one places it and isn't counted.

    A group is right or wrong as a whole if its first one was misplaced, so the interval counts groups. Chance is
    to give every compound to the partner that has the most of them, or at random, whichever is better.
    """
    group, owner = claims["group"], owners_of(found_fingerprints(earlier), truth)
    groups = int(group.max(initial=-1)) + 1
    owners = [owner[(group == one) & (owner >= 0)] for one in range(groups)]
    right = np.concatenate([np.zeros(0, dtype=bool), *(mine[1:] == mine[:1] for mine in owners)])
    where = np.repeat(np.arange(groups), [max(len(mine) - 1, 0) for mine in owners])
    detail = {"groups": float(groups), "placed": float(len(right)), "recovered": float((owner >= 0).sum())}
    if not len(right):
        return Found(detail=detail, note="no two recovered compounds share an assay: nothing to group")
    share = np.bincount(truth.owner) / len(truth.owner)
    score = clustered("grouped_right", right, where, chance=float(share.max()))
    return Found(scores=(score,), detail=detail, note="compounds that share an assay are one partner's")


GROUPING = Attack(
    name="partner_grouping",
    asset="identity",
    views=("V2", "V2c", "V1"),
    reads=("layer.*",),
    run=run_grouping,
    score=score_grouping,
    needs="fingerprint_recovery",
)
