"""Pairs of a compound and a task that nobody measured: where a model is used, and where no metric can look.

A pair is a TEST compound of a partner's own library with one of its own tasks in which it has no value. What a model says there
can't be checked; how often it is sure enough to answer can be counted (:mod:`securefl.evaluation.conformal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset, Fold

MOST = 20_000
"""More pairs are sampled down to so many, the same ones for every arm."""
SAMPLE_SEED = 20261121


@dataclass(frozen=True, slots=True, kw_only=True)
class Unannotated:
    """The pairs, and what the arm and standalone say there, one vector a seed; standalone may be missing."""

    pairs: Activities
    arm: Sequence[NDArray[np.float32]]
    standalone: Sequence[NDArray[np.float32]] = ()


def unannotated_pairs(dataset: Dataset, *, most: int = MOST) -> Activities:
    """Return the pairs in the order of tasks and compounds; their values are NaN, because there are none."""
    cells = dataset.activities
    tested = np.flatnonzero(dataset.fold == Fold.TEST).astype(np.int32)
    owner = np.array([task.partner for task in dataset.tasks], dtype=np.int32)
    columns = []
    for partner in range(len(dataset.partners)):
        library = np.intersect1d(tested, cells.compound[owner[cells.task] == partner])
        for task in dataset.tasks_of(partner):
            missing = np.setdiff1d(library, cells.compound[cells.task == task])
            columns.append((np.full(len(missing), task, dtype=np.int32), missing))
    task = np.concatenate([part for part, _ in columns])
    compound = np.concatenate([part for _, part in columns]).astype(np.int32)
    if len(task) > most:
        rows = np.sort(np.random.default_rng(SAMPLE_SEED).choice(len(task), most, replace=False))
        task, compound = task[rows], compound[rows]
    return Activities(task, compound, np.full(len(task), np.nan, np.float32), np.zeros(len(task), np.int8))
