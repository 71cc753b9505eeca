"""Predictions for every measured cell of a dataset, and their file: what evaluation and membership attacks read.

The file holds the owners' measured values. It belongs to the auditor of a simulation; no partner would hand it over.
"""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset
from securefl.errors import InputError

COLUMNS = ("task", "compound", "value", "relation")


def save_arrays(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write arrays as a compressed npz under a temporary name, then rename: a full disk loses nothing that was there.

    Raises:
        InputError: the file can't be written.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **arrays)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"can't write {path}: {error.strerror}") from error


def save_predictions(path: Path, dataset: Dataset, prediction: NDArray[np.float32]) -> None:
    """Write one prediction for each cell of ``dataset`` (in its order) with the cell itself and its fold.

    Raises:
        InputError: the number of predictions is wrong, or the file can't be written.
    """
    cells = dataset.activities
    if prediction.shape != (len(cells),):
        raise InputError(f"predictions have shape {prediction.shape}, must be ({len(cells)},)")
    save_arrays(
        path,
        {
            **{name: getattr(cells, name) for name in COLUMNS},
            "fold": dataset.fold[cells.compound],
            "prediction": prediction.astype(np.float32),
        },
    )


def load_predictions(path: Path, dataset: Dataset) -> NDArray[np.float32]:
    """Return the predictions in ``path``, aligned with ``dataset.activities``; NaN where the model has none.

    Raises:
        InputError: the file can't be read, or belongs to other cells.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in (*COLUMNS, "prediction")}
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(f"can't read predictions {path}: {error}") from error
    stored = Activities(found["task"], found["compound"], found["value"], found["relation"])
    for name in COLUMNS:
        if not np.array_equal(getattr(stored, name), getattr(dataset.activities, name)):
            raise InputError(f"{path} holds predictions for other cells: its {name} column differs from the dataset")
    return np.asarray(found["prediction"], dtype=np.float32)
