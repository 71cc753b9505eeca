"""Mondrian conformal prediction: how often may a model answer, at a stated rate of error?

Calibrated on the VALIDATION fold, for each task on its own, and for each class on its own where the task classifies (Vovk et
al., Algorithmic Learning in a Random World, 2005, section 4.5). A class is in the prediction set of x if more than a share
epsilon of that class's calibration compounds (x counted in) look as strange as x. A regression gets prediction +- the
(1 - epsilon) quantile of the absolute calibration errors, at rank ceil((n + 1)(1 - epsilon)).

Efficiency is the share of pairs with one answer: one class in the set, or an interval on one side of the owner's training
median. It needs no label, so it is counted on unannotated pairs too: the gain that no metric of measured compounds shows.

What is NOT guaranteed: validity holds for exchangeable compounds. Scaffold folds are not exchangeable, and the VALIDATION fold
also chose when training stopped, so validity on the TEST fold is measured and stated beside every efficiency. An efficient
model that is not valid is only bold. Tasks with too few calibration compounds for epsilon are left out, for every arm alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset, Fold, TaskKind
from securefl.evaluation.bootstrap import RESAMPLES, interval_record, resample_clusters
from securefl.evaluation.comparison import BOOTSTRAP_SEED, Contest
from securefl.evaluation.metrics import Floats, counted
from securefl.evaluation.task_scores import Predictions
from securefl.evaluation.unannotated import Unannotated
from securefl.measures import ConformalRecord, IntervalRecord

ERROR_RATES = (0.05, 0.2)
"""MELLODDY's 5 %, and one that tasks with four calibration compounds of a class can serve."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a calibrated task says of n pairs: whether there is one answer, whether it holds the truth, the half-width."""

    single: NDArray[np.bool_]
    holds: NDArray[np.bool_]
    half_width: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A task's measured VALIDATION cells under one model, and the training median that divides answers of a regression."""

    kind: TaskKind
    value: Floats
    prediction: Floats
    median: float

    def serves(self, error_rate: float) -> bool:
        """Return whether there are enough cells (of each class) for ``error_rate``: n + 1 >= 1 / error_rate."""
        actives = int((self.value > 0).sum())
        fewest = min(actives, len(self.value) - actives) if self.kind is TaskKind.CLASSIFICATION else len(self.value)
        return (fewest + 1) * error_rate >= 1 - 1e-9

    def answers(self, prediction: Floats, value: Floats, *, error_rate: float) -> Answers:
        """Return the answers for pairs with this ``prediction`` and (NaN where unknown) ``value``."""
        if self.kind is TaskKind.CLASSIFICATION:
            inside = class_sets(self, prediction, error_rate=error_rate)
            return Answers(inside.sum(axis=1) == 1, np.where(value > 0, inside[:, 1], inside[:, 0]), math.nan)
        half = half_width(self, error_rate=error_rate)
        return Answers(np.abs(prediction - self.median) > half, np.abs(prediction - value) <= half, half)


def class_sets(calibration: Calibration, prediction: Floats, *, error_rate: float) -> NDArray[np.bool_]:
    """Return whether class 0 and class 1 are in the prediction set of each pair, shape (n, 2)."""
    inside = []
    for label, strange in ((0, 1.0), (1, -1.0)):
        # For class 0 a high probability is strange, for class 1 a low one.
        known = np.sort(strange * calibration.prediction[(calibration.value > 0) == label])
        as_strange = len(known) - np.searchsorted(known, strange * prediction, side="left")
        inside.append((as_strange + 1) / (len(known) + 1) > error_rate)
    return np.stack(inside, axis=1)


def half_width(calibration: Calibration, *, error_rate: float) -> float:
    """Return half of the interval: the ceil((n + 1)(1 - error_rate))-th smallest absolute calibration error."""
    errors = np.sort(np.abs(calibration.value - calibration.prediction))
    rank = math.ceil((len(errors) + 1) * (1 - error_rate) - 1e-9)
    return float(errors[rank - 1]) if rank <= len(errors) else math.inf


def conformal_records(contest: Contest, unannotated: Unannotated | None = None) -> tuple[ConformalRecord, ...]:
    """Return efficiency and validity on the fold's measured cells, and efficiency on unannotated pairs; of judged tasks."""
    cells = contest.dataset.activities
    judged = np.array([task.judged for task in contest.dataset.tasks])
    measured = judged[cells.task] & (contest.dataset.fold[cells.compound] == contest.fold)
    for prediction in (*contest.arm, *contest.standalone):
        measured &= counted(cells.value, prediction, cells.relation)
    rows = np.flatnonzero(measured)
    asked = [_Asked("annotated", cells.select(rows), [p[rows] for p in contest.arm], [p[rows] for p in contest.standalone])]
    if unannotated is not None and len(unannotated.pairs):
        rival = unannotated.standalone if contest.standalone else ()
        asked.append(_Asked("unannotated", unannotated.pairs, unannotated.arm, rival))
    return tuple(
        record
        for kind in TaskKind
        for error_rate in ERROR_RATES
        for one in asked
        if (record := _record(contest, one, kind, error_rate)) is not None
    )


