"""The single-task forests: they learn from their own training cells only, and repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from securefl.chem.dataset import Activities, Dataset, Fold
from securefl.errors import ParameterError
from securefl.learning.baselines import SingleTaskParams, single_task_models, task_model

FEW = SingleTaskParams(trees=20)


def test_forests_learn_every_kind_of_task(tiny_dataset: Dataset) -> None:
    predictions = single_task_models(tiny_dataset, params=FEW)
    cells = tiny_dataset.activities
    test = tiny_dataset.fold[cells.compound] == Fold.TEST
    assert np.isfinite(predictions).all()
    for task in (1, 3):  # a regression and a classification of the largest partner
        mine = test & (cells.task == task)
        assert np.corrcoef(predictions[mine], cells.value[mine])[0, 1] > 0.3
    classes = predictions[cells.task == 3]
    assert classes.min() >= 0
    assert classes.max() <= 1


def test_only_the_tasks_own_training_cells_matter(tiny_dataset: Dataset) -> None:
    before = task_model(tiny_dataset, 1, FEW)
    cells = tiny_dataset.activities
    value = cells.value.copy()
    used = (tiny_dataset.fold[cells.compound] == Fold.TRAIN) & (cells.task == 1)
    value[~used] += 3
    changed = replace(tiny_dataset, activities=Activities(cells.task, cells.compound, value, cells.relation))
    np.testing.assert_array_equal(task_model(changed, 1, FEW), before)
    value[np.flatnonzero(used)[0]] += 3
    changed = replace(tiny_dataset, activities=Activities(cells.task, cells.compound, value, cells.relation))
    assert (task_model(changed, 1, FEW) != before).any()


def test_result_depends_on_the_seed_and_not_on_cores(tiny_dataset: Dataset) -> None:
    tasks = [0, 3, 5]
    one = single_task_models(tiny_dataset, params=FEW, tasks=tasks, cores=1)
    np.testing.assert_array_equal(single_task_models(tiny_dataset, params=FEW, tasks=tasks, cores=2), one)
    other = single_task_models(tiny_dataset, params=replace(FEW, seed=1), tasks=tasks, cores=2)
    assert np.isnan(one).sum() == np.isnan(other).sum() > 0
    assert (one[np.isfinite(one)] != other[np.isfinite(other)]).any()


def test_a_task_without_training_cells_has_no_prediction(tiny_dataset: Dataset) -> None:
    untrained = replace(tiny_dataset, fold=np.full_like(tiny_dataset.fold, Fold.TEST))
    assert np.isnan(task_model(untrained, 0, FEW)).all()


def test_a_constant_task_is_predicted_as_its_constant(tiny_dataset: Dataset) -> None:
    cells = tiny_dataset.activities
    constant = Activities(cells.task, cells.compound, np.ones_like(cells.value), cells.relation)
    assert (task_model(replace(tiny_dataset, activities=constant), 3, FEW) == 1).all()


@pytest.mark.parametrize(("trees", "leaf"), [(0, 1), (101, 1), (10, 0)])
def test_params_outside_their_bounds_are_refused(trees: int, leaf: int) -> None:
    with pytest.raises(ParameterError, match="trees="):
        SingleTaskParams(trees=trees, min_leaf=leaf)
