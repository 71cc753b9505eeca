"""Analogue range: was anything like this compound trained on, although the compound itself was not [TS25]?

What a rival wants to know is rarely whether one exact structure was used, but whether a series was. A query is a compound
that no partner trained on, with its measured value; the question is whether a training compound lies within a Tanimoto
similarity of 0.8 of it. A model fits the query better than models that saw neither it nor an analogue: shadow models of which
the auditor knows that (V4, as for :mod:`attacks.membership.rmia`). Where every shadow saw one or the other, those that saw an
analogue stand in, and the score is smaller than it should be.

Chance is not one half but what structures alone give: a query with many public analogues is likelier to have private ones.

Reference: [TS25] Tao, Shokri: Range membership inference attacks, SaTML 2025. There the range's samples are asked one by one;
here the query stands for its range.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.membership.members import Members, score_members
from attacks.membership.on_views import CANDIDATES, candidates_in, shadows_in
from attacks.membership.rmia import log_likelihoods, unseen_spread
from attacks.score import auc

SIMILAR = 0.8
"""Tanimoto similarity from which a compound counts as an analogue."""
BLOCK = 256


@dataclass(frozen=True, slots=True)
class Analogues:
    """``members``: whether an analogue of each query was trained on; ``public`` int64 (q,): analogues that nobody trains on."""

    members: Members
    public: NDArray[np.int64]


def similar(queries: sp.csr_matrix, compounds: sp.csr_matrix) -> sp.csr_matrix:
    """Return which ``compounds`` lie within :data:`SIMILAR` of each query, CSR bool (q, compounds).

    >>> some = sp.csr_matrix(np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]], dtype=np.uint8))
    >>> similar(some[:1], some).toarray().tolist()
    [[True, True, False]]
    """
    sizes, rows = np.diff(compounds.indptr), []
    columns = compounds.T.astype(np.int32).tocsc()
    for start in range(0, queries.shape[0], BLOCK):
        some = queries[start : start + BLOCK].astype(np.int32)
        shared = (some @ columns).toarray()
        either = np.diff(some.indptr)[:, None] + sizes[None, :] - shared
        rows.append(sp.csr_matrix(shared >= SIMILAR * np.maximum(either, 1)))
    return sp.vstack(rows, format="csr") if rows else sp.csr_matrix((0, compounds.shape[0]), dtype=bool)


def range_scores(
    target: NDArray[np.float64], shadows: NDArray[np.float64], away: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return by how much the target fits each query better than shadows far from it, shape (q,): more means an analogue.

    Args:
        target: log-likelihoods (q,). shadows: (k, q). away: bool (k, q), shadows that saw neither the query nor an analogue.
        inside: bool (k, q), shadows that saw the query itself.
    """
    used = np.where(away.any(axis=0), away, ~inside)
    count = used.sum(axis=0)
    mean = np.where(used, shadows, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, target - mean, 0.0))


def run_range(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``."""
    queries, shadows, tensors = candidates_in(view), shadows_in(view), view.tensors
    spread = unseen_spread(shadows, tensors["cell_compound"])
    target = log_likelihoods(tensors["losses"], queries, spread=spread)
    others = np.stack([log_likelihoods(each, queries, spread=spread) for each in shadows.losses])
    inside = shadows.inside[:, queries.compound]
    return {"score": range_scores(target, others, tensors["away"], inside)}


def score_range(claims: Claims, earlier: Claims, truth: Analogues) -> Found:
    """Return AUC and true positive rates; chance of the AUC is naming the queries with most public analogues."""
    yes = truth.members.member
    detail = {"with_analogue": float(yes.sum()), "without": float((~yes).sum())}
    if yes.all() or not yes.any():
        return Found(detail=detail, note="all queries have an analogue in training, or none: nothing to tell apart")
    guess = truth.public.astype(np.float64)
    chance = max(0.5, auc(guess[yes], guess[~yes]).value)
    found = score_members(claims, earlier, truth.members)
    area, *rates = found.scores
    note = "; ".join(filter(None, ("chance is naming those with most public analogues", found.note)))
    return Found(scores=(dataclasses.replace(area, chance=chance), *rates), detail=detail, note=note)


ANALOGUE = Attack(
    name="membership_analogue",
    asset="membership",
    views=("V4",),
    reads=(*CANDIDATES, "losses", "shadow.*", "cell_compound", "away"),
    run=run_range,
    score=score_range,
)
