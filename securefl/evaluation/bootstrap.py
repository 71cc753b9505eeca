"""Cluster bootstrap: intervals that treat a scaffold cluster, not a cell or a task, as the unit that was drawn.

Compounds of one cluster resemble one another and recur in several tasks, so resampling cells or tasks alone gives
intervals that are too narrow. A resample draws as many clusters as there are, with replacement, once for all tasks and
all models; two models that are compared see the same resamples (paired). Percentile intervals (Efron and Tibshirani
1993, section 13.3). They cover the choice of test compounds; not the choice of targets, nor of training data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.errors import ParameterError
from securefl.measures import IntervalRecord

RESAMPLES = 500
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class ClusterResamples:
    """How often each cluster was drawn in each resample.

    Attributes:
        times: float64, shape (b, clusters).
        column: cluster number -> column, shape (largest cluster + 1,); -1 for a cluster that is not resampled.
    """

    times: NDArray[np.float64]
    column: NDArray[np.int64]

    def weights(self, cluster: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the weight of each cell in each resample, shape (b, n), for cells in ``cluster`` (n,)."""
        return self.times[:, self.column[cluster]]


def resample_clusters(
    cluster: NDArray[np.int32], *, generator: np.random.Generator, resamples: int = RESAMPLES
) -> ClusterResamples:
    """Return ``resamples`` draws of the distinct clusters in ``cluster``.

    Raises:
        ParameterError: there is nothing to draw from, or no resample is asked for.
    """
    present = np.unique(cluster)
    if len(present) == 0 or resamples < 1:
        raise ParameterError(f"clusters={len(present)} and resamples={resamples} must be >= 1")
    share = np.full(len(present), 1.0 / len(present))
    times = generator.multinomial(len(present), share, size=resamples).astype(np.float64)
    column = np.full(int(present[-1]) + 1, -1, dtype=np.int64)
    column[present] = np.arange(len(present))
    return ClusterResamples(times, column)


def interval_record(estimate: float, samples: NDArray[np.float64], *, level: float = LEVEL) -> IntervalRecord:
    """Return ``estimate`` with the percentile interval of its resamples; NaN resamples are left out.

    >>> interval_record(2.0, np.arange(101.0), level=0.5)
    IntervalRecord(mean=2.0, low=25.0, high=75.0)

    Raises:
        ParameterError: no resample is defined.
    """
    defined = samples[np.isfinite(samples)]
    if len(defined) == 0:
        raise ParameterError(f"defined resamples=0 of {len(samples)} must be >= 1")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return IntervalRecord(mean=estimate, low=float(low), high=float(high))


def over_tasks_and_seeds(
    values: NDArray[np.float64], *, generator: np.random.Generator, resamples: int = RESAMPLES
) -> IntervalRecord:
    """Return the mean of ``values``, shape (seeds, tasks), with an interval that redraws both seeds and tasks.

    With one seed only the tasks vary. Differences that are paired by seed and task before they come here stay paired.

    Raises:
        ParameterError: there is no task or no seed.
    """
    seeds, tasks = values.shape
    if min(seeds, tasks, resamples) < 1:
        raise ParameterError(f"seeds={seeds}, tasks={tasks} and resamples={resamples} must be >= 1")
    of_tasks = generator.multinomial(tasks, np.full(tasks, 1.0 / tasks), size=resamples) / tasks
    of_seeds = generator.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=resamples) / seeds
    return interval_record(float(values.mean()), np.einsum("bs,st,bt->b", of_seeds, values, of_tasks, optimize=True))


def mean_over_tasks(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over tasks of each resample, shape (b, tasks) -> (b,); undefined tasks are left out of it."""
    defined = np.isfinite(samples)
    counts = defined.sum(axis=1)
    totals = np.where(defined, samples, 0.0).sum(axis=1)
    means: NDArray[np.float64] = np.divide(totals, counts, out=np.full(len(samples), np.nan), where=counts > 0)
    return means
