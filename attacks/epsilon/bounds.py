"""Lower bounds on epsilon from an attack's hits: what an audit with canaries proves about a private training run.

Clopper-Pearson from many runs [JUO20], one training run [SNJ23] and one run under f-DP [MMC25], with the most that a number
of canaries can prove. Every bound holds with probability 1 - significance over the canaries' coins, as long as nobody looked at
the coins to choose what is tested. Thresholds that were chosen so (the corners of the ROC curve, each at the significance over
their number, as jax_privacy does) refute a true claim in 7 % of audits of 1,000 canaries instead of 5 %.

A small bound is no proof of privacy: it says that this attack, with so many canaries, proved no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import beta, binom

from securefl.dp.gaussian_dp import gaussian_delta
from securefl.errors import ParameterError

STRIDE = math.sqrt(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """``correct`` of ``made`` guesses of who was in and who was out, among ``canaries`` that were in or out by a fair coin."""

    canaries: int
    made: int
    correct: int

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.made <= self.canaries:
            raise ParameterError(f"correct={self.correct} <= made={self.made} <= canaries={self.canaries} must hold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """``significance``: how often the bound may be wrong. ``delta``: of the (epsilon, delta) claim that is tested."""

    significance: float = 0.05
    delta: float = 1e-5

    def __post_init__(self) -> None:
        if not (0 < self.significance < 1 and 0 <= self.delta < 1):
            raise ParameterError(f"significance={self.significance} must be in (0, 1) and delta={self.delta} in [0, 1)")


def clopper_pearson_epsilon(hits: tuple[int, int], false_alarms: tuple[int, int], *, level: Level) -> float:
    """Return the bound from ``hits`` (k of n runs with the record) and ``false_alarms`` (k of n runs without it).

    >>> round(clopper_pearson_epsilon((500, 500), (0, 500), level=Level(significance=0.01, delta=0.0)), 4)
    4.5419
    """
    (tp, positives), (fp, negatives) = hits, false_alarms
    tail = level.significance / 2
    tpr = 0.0 if tp == 0 else float(beta.ppf(tail, tp, positives - tp + 1))
    fpr = 1.0 if fp == negatives else float(beta.ppf(1 - tail, fp + 1, negatives - fp))
    return max(0.0, math.log(tpr - level.delta) - math.log(fpr)) if tpr > level.delta else 0.0


def one_run_p_value(guesses: Guesses, epsilon: float, delta: float) -> float:
    """Return how likely (epsilon, delta)-DP would let that many guesses be correct, at most ([SNJ23] theorem 5.2)."""
    right = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(guesses.correct - 1, guesses.made, right))
    if delta == 0 or guesses.correct == 0:
        return min(tail, 1.0)
    below = np.arange(1, guesses.correct + 1)
    slack = ((binom.sf(guesses.correct - below - 1, guesses.made, right) - tail) / below).max()
    return min(tail + max(float(slack), 0.0) * 2 * guesses.canaries * delta, 1.0)


def _refuted(test: Callable[[float], float], low: float) -> float:
    """Return the largest epsilon >= ``low`` that ``test`` refutes (a positive value), ``low`` if it refutes none."""
    if test(low) <= 0:
        return low
    high = max(1.0, 2 * low)
    while test(high) > 0:
        low, high = high, 2 * high
    return float(brentq(test, low, high, xtol=1e-7))


def one_run_epsilon(guesses: Guesses, *, level: Level, at_least: float = 0.0) -> float:
    """Return the epsilon that one training run refutes; ``at_least`` skips the search where it can't be exceeded."""
    if one_run_p_value(guesses, at_least, 0.0) > level.significance:
        return at_least
    return _refuted(lambda e: level.significance - one_run_p_value(guesses, e, level.delta), at_least)


@lru_cache(maxsize=4096)
def gaussian_mu(epsilon: float, delta: float) -> float:
    """Return the mu of the Gaussian mechanism that is exactly (epsilon, delta)-DP ([DRS22] corollary 1)."""
    high = 1.0
    while gaussian_delta(high, epsilon) < delta:
        high *= 2
    return float(brentq(lambda mu: gaussian_delta(mu, epsilon) - delta, 1e-9, high, xtol=1e-12))


def _fdp_excess(guesses: Guesses, epsilon: float, level: Level) -> float:
    """Return a positive value if the guesses refute the f-DP of a Gaussian with (epsilon, delta) ([MMC25] algorithm 3)."""
    mu = gaussian_mu(epsilon, level.delta)
    wrong = level.significance * (guesses.made - guesses.correct) / guesses.canaries
    right = level.significance * guesses.correct / guesses.canaries
    for i in range(guesses.correct - 1, -1, -1):
        grown = max(wrong, float(ndtr(ndtri(min(right, 1.0)) - mu)))
        if grown == wrong:
            break
        right = min(right + i / (guesses.made - i) * (grown - wrong), 1.0)
        wrong = grown
    return right + wrong - guesses.made / guesses.canaries


def one_run_epsilon_fdp(guesses: Guesses, *, level: Level, at_least: float = 0.0) -> float:
    """Return the epsilon that one training run refutes if the mechanism is Gaussian: tighter, and only for those."""
    return _refuted(lambda e: _fdp_excess(guesses, e, level), max(at_least, 1e-6))


def ceiling(canaries: int, *, level: Level) -> float:
    """Return the bound that perfect guesses on ``canaries`` give: an audit can't prove more, however bad the leak.

    >>> round(ceiling(100, level=Level()), 2)
    3.49
    """
    return one_run_epsilon(Guesses(canaries=canaries, made=canaries, correct=canaries), level=level)


def planned(scores: NDArray[np.float64], inside: NDArray[np.bool_]) -> list[Guesses]:
    """Return the guesses of an auditor who calls the highest ``scores`` in and as many of the lowest out.

    For a fixed list of numbers, half of all canaries and less, each the root of two under the one before: who is in decides
    none of them.

    >>> planned(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, True, False, False]))
    [Guesses(canaries=4, made=2, correct=2), Guesses(canaries=4, made=4, correct=4)]
    """
    half = len(scores) // 2
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(inside[order]) + np.cumsum(~inside[order[::-1]])
    sizes = np.unique((half / STRIDE ** np.arange(2 * half.bit_length())).astype(np.int64))
    return [Guesses(canaries=len(scores), made=2 * int(n), correct=int(right[n - 1])) for n in sizes if n]


def one_run_bound(candidates: Sequence[Guesses], *, level: Level, gaussian: bool = False) -> float:
    """Return the best one-run bound over all ``candidates``, each tested at the significance divided by their number.

    Args:
        candidates: guesses on the same canaries, chosen without a look at who was in: see :func:`planned`.
        level: of the whole test. gaussian: whether the mechanism is known to be Gaussian (f-DP bound).
    """
    bound = one_run_epsilon_fdp if gaussian else one_run_epsilon
    each = Level(significance=level.significance / max(len(candidates), 1), delta=level.delta)
    best = 0.0
    # The most precise guesses first: they rule the others out without a search.
    for guesses in sorted(candidates, key=lambda g: g.correct / max(g.made, 1) - 1 / math.sqrt(g.made + 1), reverse=True):
        if guesses.made and guesses.correct / guesses.made > 1 / (1 + math.exp(-best)):
            best = max(best, bound(guesses, level=each, at_least=best))
    return best if best > 1e-5 else 0.0
