"""Property inference: does a partner, or do the others together, work on a chemotype [ZTO21]?

The adversary has published compounds of a chemotype (a scaffold) and wants to know whether anybody behind an update trained on
compounds of it. It needs no shadow model: the rows of a first-layer update move the more, the more of the compounds behind it
have their bits, and how common each bit is anywhere is public. So each row's rank among all rows is compared with its bit's
rank in public; a chemotype's score is how far its bits stand above what their frequency explains, rare bits counting most.

V3: about one partner, by whoever sees its update. V1: about all others together, by a partner from a sum without its own part.
Secure aggregation hides which of the others it is, and nothing else. A target family shows as far as its ligands share
chemotypes; assays have names at their owner alone, so nothing of an assay itself is read here.

Chance is not one half but what public knowledge gives: a chemotype with many published compounds is likelier to be worked on.

Reference: [ZTO21] Zhang, Tople, Ohrimenko: Leakage of dataset properties in multi-party machine learning, USENIX Security 2021.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import rankdata

from attacks.first_layer.rows import Delta, row_rms
from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.score import auc


@dataclass(frozen=True, slots=True)
class Chemotypes:
    """``worked_on`` bool (c,): whether each chemotype is; ``published`` int64 (c,): how many compounds of it are public."""

    worked_on: NDArray[np.bool_]
    published: NDArray[np.int64]


def chemotype_scores(delta: Delta, chemotypes: sp.csr_matrix, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the bits of each chemotype moved beyond what their ``frequency`` explains, shape (c,).

    Args:
        delta: (bits, h). chemotypes: CSR (c, bits), the bits of each. frequency: (bits,), public compounds that have each bit.

    >>> chemotypes = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 0, 1, 1]]))
    >>> delta = np.array([[3.0], [2.0], [0.0], [0.0]])
    >>> chemotype_scores(delta, chemotypes, np.array([5.0, 4.0, 5.0, 4.0])).round(3).tolist()
    [0.296, -0.157]
    """
    beyond = (rankdata(row_rms(delta)) - rankdata(frequency)) / len(frequency)
    rarity = np.log((frequency.max() + 2.0) / (frequency + 1.0))
    return np.asarray((chemotypes @ (rarity * beyond)) / np.maximum(chemotypes @ rarity, 1e-12))


def run_property(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: for each chemotype, more means worked on."""
    tensors = view.tensors
    indices, indptr = tensors["chemotype.indices"], tensors["chemotype.indptr"]
    shape = (len(indptr) - 1, len(tensors["frequency"]))
    chemotypes = sp.csr_matrix((np.ones(len(indices)), indices, indptr), shape=shape)
    return {"score": chemotype_scores(tensors["delta"], chemotypes, tensors["frequency"])}


def score_property(claims: Claims, earlier: Claims, truth: Chemotypes) -> Found:
    """Return the AUC of the score; chance is that of naming the chemotypes with most public compounds, if above one half."""
    score, yes = claims["score"], truth.worked_on
    detail = {"worked_on": float(yes.sum()), "not_worked_on": float((~yes).sum())}
    if yes.all() or not yes.any():
        return Found(detail=detail, note="all of the public chemotypes are worked on, or none: nothing to tell apart")
    guess = truth.published.astype(np.float64)
    chance = max(0.5, auc(guess[yes], guess[~yes]).value)
    found = dataclasses.replace(auc(score[yes], score[~yes]), chance=chance)
    return Found(scores=(found,), detail=detail, note="chance is naming the chemotypes with most public compounds")


PROPERTY = Attack(
    name="property_inference",
    asset="assay",
    views=("V3", "V1"),
    reads=("delta", "frequency", "chemotype.*"),
    run=run_property,
    score=score_property,
)
