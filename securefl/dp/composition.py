"""What several releases cost together: one price for whatever a partner has released, by the accountant that fits.

Sampled Gaussian training alone is composed numerically (Opacus's PRV accountant, the one that solved for its noise); with noisy
sums among it everything is composed by Renyi divergences; a release with a price of its own adds its epsilon and delta; a
release that no accountant prices costs infinity. Composition is adaptive: later releases may depend on earlier ones.

The lower bound, where there is one, is of the same composition by privacy loss distributions that round the other way
(dp-accounting, optimistic estimate): no accountant can honestly print less for this mechanism. It is no bound on what an
attack gets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite, sqrt
from typing import TypeAlias

import numpy as np
from dp_accounting.pld import privacy_loss_distribution
from opacus.accountants.analysis.rdp import compute_rdp

from securefl.dp.accountant import ORDERS, SampledGaussian, prv_epsilon
from securefl.dp.gaussian_dp import LARGEST_EXPONENT, gaussian_epsilon
from securefl.dp.noisy_sums import NoisySums, renyi_epsilon
from securefl.errors import ParameterError

UNPRICED = "none: unpriced"
"""The accountant of what costs infinity."""
LOWER_ERROR, FINEST_GRID, COARSEST_GRID = 0.04, 1e-4, 5e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPrice:
    """A release with its own price, by basic composition: randomised response, a noisy count."""

    epsilon: float
    delta: float = 0.0

    def __post_init__(self) -> None:
        if not (self.epsilon >= 0 and isfinite(self.epsilon) and 0 <= self.delta < 1):
            raise ParameterError(f"epsilon={self.epsilon} must be >= 0 and finite, delta={self.delta} in [0, 1)")


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A release that no accountant prices: it costs infinity."""


Mechanism: TypeAlias = SampledGaussian | NoisySums | FixedPrice | Unpriced


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent at ``delta``: ``upper`` bound of epsilon, by ``accountant``; the neighbouring relation is the ledger's."""

    upper: float
    delta: float
    accountant: str


def composed(mechanisms: Sequence[Mechanism], *, delta: float) -> Spent:
    """Return what all ``mechanisms`` cost together at ``delta``.

    Raises:
        ParameterError: ``delta`` is outside (0, 1).
    """
    if not 0 < delta < 1:
        raise ParameterError(f"delta={delta} must be in (0, 1)")
    fixed = [one for one in mechanisms if isinstance(one, FixedPrice)]
    rest = delta - sum(one.delta for one in fixed)
    if any(isinstance(one, Unpriced) for one in mechanisms) or rest <= 0:
        return Spent(upper=inf, delta=delta, accountant=UNPRICED)
    sampled = merged([one for one in mechanisms if isinstance(one, SampledGaussian)])
    sums = tuple(one for one in mechanisms if isinstance(one, NoisySums))
    upper, accountant = sum(one.epsilon for one in fixed), "sum"
    if sums:
        upper, accountant = upper + _renyi(sums, sampled, delta=rest), "RDP (dp-accounting)"
    elif sampled:
        upper, accountant = upper + prv_epsilon(sampled, delta=rest), "Opacus PRV"
    return Spent(upper=upper, delta=delta, accountant=accountant)


def merged(mechanisms: Sequence[SampledGaussian]) -> tuple[SampledGaussian, ...]:
    """Return ``mechanisms`` with equal noise and rate put together: the accountants' work is by kind, not by step."""
    steps: Counter[tuple[float, float]] = Counter()
    for one in mechanisms:
        steps[one.noise_multiplier, one.sampling_rate] += one.steps
    return tuple(
        SampledGaussian(noise_multiplier=noise, sampling_rate=rate, steps=count) for (noise, rate), count in steps.items()
    )


@lru_cache(maxsize=256)
def _renyi(sums: tuple[NoisySums, ...], sampled: tuple[SampledGaussian, ...], *, delta: float) -> float:
    curve = np.zeros(len(ORDERS))
    for one in sampled:
        curve += compute_rdp(q=one.sampling_rate, noise_multiplier=one.noise_multiplier, steps=one.steps, orders=ORDERS)
    return renyi_epsilon(sums, delta=delta, more=[float(value) for value in curve])


def lower_bound(mechanism: SampledGaussian, *, delta: float) -> float:
    """Return a lower bound of the epsilon that ``mechanism`` has at ``delta``, within about 0.02 of it.

    Without sampling it is the exact value, else the optimistic privacy loss distribution.
    """
    if mechanism.sampling_rate == 1:
        return min(gaussian_epsilon(sqrt(mechanism.steps) / mechanism.noise_multiplier, delta), LARGEST_EXPONENT)
    # Every step's loss is rounded down by up to a cell of the grid.
    grid = min(max(LOWER_ERROR / mechanism.steps, FINEST_GRID), COARSEST_GRID)
    one = privacy_loss_distribution.from_gaussian_mechanism(
        mechanism.noise_multiplier,
        sampling_prob=mechanism.sampling_rate,
        pessimistic_estimate=False,
        value_discretization_interval=grid,
        use_connect_dots=False,
    )
    return float(one.self_compose(mechanism.steps).get_epsilon_for_delta(delta))
