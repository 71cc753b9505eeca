"""Quality inference: which partners have good data, from how much each round improved and who took part [PB23].

Secure aggregation hides single updates, not progress: the operator (V2) sees the validation score that is opened after every
round and who took part in it. Where cohorts change, the change of the improvement from one round to the next is explained by
who came and who left: least squares gives each partner's part. Differences are taken, since improvements get smaller anyway.

It needs rounds with different partners. In a run with a fixed cohort every partner has the same part in every round, so the
improvements say nothing about any of them: the attack then says so and is not scored. Arms with differential privacy open no
score. The truth is who has more training compounds, a stand-in for quality where nobody damaged their data on purpose.

Reference: [PB23] Pejó, Biczók: Quality inference in federated learning with secure aggregation, IEEE Trans. Big Data 2023.
[Hoe63] Hoeffding: Probability inequalities for sums of bounded random variables, J. Am. Stat. Assoc. 1963, section 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.score import proportion


def qualities(score: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each partner's part in the improvement of a round, shape (partners,); NaN where it took part in all or none.

    Args:
        score: (rounds,), the validation score after each round. present: (rounds, partners), who took part.

    >>> present = np.array([[1, 1], [1, 0], [0, 1], [1, 1], [0, 1]], dtype=bool)
    >>> gains = qualities(np.cumsum(present @ np.array([3.0, 1.0])), present)
    >>> bool(gains[0] > gains[1])
    True
    """
    found = np.full(present.shape[1], np.nan)
    varied = np.flatnonzero(present.any(axis=0) & ~present.all(axis=0))
    improvement = np.diff(score)
    changes = np.diff(present[1:, varied].astype(np.float64), axis=0)
    # The column of ones takes up that improvements get smaller; with fewer rounds than unknowns nothing is told apart.
    unknowns = np.column_stack([changes, np.ones(len(changes))])
    if len(varied) and len(changes) and changes.any():
        found[varied] = np.linalg.lstsq(unknowns, np.diff(improvement), rcond=None)[0][:-1]
    return found


def run_quality(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``quality``: of each partner, NaN where nothing can be said."""
    return {"quality": qualities(view.tensors["score"], view.tensors["present"])}


def score_quality(claims: Claims, earlier: Claims, truth: NDArray[np.int64]) -> Found:
    """Return of how many pairs of partners the better one was named; the truth is each one's number of training compounds.

    Pairs that share a partner depend on each other: a share of pairs is spread no more than that of half as many as there
    are partners, which share none [Hoe63], and the interval counts those. Five partners prove nothing.
    """
    quality = claims["quality"]
    pairs = [
        (i, j) for i in range(len(truth)) for j in range(len(truth))
        if truth[i] > truth[j] and np.isfinite(quality[[i, j]]).all()
    ]  # fmt: skip
    if not pairs:
        return Found(note="no two partners took part in different rounds: the improvements say nothing about one of them")
    right = sum(bool(quality[i] > quality[j]) for i, j in pairs)
    apart = len({partner for pair in pairs for partner in pair}) // 2
    return Found(scores=(proportion("pairs_ordered", right, len(pairs), chance=0.5, size=apart),))


QUALITY = Attack(
    name="quality_inference",
    asset="identity",
    views=("V2",),
    reads=("score", "present"),
    run=run_quality,
    score=score_quality,
)
