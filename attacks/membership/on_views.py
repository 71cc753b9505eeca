"""The membership attacks as the framework runs them: from losses, shadows' losses and predictions to a score a candidate.

A view names candidates and their cells and says nothing about who was a member; more means member in every claim.

V4: the auditor's view, with the private heads' losses. V0: an outsider who has the predictions and no measured value.

Reference: [Dod25] Dodd: loss-based screening of membership risk, arXiv 2510.19773.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.membership.candidates import Candidates
from attacks.membership.extremity import prediction_extremity
from attacks.membership.lira import lira
from attacks.membership.loss import membership_loss
from attacks.membership.members import Members, score_members
from attacks.membership.rmia import rmia
from attacks.membership.shadow_losses import Shadows
from attacks.score import auc, tpr_at_fpr
from securefl.chem.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who was a member, the ``series`` of each candidate, (c,), and whether the smallest of ``partners`` is looked at by
    itself.
    """

    candidates: Candidates
    series: NDArray[np.integer[Any]]
    partners: int
    of_partner: bool


def membership_of(dataset: Dataset, candidates: Candidates, *, of_partner: bool) -> Membership:
    """Return the truth about ``candidates`` of ``dataset``."""
    series = dataset.cluster[candidates.compound]
    return Membership(candidates=candidates, series=series, partners=len(dataset.partners), of_partner=of_partner)


def candidates_in(view: AdversaryView) -> Candidates:
    """Return the view's candidates. Their membership is not in it: all read as no member, and no attack looks."""
    compound = view.tensors["compound"]
    return Candidates(
        member=np.zeros(len(compound), dtype=bool),
        compound=compound,
        partner=view.tensors["partner"],
        of_cell=view.tensors["of_cell"],
    )


def shadows_in(view: AdversaryView) -> Shadows:
    """Return the view's shadow models."""
    return Shadows(losses=view.tensors["shadow.losses"], inside=view.tensors["shadow.inside"])


def run_loss(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: minus the loss."""
    return {"score": membership_loss(view.tensors["losses"], candidates_in(view))}


def run_rmia(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: the relative likelihood."""
    tensors = view.tensors
    return {"score": rmia(tensors["losses"], candidates_in(view), shadows_in(view), tensors["cell_compound"])}


def run_lira(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: the likelihood ratio."""
    return {"score": lira(view.tensors["losses"], candidates_in(view), shadows_in(view))}


def run_extremity(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: how far predictions stand from the task's own centre."""
    return {"score": prediction_extremity(view.tensors["prediction"], view.tensors["cell_task"], candidates_in(view))}


def _smallest(truth: Membership, score: NDArray[np.float64]) -> dict[str, float]:
    """Return the AUC at the partner with the fewest members: the one that has most to lose, too small for a row of its own."""
    candidates = truth.candidates
    members = np.bincount(candidates.partner[candidates.member], minlength=truth.partners)
    mine = candidates.partner == int(np.argmin(np.where(members > 0, members, members.max() + 1)))
    inside, outside = mine & candidates.member, mine & ~candidates.member
    if not inside.any() or not outside.any():
        return {}
    found = auc(score[inside], score[outside], clusters=(truth.series[inside], truth.series[outside]))
    return {
        "auc_smallest_partner": found.value,
        "auc_smallest_partner_low": found.low,
        "auc_smallest_partner_high": found.high,
        "members_smallest_partner": float(inside.sum()),
        "non_members_smallest_partner": float(outside.sum()),
    }


def score_loss(claims: Claims, earlier: Claims, truth: Membership) -> Found:
    """Return the figures of :func:`score_membership`, and the tail screen [Dod25]: how many non-members fit worse than all
    members but one in a hundred. It needs no shadow model and goes with what those would find at low false positive rates.
    """
    found = score_membership(claims, earlier, truth)
    (members, others), (of_members, of_others) = map(truth.candidates.split, (claims["score"], truth.series))
    tail = tpr_at_fpr(-others, -members, fpr=0.01, clusters=(of_others, of_members))
    return replace(found, scores=(*found.scores, replace(tail, metric="tnr_at_fnr_1pct")))


def score_membership(claims: Claims, earlier: Claims, truth: Membership) -> Found:
    """Return the figures of :func:`score_members`, and beside them those of the smallest partner."""
    found = score_members(claims, earlier, Members(truth.candidates.member, truth.series))
    return replace(found, detail={**found.detail, **_smallest(truth, claims["score"])}) if truth.of_partner else found


CANDIDATES = ("compound", "partner", "of_cell")
LOSS = Attack(
    name="membership_loss",
    asset="membership",
    views=("V4",),
    reads=(*CANDIDATES, "losses"),
    run=run_loss,
    score=score_loss,
)
RMIA = Attack(
    name="membership_rmia",
    asset="membership",
    views=("V4",),
    reads=(*CANDIDATES, "losses", "shadow.*", "cell_compound"),
    run=run_rmia,
    score=score_membership,
)
LIRA = Attack(
    name="membership_lira",
    asset="membership",
    views=("V4",),
    reads=(*CANDIDATES, "losses", "shadow.*"),
    run=run_lira,
    score=score_membership,
)
EXTREMITY = Attack(
    name="membership_extremity",
    asset="membership",
    views=("V0",),
    reads=(*CANDIDATES, "prediction", "cell_task"),
    run=run_extremity,
    score=score_membership,
)
