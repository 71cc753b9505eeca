"""Membership attacks: candidates that are exchangeable, scores that point the right way, shadows that can't go stale."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from stand_ins import make_dataset

from attacks.controls import blind_control, permuted_control
from attacks.membership.candidates import Candidates, candidates_of, losses_with, non_members
from attacks.membership.lira import lira
from attacks.membership.loss import membership_loss
from attacks.membership.overfit import overfit_control, overfit_predictions
from attacks.membership.private_shadows import NormalLimit, shadow_plans
from attacks.membership.rmia import rmia
from attacks.membership.shadow_losses import Shadows
from attacks.membership.shadows import cache_key, fold_for, halves, shadows_of
from attacks.score import auc
from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.config import RunConfig, parse_config
from securefl.dp.accountant import RdpAccountant, SampledGaussian
from securefl.dp.gaussian_dp import gaussian_epsilon
from securefl.errors import ParameterError
from securefl.learning.cells import Scaling, scaling_of
from securefl.learning.model import Model, PartnerHeads


@pytest.fixture(scope="module")
def chemistry() -> Dataset:
    """4,000 compounds in scaffold clusters that share half of their bits; the audit fold cuts across all of them."""
    return make_dataset(compounds=4000, seed=5)


def scored(candidates: Candidates, score: np.ndarray) -> float:
    """AUC of a score."""
    return auc(*candidates.split(score)).value


def test_members_and_non_members_are_exchangeable(chemistry: Dataset) -> None:
    """The blind control holds on our candidates and fails on the whole audit fold, whose test scaffolds give it away."""
    ours = candidates_of(chemistry, "consortium", seed=0)
    assert blind_control(chemistry, ours, seed=0).held
    everything = dataclasses.replace(ours, **_with_fold(chemistry, Fold.TEST))
    failed = blind_control(chemistry, everything, seed=0)
    assert not failed.held
    assert failed.value is not None
    assert failed.value > 0.6


def _with_fold(dataset: Dataset, fold: Fold) -> dict[str, np.ndarray]:
    """Candidates whose non-members are a scaffold fold: the mistake that the control is there to catch."""
    compounds = np.flatnonzero((dataset.fold == Fold.TRAIN) | (dataset.fold == fold)).astype(np.int64)
    return {
        "member": dataset.fold[compounds] == Fold.TRAIN,
        "compound": compounds,
        "partner": np.full(len(compounds), -1, dtype=np.int64),
    }


def test_non_members_come_from_training_scaffolds(chemistry: Dataset) -> None:
    """No audit compound of a validation or test scaffold is used, and nothing outside the audit fold."""
    chosen = non_members(chemistry, seed=0)
    held_out = set(chemistry.cluster[(chemistry.fold == Fold.TEST) | (chemistry.fold == Fold.VALIDATION)])
    assert (chemistry.fold[chosen] == Fold.AUDIT).all()
    assert not held_out & set(chemistry.cluster[chosen])
    assert chosen.any()


def test_candidates_sum_over_a_compounds_tasks(tiny_dataset: Dataset) -> None:
    """Per partner the unit is a compound at a partner, per consortium a compound; every used cell counts once."""
    ones = np.ones(len(tiny_dataset.activities))
    partner = candidates_of(tiny_dataset, "partner", seed=0)
    consortium = candidates_of(tiny_dataset, "consortium", seed=0)
    assert partner.sums(ones).sum() == consortium.sums(ones).sum() == (consortium.of_cell >= 0).sum()
    assert len(partner.member) > len(consortium.member)
    assert len(set(consortium.compound)) == len(consortium.compound)
    alone = candidates_of(tiny_dataset, "partner", seed=0, partner=2)
    assert set(alone.partner) == {2}


def test_losses_are_one_sided_where_censored_and_scaled_by_task(tiny_dataset: Dataset) -> None:
    """A prediction under a left-censored value costs nothing, one above it does; a perfect class costs nothing."""
    cells = tiny_dataset.activities
    losses = losses_with(tiny_dataset)
    binary = np.array([task.kind is TaskKind.CLASSIFICATION for task in tiny_dataset.tasks])[cells.task]
    assert losses(cells.value).max() == pytest.approx(0.0, abs=1e-6)
    below, above = losses(cells.value - 1), losses(cells.value + 1)
    censored = (cells.relation == -1) & ~binary
    assert censored.any()
    assert (below[censored] == 0).all()
    assert (above[censored] > 0).all()
    plain = (cells.relation == 0) & ~binary
    spread = np.array([cells.value[(cells.task == t) & (tiny_dataset.fold[cells.compound] == 0)].std() for t in range(12)])
    assert above[plain] == pytest.approx(0.5 / spread[cells.task[plain]] ** 2, rel=1e-4)
    assert np.isfinite(losses(np.full(len(cells), np.nan, dtype=np.float32))).all()


def simulated(dataset: Dataset, count: int, gap: float, seed: int = 0) -> tuple[np.ndarray, Shadows]:
    """Losses of a target and its shadows: compounds differ a lot in difficulty, members fit better by ``gap``."""
    draw = np.random.default_rng(seed)
    compound = dataset.activities.compound
    difficulty = draw.lognormal(0, 1.0, len(dataset.fold))
    inside = halves(dataset, count, seed=seed)
    seen = np.vstack([dataset.fold == Fold.TRAIN, inside])
    fit = difficulty[None, :] * np.exp(draw.normal(0, 0.25, (count + 1, len(dataset.fold))) - gap * seen)
    losses = fit[:, compound]
    return losses[0], Shadows(losses=losses[1:], inside=inside)


@pytest.mark.statistical
def test_shadows_see_through_difficulty_and_find_nothing_where_nothing_is(chemistry: Dataset) -> None:
    """RMIA and LiRA beat the loss attack where compounds differ in difficulty; without a gap all are at chance."""
    candidates = candidates_of(chemistry, "consortium", seed=0)
    compound = chemistry.activities.compound.astype(np.int64)
    losses, shadows = simulated(chemistry, 4, gap=0.5)
    plain = auc(*candidates.split(membership_loss(losses, candidates)))
    relative = auc(*candidates.split(rmia(losses, candidates, shadows, compound)))
    ratio = auc(*candidates.split(lira(losses, candidates, shadows)))
    assert plain.low > 0.5
    assert relative.low > plain.value
    assert ratio.low > plain.value
    losses, shadows = simulated(chemistry, 4, gap=0.0, seed=1)
    for score in (
        membership_loss(losses, candidates),
        rmia(losses, candidates, shadows, compound),
        lira(losses, candidates, shadows),
    ):
        found = auc(*candidates.split(score))
        assert found.low <= 0.5 <= found.high


@pytest.mark.statistical
def test_a_model_that_overfits_is_caught_and_one_that_never_saw_its_members_is_not(chemistry: Dataset) -> None:
    """The positive control holds; with members and non-members exchanged by a coin it fails, and says so."""
    candidates = candidates_of(chemistry, "consortium", seed=0)
    predictions = overfit_predictions(chemistry, seed=0)
    control = overfit_control(chemistry, candidates, predictions)
    assert control.held
    used = np.isfinite(predictions)
    fold = chemistry.fold[chemistry.activities.compound]
    seen = used & (fold == Fold.TRAIN)
    assert np.abs(predictions[seen] - chemistry.activities.value[seen]).mean() < 0.05
    assert set(np.unique(fold[used])) == {Fold.TRAIN, Fold.AUDIT}
    drawn = dataclasses.replace(candidates, member=np.random.default_rng(1).permutation(candidates.member))
    failed = overfit_control(chemistry, drawn, predictions)
    assert not failed.held
    assert "says nothing" in failed.because


@pytest.mark.statistical
def test_permuted_membership_looks_like_chance(chemistry: Dataset) -> None:
    """The control holds although the scores separate the true members."""
    candidates = candidates_of(chemistry, "consortium", seed=0)
    losses, _ = simulated(chemistry, 2, gap=2.0)
    score = membership_loss(losses, candidates)
    assert auc(*candidates.split(score)).low > 0.6
    assert permuted_control(chemistry, candidates, score, arm="plaintext", seed=0).held


def test_each_compound_is_in_half_of_the_shadows(tiny_dataset: Dataset) -> None:
    """Other folds stay as they are, no task is left without a training value, both classes are there."""
    inside = halves(tiny_dataset, 4, seed=0)
    pool = np.isin(tiny_dataset.fold, (Fold.TRAIN, Fold.AUDIT))
    assert not inside[:, ~pool].any()
    assert (inside[:, pool].sum(axis=0) == 2).mean() > 0.95
    for row in inside:
        shadow = dataclasses.replace(tiny_dataset, fold=fold_for(tiny_dataset, row))
        assert (shadow.fold[~pool] == tiny_dataset.fold[~pool]).all()
        for partner in range(3):
            assert len(scaling_of(shadow, partner)) == 4
    with pytest.raises(ParameterError, match="shadows=1"):
        halves(tiny_dataset, 1, seed=0)


def constant_model(dataset: Dataset) -> Model:
    """A model that predicts zero everywhere: for tests of the cache alone."""
    scaling: Callable[[int], Scaling] = lambda partner: scaling_of(dataset, partner)  # noqa: E731
    heads = {
        p: PartnerHeads(weight=np.zeros((4, 3), np.float32), bias=np.zeros(4, np.float32), scaling=scaling(p)) for p in range(3)
    }
    trunk = {"first.weight": np.zeros((dataset.bits, 3), np.float32), "first.bias": np.zeros(3, np.float32)}
    return Model(trunk=trunk, heads=heads)


def test_shadow_cache_is_bound_to_data_recipe_seed_and_order(tmp_path: Path, tiny_dataset: Dataset) -> None:
    """The same question reads the cache; other data, order, recipe or seed trains again; a broken file is not believed."""
    trained: list[int] = []

    def train(dataset: Dataset, seed: int) -> Model:
        trained.append(seed)
        return constant_model(dataset)

    def ask(dataset: Dataset, config: RunConfig, recipe: str = "plain") -> Shadows:
        return shadows_of(tmp_path, dataset, config=config, recipe=recipe, count=4, train=train)

    config = RunConfig()
    first = ask(tiny_dataset, config)
    assert trained == [1000, 1001, 1002, 1003]
    assert np.array_equal(ask(tiny_dataset, config).losses, first.losses)
    assert len(trained) == 4
    order = np.random.default_rng(0).permutation(len(tiny_dataset.activities))
    ask(dataclasses.replace(tiny_dataset, activities=tiny_dataset.activities.select(order)), config)
    assert len(trained) == 8
    ask(tiny_dataset, parse_config({"attacks": {"seed": 7}}, source="test"))
    ask(tiny_dataset, config, recipe="dp")
    assert len(trained) == 16
    path = tmp_path / "shadows" / f"{cache_key(tiny_dataset, config, recipe='plain', count=4)}.npz"
    path.write_bytes(path.read_bytes()[:100])
    ask(tiny_dataset, config)
    assert len(trained) == 20


def test_an_interrupted_set_of_shadows_goes_on_where_it_stopped(tmp_path: Path, tiny_dataset: Dataset) -> None:
    """Two are trained, the third fails: the next call trains the third and the fourth."""
    trained: list[int] = []

    def train(dataset: Dataset, seed: int) -> Model:
        trained.append(seed)
        if trained.count(1002) == 1 and seed == 1002:
            raise KeyboardInterrupt
        return constant_model(dataset)

    def ask() -> Shadows:
        return shadows_of(tmp_path, tiny_dataset, config=RunConfig(), recipe="plain", count=4, train=train)

    with pytest.raises(KeyboardInterrupt):
        ask()
    assert len(ask().losses) == 4
    assert trained == [1000, 1001, 1002, 1002, 1003]


def test_normal_limit_is_exact_without_sampling_and_agrees_after_scaling(tiny_dataset: Dataset) -> None:
    """Full batches: the Gaussian mechanism's own epsilon. Sampled: scaled by one look at the exact accountant, within 10 %."""
    delta = 1e-5
    for mu in (0.3, 1.0, 2.5):
        epsilon = gaussian_epsilon(mu, delta)
        profile = norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
        assert profile == pytest.approx(delta, rel=1e-6)
    full = SampledGaussian(noise_multiplier=1.7, sampling_rate=1.0, steps=8)
    assert NormalLimit(3.0).epsilon(full, delta=delta) == pytest.approx(gaussian_epsilon(8**0.5 / 1.7, delta))
    config = parse_config({"dp": {"batch": 24, "rounds": 3}}, source="test")
    plan = max(shadow_plans(tiny_dataset, config=config, exact=RdpAccountant()), key=lambda p: p.records)
    assert plan.sampling_rate < 1
    mechanism = SampledGaussian(noise_multiplier=plan.noise_multiplier, sampling_rate=plan.sampling_rate, steps=plan.steps)
    assert RdpAccountant().epsilon(mechanism, delta=delta) == pytest.approx(config.dp.epsilon, rel=0.1)
