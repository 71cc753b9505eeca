"""Scores with intervals: what an attack reached, on how many, what chance gives, and what the sample can certify.

Positive means member everywhere: a higher score says that the attack believes in membership more. Counts carry exact
Clopper-Pearson intervals [CP34]; the area under the ROC curve carries a DeLong interval [DDC88], clustered by compound
where one compound stands in several rows [Obu97].

What these intervals don't cover: the choice among several attacks or thresholds (they are per attack), and the threshold of
a true positive rate, which is set on the same non-members that it is read on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm, rankdata

from securefl.errors import ParameterError
from securefl.evidence import RocPointRecord

CONFIDENCE = 0.95
ROC_POINTS = 24
RATES = (0.0, 0.001, 0.01)
"""False positive rates at which true positives are told, as fractions."""
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A metric's ``value`` with its 95 % interval; ``k`` of ``n`` where it is a count.

    ``chance`` is what a trivial attack without the release reaches. ``min_certifiable_fpr`` is the lowest false positive rate
    that this number of non-members can certify. ``roc`` is the whole curve, thinned, where the metric is its area.
    """

    metric: str
    value: float
    low: float
    high: float
    chance: float
    k: int | None = None
    n: int | None = None
    min_certifiable_fpr: float | None = None
    roc: tuple[RocPointRecord, ...] = ()


