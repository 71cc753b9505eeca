"""What the Gaussian mechanism tells an attacker, in closed form: mu-Gaussian differential privacy ([DRS22]).

A release of sensitivity 1 with noise of deviation 1 / mu is as hard to tell apart as N(0, 1) and N(mu, 1); k releases with the
same noise are mu * sqrt(k). These are exact figures for the best possible attack on unsampled releases, to compare attacks and
accountants with. With Poisson sampling they don't hold.

Dong, Roth, Su 2022, https://arxiv.org/abs/1905.02383; Balle and Wang 2018, https://arxiv.org/abs/1805.06530.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

LARGEST_EXPONENT = 500.0


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return the exact delta at ``epsilon`` ([DRS22] corollary 1)."""
    return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the epsilon at which the mechanism is (epsilon, delta)-DP, infinity above 500."""
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    if gaussian_delta(mu, LARGEST_EXPONENT) > delta:
        return math.inf
    return float(brentq(lambda epsilon: gaussian_delta(mu, epsilon) - delta, 0.0, LARGEST_EXPONENT))


def best_true_positive_rate(mu: float, false_positive_rate: float) -> float:
    """Return the largest true positive rate that any membership test reaches at ``false_positive_rate``.

    >>> round(best_true_positive_rate(1.0, 0.001), 4)
    0.0183
    """
    return float(ndtr(mu + ndtri(false_positive_rate)))


def best_auc(mu: float) -> float:
    """Return the area under that curve: the largest that any membership test reaches.

    >>> round(best_auc(1.0), 3)
    0.76
    """
    return float(ndtr(mu / math.sqrt(2)))


def true_positive_rate_bound(epsilon: float, delta: float, false_positive_rate: float) -> float:
    """Return the bound that (epsilon, delta)-DP alone puts on the true positive rate of any membership test.

    >>> round(true_positive_rate_bound(1.0, 1e-6, 0.001), 5)
    0.00272
    """
    forward = math.exp(min(epsilon, LARGEST_EXPONENT)) * false_positive_rate + delta
    backward = 1 - math.exp(-epsilon) * (1 - delta - false_positive_rate)
    return max(0.0, min(1.0, forward, backward))
