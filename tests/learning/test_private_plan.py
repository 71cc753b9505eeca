"""Each partner's noise for the run's budget, and what the record says of it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from stand_ins import CountingRng

from securefl.chem.dataset import Dataset, Fold
from securefl.config import DpConfig, RunConfig
from securefl.dp.accountant import PldAccountant, RdpAccountant
from securefl.errors import BudgetExceededError, ParameterError
from securefl.learning.private_plan import dp_record, private_plans, private_training, record_counts, spent

FAST = RdpAccountant()


def config(**changes: object) -> RunConfig:
    return RunConfig(dp=DpConfig.model_validate({"rounds": 4, "batch": 100, **changes}))


def test_sampling_rate_and_steps_are_each_partners_own() -> None:
    large, small = private_plans((1000, 60), config=config(), accountant=FAST)
    assert (large.sampling_rate, large.steps_each, large.steps) == (0.1, 10, 40)
    assert large.expected_batch == pytest.approx(100)
    assert (small.sampling_rate, small.steps_each, small.steps) == (1.0, 1, 4)
    assert small.expected_batch == 60
    # without subsampling the same budget needs more noise
    assert small.noise_multiplier > large.noise_multiplier


def test_no_partner_spends_more_than_the_budget_by_a_second_accountant() -> None:
    chosen = config(epsilon=3.0)
    plans = private_plans((1000, 60), config=chosen, accountant=FAST)
    for plan in plans:
        assert spent(plan, delta=chosen.dp.delta, accountant=PldAccountant()) <= 3.0


def test_the_record_names_the_partner_that_spends_most() -> None:
    chosen = config(epsilon=3.0)
    plans = list(private_plans((1000, 400, 60), config=chosen, accountant=FAST))
    plans[1] = replace(plans[1], noise_multiplier=plans[1].noise_multiplier / 2)
    record = dp_record(plans, ("a", "b", "c"), delta=chosen.dp.delta, accountant=FAST)
    assert record.partner == "b"
    assert record.epsilon is not None
    assert record.epsilon > 3.0
    assert record.sampling_rate == plans[1].sampling_rate
    assert "added to or removed from one partner" in record.neighbouring


def test_counts_are_training_compounds(tiny_dataset: Dataset) -> None:
    counts = record_counts(tiny_dataset)
    cells = tiny_dataset.cells(1, Fold.TRAIN)
    assert counts[1] == len(set(cells.compound.tolist())) < len(cells)
    assert counts[2] < counts[0]


def test_more_local_epochs_cost_more_noise() -> None:
    once = private_plans((1000,), config=config(), accountant=FAST)[0]
    base = config()
    longer = base.model_copy(update={"federation": base.federation.model_copy(update={"local_epochs": 3})})
    thrice = private_plans((1000,), config=longer, accountant=FAST)[0]
    assert thrice.steps == 3 * once.steps
    assert thrice.noise_multiplier > once.noise_multiplier


def test_what_the_budget_does_not_allow_is_refused(tiny_dataset: Dataset) -> None:
    with pytest.raises(ParameterError, match="delta=1e-05 must be > 0 and <= "):
        private_plans((50_000, 60_000), config=config(delta=1e-5), accountant=FAST)
    with pytest.raises(ParameterError, match="records=0"):
        private_plans((1000, 0), config=config(), accountant=FAST)
    with pytest.raises(BudgetExceededError):
        private_plans(record_counts(tiny_dataset), config=config(epsilon=1e-7), accountant=FAST)


def test_a_given_noise_multiplier_is_taken_and_infinity_adds_none(tiny_dataset: Dataset) -> None:
    given = private_plans((1000, 60), config=config(noise_multiplier=1.5), accountant=FAST)
    assert [plan.noise_multiplier for plan in given] == [1.5, 1.5]
    record = dp_record(given, ("a", "b"), delta=1e-5, accountant=FAST)
    assert record.partner == "b"
    clipped = private_plans(record_counts(tiny_dataset), config=config(epsilon=inf), accountant=FAST)
    assert [plan.noise_multiplier for plan in clipped] == [0.0] * 3
    bare = dp_record(clipped, tiny_dataset.partners, delta=1e-5, accountant=FAST)
    # JSON has no infinity: none is one that nothing bounds, and what was clipped is still said
    assert (bare.epsilon, bare.noise_multiplier, bare.accountant) == (None, 0.0, "none: unpriced")
    assert (bare.unit, bare.clipping_norm, bare.steps) == ("record", 1.0, clipped[0].steps)
    trained = private_training(clipped, rng=CountingRng())
    assert trained.scaling(tiny_dataset, 0).std.max() == pytest.approx(1.3)
