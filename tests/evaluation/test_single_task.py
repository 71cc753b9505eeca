"""The single-task arm: every family learns every kind of task, and validation alone chooses among them."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import make_dataset

from securefl.chem.dataset import Dataset, Fold
from securefl.config import ALL_BASELINES, BaselineConfig
from securefl.evaluation.single_task import chosen_on_validation, single_task
from securefl.learning.baselines import Family, SingleTaskParams, single_task_models, task_model
from securefl.types import silent


@pytest.mark.parametrize("family", list(Family))
def test_every_family_learns_every_kind_of_task_and_repeats(tiny_dataset: Dataset, family: Family) -> None:
    params = SingleTaskParams(family=family, trees=60)
    cells = tiny_dataset.activities
    for task, least in ((1, 0.4), (3, 0.15)):  # a regression and a classification of the largest partner
        predictions = task_model(tiny_dataset, task, params)
        np.testing.assert_array_equal(task_model(tiny_dataset, task, params), predictions)
        mine = cells.task == task
        test = tiny_dataset.fold[cells.compound[mine]] == Fold.TEST
        assert np.corrcoef(predictions[test], cells.value[mine][test])[0, 1] > least
        if task == 3:
            assert predictions.min() >= 0
            assert predictions.max() <= 1


def test_a_machine_whose_probabilities_can_not_be_calibrated_says_the_share_of_actives() -> None:
    dataset = make_dataset(compounds=60, tasks_each=2)
    cells = dataset.activities
    task = next(number for number, one in enumerate(dataset.tasks) if one.kind.value == "classification")
    train = (cells.task == task) & (dataset.fold[cells.compound] == Fold.TRAIN)
    cells.value[train] = 0
    cells.value[np.flatnonzero(train)[0]] = 1
    predictions = task_model(dataset, task, SingleTaskParams(family=Family.RBF_SVM))
    assert predictions == pytest.approx(np.full(len(predictions), 1 / train.sum()))


def test_validation_chooses_task_by_task_and_the_test_fold_does_not(tiny_dataset: Dataset) -> None:
    cells = tiny_dataset.activities
    fold = tiny_dataset.fold[cells.compound]
    right, wrong = cells.value.copy(), np.full(len(cells), 0.4, dtype=np.float32)
    # The first family is right on the validation cells of even tasks, the second on those of odd ones; on test it is reversed.
    first = np.where((cells.task % 2 == 0) == (fold == Fold.VALIDATION), right, wrong).astype(np.float32)
    second = np.where((cells.task % 2 == 1) == (fold == Fold.VALIDATION), right, wrong).astype(np.float32)
    choice = chosen_on_validation(tiny_dataset, [[first], [second]])
    validated = np.unique(cells.task[(fold == Fold.VALIDATION) & (cells.relation == 0)])
    assert (choice[validated] == validated % 2).all()
    unseen = np.setdiff1d(np.arange(len(tiny_dataset.tasks)), validated)
    assert (choice[unseen] == 0).all()


def test_the_arm_has_the_chosen_models_predictions_and_a_record_of_each_family(tiny_dataset: Dataset) -> None:
    config = BaselineConfig(trees=5, models=("random-forest", "gradient-boosting"))
    found = single_task(tiny_dataset, config=config, seeds=(0, 1), bar=lambda seed: silent)
    families = (Family.FOREST, Family.BOOSTING)
    each = [
        [single_task_models(tiny_dataset, params=SingleTaskParams(family=one, trees=5, seed=seed)) for seed in (0, 1)]
        for one in families
    ]
    choice = chosen_on_validation(tiny_dataset, each)
    assert 0 < choice.sum() < len(choice)
    for seed, prediction in enumerate(found.predictions):
        for task in range(len(tiny_dataset.tasks)):
            mine = tiny_dataset.activities.task == task
            np.testing.assert_array_equal(prediction[mine], each[choice[task]][seed][mine])
    assert [(one.model, one.chosen) for one in found.records] == [
        ("random-forest", int((choice == 0).sum())), ("gradient-boosting", int((choice == 1).sum()))
    ]  # fmt: skip
    assert all(one.value.low <= one.value.mean <= one.value.high for one in found.records)
    assert found.note == "of random-forest, gradient-boosting each task has validation's choice"


def test_the_configs_names_are_the_families() -> None:
    assert tuple(one.value for one in Family) == ALL_BASELINES
