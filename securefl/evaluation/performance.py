"""Performance of an arm on one fold: the mean metric over partner-tasks with its interval, and the gain over standalone.

Several seeds are averaged per task, inside every resample, before the mean over tasks. Where a task's metric is not
defined it is absent from every mean; the comparison with standalone is over the tasks that both have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold, Relation, TaskKind
from securefl.errors import InputError
from securefl.evaluation.bootstrap import (
    RESAMPLES,
    ClusterResamples,
    Interval,
    mean_over_tasks,
    percentile_interval,
    resample_clusters,
)
from securefl.evaluation.metrics import METRICS, R2_TRAINING, ROC_AUC, Floats, Metric, counted, enough, plain
from securefl.records import PerformanceRecord

Predictions = NDArray[np.float32]
"""One prediction for each cell of ``dataset.activities``, shape (n_cells,); NaN where the model has none."""
BOOTSTRAP_SEED = 20261121
"""Every arm sees the same resamples, so that intervals of two arms can be compared."""


@dataclass(frozen=True, slots=True)
class TaskCells:
    """The counted cells of one task in the evaluated fold, for several predictions of the same cells.

    Values and predictions of a regression are centred at the mean of the owner's training values.
    """

    task: int
    compound: NDArray[np.int32]
    value: Floats
    predictions: tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class TaskScores:
    """A metric for several tasks: the plain value, shape (tasks,), and each resample's, shape (b, tasks)."""

    tasks: NDArray[np.int64]
    value: Floats
    resampled: Floats


def main_metric(dataset: Dataset) -> Metric:
    """Return the metric by which arms are compared: R2 about the training mean if most tasks are regressions, else ROC-AUC."""
    regressions = sum(task.kind is TaskKind.REGRESSION for task in dataset.tasks)
    return R2_TRAINING if 2 * regressions >= len(dataset.tasks) else ROC_AUC


def task_cells(dataset: Dataset, predictions: Sequence[Predictions], *, kind: TaskKind, fold: Fold) -> list[TaskCells]:
    """Return the tasks of one kind that have enough counted cells in ``fold``, in task order.

    A cell counts if it is uncensored and every one of ``predictions`` has a value there, so that all are compared on
    the same cells.

    Raises:
        InputError: a prediction vector has the wrong length.
    """
    cells = dataset.activities
    keep = dataset.fold[cells.compound] == fold
    for prediction in predictions:
        if prediction.shape != (len(cells),):
            raise InputError(f"predictions have shape {prediction.shape}, must be ({len(cells)},)")
        keep &= counted(cells.value, prediction, cells.relation)
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(cells.task[rows], kind="stable")]
    means = training_means(dataset)
    found = []
    for part in np.split(rows, np.flatnonzero(np.diff(cells.task[rows])) + 1):
        if len(part) == 0:
            continue
        task = int(cells.task[part[0]])
        value = cells.value[part].astype(np.float64)
        if dataset.tasks[task].kind is kind and enough(kind, value):
            centre = means[task] if kind is TaskKind.REGRESSION else 0.0
            scores = tuple(prediction[part].astype(np.float64) - centre for prediction in predictions)
            found.append(TaskCells(task, cells.compound[part], value - centre, scores))
    return found


def training_means(dataset: Dataset) -> Floats:
    """Return the mean uncensored TRAIN value of each task, shape (tasks,); 0 where a task has none."""
    cells = dataset.activities
    keep = (dataset.fold[cells.compound] == Fold.TRAIN) & (cells.relation == Relation.EQUAL)
    count = np.bincount(cells.task[keep], minlength=len(dataset.tasks))
    total = np.bincount(cells.task[keep], weights=cells.value[keep], minlength=len(dataset.tasks))
    return np.asarray(total / np.maximum(count, 1))


