"""Pairs of a compound and a task that nobody measured: where a model is used, and where no metric can look.

A pair is a TEST compound of a partner's own library with one of its own judged tasks in which it has no value. What a model
says there can't be checked; how often it is sure enough to answer can be counted (:mod:`securefl.evaluation.conformal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset, Fold
from securefl.errors import InputError
from securefl.evaluation.predictions import load_arrays, save_arrays
from securefl.files import exists
from securefl.learning.model import Model, predict

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
    columns = [(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))]
    for partner in range(len(dataset.partners)):
        library = np.intersect1d(tested, cells.compound[owner[cells.task] == partner])
        for task in (one for one in dataset.tasks_of(partner) if dataset.tasks[one].judged):
            missing = np.setdiff1d(library, cells.compound[cells.task == task])
            columns.append((np.full(len(missing), task, dtype=np.int32), missing))
    task = np.concatenate([part for part, _ in columns])
    compound = np.concatenate([part for _, part in columns]).astype(np.int32)
    if len(task) > most:
        rows = np.sort(np.random.default_rng(SAMPLE_SEED).choice(len(task), most, replace=False))
        task, compound = task[rows], compound[rows]
    return Activities(task, compound, np.full(len(task), np.nan, np.float32), np.zeros(len(task), np.int8))


def predict_pairs(models: Sequence[Model], dataset: Dataset, pairs: Activities) -> NDArray[np.float32]:
    """Return a prediction for each pair from the model that has its owner's heads, NaN where none has.

    Raises:
        InputError: a model doesn't fit the dataset.
    """
    owner = np.array([task.partner for task in dataset.tasks], dtype=np.int32)[pairs.task]
    result = np.full(len(pairs), np.nan, dtype=np.float32)
    for model in models:
        mine = np.flatnonzero(np.isin(owner, list(model.heads)))
        result[mine] = predict(model, dataset, pairs.select(mine))
    return result


def save_pairs(path: Path, pairs: Activities, prediction: NDArray[np.float32]) -> None:
    """Write what a model says of ``pairs``.

    Raises:
        InputError: the file can't be written.
    """
    save_arrays(path, {"task": pairs.task, "compound": pairs.compound, "prediction": prediction})


def load_pairs(path: Path, pairs: Activities) -> NDArray[np.float32] | None:
    """Return what :func:`save_pairs` wrote there, ``None`` if there is nothing.

    Raises:
        InputError: the file can't be read, or belongs to other pairs.
    """
    if not exists(path):
        return None
    found = load_arrays(path, ("task", "compound", "prediction"))
    if not (np.array_equal(found["task"], pairs.task) and np.array_equal(found["compound"], pairs.compound)):
        raise InputError(f"{path} holds predictions for other pairs of task and compound")
    return np.asarray(found["prediction"], dtype=np.float32)
