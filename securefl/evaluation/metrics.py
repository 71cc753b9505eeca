"""Metrics of one task, written once for the plain value and for all bootstrap resamples.

Every metric takes weights of shape (b, n), a row per resample, and gives shape (b,); the plain value is the row of ones.
A metric that is not defined (one class only, no spread, too few cells) is absent: NaN in a resample, ``None`` for a
task, never 0. Censored cells (relation other than EQUAL) are left out of every metric: their true value is unknown,
so neither an error nor a rank can be counted.

There are two R2, and the difference matters where a task's test fold is a few scaffolds of nearly equal activity:
``R2_TRAINING`` asks how much better than the owner's training mean a prediction is (Q2 F1 of Schüürmann et al., J. Chem. Inf.
Model. 48 (2008) 2140: what the owner would say without a model), ``R2`` how much better than the mean of the test values,
which nobody knows beforehand. Values and predictions of a regression task therefore arrive centred at the owner's training
mean; the other metrics don't change under a shift.

R2 in a resample keeps the denominator of the full sample: a resample that happens to hold one cluster has almost no
spread, the ratio would explode, and the interval would describe that accident.

Average precision depends on how many actives a task has. The calibrated one counts each inactive as often as it would occur if
a tenth were active (Siblini et al., IDA 2020): tasks of different prevalence can be averaged. At a prevalence of a tenth both
are the same; scores that say nothing get a tenth; inactives that are all repeated change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Relation, TaskKind
from securefl.errors import ParameterError

Floats: TypeAlias = NDArray[np.float64]
WeightedMetric: TypeAlias = Callable[[Floats, Floats, Floats], Floats]
"""``of(value, prediction, weight)`` with shapes (n,), (n,), (b, n) -> (b,)."""

MIN_CELLS = 10
"""Fewest uncensored cells for a regression metric."""
MIN_EACH_CLASS = 10
"""Fewest actives and fewest inactives for a classification metric."""
PROBABILITY_FLOOR = 1e-7
CALIBRATED_PREVALENCE = 0.1
"""The share of actives at which calibrated average precision is read."""
KENDALL_ROWS = 1024
"""Cells whose pairs with all others are compared at a time."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: for which kind of task, which direction is better, how it is computed, and what a perfect model has."""

    name: str
    kind: TaskKind
    higher_is_better: bool
    of: WeightedMetric
    perfect: float

    def gain(self, ours: Floats, theirs: Floats) -> Floats:
        """Return how much better ``ours`` is than ``theirs``, positive where it is better."""
        return ours - theirs if self.higher_is_better else theirs - ours


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Return ``top / bottom`` with NaN where ``bottom`` is not positive."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _r2(value: Floats, prediction: Floats, weight: Floats) -> Floats:
    spread = np.full(len(weight), float(np.var(value)))
    mean_square = _ratio(weight @ (value - prediction) ** 2, weight.sum(axis=1))
    return np.asarray(1.0 - _ratio(mean_square, spread))


def _r2_training(value: Floats, prediction: Floats, weight: Floats) -> Floats:
    return np.asarray(1.0 - _ratio(_ratio(weight @ (value - prediction) ** 2, weight.sum(axis=1)), _square(value, weight)))


def _square(value: Floats, weight: Floats) -> Floats:
    return np.full(len(weight), float(np.mean(value**2)))


def _rmse(value: Floats, prediction: Floats, weight: Floats) -> Floats:
    return np.asarray(np.sqrt(_ratio(weight @ (value - prediction) ** 2, weight.sum(axis=1))))