def task_scores(
    metric: Metric, tasks: Sequence[TaskCells], which: slice, resamples: ClusterResamples, cluster: NDArray[np.int32]
) -> TaskScores:
    """Return ``metric`` of every task, averaged over the predictions that ``which`` picks (the seeds of one arm)."""
    once, resampled = [], []
    for cells in tasks:
        weight = np.vstack([np.ones(len(cells.value)), resamples.weights(cluster[cells.compound])])
        of_seeds = [metric.of(cells.value, prediction, weight) for prediction in cells.predictions[which]]
        average = np.mean(of_seeds, axis=0)
        once.append(average[0])
        resampled.append(average[1:])
    return TaskScores(np.array([cells.task for cells in tasks]), np.array(once), np.array(resampled).T)


def per_task(metric: Metric, dataset: Dataset, predictions: Predictions, *, fold: Fold = Fold.TEST) -> dict[int, float]:
    """Return the metric of each task where it is defined, without intervals."""
    values = {}
    for cells in task_cells(dataset, [predictions], kind=metric.kind, fold=fold):
        value = plain(metric, cells.value, cells.predictions[0])
        if value is not None:
            values[cells.task] = value
    return values


def _mean(scores: TaskScores) -> Interval:
    return percentile_interval(float(np.mean(scores.value)), mean_over_tasks(scores.resampled))


def _per_partner(dataset: Dataset, scores: TaskScores) -> dict[str, float]:
    owner = np.array([dataset.tasks[task].partner for task in scores.tasks])
    return {
        name: float(np.mean(scores.value[owner == partner]))
        for partner, name in enumerate(dataset.partners)
        if (owner == partner).any()
    }


def _secondary(dataset: Dataset, arm: Sequence[Predictions], main: Metric, fold: Fold) -> dict[str, float]:
    """Return the mean over tasks (and seeds) of every other metric that is defined for some task."""
    means = {}
    for metric in METRICS:
        values = [v for prediction in arm for v in per_task(metric, dataset, prediction, fold=fold).values()]
        if metric is not main and values:
            means[metric.name] = float(np.mean(values))
    return means


def performance_record(
    dataset: Dataset,
    arm: Sequence[Predictions],
    *,
    baseline: Sequence[Predictions] = (),
    fold: Fold = Fold.TEST,
    curve: tuple[float, ...] = (),
    best_round: int | None = None,
    resamples: int = RESAMPLES,
) -> PerformanceRecord:
    """Return the performance of an arm, ``arm`` and ``baseline`` (standalone) holding one vector of predictions a seed.

    Raises:
        InputError: no task has enough cells in ``fold``.
    """
    metric = main_metric(dataset)
    tasks = task_cells(dataset, [*arm, *baseline], kind=metric.kind, fold=fold)
    if not tasks:
        raise InputError(f"no {metric.kind.value} task has enough measured cells in the {fold.name.lower()} fold")
    cluster = dataset.cluster
    tested = np.unique(np.concatenate([cells.compound for cells in tasks]))
    draws = resample_clusters(cluster[tested], generator=np.random.default_rng(BOOTSTRAP_SEED), resamples=resamples)
    ours = task_scores(metric, tasks, slice(0, len(arm)), draws, cluster)
    mean = _mean(ours)
    record = PerformanceRecord(
        metric=metric.name,
        mean=mean.mean,
        ci_low=mean.low,
        ci_high=mean.high,
        n_tasks=len(tasks),
        n_compounds=len(tested),
        per_partner=_per_partner(dataset, ours),
        others=_secondary(dataset, arm, metric, fold),
        curve=curve,
        best_round=best_round,
    )
    if not baseline:
        return record
    theirs = task_scores(metric, tasks, slice(len(arm), None), draws, cluster)
    gain = TaskScores(ours.tasks, metric.gain(ours.value, theirs.value), metric.gain(ours.resampled, theirs.resampled))
    delta = _mean(gain)
    return record.model_copy(
        update={
            "delta_vs_standalone": delta.mean,
            "delta_ci_low": delta.low,
            "delta_ci_high": delta.high,
            "tasks_better": float(np.mean(gain.value > 0)),
        }
    )
