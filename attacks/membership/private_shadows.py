"""Private shadow models: the target's budget on half of its records, priced fast.

A shadow's partners have other record counts than the target's, so they need noise of their own; finding each one's with the
exact accountant takes longer than the training. The normal limit [BDLS20] gives it in closed form, some percent off. One look
at the exact accountant, for the largest partner, says how far; all sampled partners are scaled by that. Without sampling the
closed form is exact. Shadows protect nobody: their noise is a model of the target's, never a guarantee.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.dp.accountant import Accountant, PrvAccountant, SampledGaussian
from securefl.dp.gaussian_dp import LARGEST_EXPONENT, gaussian_epsilon
from securefl.learning.local import PrivateTraining
from securefl.learning.private_plan import private_plans, record_counts
from securefl.learning.private_step import PrivateSteps, private_trainers, public_scaling
from securefl.types import Rng


@dataclass(frozen=True, slots=True)
class NormalLimit:
    """The normal limit as an accountant; the noise of sampled steps is divided by ``scale`` before it is priced."""

    name: ClassVar[str] = "normal limit"
    scale: float = 1.0

    def epsilon(self, mechanism: SampledGaussian, *, delta: float) -> float:
        """Return the epsilon of ``mechanism`` in the limit of many steps; exact for a sampling rate of 1."""
        if mechanism.sampling_rate >= 1:
            return gaussian_epsilon(math.sqrt(mechanism.steps) / mechanism.noise_multiplier, delta)
        square = (mechanism.noise_multiplier / self.scale) ** -2
        if square > LARGEST_EXPONENT:
            return math.inf
        return gaussian_epsilon(mechanism.sampling_rate * math.sqrt(mechanism.steps * math.expm1(square)), delta)


def agreeing_scale(plan: PrivateSteps, *, delta: float, exact: Accountant) -> float:
    """Return by how much more noise the ``exact`` accountant asks for than the limit did for ``plan``, by one Newton step."""
    limit = NormalLimit()

    def at(noise: float) -> SampledGaussian:
        return SampledGaussian(noise_multiplier=noise, sampling_rate=plan.sampling_rate, steps=plan.steps)

    noise = plan.noise_multiplier
    wanted, more = limit.epsilon(at(noise), delta=delta), limit.epsilon(at(1.01 * noise), delta=delta)
    slope = math.log(wanted / more) / math.log(1.01)
    return float((exact.epsilon(at(noise), delta=delta) / wanted) ** (1 / slope))


def shadow_plans(dataset: Dataset, *, config: RunConfig, exact: Accountant | None = None) -> tuple[PrivateSteps, ...]:
    """Return each partner's plan on a shadow's ``dataset``.

    Raises:
        ParameterError: a partner has too few records for the config's delta.
        BudgetExceededError: no noise is enough for the config's epsilon.
    """
    counts = record_counts(dataset)
    plans = private_plans(counts, config=config, accountant=NormalLimit())
    largest = plans[counts.index(max(counts))]
    if largest.sampling_rate >= 1 or not largest.noise_multiplier:
        return plans
    scale = agreeing_scale(largest, delta=config.dp.delta, exact=exact or PrvAccountant())
    return private_plans(counts, config=config, accountant=NormalLimit(scale))


def shadow_privacy(dataset: Dataset, *, config: RunConfig, rng: Rng) -> PrivateTraining:
    """Return what a private shadow on ``dataset`` trains with; see :func:`shadow_plans` for what it raises."""
    plans = shadow_plans(dataset, config=config)
    return PrivateTraining(trainers=private_trainers(plans, rng=rng), scaling=public_scaling)