def clopper_pearson(k: int, n: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion of ``k`` successes in ``n`` trials; (0, 1) for no trial.

    Raises:
        ParameterError: ``k`` is not in 0..n.

    >>> [round(end, 4) for end in clopper_pearson(11, 859)]
    [0.0064, 0.0228]
    """
    if not 0 <= k <= n:
        raise ParameterError(f"k={k} must be in 0..n={n}")
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def proportion(metric: str, k: int, n: int, *, chance: float) -> Score:
    """Return ``k`` of ``n`` as a score.

    Raises:
        ParameterError: there is no trial, so there is no proportion.
    """
    if n < 1:
        raise ParameterError(f"{metric}: n={n} must be >= 1")
    low, high = clopper_pearson(k, n)
    return Score(metric=metric, value=k / n, low=low, high=high, chance=chance, k=k, n=n)


def min_certifiable_fpr(non_members: int, *, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound on a false positive rate when none of ``non_members`` was accused.

    >>> round(min_certifiable_fpr(430), 4)
    0.0069
    """
    return 1.0 if non_members < 1 else 1.0 - (1.0 - confidence) ** (1.0 / non_members)


def _placements(members: Scores, non_members: Scores) -> tuple[Scores, Scores]:
    """Return for each member the share of non-members below it (ties half), and the reverse for each non-member."""
    m, n = len(members), len(non_members)
    together = rankdata(np.concatenate([members, non_members]))
    above = (together[:m] - rankdata(members)) / n
    below = 1.0 - (together[m:] - rankdata(non_members)) / m
    return above, below


def _spread(placements: Scores, cluster: NDArray[np.int64] | None) -> float:
    """Return the variance of the mean of ``placements``, whose members of one cluster may depend on one another."""
    centred = placements - placements.mean()
    if cluster is not None:
        centred = np.bincount(np.unique(cluster, return_inverse=True)[1], weights=centred)
    count = len(centred)
    return float(count / max(count - 1, 1) * np.square(centred).sum() / len(placements) ** 2)


def roc_points(members: Scores, non_members: Scores) -> tuple[RocPointRecord, ...]:
    """Return the ROC curve at false positive rates that are equal steps on a log scale, with exact intervals.

    A rate is one that the non-members have: k of them are accused, and with them every member who scores higher.
    """
    m, n = len(members), len(non_members)
    ranked = np.sort(non_members)[::-1]
    accused = np.unique(np.rint(np.geomspace(1, n, ROC_POINTS)).astype(np.int64))
    points = []
    for k in accused:
        caught = int((members > ranked[k - 1]).sum())
        low, high = clopper_pearson(caught, m)
        # the member's score must beat the k-th highest non-member's, so k - 1 of these are accused with it
        rates = {"fpr": (k - 1) / n, "tpr": caught / m, "low": low, "high": high}
        points.append(RocPointRecord.model_validate({name: round(float(rate), 6) for name, rate in rates.items()}))
    return tuple(points)


def auc(
    members: Scores,
    non_members: Scores,
    *,
    clusters: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    confidence: float = CONFIDENCE,
) -> Score:
    """Return the area under the ROC curve: the chance that a random member scores above a random non-member.

    Args:
        members: scores of members, shape (m,). non_members: shape (n,).
        clusters: the compound of each member and of each non-member, where one compound stands in several rows.
        confidence: of the interval, DeLong's on the logit scale, so that it stays inside 0 to 1.

    Raises:
        ParameterError: there are no members or no non-members, or a score is NaN.
    """
    if not len(members) or not len(non_members):
        raise ParameterError(f"members={len(members)} and non-members={len(non_members)} must be >= 1")
    if np.isnan(members).any() or np.isnan(non_members).any():
        raise ParameterError("scores hold NaN: every candidate needs a score")
    above, below = _placements(members, non_members)
    value = float(above.mean())
    inside, outside = clusters if clusters is not None else (None, None)
    error = math.sqrt(_spread(above, inside) + _spread(below, outside))
    low, high = _logit_interval(value, error, confidence)
    # A perfect separation has no spread to estimate: one swapped pair is the least that the sample could have missed.
    if value in (0.0, 1.0):
        reach = 1.0 - min_certifiable_fpr(min(len(members), len(non_members)), confidence=confidence)
        low, high = (0.0, 1.0 - reach) if value == 0.0 else (reach, 1.0)
    return Score(metric="auc", value=value, low=low, high=high, chance=0.5, roc=roc_points(members, non_members))


def _logit_interval(value: float, error: float, confidence: float) -> tuple[float, float]:
    if value in (0.0, 1.0) or error == 0.0:
        return value, value
    centre = math.log(value / (1 - value))
    half = float(norm.ppf(0.5 + confidence / 2)) * error / (value * (1 - value))
    return tuple(1 / (1 + math.exp(-min(max(x, -700.0), 700.0))) for x in (centre - half, centre + half))  # type: ignore[return-value]


def tpr_at_fpr(members: Scores, non_members: Scores, *, fpr: float) -> Score:
    """Return the share of members above the threshold that at most ``fpr`` (a fraction) of the non-members pass.

    The threshold lies on an observed non-member, so the true false positive rate is never claimed below 1 / n. Ties with it
    count as not accused.

    Raises:
        ParameterError: ``fpr`` is not a fraction under 1, or there are no members or non-members.
    """
    if not 0 <= fpr < 1:
        raise ParameterError(f"fpr={fpr} must be a fraction in [0, 1)")
    if not len(members) or not len(non_members):
        raise ParameterError(f"members={len(members)} and non-members={len(non_members)} must be >= 1")
    allowed = math.floor(fpr * len(non_members) + 1e-9)
    threshold = np.sort(non_members)[::-1][allowed]
    caught = int((members > threshold).sum())
    name = "tpr_at_fpr_0" if fpr == 0 else f"tpr_at_fpr_{100 * fpr:g}pct".replace(".", "_")
    low, high = clopper_pearson(caught, len(members))
    # At FPR 0 the best that guessing can do is one lucky member above n non-members: 1 / (n + 1) of them on average.
    chance = (allowed + 1) / (len(non_members) + 1)
    return Score(
        metric=name,
        value=caught / len(members),
        low=low,
        high=high,
        chance=chance,
        k=caught,
        n=len(members),
        min_certifiable_fpr=min_certifiable_fpr(len(non_members)),
    )


def membership_scores(
    members: Scores,
    non_members: Scores,
    *,
    clusters: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> tuple[Score, ...]:
    """Return the figures that every membership attack reports: AUC, and true positives at the rates that can be told."""
    rates = certifiable_rates(len(non_members))
    return (
        auc(members, non_members, clusters=clusters),
        *(tpr_at_fpr(members, non_members, fpr=rate) for rate in rates),
    )


def certifiable_rates(non_members: int) -> tuple[float, ...]:
    """Return those of :data:`RATES` that so many non-members can show: zero, and what is at least one of them.

    >>> certifiable_rates(430)
    (0.0, 0.01)
    """
    return tuple(rate for rate in RATES if rate == 0 or rate * non_members >= 1)


def untold_rates(non_members: int) -> str:
    """Return in one clause which true positive rates are not told for want of non-members, empty if all are.

    >>> untold_rates(430)
    'true positives at 0.1 % false positives are not told: 430 non-members, must be >= 1000'
    """
    missing = [rate for rate in RATES if rate not in certifiable_rates(non_members)]
    if not missing:
        return ""
    rates = " and ".join(f"{100 * rate:g} %" for rate in missing)
    needed = round(1 / max(missing))
    return f"true positives at {rates} false positives are not told: {non_members} non-members, must be >= {needed}"
