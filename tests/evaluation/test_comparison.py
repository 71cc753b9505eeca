"""Comparisons of an arm with its rivals: pairing, intervals over tasks and seeds, RIPtoP, distributions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import make_dataset

from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.errors import ParameterError
from securefl.evaluation.bootstrap import over_tasks_and_seeds
from securefl.evaluation.comparison import Contest, metric_records
from securefl.evaluation.metrics import R2_TRAINING, RMSE
from securefl.evaluation.task_scores import per_task
from securefl.measures import EcdfRecord, MetricRecord


def noisy(dataset: Dataset, noise: float, seed: int) -> NDArray[np.float32]:
    """Return the true values with noise; for classification, probabilities that lean the right way."""
    cells = dataset.activities
    spread = np.random.default_rng(seed).normal(0, noise, len(cells))
    classes = np.array([task.kind is TaskKind.CLASSIFICATION for task in dataset.tasks])[cells.task]
    return np.where(classes, np.clip(0.3 + 0.4 * cells.value + 0.4 * spread, 0, 1), cells.value + spread).astype(np.float32)


@pytest.fixture(scope="module")
def records() -> dict[str, MetricRecord]:
    """Return the records of a good arm (two seeds) against a bad standalone and a worse single-task model."""
    dataset = make_dataset()
    contest = Contest(
        dataset=dataset,
        arm=[noisy(dataset, 0.4, 1), noisy(dataset, 0.4, 2)],
        standalone=[noisy(dataset, 0.8, 3), noisy(dataset, 0.8, 4)],
        single_task=[noisy(dataset, 1.2, 5), noisy(dataset, 1.2, 6)],
        resamples=100,
    )
    return {record.name: record for record in metric_records(contest)}


def test_every_metric_has_its_comparisons(records: dict[str, MetricRecord]) -> None:
    assert {record.kind for record in records.values()} == {"regression", "classification"}
    assert len(records) == 8
    for record in records.values():
        assert record.delta is not None, record.name
        assert record.delta.low <= record.delta.mean <= record.delta.high
        assert record.delta_over_tasks is not None
        assert record.delta_over_tasks.mean == pytest.approx(record.delta.mean)
        assert record.delta_vs_single_task is not None
        assert record.delta.mean > 0
        assert record.delta_vs_single_task.mean > record.delta.mean


def test_riptop_is_the_share_of_the_way_to_perfection(records: dict[str, MetricRecord]) -> None:
    for name, perfect in (("R2 about the training mean", 1.0), ("RMSE", 0.0), ("ROC-AUC", 1.0)):
        record = records[name]
        assert record.delta is not None
        assert record.riptop is not None
        sign = 1 if record.higher_is_better else -1
        standalone = record.value.mean - sign * record.delta.mean
        assert record.riptop.mean == pytest.approx((record.value.mean - standalone) / (perfect - standalone))
        assert 0 < record.riptop.low < record.riptop.high <= 1


def test_an_arm_against_itself_moves_nowhere_towards_perfection(tiny_dataset: Dataset) -> None:
    same = noisy(tiny_dataset, 0.5, 3)
    for record in metric_records(Contest(dataset=tiny_dataset, arm=[same], standalone=[same], resamples=20)):
        assert record.riptop is not None
        assert (record.riptop.mean, record.riptop_median, record.tasks_better) == (0.0, 0.0, 0.0)


def ecdf(record: MetricRecord, over: str, of: str) -> EcdfRecord:
    """Return the one distribution of that kind."""
    (found,) = (one for one in record.ecdf if (one.over, one.of) == (over, of))
    return found


def test_distributions_are_those_of_the_tasks(tiny_dataset: Dataset) -> None:
    arm, other = noisy(tiny_dataset, 0.4, 1), noisy(tiny_dataset, 0.9, 2)
    found = metric_records(Contest(dataset=tiny_dataset, arm=[arm], standalone=[other], resamples=10))
    record = next(one for one in found if one.name == "RMSE")
    ours, theirs = per_task(RMSE, tiny_dataset, arm), per_task(RMSE, tiny_dataset, other)
    steps = ecdf(record, "assays", "delta")
    assert steps.n == len(ours)
    assert steps.x == pytest.approx(sorted(theirs[task] - ours[task] for task in ours), rel=1e-4)
    assert steps.share == pytest.approx([(i + 1) / len(ours) for i in range(len(ours))], rel=1e-4)
    owners = {tiny_dataset.tasks[task].partner for task in ours}
    assert ecdf(record, "partners", "value").n == len(owners) > 1


def test_a_long_distribution_is_thinned_and_still_ends_at_one() -> None:
    dataset = make_dataset(compounds=900, tasks_each=40)
    prediction = noisy(dataset, 0.5, 1)
    record = metric_records(Contest(dataset=dataset, arm=[prediction], resamples=2))[0]
    steps = ecdf(record, "assays", "value")
    values = np.array(list(per_task(R2_TRAINING, dataset, prediction).values()))
    assert steps.n == len(values) > 51
    assert len(steps.x) == 51
    assert steps.share[-1] == 1.0
    rank = np.rint(np.array(steps.share) * len(values)).astype(int) - 1
    assert steps.x == pytest.approx(np.sort(values)[rank].tolist(), rel=1e-4)
    assert np.ptp(np.diff(rank)) <= 1


@pytest.mark.statistical
def test_the_interval_over_tasks_and_seeds_covers_and_one_over_tasks_alone_does_not() -> None:
    """Gains of 30 tasks in 8 seeds with an effect of each: 300 trials, 95 % intervals cover 0 in 0.85 to 1 of them."""
    draw = np.random.default_rng(11)
    covered = {"both": 0, "tasks alone": 0}
    for trial in range(300):
        values = draw.normal(0, 1, (8, 1)) + draw.normal(0, 1, (1, 30)) + draw.normal(0, 0.3, (8, 30))
        for name, sample in (("both", values), ("tasks alone", values.mean(axis=0, keepdims=True))):
            interval = over_tasks_and_seeds(sample, generator=np.random.default_rng(trial), resamples=300)
            covered[name] += interval.low <= 0 <= interval.high
    assert covered["both"] / 300 >= 0.85
    assert covered["tasks alone"] / 300 <= 0.75


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ParameterError, match="tasks=0"):
        over_tasks_and_seeds(np.zeros((2, 0)), generator=np.random.default_rng(0))


def test_other_folds_can_be_asked_for(tiny_dataset: Dataset) -> None:
    prediction = noisy(tiny_dataset, 0.5, 1)
    test = metric_records(Contest(dataset=tiny_dataset, arm=[prediction], resamples=5))
    validation = metric_records(Contest(dataset=tiny_dataset, arm=[prediction], fold=Fold.VALIDATION, resamples=5))
    assert test[0].value.mean != validation[0].value.mean
    assert all(record.delta is None and record.riptop is None for record in test)
