"""Scores of single tasks: which cells of a fold count, and a metric of each task with its bootstrap resamples.

Several seeds are averaged per task, inside every resample. Where a task's metric is not defined the task is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold, Relation, TaskKind
from securefl.errors import InputError
from securefl.evaluation.bootstrap import ClusterResamples
from securefl.evaluation.metrics import R2_TRAINING, ROC_AUC, Floats, Metric, counted, enough, plain

Predictions = NDArray[np.float32]
"""One prediction for each cell of ``dataset.activities``, shape (n_cells,); NaN where the model has none."""


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
    """A metric of several tasks: of each seed, shape (seeds, tasks), and of each resample, seeds averaged, shape (b, tasks)."""

    tasks: NDArray[np.int64]
    of_seeds: Floats
    resampled: Floats

    @property
    def value(self) -> Floats:
        """The mean over seeds, shape (tasks,)."""
        return np.asarray(self.of_seeds.mean(axis=0))

    def select(self, keep: NDArray[np.bool_]) -> TaskScores:
        """Return the scores of some of the tasks."""
        return TaskScores(self.tasks[keep], self.of_seeds[:, keep], self.resampled[:, keep])


def main_metric(dataset: Dataset) -> Metric:
    """Return what arms are compared by: R2 about the training mean if most judged tasks are regressions, else ROC-AUC."""
    regressions = [task.kind is TaskKind.REGRESSION for task in dataset.tasks if task.judged]
    return R2_TRAINING if 2 * sum(regressions) >= len(regressions) else ROC_AUC


def task_cells(dataset: Dataset, predictions: Sequence[Predictions], *, kind: TaskKind, fold: Fold) -> list[TaskCells]:
    """Return the judged tasks of one kind that have enough counted cells in ``fold``, in task order.

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
        of_kind = dataset.tasks[task].judged and dataset.tasks[task].kind is kind
        if of_kind and enough(kind, value):
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
    metrics: Sequence[Metric], tasks: Sequence[TaskCells], which: slice, resamples: ClusterResamples, cluster: NDArray[np.int32]
) -> dict[Metric, TaskScores]:
    """Return each metric of every task for the predictions that ``which`` picks (the seeds of one arm)."""
    once: dict[Metric, list[Floats]] = {metric: [] for metric in metrics}
    resampled: dict[Metric, list[Floats]] = {metric: [] for metric in metrics}
    for cells in tasks:
        weight = np.vstack([np.ones(len(cells.value)), resamples.weights(cluster[cells.compound])])
        for metric in metrics:
            of_seeds = np.array([metric.of(cells.value, prediction, weight) for prediction in cells.predictions[which]])
            once[metric].append(of_seeds[:, 0])
            resampled[metric].append(of_seeds[:, 1:].mean(axis=0))
    numbers = np.array([cells.task for cells in tasks])
    return {metric: TaskScores(numbers, np.array(once[metric]).T, np.array(resampled[metric]).T) for metric in metrics}


def per_task(metric: Metric, dataset: Dataset, predictions: Predictions, *, fold: Fold = Fold.TEST) -> dict[int, float]:
    """Return the metric of each task where it is defined, without intervals."""
    values = {}
    for cells in task_cells(dataset, [predictions], kind=metric.kind, fold=fold):
        value = plain(metric, cells.value, cells.predictions[0])
        if value is not None:
            values[cells.task] = value
    return values


def per_partner(dataset: Dataset, tasks: NDArray[np.int64], value: Floats) -> dict[str, float]:
    """Return each partner's mean of ``value`` over its ``tasks``; a partner without any is absent."""
    owner = np.array([dataset.tasks[task].partner for task in tasks])
    return {
        name: float(np.mean(value[owner == partner]))
        for partner, name in enumerate(dataset.partners)
        if (owner == partner).any()
    }
