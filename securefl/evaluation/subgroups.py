"""Performance by how much its owner had: tasks with few training values, and partners with few.

Who had little should gain most; an average over all tasks can hide that it does not. A group is a range of uncensored TRAIN
values: of the task, or of all tasks of its owner together. Groups of fewer than ``MIN_TASKS`` tasks are left out. A group's
interval redraws test compounds, as the arm's own does; groups differ in targets and assays too, so a trend over groups is no
proof that size is its cause.

A group of owners may be one partner, and its figure is that partner's: those groups are the auditor's (:func:`of_tasks`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold, Relation
from securefl.evaluation.bootstrap import interval_record, mean_over_tasks
from securefl.evaluation.comparison import Contest
from securefl.evaluation.task_scores import TaskScores, main_metric
from securefl.measures import IntervalRecord, SubgroupRecord

TASK, OWNER = "training values of the task", "training values of its owner"
EDGES = {TASK: (0, 50, 100, 200, 400, 1_000, 10**9), OWNER: (0, 1_000, 3_000, 10_000, 30_000, 10**9)}
MIN_TASKS = 3


def subgroup_records(contest: Contest) -> tuple[SubgroupRecord, ...]:
    """Return a record for each group that holds enough judged tasks, under the metric by which arms are compared."""
    metric = main_metric(contest.dataset)
    duel = contest.with_standalone.get(metric)
    if duel is None:
        return ()
    ours, theirs = (duel.ours, duel.theirs) if contest.standalone else (duel.alone, None)
    sizes = training_values(contest.dataset)
    owner = np.array([task.partner for task in contest.dataset.tasks])
    of_owner = np.bincount(owner, weights=sizes)[owner]
    records = []
    for group, size in ((TASK, sizes), (OWNER, of_owner)):
        for low, high in zip(EDGES[group][:-1], EDGES[group][1:], strict=True):
            inside = (size[ours.tasks] >= low) & (size[ours.tasks] < high)
            if inside.sum() >= MIN_TASKS:
                value, delta = _figures(ours.select(inside), theirs.select(inside) if theirs else None)
                n = int(inside.sum())
                records.append(
                    SubgroupRecord(group=group, metric=metric.name, low=low, high=high, n_tasks=n, value=value, delta=delta)
                )
    return tuple(records)


def of_tasks(groups: Sequence[SubgroupRecord]) -> tuple[SubgroupRecord, ...]:
    """Return ``groups`` without those of owners, none of which may stay: with all others one of them follows from the mean."""
    return tuple(group for group in groups if group.group != OWNER)


def training_values(dataset: Dataset) -> NDArray[np.int64]:
    """Return each task's number of uncensored TRAIN values, shape (tasks,)."""
    cells = dataset.activities
    kept = (dataset.fold[cells.compound] == Fold.TRAIN) & (cells.relation == Relation.EQUAL)
    return np.bincount(cells.task[kept], minlength=len(dataset.tasks))


def _figures(ours: TaskScores, theirs: TaskScores | None) -> tuple[IntervalRecord, IntervalRecord | None]:
    """The group's mean, and its difference from standalone on the same tasks and resamples."""
    value = interval_record(float(ours.value.mean()), mean_over_tasks(ours.resampled))
    if theirs is None:
        return value, None
    gain = float((ours.value - theirs.value).mean())
    return value, interval_record(gain, mean_over_tasks(ours.resampled - theirs.resampled))