def _by_score(value: Floats, prediction: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return the weight of actives and of inactives at each distinct score, ascending: shapes (b, scores).

    Equal scores are one step, so that a tie counts the same in whatever order its cells come.
    """
    order = np.argsort(prediction, kind="stable")
    starts = np.flatnonzero(np.diff(prediction[order], prepend=-np.inf))
    active = np.add.reduceat(weight[:, order] * value[order], starts, axis=1)
    inactive = np.add.reduceat(weight[:, order] * (1.0 - value[order]), starts, axis=1)
    return active, inactive


def _roc_auc(value: Floats, prediction: Floats, weight: Floats) -> Floats:
    active, inactive = _by_score(value, prediction, weight)
    below = np.cumsum(inactive, axis=1) - inactive
    wins = (active * (below + 0.5 * inactive)).sum(axis=1)
    return _ratio(wins, active.sum(axis=1) * inactive.sum(axis=1))


def _pr_auc(value: Floats, prediction: Floats, weight: Floats) -> Floats:
    """Average precision: the area under the step curve, without interpolation (Davis and Goadrich 2006)."""
    return _average_precision(value, prediction, weight, np.ones(len(weight)))


def _pr_auc_calibrated(value: Floats, prediction: Floats, weight: Floats) -> Floats:
    """Average precision as it would be at ``CALIBRATED_PREVALENCE``: precision is TP / (TP + c FP), c = P (1 - p0) / (N p0)."""
    odds = _ratio(weight @ value, weight @ (1.0 - value))
    return _average_precision(value, prediction, weight, odds * (1.0 - CALIBRATED_PREVALENCE) / CALIBRATED_PREVALENCE)


def _average_precision(value: Floats, prediction: Floats, weight: Floats, inactive_weight: Floats) -> Floats:
    """Return the area with every inactive counted ``inactive_weight`` times, shape (b,)."""
    active, inactive = (part[:, ::-1] for part in _by_score(value, prediction, weight))
    hits, misses = np.cumsum(active, axis=1), np.cumsum(inactive, axis=1)
    seen = hits + inactive_weight[:, None] * misses
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    area = _ratio((precision * active).sum(axis=1), hits[:, -1])
    return np.where(misses[:, -1] > 0, area, np.nan)


def _log_loss(value: Floats, prediction: Floats, weight: Floats) -> Floats:
    if prediction.min() < 0 or prediction.max() > 1:
        raise ParameterError(f"prediction={prediction.max():g} must be a probability from 0 to 1")
    p = np.clip(prediction, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return _ratio(weight @ -(value * np.log(p) + (1 - value) * np.log1p(-p)), weight.sum(axis=1))


def _kendall(value: Floats, prediction: Floats, weight: Floats) -> Floats:
    """Tau-b over all pairs of cells, a pair as often as the product of its weights says; n^2 comparisons."""
    agree, value_pairs, prediction_pairs = np.zeros((3, len(weight)))
    for start in range(0, len(value), KENDALL_ROWS):
        rows = slice(start, start + KENDALL_ROWS)
        by_value = np.sign(value[rows, None] - value)
        by_prediction = np.sign(prediction[rows, None] - prediction)
        agree += ((weight[:, rows] @ (by_value * by_prediction)) * weight).sum(axis=1)
        value_pairs += ((weight[:, rows] @ np.abs(by_value)) * weight).sum(axis=1)
        prediction_pairs += ((weight[:, rows] @ np.abs(by_prediction)) * weight).sum(axis=1)
    return _ratio(agree, np.sqrt(value_pairs * prediction_pairs))


R2_TRAINING = Metric("R2 about the training mean", TaskKind.REGRESSION, True, _r2_training, perfect=1.0)
R2 = Metric("R2 about the test mean", TaskKind.REGRESSION, True, _r2, perfect=1.0)
RMSE = Metric("RMSE", TaskKind.REGRESSION, False, _rmse, perfect=0.0)
KENDALL = Metric("Kendall", TaskKind.REGRESSION, True, _kendall, perfect=1.0)
ROC_AUC = Metric("ROC-AUC", TaskKind.CLASSIFICATION, True, _roc_auc, perfect=1.0)
PR_AUC = Metric("PR-AUC", TaskKind.CLASSIFICATION, True, _pr_auc, perfect=1.0)
PR_AUC_CALIBRATED = Metric("calibrated PR-AUC", TaskKind.CLASSIFICATION, True, _pr_auc_calibrated, perfect=1.0)
LOG_LOSS = Metric("log loss", TaskKind.CLASSIFICATION, False, _log_loss, perfect=0.0)
METRICS = (R2_TRAINING, R2, RMSE, KENDALL, ROC_AUC, PR_AUC, PR_AUC_CALIBRATED, LOG_LOSS)


def counted(value: NDArray[np.float32], prediction: NDArray[np.float32], relation: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return which cells count: uncensored, and with a prediction."""
    return np.asarray((relation == Relation.EQUAL) & np.isfinite(prediction) & np.isfinite(value))


def enough(kind: TaskKind, value: Floats) -> bool:
    """Return whether a task's counted cells allow its metrics (minimum counts, two classes, some spread)."""
    if kind is TaskKind.CLASSIFICATION:
        actives = int((value > 0).sum())
        return min(actives, len(value) - actives) >= MIN_EACH_CLASS
    return len(value) >= MIN_CELLS and float(np.ptp(value)) > 0


def plain(metric: Metric, value: Floats, prediction: Floats) -> float | None:
    """Return the metric of one task's counted cells, or None where it is not defined.

    >>> plain(R2, np.arange(10.0), np.arange(10.0))
    1.0
    >>> plain(R2, np.ones(10), np.ones(10)) is None
    True
    """
    value, prediction = value.astype(np.float64), prediction.astype(np.float64)
    if not enough(metric.kind, value):
        return None
    result = float(metric.of(value, prediction, np.ones((1, len(value))))[0])
    return result if np.isfinite(result) else None
