"""An arm against its rivals in every metric: means with intervals, paired differences, distances to perfection, distributions.

Two intervals of one difference answer two questions. The cluster bootstrap redraws test compounds, with tasks and models
fixed: does the gain hold on other chemistry of these assays? The bootstrap over tasks and seeds redraws assays and training
runs, with compounds fixed: does it hold for other assays, and was it luck in training? Neither covers the choice of targets'
families or of public sources.

RIPtoP, the relative improvement of proximity to perfection, is (arm - standalone) / (perfect - standalone): a step from 0.90
to 0.95 counts as much as one from 0.5 to 0.75. Of single tasks it has no lower bound where standalone is nearly perfect, so the
record gives that of the means, the median of the tasks, and their distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.evaluation.bootstrap import (
    RESAMPLES,
    ClusterResamples,
    interval_record,
    mean_over_tasks,
    over_tasks_and_seeds,
    resample_clusters,
)
from securefl.evaluation.metrics import METRICS, Floats, Metric
from securefl.evaluation.task_scores import Predictions, TaskCells, TaskScores, per_partner, task_cells, task_scores
from securefl.measures import EcdfRecord, IntervalRecord, MetricRecord

BOOTSTRAP_SEED = 20261121
"""Every arm sees the same resamples, so that intervals of two arms can be compared."""
ECDF_POINTS = 51
"""A distribution over more units is kept at so many of them, evenly spaced in rank."""


@dataclass(frozen=True, slots=True)
class Duel:
    """One metric of the arm where it is defined, and of arm and rival where both are; without a rival these are empty."""

    alone: TaskScores
    ours: TaskScores
    theirs: TaskScores


@dataclass(frozen=True, kw_only=True)
class Contest:
    """An arm and its rivals: predictions of every cell of ``dataset``, one vector a seed; a rival that is missing is empty."""

    dataset: Dataset
    arm: Sequence[Predictions]
    standalone: Sequence[Predictions] = ()
    single_task: Sequence[Predictions] = ()
    fold: Fold = Fold.TEST
    resamples: int = RESAMPLES

    def tasks(self, kind: TaskKind, rival: Sequence[Predictions]) -> list[TaskCells]:
        """Return the cells on which the arm and ``rival`` are compared, the arm's predictions first."""
        return task_cells(self.dataset, [*self.arm, *rival], kind=kind, fold=self.fold)

    def draws(self, tasks: Sequence[TaskCells]) -> ClusterResamples:
        """Return the resamples of the clusters that ``tasks`` test: the same for the same compounds."""
        tested = np.unique(np.concatenate([cells.compound for cells in tasks]))
        generator = np.random.default_rng(BOOTSTRAP_SEED)
        return resample_clusters(self.dataset.cluster[tested], generator=generator, resamples=self.resamples)

    @cached_property
    def with_standalone(self) -> dict[Metric, Duel]:
        """Every metric against standalone; a metric that no task of the fold allows is absent."""
        return self._duels(self.standalone)

    @cached_property
    def with_single_task(self) -> dict[Metric, Duel]:
        """Every metric against the single-task models."""
        return self._duels(self.single_task)

    def _duels(self, rival: Sequence[Predictions]) -> dict[Metric, Duel]:
        found = {}
        for kind in TaskKind:
            tasks = self.tasks(kind, rival)
            if not tasks:
                continue
            metrics, seeds = [metric for metric in METRICS if metric.kind is kind], len(self.arm)
            draws, cluster = self.draws(tasks), self.dataset.cluster
            ours = task_scores(metrics, tasks, slice(0, seeds), draws, cluster)
            theirs = task_scores(metrics, tasks, slice(seeds, None), draws, cluster) if rival else ours
            for metric in metrics:
                defined = np.isfinite(ours[metric].value)
                both = defined & np.isfinite(theirs[metric].value) & bool(rival)
                if defined.any():
                    found[metric] = Duel(ours[metric].select(defined), ours[metric].select(both), theirs[metric].select(both))
        return found


