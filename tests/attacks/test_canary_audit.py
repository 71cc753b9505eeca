"""The canary audit: honest noise is never refuted, and each way of getting the private step wrong is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from stand_ins import CountingRng
from torch import Tensor, nn

from attacks.epsilon.bounds import Level, ceiling
from attacks.epsilon.canary import CANARY, Coins, projections
from attacks.epsilon.canary_run import OWN_BITS, canary_records, coins, observed, private_trainer
from attacks.interface import AdversaryView, Found
from securefl.config import parse_config
from securefl.dp.accountant import RdpAccountant
from securefl.learning import private_step
from securefl.learning.heads import Heads
from securefl.learning.loss import CellBatch
from securefl.learning.private_plan import private_plans
from securefl.learning.private_step import ClippedSum, PrivateSteps, clipped_sum
from securefl.learning.sparse import SparseBatch
from securefl.learning.trunk import Trunk
from securefl.types import Rng

DELTA = 1e-5
MODULE = private_step.__name__


def planned(inside: NDArray[np.bool_], *, epsilon: float, batch: int = 10_000, rounds: int = 8) -> PrivateSteps:
    """The planner's own plan for the canaries that are inside."""
    config = parse_config({"dp": {"epsilon": epsilon, "batch": batch, "rounds": rounds}}, source="test")
    (plan,) = private_plans([int(inside.sum())], config=config, accountant=RdpAccountant())
    return plan


def audited(plan: PrivateSteps, inside: NDArray[np.bool_], *, epsilon: float, seed: int = 0) -> Found:
    """What an audit of ``plan`` finds, with predictable noise."""
    tensors = observed(inside, plan, seed=seed, trainer=private_trainer(CountingRng(seed)))
    claims = CANARY.run(AdversaryView(view="V4", tensors=tensors, facts={}), {})
    return CANARY.score(claims, {}, Coins(inside=inside, epsilon=epsilon, delta=DELTA))


def test_canaries_share_no_bit_and_the_coin_is_fair() -> None:
    """Each canary has bits of its own; members are half, give or take."""
    inside = coins(1000, seed=3)
    assert 440 < inside.sum() < 560
    records = canary_records(inside)
    assert records.fingerprints.sum(axis=0).max() == 1
    assert records.fingerprints.sum() == OWN_BITS * inside.sum()
    assert abs(float(records.target.sum())) < 0.1 * float(np.abs(records.target).sum())


def test_projections_follow_the_gradient_that_a_canary_would_send() -> None:
    """Along the working units of the head alone."""
    steps = np.array([[[3.0, 4.0], [1.0, 7.0]]], dtype=np.float32)
    heads, active = np.array([[2.0, 2.0]], dtype=np.float32), np.array([[[True, False], [True, True]]])
    assert projections(steps, heads, active)[0] == pytest.approx([3.0, 8 / np.sqrt(2)])


@pytest.mark.statistical
def test_an_honest_step_is_audited_near_its_optimum_and_never_refuted() -> None:
    """Eight unsampled steps at epsilon 8: nearly the AUC of the Gaussian itself, a bound above a quarter of the claim and
    under it (false alarm at most 5 % by construction; seeded)."""
    inside = coins(1000, seed=0)
    plan = planned(inside, epsilon=8.0)
    found = audited(plan, inside, epsilon=8.0)
    (score,) = found.scores
    best = float(norm.cdf(np.sqrt(plan.steps) / plan.noise_multiplier / np.sqrt(2)))
    assert found.detail["auc_sum"] == pytest.approx(best, abs=0.04)
    assert 1.5 < score.value < 8.0
    assert score.high == pytest.approx(ceiling(1000, level=Level(significance=0.025, delta=DELTA)))
    assert found.detail["canaries"] == 1000
    strict = audited(planned(inside, epsilon=1.0), inside, epsilon=1.0)
    assert strict.scores[0].value < 1.0


def without_noise(parameter: nn.Parameter, gradient: Tensor, *, deviation: float, rate: float, rng: Rng) -> None:
    """A step that forgets the noise."""
    with torch.no_grad():
        parameter.sub_(gradient, alpha=rate)


class SameNoise:
    """A step whose noise comes from a generator that is seeded anew every time."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, parameter: nn.Parameter, gradient: Tensor, *, deviation: float, rate: float, rng: Rng) -> None:
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(self._seed))
        with torch.no_grad():
            parameter.sub_(gradient + deviation * noise, alpha=rate)


def everyone(records: int, *, rate: float, rng: Rng) -> NDArray[np.int64]:
    """A loader that takes every record, whatever rate the accountant was told."""
    return np.arange(records)


def clipped_mean(
    trunk: Trunk, heads: Heads, batch: SparseBatch, cells: CellBatch, *, clipping_norm: float, **kept: object
) -> ClippedSum:
    """A step that clips the mean of the batch in the place of each record."""
    raw = clipped_sum(trunk, heads, batch, cells, clipping_norm=1e30)
    size = float(torch.sqrt(sum((g.square().sum() for g in raw.gradients), torch.zeros(()))))
    factor = min(1.0, clipping_norm * len(batch) / size)
    return replace(raw, gradients=tuple(g * factor for g in raw.gradients))


BROKEN: dict[str, tuple[str, Callable[..., object], int]] = {
    "noise left out": ("noised_descent", without_noise, 10_000),
    "noise reused": ("noised_descent", SameNoise(5), 50),
    "wrong sampling rate": ("poisson_sample", everyone, 10),
    "clipping after averaging": ("clipped_sum", clipped_mean, 10_000),
}


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("mistake", sorted(BROKEN))
def test_a_broken_private_step_is_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claimed epsilon 1; the audit refutes it where the mistake is, and not where it isn't (the negative control)."""
    name, broken, batch = BROKEN[mistake]
    inside = coins(1000, seed=1)
    plan = planned(inside, epsilon=1.0, batch=batch)
    assert audited(plan, inside, epsilon=1.0).scores[0].value < 1.0
    monkeypatch.setattr(f"{MODULE}.{name}", broken)
    assert audited(plan, inside, epsilon=1.0).scores[0].value > 1.5


def test_a_plan_without_noise_is_caught() -> None:
    """The positive control of every audit: nothing protects, so the bound comes near its ceiling."""
    inside = coins(400, seed=2)
    plan = replace(planned(inside, epsilon=8.0), noise_multiplier=0.0)
    found = audited(plan, inside, epsilon=float("inf"))
    assert found.scores[0].value > 0.7 * found.detail["ceiling"]
    assert "claimed_epsilon" not in found.detail
