"""Scores with intervals: what an attack reached, on how many, what chance gives, and what the sample can certify.

Positive means member everywhere: a higher score says that the attack believes in membership more. Counts carry exact
Clopper-Pearson intervals [CP34]; the area under the ROC curve carries a DeLong interval [DDC88], clustered [Obu97].

Rows that depend on one another (compounds of one series, bits of one compound, guesses that rest on one sign) count as the
fewer independent ones that they are worth: :func:`effective_size` [KG98].

The threshold of a true positive rate is set on the non-members that it is read on, so it could have come out otherwise: its
interval runs from what the strictest threshold catches that the sample allows for to what the laxest one catches [CL94].

What these intervals don't cover: the choice among several attacks (they are per attack), and other releases. Whole
fingerprints and molecules are counted by compound, as if those of one release came back independently of each other.
Reference: [CL94] Campbell: Advances in statistical methodology for the evaluation of diagnostic and laboratory
tests, Stat. Med. 1994. [KG98] Korn, Graubard: Confidence intervals for proportions with small expected number of positive
counts estimated from survey data, Surv. Methodol. 1998.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit
from scipy.stats import binom, rankdata

from securefl.errors import ParameterError
from securefl.evidence import RocPointRecord

CONFIDENCE = 0.95
ROC_POINTS = 24
RATES = (0.0, 0.001, 0.01)
"""False positive rates at which true positives are told, as fractions."""
Scores = NDArray[np.float64]
Clusters = tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]
"""Of each member and of each non-member: rows of one cluster depend on one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A metric's ``value`` with its 95 % interval; ``k`` of ``n`` where it is a count, worth ``size`` independent trials.

    ``chance`` is what a trivial attack without the release reaches, on average. ``min_certifiable_fpr`` is the lowest false
    positive rate that the non-members can certify at this threshold: a rate is beyond guessing if its interval lies above that.
    ``roc`` is the whole curve, thinned, where the metric is its area.
    """

    metric: str
    value: float
    low: float
    high: float
    chance: float
    k: int | None = None
    n: int | None = None
    size: float | None = None
    min_certifiable_fpr: float | None = None
    roc: tuple[RocPointRecord, ...] = ()


def clopper_pearson(k: float, n: float, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion of ``k`` successes in ``n`` trials; (0, 1) for no trial.

    An effective number of trials need not be whole.

    Raises:
        ParameterError: ``k`` is not in 0..n.

    >>> [round(end, 4) for end in clopper_pearson(11, 859)]
    [0.0064, 0.0228]
    """
    if not 0 <= k <= n:
        raise ParameterError(f"k={k} must be in 0..n={n}")
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def effective_size(hits: NDArray[np.bool_], cluster: NDArray[np.integer[Any]]) -> float:
    """Return how many independent rows tell as much about the share of ``hits`` (n,) as these, which depend within clusters.

    It is n over the design effect, less what few clusters leave unknown about that [KG98]; never more than n. Where all rows
    agree nothing shows how alike a cluster is: then each counts as one row, the larger the more.

    >>> effective_size(np.ones(12, dtype=bool), np.arange(12) // 4)
    3.0
    """
    sizes, n, share = np.bincount(cluster), len(hits), float(hits.mean())
    clusters = int((sizes > 0).sum())
    if share in (0.0, 1.0) or clusters == 1:
        return float(n**2 / (sizes**2).sum())
    variance = float(np.sum(_by_cluster(hits.astype(np.float64), cluster, len(sizes)) ** 2))
    few = (_quantile(n - 1, CONFIDENCE) / _quantile(clusters - 1, CONFIDENCE)) ** 2
    return min(float(n), few * share * (1 - share) / max(variance, 1e-300))


def _quantile(freedom: int, confidence: float) -> float:
    """Return how many standard errors an interval of so many degrees of ``freedom`` reaches."""
    return float(stdtrit(freedom, 0.5 + confidence / 2))


def clustered(metric: str, hits: NDArray[np.bool_], cluster: NDArray[np.integer[Any]], *, chance: float) -> Score:
    """Return the share of ``hits`` (n,) as a score, where rows of one ``cluster`` (n,) depend on one another.

    Raises:
        ParameterError: there are no rows.
    """
    size = effective_size(hits, cluster) if len(hits) else 0.0
    return proportion(metric, int(hits.sum()), len(hits), chance=chance, size=size)


