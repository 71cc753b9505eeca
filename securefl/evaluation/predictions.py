"""Predictions for every measured cell of a dataset, and their file: what evaluation and membership attacks read.

The file holds the owners' measured values. It belongs to the auditor of a simulation; no partner would hand it over.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset
from securefl.errors import InputError
from securefl.files import read_bytes, write_bytes

COLUMNS = ("task", "compound", "value", "relation")


def save_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays as a compressed npz under a temporary name, then rename; the same arrays are the same bytes.

    Raises:
        InputError: the file can't be written.
    """
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **dict(sorted(arrays.items())))
    write_bytes(path, content.getvalue())


def load_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[np.generic]]:
    """Return arrays of a file that :func:`save_arrays` wrote.

    Raises:
        InputError: the file can't be read, or lacks one.
    """
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(f"can't read {path}: {error}") from error


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
    found: dict[str, Any] = load_arrays(path, (*COLUMNS, "prediction"))
    stored = Activities(found["task"], found["compound"], found["value"], found["relation"])
    for name in COLUMNS:
        if not np.array_equal(getattr(stored, name), getattr(dataset.activities, name)):
            raise InputError(f"{path} holds predictions for other cells: its {name} column differs from the dataset")
    return np.asarray(found["prediction"], dtype=np.float32)
