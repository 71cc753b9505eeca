"""What opened sums with shares of integer noise cost: Renyi bounds for Skellam and for sums of discrete Gaussians.

Statement, per opened sum of d coordinates, with v the variance of a share, S = contributors * v the variance of the noise that
nobody knows, and D2 the largest squared norm of one partner's integer input:

* Skellam (closed under sums; [AKL21] theorem 3.5 in d dimensions): for every whole order a > 1 the Renyi divergence is at
  most a D2 / (2 S) + min(((2a - 1) D2 + 6 D1) / (4 S^2), 3 D1 / (2 S)), with D1 = min(D2, sqrt(d D2)).
* Discrete Gaussian (a sum of them is not one; [KLS21] theorem 5): e^2 / 2-concentrated, with e the smaller of
  sqrt(D2 / S + tau d / 2) and sqrt(D2 / S) + tau sqrt(d), where tau = 10 sum_{k=1}^{contributors-1} exp(-2 pi^2 v k / (k + 1))
  is the closeness term. For a single contributor tau = 0.

Both are of the sum of integers before it wraps; reducing it modulo the ring's size is post-processing and costs nothing. The
event that a partner's noised coordinate reaches its limit (probability at most 2^-80 a round over all coordinates and partners)
is paid from delta. Rounding is covered because D2 bounds every rounded input and divergences are quasi-convex. No
amplification by sampling is claimed: every partner takes part in every round.

[AKL21] Agarwal, Kairouz, Liu 2021, https://arxiv.org/abs/2110.04995; [KLS21] Kairouz, Liu, Steinke 2021,
https://arxiv.org/abs/2102.06387. tests/dp/test_distributed.py compares both with the privacy loss by brute force.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import exp, inf, log, pi, sqrt

from dp_accounting.rdp import compute_epsilon

from securefl.dp.accountant import ORDERS
from securefl.errors import ParameterError

PARTNER_NEIGHBOURS = "one partner's update is replaced by zero, in every round"
TAIL_BITS = 80
"""A noised coordinate reaches its limit with probability at most 2^-80 a round."""
TAIL_SHARE = 1e-3
"""Share of delta that pays for it."""


class Family(Enum):
    """The distribution of a share."""

    SKELLAM = "skellam"
    DISCRETE_GAUSSIAN = "discrete-gaussian"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisySums:
    """``rounds`` opened sums of vectors of ``length``; variances and ``bound_squared`` (D2) in steps^2."""

    family: Family
    contributors: int
    length: int
    bound_squared: int
    share_variance: int
    rounds: int

    def __post_init__(self) -> None:
        for name in ("contributors", "length", "bound_squared", "rounds"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name}={getattr(self, name)} must be >= 1")
        if self.share_variance < 0:
            raise ParameterError(f"share_variance={self.share_variance} must be >= 0")

    @property
    def noise_multiplier(self) -> float:
        """Deviation of the unknown noise in units of the sensitivity sqrt(D2)."""
        return sqrt(self.contributors * self.share_variance / self.bound_squared)

    def renyi(self, order: int) -> float:
        """Return the bound on the Renyi divergence of whole ``order`` > 1 of all rounds together."""
        if self.share_variance == 0:
            return inf
        if self.family is Family.SKELLAM:
            variance = self.contributors * self.share_variance
            one = skellam_renyi(order, l2_squared=self.bound_squared, length=self.length, variance=variance)
        else:
            one = order / 2 * self._concentration() ** 2
        return self.rounds * one

    def _concentration(self) -> float:
        ratio = 1 / self.noise_multiplier
        tau = closeness(self.share_variance, self.contributors)
        return min(sqrt(ratio * ratio + tau * self.length / 2), ratio + tau * sqrt(self.length))


def renyi_epsilon(sums: Sequence[NoisySums], *, delta: float, more: Sequence[float] = ()) -> float:
    """Return an upper bound of epsilon at ``delta`` for all ``sums`` together.

    Args:
        more: the Renyi curve of whatever else was released, at :data:`securefl.dp.accountant.ORDERS`.
    """
    curve = [sum(one.renyi(order) for one in sums) for order in ORDERS]
    if more:
        curve = [a + b for a, b in zip(curve, more, strict=True)]
    if inf in curve:
        return inf
    found = float(compute_epsilon(ORDERS, curve, delta * (1 - TAIL_SHARE))[0])
    # A draw at the limit is a distance in total variation, which costs (1 + e^epsilon) times its probability.
    tail = log(sum(one.rounds for one in sums)) - TAIL_BITS * log(2) + log(2) + found
    return found if tail <= log(delta * TAIL_SHARE) else inf


def skellam_renyi(order: int, *, l2_squared: int, length: int, variance: int) -> float:
    """Return [AKL21]'s bound for integer vectors of ``length`` that differ by at most ``l2_squared`` in squared norm."""
    l1 = min(float(l2_squared), sqrt(length * l2_squared))
    extra = min(((2 * order - 1) * l2_squared + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))
    return order * l2_squared / (2 * variance) + extra


def closeness(share_variance: float, contributors: int) -> float:
    """Return [KLS21]'s tau: how far the sum of discrete Gaussians is from a discrete Gaussian, as a log ratio."""
    return 10 * sum(exp(-2 * pi**2 * share_variance * k / (k + 1)) for k in range(1, contributors))