def proportion(metric: str, k: int, n: int, *, chance: float, size: float | None = None) -> Score:
    """Return ``k`` of ``n`` as a score; ``size`` is how many independent trials the ``n`` are worth, all of them if left out.

    Raises:
        ParameterError: there is no trial, so there is no proportion.
    """
    if n < 1:
        raise ParameterError(f"{metric}: n={n} must be >= 1")
    worth = n if size is None else size
    low, high = clopper_pearson(worth * (k / n), worth)  # k / n first: all of n is all of worth
    return Score(metric=metric, value=k / n, low=low, high=high, chance=chance, k=k, n=n, size=worth)


def min_certifiable_fpr(non_members: int, *, accused: int = 0, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound on a false positive rate when ``accused`` of ``non_members`` were.

    It holds for a threshold that was set on these non-members too: that of an order statistic is distributed as beta.

    >>> round(min_certifiable_fpr(430), 4), round(min_certifiable_fpr(430, accused=4), 4)
    (0.0069, 0.0212)
    """
    return float(betaincinv(accused + 1, non_members - accused, confidence)) if accused < non_members else 1.0


def _placements(members: Scores, non_members: Scores) -> tuple[Scores, Scores]:
    """Return for each member the share of non-members below it (ties half), and the reverse for each non-member."""
    m, n = len(members), len(non_members)
    together = rankdata(np.concatenate([members, non_members]))
    above = (together[:m] - rankdata(members)) / n
    below = 1.0 - (together[m:] - rankdata(non_members)) / m
    return above, below


def _by_cluster(values: Scores, cluster: NDArray[np.integer[Any]], clusters: int) -> Scores:
    """Return what each of ``clusters`` adds to the error of the mean of ``values``."""
    count = int((np.bincount(cluster) > 0).sum())
    sums = np.bincount(cluster, weights=values - values.mean(), minlength=clusters)
    return np.asarray(sums * math.sqrt(count / max(count - 1, 1)) / len(values))


def rate_intervals(
    members: Scores, others: Scores, accused: NDArray[np.int64], *, clusters: Clusters | None = None
) -> list[tuple[float, float]]:
    """Return the 95 % intervals of the true positive rates at thresholds that ``accused`` (t,) of the non-members pass.

    The rate meant is that at a true false positive rate of (accused + 1) / (n + 1), which the threshold has on average. How
    many of n non-members pass the threshold of exactly that rate is binomial, so two of their scores enclose it; the rates
    there have exact intervals. No score is stricter than the highest: where that one may be too lax, the lower end holds at
    the rate that :func:`min_certifiable_fpr` gives.

    Where nobody or everybody is caught, members count as single rows: at low rates series were not seen to be caught as a
    whole (a design effect of 0.9 to 1.0 at 1 % on ChEMBL data, 2 to 3 at 20 %).
    """
    n, tail, ranked = len(others), (1 - CONFIDENCE) / 4, np.append(np.sort(others)[::-1], -np.inf)
    worth = np.full(len(accused), n)
    if clusters is not None:
        worth = np.array([max(int(effective_size(others >= ranked[one], clusters[1])), 1) for one in accused])
    meant = (accused + 1) / (n + 1)
    strict = np.maximum(np.floor(binom.ppf(tail, worth, meant) * n / worth), 1)
    lax = np.minimum(np.ceil(binom.isf(tail, worth, meant) * n / worth) + 1, n + 1)

    def caught(number: float) -> tuple[float, float]:
        hits = members > ranked[int(number) - 1]
        alike = clusters is None or hits.all() or not hits.any()
        size = len(hits) if alike or clusters is None else effective_size(hits, clusters[0])
        return clopper_pearson(float(hits.mean()) * size, size, confidence=1 - 2 * tail)

    return [(caught(first)[0], caught(last)[1]) for first, last in zip(strict, lax, strict=True)]


def roc_points(members: Scores, others: Scores, *, clusters: Clusters | None = None) -> tuple[RocPointRecord, ...]:
    """Return the ROC curve at false positive rates that are equal steps on a log scale, with their intervals.

    A rate is one that the non-members have: so many of them are accused, and with them every member who scores higher.
    """
    n, ranked = len(others), np.sort(others)[::-1]
    accused = np.unique(np.rint(np.geomspace(1, n, ROC_POINTS)).astype(np.int64)) - 1
    caught = (members > ranked[accused, None]).mean(axis=1)
    rates = np.column_stack([accused / n, caught, rate_intervals(members, others, accused, clusters=clusters)])
    return tuple(RocPointRecord(fpr=fpr, tpr=tpr, low=low, high=high) for fpr, tpr, low, high in np.round(rates, 6).tolist())


def auc(
    members: Scores,
    non_members: Scores,
    *,
    clusters: Clusters | None = None,
    confidence: float = CONFIDENCE,
) -> Score:
    """Return the area under the ROC curve: the chance that a random member scores above a random non-member.

    Args:
        members: scores of members, shape (m,). non_members: shape (n,).
        clusters: where rows depend on one another.
        confidence: of the interval, DeLong's on the logit scale, so that it stays inside 0 to 1.

    Raises:
        ParameterError: there are no members or no non-members, or a score is NaN.
    """
    if not len(members) or not len(non_members):
        raise ParameterError(f"members={len(members)} and non-members={len(non_members)} must be >= 1")
    if np.isnan(members).any() or np.isnan(non_members).any():
        raise ParameterError("scores hold NaN: every candidate needs a score")
    above, below = _placements(members, non_members)
    value, split = float(above.mean()), len(above)
    rows = np.arange(split + len(below)) if clusters is None else np.concatenate(clusters)
    each = np.unique(rows, return_inverse=True)[1]
    number = int(each.max()) + 1
    # Members and non-members of one series are easy or hard together: what they add to the error is summed before squaring.
    error = float(np.linalg.norm(_by_cluster(above, each[:split], number) + _by_cluster(below, each[split:], number)))
    independent = min(len(np.unique(each[:split])), len(np.unique(each[split:])))
    low, high = _logit_interval(value, error, independent, confidence)
    roc = roc_points(members, non_members, clusters=clusters)
    return Score(metric="auc", value=value, low=low, high=high, chance=0.5, roc=roc)


def _logit_interval(value: float, error: float, independent: int, confidence: float) -> tuple[float, float]:
    """Return the interval of an area whose smaller side has so many ``independent`` rows or series."""
    if independent < 2:
        # One series a side has no spread to estimate.
        return 0.0, 1.0
    if value in (0.0, 1.0):
        # Nor has a perfect separation: one swapped pair is the least that the sample could have missed.
        reach = min_certifiable_fpr(independent, confidence=confidence)
        return (0.0, reach) if value == 0.0 else (1.0 - reach, 1.0)
    if error == 0.0:
        return value, value
    centre = math.log(value / (1 - value))
    half = _quantile(independent - 1, confidence) * error / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-min(max(x, -700.0), 700.0))) for x in (centre - half, centre + half))
    return low, high


def tpr_at_fpr(members: Scores, non_members: Scores, *, fpr: float, clusters: Clusters | None = None) -> Score:
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
    ranked = np.sort(non_members)[::-1]
    caught = int((members > ranked[allowed]).sum())
    name = "tpr_at_fpr_0" if fpr == 0 else f"tpr_at_fpr_{100 * fpr:g}pct".replace(".", "_")
    ((low, high),) = rate_intervals(members, non_members, np.array([allowed]), clusters=clusters)
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
        min_certifiable_fpr=min_certifiable_fpr(len(non_members), accused=allowed),
    )


def membership_scores(
    members: Scores,
    non_members: Scores,
    *,
    clusters: Clusters | None = None,
) -> tuple[Score, ...]:
    """Return the figures that every membership attack reports: AUC, and true positives at the rates that can be told."""
    rates = certifiable_rates(len(non_members))
    return (
        auc(members, non_members, clusters=clusters),
        *(tpr_at_fpr(members, non_members, fpr=rate, clusters=clusters) for rate in rates),
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