_Side: TypeAlias = Sequence[tuple[Predictions, Predictions]]
"""A contestant: for each seed its predictions of all cells of the dataset and of the pairs that are asked."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Pairs, and what the arm and standalone predict for them, one vector a seed."""

    on: str
    pairs: Activities
    arm: Sequence[Predictions]
    standalone: Sequence[Predictions]

    def sides(self, contest: Contest) -> list[_Side]:
        """Return the arm, and standalone where there is one: each seed's predictions of all cells and of the pairs."""
        sides: list[_Side] = [list(zip(contest.arm, self.arm, strict=True))]
        if self.standalone:
            sides.append(list(zip(contest.standalone, self.standalone, strict=True)))
        return sides


def _record(contest: Contest, asked: _Asked, kind: TaskKind, error_rate: float) -> ConformalRecord | None:
    rows, counts = _count(contest.dataset, asked.pairs, asked.sides(contest), kind, error_rate)
    if not len(rows):
        return None
    pairs = asked.pairs.select(rows)
    single, holds, half = counts[0]
    return ConformalRecord.model_validate(
        {
            "kind": kind.value,
            "on": asked.on,
            "error_rate": error_rate,
            "n_tasks": len(np.unique(pairs.task)),
            "n_pairs": len(pairs),
            "efficiency": _interval(contest.dataset, pairs, single),
            "validity": float(holds.mean()) if asked.on == "annotated" else None,
            "half_width": float(half.mean()) if kind is TaskKind.REGRESSION else None,
            "delta": _interval(contest.dataset, pairs, single - counts[1, 0]) if len(counts) > 1 else None,
        }
    )


def _count(
    dataset: Dataset, pairs: Activities, sides: Sequence[_Side], kind: TaskKind, error_rate: float
) -> tuple[NDArray[np.int64], Floats]:
    """Return the pairs of tasks that every side can be calibrated for, and each side's single, holds, half-width: (s, 3, n)."""
    rows, found = [np.zeros(0, np.int64)], [np.zeros((len(sides), 3, 0))]
    for task in np.unique(pairs.task):
        if dataset.tasks[task].kind is not kind:
            continue
        models = [[calibration_of(dataset, int(task), everywhere) for everywhere, _ in side] for side in sides]
        if all(one.serves(error_rate) for side in models for one in side):
            rows.append(np.flatnonzero(pairs.task == task))
            value = pairs.value[rows[-1]].astype(np.float64)
            asked = [[there[rows[-1]].astype(np.float64) for _, there in side] for side in sides]
            found.append(np.stack([_averages(*one, value, error_rate) for one in zip(models, asked, strict=True)]))
    return np.concatenate(rows), np.concatenate(found, axis=2)


def _averages(models: Sequence[Calibration], asked: Sequence[Floats], value: Floats, error_rate: float) -> Floats:
    """Return single, holds and half-width of each pair, averaged over seeds, shape (3, n)."""
    seeds = []
    for model, prediction in zip(models, asked, strict=True):
        said = model.answers(prediction, value, error_rate=error_rate)
        seeds.append(np.stack([said.single, said.holds, np.full(len(value), said.half_width)]))
    return np.asarray(np.mean(seeds, axis=0))


def calibration_of(dataset: Dataset, task: int, prediction: Predictions) -> Calibration:
    """Return the task's calibration under the model that gave ``prediction`` for all cells of the dataset."""
    cells = dataset.activities
    mine = np.flatnonzero(cells.task == task)
    fold = dataset.fold[cells.compound[mine]]
    used = mine[(fold == Fold.VALIDATION) & counted(cells.value[mine], prediction[mine], cells.relation[mine])]
    train = cells.value[mine[fold == Fold.TRAIN]]
    return Calibration(
        dataset.tasks[task].kind,
        cells.value[used].astype(np.float64),
        prediction[used].astype(np.float64),
        float(np.median(train)) if len(train) else 0.0,
    )


def _interval(dataset: Dataset, pairs: Activities, share: Floats) -> IntervalRecord:
    """Return the mean of ``share`` over the pairs with a cluster-bootstrap interval."""
    cluster = dataset.cluster[pairs.compound]
    draws = resample_clusters(cluster, generator=np.random.default_rng(BOOTSTRAP_SEED), resamples=RESAMPLES)
    columns, width = draws.column[cluster], draws.times.shape[1]
    total = draws.times @ np.bincount(columns, weights=share, minlength=width)
    count = draws.times @ np.bincount(columns, minlength=width)
    return interval_record(float(share.mean()), total / count)