def metric_records(contest: Contest) -> tuple[MetricRecord, ...]:
    """Return a record for each metric that some task of the fold allows."""
    records = []
    for metric, duel in contest.with_standalone.items():
        record = _record(contest.dataset, metric, duel)
        if contest.single_task and metric in contest.with_single_task:
            other = contest.with_single_task[metric]
            record = record.model_copy(update={"delta_vs_single_task": _mean(gain(metric, other.ours, other.theirs))})
        records.append(record)
    return tuple(records)


def _record(dataset: Dataset, metric: Metric, duel: Duel) -> MetricRecord:
    record = MetricRecord(
        name=metric.name,
        kind=metric.kind.value,
        higher_is_better=metric.higher_is_better,
        n_tasks=len(duel.alone.tasks),
        value=interval_record(float(np.mean(duel.alone.value)), mean_over_tasks(duel.alone.resampled)),
        ecdf=_ecdfs(dataset, "value", duel.alone.tasks, duel.alone.value),
    )
    return record.model_copy(update=_against(dataset, metric, duel.ours, duel.theirs)) if len(duel.ours.tasks) else record


def _against(dataset: Dataset, metric: Metric, ours: TaskScores, theirs: TaskScores) -> dict[str, object]:
    """Return the fields of a record that compare with standalone."""
    better = gain(metric, ours, theirs)
    room = np.abs(metric.perfect - theirs.value)
    riptop = np.divide(better.value, room, out=np.full_like(room, np.nan), where=room > 0)
    known = np.isfinite(riptop)
    left = np.abs(metric.perfect - mean_over_tasks(np.vstack([theirs.value, theirs.resampled])))
    moved = mean_over_tasks(np.vstack([better.value, better.resampled]))
    of_means = np.divide(moved, left, out=np.full_like(left, np.nan), where=left > 0)
    return {
        "delta": _mean(better),
        "delta_over_tasks": over_tasks_and_seeds(better.of_seeds, generator=np.random.default_rng(BOOTSTRAP_SEED)),
        "riptop": interval_record(float(of_means[0]), of_means[1:]) if np.isfinite(of_means[0]) else None,
        "riptop_median": float(np.median(riptop[known])) if known.any() else None,
        "tasks_better": float(np.mean(better.value > 0)),
        "ecdf": (
            *_ecdfs(dataset, "value", ours.tasks, ours.value),
            *_ecdfs(dataset, "delta", ours.tasks, better.value),
            *_ecdfs(dataset, "riptop", ours.tasks[known], riptop[known]),
        ),
    }


def gain(metric: Metric, ours: TaskScores, theirs: TaskScores) -> TaskScores:
    """Return how much better ``ours`` is in each task, seed by seed where both have the same number of seeds."""
    paired = ours.of_seeds.shape == theirs.of_seeds.shape
    mine, other = (ours.of_seeds, theirs.of_seeds) if paired else (ours.value[None], theirs.value[None])
    return TaskScores(ours.tasks, metric.gain(mine, other), metric.gain(ours.resampled, theirs.resampled))


def _mean(scores: TaskScores) -> IntervalRecord | None:
    if not len(scores.tasks):
        return None
    return interval_record(float(np.mean(scores.value)), mean_over_tasks(scores.resampled))


def _ecdfs(dataset: Dataset, of: str, tasks: NDArray[np.int64], value: Floats) -> tuple[EcdfRecord, ...]:
    """Return the distribution over partner-tasks and over partners' means; nothing where there is no task."""
    if not len(tasks):
        return ()
    partners = np.array(list(per_partner(dataset, tasks, value).values()))
    return (_ecdf("assays", of, value), _ecdf("partners", of, partners))


def _ecdf(over: str, of: str, value: Floats) -> EcdfRecord:
    ascending = np.sort(value)
    count = len(ascending)
    points = min(count, ECDF_POINTS)
    last = -(-np.arange(1, points + 1) * count // points) - 1
    return EcdfRecord.model_validate(
        {
            "over": over,
            "of": of,
            "n": count,
            "x": tuple(float(f"{x:.5g}") for x in ascending[last]),
            "share": tuple(float(f"{share:.5g}") for share in (last + 1) / count),
        }
    )
