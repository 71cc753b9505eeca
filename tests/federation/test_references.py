"""Standalone and pooled training, with the federation's recipe and without any exchange."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from securefl.chem.dataset import Dataset, Fold
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import InputError
from securefl.federation.references import train_alone, train_each_alone, train_pooled
from securefl.federation.training import train_federated
from securefl.learning.model import predict
from securefl.types import SystemRng

CONFIG = RunConfig(
    data=DataConfig(partners=3),
    model=ModelConfig(hidden=(24, 12)),
    federation=FederationConfig(rounds=12, batch=32, learning_rate=5e-3),
)


def test_alone_depends_on_its_own_data_only(tiny_dataset: Dataset) -> None:
    one = train_alone(tiny_dataset, 1, config=CONFIG, seed=0)
    owner = np.array([task.partner for task in tiny_dataset.tasks])[tiny_dataset.activities.task]
    only = dataclasses.replace(tiny_dataset, activities=tiny_dataset.activities.select(owner == 1))
    again = train_alone(only, 1, config=CONFIG, seed=0)
    np.testing.assert_array_equal(one.model.trunk["first.weight"], again.model.trunk["first.weight"])
    assert list(one.model.heads) == [1]
    assert (one.parameters, one.costs, one.release, one.max_abs_error) == (0, None, None, None)
    assert max(one.curve) == one.curve[one.best_round - 1]


def test_each_alone_is_alone_for_each(tiny_dataset: Dataset) -> None:
    config = CONFIG.model_copy(update={"federation": CONFIG.federation.model_copy(update={"rounds": 2})})
    steps: list[tuple[str, int, int]] = []
    every = train_each_alone(tiny_dataset, config=config, seed=3, progress=lambda *step: steps.append(step))
    for number, one in enumerate(every):
        alone = train_alone(tiny_dataset, number, config=config, seed=3)
        np.testing.assert_array_equal(one.model.trunk["first.weight"], alone.model.trunk["first.weight"])
    assert steps == [("partners", 1, 3), ("partners", 2, 3), ("partners", 3, 3)]


def test_pooled_beats_everybody_alone_on_validation(tiny_dataset: Dataset) -> None:
    pooled = train_pooled(tiny_dataset, config=CONFIG, seed=0)
    alone = [train_alone(tiny_dataset, p, config=CONFIG, seed=0) for p in range(3)]
    assert sorted(pooled.model.heads) == [0, 1, 2]
    cells = tiny_dataset.cells(fold=Fold.VALIDATION)
    assert np.isfinite(predict(pooled.model, tiny_dataset, cells)).all()
    weights = [len(tiny_dataset.cells(p, Fold.VALIDATION)) for p in range(3)]
    assert max(pooled.curve) > np.average([max(one.curve) for one in alone], weights=weights) + 0.05


def without_validation(dataset: Dataset, partner: int | None = None) -> Dataset:
    """Return ``dataset`` without the validation cells of one partner, or of all."""
    owner = np.array([task.partner for task in dataset.tasks])[dataset.activities.task]
    theirs = owner == partner if partner is not None else np.ones(len(owner), dtype=bool)
    keep = ~(theirs & (dataset.fold[dataset.activities.compound] == Fold.VALIDATION))
    return dataclasses.replace(dataset, activities=dataset.activities.select(keep))


def test_without_validation_cells_nothing_chooses_and_the_last_round_is_taken(tiny_dataset: Dataset) -> None:
    alone = train_alone(without_validation(tiny_dataset, 1), 1, config=CONFIG, seed=0)
    assert (alone.rounds, alone.best_round) == (12, 12)
    short = CONFIG.model_copy(update={"federation": CONFIG.federation.model_copy(update={"rounds": 3, "patience": 1})})
    together = train_federated(without_validation(tiny_dataset), config=short, scheme="masking", seed=0, rng=SystemRng())
    assert (together.rounds, together.best_round, together.curve) == (3, 3, ())
    # One partner with validation cells is enough to choose by.
    assert train_federated(
        without_validation(tiny_dataset, 1), config=short, scheme="masking", seed=0, rng=SystemRng()
    ).curve


def test_a_partner_without_data_is_named(tiny_dataset: Dataset) -> None:
    owner = np.array([task.partner for task in tiny_dataset.tasks])[tiny_dataset.activities.task]
    without = dataclasses.replace(tiny_dataset, activities=tiny_dataset.activities.select(owner != 2))
    with pytest.raises(InputError, match="partner 'partner 2' has 0 training cells"):
        train_alone(without, 2, config=CONFIG, seed=0)
    with pytest.raises(InputError, match="partner 'partner 2' has 0 training cells"):
        train_pooled(without, config=CONFIG, seed=0)
