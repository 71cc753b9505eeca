"""Planning record-level differential privacy: each partner's sampling rate, steps and noise for the run's budget.

Every partner spends at most the config's (epsilon, delta) on its own records, with its own noise: a small partner is sampled
at a higher rate and needs more of it. Nothing is tuned on private data. A warm start of the trunk must come from public data.

A partner-local warm start (``dp.local_start`` epochs) trains a partner's own heads on the agreed trunk before the first round.
No head ever leaves, and yet it is not free at record level: the first gradient of the trunk passes through the heads, so heads
that were fitted without noise would carry every record into every other record's gradient, past its clipping. These epochs
are private steps like all others, on the heads alone, and paid for: more steps, hence a little more noise in each. (At
partner level they cost nothing: the whole update is clipped, whatever it was computed from.)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite

from securefl.chem.dataset import Dataset, Fold
from securefl.config import DpConfig, RunConfig
from securefl.dp.accountant import RECORD_NEIGHBOURS, Accountant, PrvAccountant, check_delta, solve_noise
from securefl.dp.composition import UNPRICED
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
    all of them in every step (sampling rate 1). The epochs of a partner-local warm start are among the ``steps``.

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
        steps = each * (dp.rounds * config.federation.local_epochs + dp.local_start)
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
) -> DpRecord:
    """Return what a run of ``plans`` spends: the figures of the partner with the largest epsilon, infinite without noise."""
    pricing = accountant or PrvAccountant()
    epsilons = [spent(plan, delta=delta, accountant=pricing) for plan in plans]
    worst = max(range(len(plans)), key=lambda i: epsilons[i])
    plan = plans[worst]
    bounded = isfinite(epsilons[worst])
    return DpRecord(
        unit="record",
        epsilon=epsilons[worst] if bounded else None,
        delta=delta,
        noise_multiplier=plan.noise_multiplier,
        accountant=pricing.name if bounded else UNPRICED,
        clipping_norm=plan.clipping_norm,
        sampling_rate=plan.sampling_rate,
        steps=plan.steps,
        neighbouring=RECORD_NEIGHBOURS,
        partner=partners[worst],
    )


def private_training(plans: Sequence[PrivateSteps], *, rng: Rng) -> PrivateTraining:
    """Return what an arm under ``plans`` trains with, in place of the plain trainers and scaling."""
    return PrivateTraining(trainers=private_trainers(plans, rng=rng), scaling=public_scaling)
