"""New molecules under a partner's own model: a table in, the same rows out with a column for each task.

Every row of the input is in the output. One that can't be read has the reason in place of predictions. Where the owner's
dataset is at hand, ``nearest`` says how similar each molecule is to the nearest one that its owner trained on: far from all of
them, a prediction is a guess.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset, Fold
from securefl.chem.encoding import Encoded, encode
from securefl.chem.graphs import graphs_of
from securefl.chem.rejects import Reject, Stage
from securefl.chem.table import read_arrow, require_columns
from securefl.errors import InputError
from securefl.evaluation.applicability import nearest
from securefl.files import write_bytes
from securefl.learning.fine_tune import owner_in
from securefl.learning.model import predict_all
from securefl.learning.owned import OwnedModel
from securefl.types import Progress, Secret, silent

OWN_COLUMNS = ("row", "smiles", "nearest", "reject")
"""Columns beside those of the tasks; a task of such a name gets its number behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Predictions for the rows of a table.

    Attributes:
        smiles: as they were given. value: float32 (n, tasks), pX or the probability of class 1, NaN where refused.
        nearest: float64 (n,), Tanimoto similarity to the owner's nearest training compound; ``None`` without its dataset.
        rejects: rows from 1, with the reason.
    """

    smiles: tuple[str, ...]
    tasks: tuple[str, ...]
    value: NDArray[np.float32]
    nearest: NDArray[np.float64] | None
    rejects: tuple[Reject, ...]


def read_smiles(path: Path, column: str = "smiles") -> tuple[str, ...]:
    """Return the structures in a table (.csv, .csv.gz or .parquet), blank where a cell is.

    Raises:
        InputError: the file can't be read, has no such column, or no row.
    """
    content = read_arrow(path)
    require_columns(path, content.column_names, (column,))
    texts = tuple("" if cell is None else str(cell).strip() for cell in content[column].to_pylist())
    if not texts:
        raise InputError(f"table {path} has 0 rows, must have >= 1")
    return texts


def score(
    owned: OwnedModel,
    smiles: tuple[str, ...],
    *,
    key: Secret | None = None,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Scores:
    """Return the predictions of ``owned`` for ``smiles``, one row each.

    Args:
        key: what ordered the fingerprints' bits, unless the public key did.
        data: the owner's dataset, for ``nearest``.

    Raises:
        InputError: the model doesn't say how its fingerprints are made, or ``data`` lacks its owner or has other ones.
        VerificationError: ``key`` is not the one of the fingerprints.
    """
    if owned.encoding is None:
        raise InputError("the model doesn't say how its fingerprints are made: prepare the data with securefl and train again")
    found = encode(smiles, owned.encoding, key=key, progress=progress)
    value = np.full((len(smiles), len(owned.tasks)), np.nan, dtype=np.float32)
    if len(found.row):
        value[found.row] = predict_all(owned.model, owned.number, _as_dataset(found, owned))
    near = None
    if data is not None:
        near = np.full(len(smiles), np.nan)
        near[found.row] = _nearest(found, owned, data)
    blank = (Stage.READ, "blank smiles")
    rejects = tuple(one if smiles[one.row - 1] else Reject(one.row, *blank) for one in found.rejects)
    names = tuple(task.name for task in owned.tasks)
    return Scores(smiles=smiles, tasks=names, value=value, nearest=near, rejects=rejects)


def _as_dataset(found: Encoded, owned: OwnedModel) -> Dataset:
    count = len(found.row)
    none = np.zeros(0)
    return Dataset(
        inchikeys=found.inchikeys,
        smiles=found.smiles,
        fingerprints=found.fingerprints,
        fold=np.zeros(count, dtype=np.int8),
        cluster=np.zeros(count, dtype=np.int32),
        tasks=(),
        partners=(),
        activities=Activities(none.astype(np.int32), none.astype(np.int32), none.astype(np.float32), none.astype(np.int8)),
        sha256="",
        graphs=None if owned.model.graph is None else graphs_of(found.smiles),
    )


def _nearest(found: Encoded, owned: OwnedModel, data: Dataset) -> NDArray[np.float64]:
    if data.encoding != owned.encoding:
        raise InputError("the dataset's fingerprints are made in another way than the model's: similarities would mean nothing")
    known = np.unique(data.cells(owner_in(data, owned), Fold.TRAIN).compound)
    return nearest(found.fingerprints, data.fingerprints[known])


def columns_of(scores: Scores) -> dict[str, list[object]]:
    """Return the output table by column: row, smiles, a column a task, nearest (where known), reject."""
    columns: dict[str, list[object]] = {"row": list(range(1, len(scores.smiles) + 1)), "smiles": list(scores.smiles)}
    for number, task in enumerate(scores.tasks):
        name = task if task not in (*OWN_COLUMNS, *columns) else f"{task} ({number + 1})"
        columns[name] = [_number(value) for value in scores.value[:, number].tolist()]
    if scores.nearest is not None:
        columns["nearest"] = [_number(value) for value in scores.nearest.tolist()]
    reasons = {reject.row: reject.reason for reject in scores.rejects}
    columns["reject"] = [reasons.get(row, "") for row in range(1, len(scores.smiles) + 1)]
    return columns


def as_csv(scores: Scores) -> str:
    """Return the output table as CSV; numbers have four decimals."""
    columns = columns_of(scores)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*([_cell(value) for value in column] for column in columns.values()), strict=True))
    return text.getvalue()


def write_scores(scores: Scores, path: Path) -> None:
    """Write the output table as .csv or .parquet.

    Raises:
        InputError: the name ends otherwise, or the file can't be written; what was there is unchanged then.
    """
    if path.suffix == ".csv":
        write_bytes(path, as_csv(scores).encode())
    elif path.suffix == ".parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table(columns_of(scores)), sink, compression="zstd")
        write_bytes(path, sink.getvalue())
    else:
        raise InputError(f"output {path} must end in .csv or .parquet")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _cell(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value
