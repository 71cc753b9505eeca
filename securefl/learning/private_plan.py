"""Planning record-level differential privacy: each partner's sampling rate, steps and noise for the run's budget.

Every partner spends at most the config's (epsilon, delta) on its own records, with its own noise: a small partner is sampled
at a higher rate and needs more of it. Nothing is tuned on private data; a warm start must come from public data, because what a
partner's own records decided about its heads or trunk before the first private step would be released without a price.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite

from securefl.chem.dataset import Dataset, Fold
from securefl.config import DpConfig, RunConfig
from securefl.dp.accountant import RECORD_NEIGHBOURS, Accountant, PrvAccountant, check_delta, solve_noise
from securefl.errors import ParameterError
from securefl.learning.local import PrivateTraining
from securefl.learning.private_step import PrivateSteps, private_trainers, public_scaling
from securefl.records import DpRecord
from securefl.types import Rng


def record_counts(dataset: Dataset) -> tuple[int, ...]:
    """Return each partner's number of protected units: compounds with a training cell."""
    return tuple(len(set(dataset.cells(partner, Fold.TRAIN).compound.tolist())) for partner in range(len(dataset.partners)))


def private_plans(
    records: Sequence[int], *, config: RunConfig, accountant: Accountant | None = None
) -> tuple[PrivateSteps, ...]:
    """Return a plan for each partner with ``records`` training compounds.

    A local epoch has as many steps as draw each record once on average; a partner with fewer records than a batch uses
    all of them in every step (sampling rate 1).

    Raises:
        ParameterError: delta is too large for the smallest partner, or a partner has no records.
        BudgetExceededError: no noise is enough for epsilon.
    """
    if min(records) < 1:
        raise ParameterError(f"records={min(records)} must be >= 1 at every partner")
    dp = config.dp
    check_delta(dp.delta, smallest=min(records))
    plans = []
    for count in records:
        rate = min(1.0, dp.batch / count)
        each = max(1, round(1 / rate))
        steps = each * dp.rounds * config.federation.local_epochs
        noise = _noise(dp, rate=rate, steps=steps, accountant=accountant or PrvAccountant())
        plans.append(
            PrivateSteps(
                records=count,
                sampling_rate=rate,
                steps_each=each,
                steps=steps,
                noise_multiplier=noise,
                clipping_norm=dp.clipping_norm,
                learning_rate=dp.learning_rate,
            )
        )
    return tuple(plans)


def _noise(dp: DpConfig, *, rate: float, steps: int, accountant: Accountant) -> float:
    """Return the noise multiplier that the config gives, or that its budget asks for; none for an infinite epsilon."""
    if dp.noise_multiplier is not None:
        return dp.noise_multiplier
    if not isfinite(dp.epsilon):
        return 0.0
    return solve_noise(dp.epsilon, delta=dp.delta, sampling_rate=rate, steps=steps, accountant=accountant)


def spent(plan: PrivateSteps, *, delta: float, accountant: Accountant) -> float:
    """Return the epsilon of a whole plan at ``delta``: infinite without noise."""
    return accountant.epsilon(plan.priced(), delta=delta) if plan.noise_multiplier else inf


def dp_record(
    plans: Sequence[PrivateSteps], partners: Sequence[str], *, delta: float, accountant: Accountant | None = None
) -> DpRecord | None:
    """Return what a run of ``plans`` spends: the figures of the partner with the largest epsilon; ``None`` without noise."""
    pricing = accountant or PrvAccountant()
    epsilons = [spent(plan, delta=delta, accountant=pricing) for plan in plans]
    worst = max(range(len(plans)), key=lambda i: epsilons[i])
    plan = plans[worst]
    if not isfinite(epsilons[worst]):
        return None
    return DpRecord(
        unit="record",
        epsilon=epsilons[worst],
        delta=delta,
        noise_multiplier=plan.noise_multiplier,
        accountant=pricing.name,
        clipping_norm=plan.clipping_norm,
        sampling_rate=plan.sampling_rate,
        steps=plan.steps,
        neighbouring=RECORD_NEIGHBOURS,
        partner=partners[worst],
    )


def private_training(plans: Sequence[PrivateSteps], *, rng: Rng) -> PrivateTraining:
    """Return what an arm under ``plans`` trains with, in place of the plain trainers and scaling."""
    return PrivateTraining(trainers=private_trainers(plans, rng=rng), scaling=public_scaling)
