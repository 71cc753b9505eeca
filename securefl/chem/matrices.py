"""Prepared matrices as MELLODDY-TUNER writes and SparseChem reads them, in both directions.

A folder of one partner holds, for ``kind`` ``cls``, ``clsaux`` or ``reg``: ``{kind}_T11_x.npz`` (CSR fingerprints, bits or
counts), ``{kind}_T10_y.npz`` (CSR labels: -1 and 1, or values), ``{kind}_T11_fold_vector.npy``, ``{kind}_weights.csv`` (of each
task its training weight, and aggregation weight 0 if it is not judged), and ``reg_T10_censor_y.npz``. ``cls`` has the judged
classifications; where there are others, ``clsaux`` has both, as TUNER does it. Folds: 0 is the test fold, 4 validation, 1 to
3 training; the audit fold is 5, which TUNER doesn't know and no trainer reads.

The matrices hold no structures: read back, a compound is a row number, every row is a cluster of its own (so intervals that
bootstrap clusters are too narrow), and compounds of different partners are never matched.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset, Fold, Task, TaskKind
from securefl.chem.fingerprint import MOST
from securefl.chem.folder import content_sha256
from securefl.errors import InputError

Kind = Literal["cls", "clsaux", "reg"]
KINDS: dict[Kind, TaskKind] = {
    "cls": TaskKind.CLASSIFICATION, "clsaux": TaskKind.CLASSIFICATION, "reg": TaskKind.REGRESSION,
}  # fmt: skip
TEST, TRAIN, VALIDATION, AUDIT = 0, (1, 2, 3), 4, 5
_FOLD = {TEST: Fold.TEST, 1: Fold.TRAIN, 2: Fold.TRAIN, 3: Fold.TRAIN, VALIDATION: Fold.VALIDATION, AUDIT: Fold.AUDIT}


def write_matrices(dataset: Dataset, partner: int, folder: Path) -> None:
    """Write what ``partner`` owns into the new folder ``folder``, complete or not at all.

    Raises:
        InputError: ``folder`` exists, or can't be written.
    """
    if folder.exists():
        raise InputError(f"output folder {folder} exists: choose a new one")
    temporary = folder.with_name(folder.name + ".partial")
    try:
        temporary.mkdir(parents=True)
        for kind in KINDS:
            tasks = _tasks_of(dataset, partner, kind)
            if tasks:
                _write_kind(dataset, kind, tasks, temporary)
        temporary.replace(folder)
    except OSError as error:
        raise InputError(f"can't write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_matrices(folders: Mapping[str, Path], kind: Kind) -> Dataset:
    """Return the prepared matrices of several partners as one dataset; ``folders`` maps each one's name to its folder.

    Raises:
        InputError: a file is missing or can't be read, or shapes don't agree; the message names file and shapes.
    """
    if not folders:
        raise InputError("read_matrices: no folder given")
    parts = [_read_kind(folder, kind, number) for number, folder in enumerate(folders.values())]
    widths = {part.bits for part in parts}
    if len(widths) > 1:
        raise InputError(f"partners' fingerprints have {sorted(widths)} bits: they must agree")
    rows = np.cumsum([0, *(len(part.inchikeys) for part in parts)])
    first_task = np.cumsum([0, *(len(part.tasks) for part in parts)])
    names = [f"row-{i}" for i in range(int(rows[-1]))]
    dataset = Dataset(
        inchikeys=tuple(names),
        smiles=("",) * len(names),
        fingerprints=sp.vstack([part.fingerprints for part in parts], format="csr"),
        fold=np.concatenate([part.fold for part in parts]),
        cluster=np.arange(len(names), dtype=np.int32),
        tasks=tuple(task for part in parts for task in part.tasks),
        partners=tuple(folders),
        activities=Activities(
            np.concatenate([part.activities.task + np.int32(start) for part, start in zip(parts, first_task, strict=False)]),
            np.concatenate([part.activities.compound + np.int32(start) for part, start in zip(parts, rows, strict=False)]),
            np.concatenate([part.activities.value for part in parts]),
            np.concatenate([part.activities.relation for part in parts]),
        ),
        sha256="",
        name=f"{kind} matrices of {len(parts)} partners",
    )
    return replace(dataset, sha256=content_sha256(dataset))


def _tasks_of(dataset: Dataset, partner: int, kind: Kind) -> list[int]:
    """Return the tasks of ``partner`` that belong into the files of ``kind``."""
    own = [i for i in dataset.tasks_of(partner).tolist() if dataset.tasks[i].kind is KINDS[kind]]
    judged = [i for i in own if dataset.tasks[i].judged]
    if kind == "reg":
        return own
    if kind == "cls":
        return judged
    return own if len(own) > len(judged) else []


def _write_kind(dataset: Dataset, kind: Kind, tasks: list[int], folder: Path) -> None:
    cells = dataset.activities.select(np.isin(dataset.activities.task, tasks))
    compounds, row = np.unique(cells.compound, return_inverse=True)
    column = np.searchsorted(tasks, cells.task)
    shape = (len(compounds), len(tasks))
    # Class 0 is -1, and the sparse constructor keeps an explicit 0: what is not stored was not measured.
    value = cells.value if kind == "reg" else cells.value * 2 - 1
    sp.save_npz(folder / f"{kind}_T11_x.npz", dataset.fingerprints[compounds].astype(np.float32))
    sp.save_npz(folder / f"{kind}_T10_y.npz", sp.csr_matrix((value.astype(np.float32), (row, column)), shape=shape))
    if kind == "reg":
        relation = sp.csr_matrix((cells.relation.astype(np.float32), (row, column)), shape=shape)
        relation.eliminate_zeros()
        sp.save_npz(folder / "reg_T10_censor_y.npz", relation)
    np.save(folder / f"{kind}_T11_fold_vector.npy", _tuner_folds(dataset.fold[compounds], dataset.cluster[compounds]))
    with (folder / f"{kind}_weights.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("task_id", "task_type", "training_weight", "aggregation_weight"))
        # The task's number, not its name: the file leaves the partner with the model's metadata.
        rows = ((number, dataset.tasks[task]) for number, task in enumerate(tasks))
        writer.writerows((number, "OTHER" if t.judged else "AUX_HTS", t.weight, int(t.judged)) for number, t in rows)


def _tuner_folds(fold: NDArray[np.int8], cluster: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return TUNER's fold numbers; whole clusters are spread over the three training folds."""
    given = {Fold.TEST: TEST, Fold.VALIDATION: VALIDATION, Fold.AUDIT: AUDIT}
    train = 1 + cluster.astype(np.int64) % len(TRAIN)
    return np.where(fold == Fold.TRAIN, train, np.array([given.get(Fold(one), 0) for one in fold.tolist()], dtype=np.int64))


def _read_kind(folder: Path, kind: Kind, partner: int) -> Dataset:
    x = _load_csr(folder / f"{kind}_T11_x.npz")
    if x.nnz and not (np.isfinite(x.data).all() and x.data.min() >= 0):
        raise InputError(f"{folder}: {kind}_T11_x.npz holds values that are negative or not finite, must hold bits or counts")
    y = _load_csr(folder / f"{kind}_T10_y.npz").tocoo()
    fold = _load_folds(folder / f"{kind}_T11_fold_vector.npy")
    for name, rows in (("y", y.shape[0]), ("fold_vector", len(fold))):
        if rows != x.shape[0]:
            raise InputError(f"{folder}: {kind} {name} has {rows} rows, must be {x.shape[0]} as x has")
    values = y.data.astype(np.float32)
    if kind != "reg":
        if not np.isin(values, (-1, 1)).all():
            raise InputError(f"{folder}: {kind}_T10_y.npz holds values other than -1 and 1")
        values = (values + 1) / 2
    order = np.lexsort((y.row, y.col))
    cells = Activities(y.col.astype(np.int32), y.row.astype(np.int32), values, _relations(folder, kind, y)).select(order)
    return Dataset(
        inchikeys=("",) * x.shape[0],
        smiles=("",) * x.shape[0],
        fingerprints=_bytes(x),
        fold=fold,
        cluster=np.arange(x.shape[0], dtype=np.int32),
        tasks=_tasks(folder / f"{kind}_weights.csv", partner, KINDS[kind], y.shape[1]),
        partners=(folder.name,),
        activities=cells,
        sha256="",
    )


def _tasks(path: Path, partner: int, kind: TaskKind, count: int) -> tuple[Task, ...]:
    """Return the tasks with the weights that ``path`` lists, or all alike if there is no such file."""
    if not path.exists():
        return tuple(Task(partner, str(number), kind) for number in range(count))
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            listed = list(csv.DictReader(handle))
        rows = {int(row["task_id"]): row for row in listed}
        weights = {number: float(row["training_weight"]) for number, row in rows.items()}
        # Older files have no aggregation weight: what they list is judged.
        judged = {number: float(row.get("aggregation_weight") or 1) > 0 for number, row in rows.items()}
    except (OSError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no table of task_id, training_weight, aggregation_weight: {error}") from error
    if sorted(rows) != list(range(count)) or len(listed) != count:
        raise InputError(f"{path} lists {len(listed)} tasks, must list 0 to {count - 1} once each as y has columns")
    if not all(np.isfinite(weight) and weight >= 0 for weight in weights.values()):
        raise InputError(f"{path}: a training_weight is negative or not finite")
    return tuple(Task(partner, str(number), kind, weights[number], judged[number]) for number in range(count))


def _bytes(x: sp.csr_matrix) -> sp.csr_matrix:
    """Return the fingerprints as a uint8 matrix with sorted indices: ones, or counts up to 255."""
    x.eliminate_zeros()
    x.sort_indices()
    data = np.clip(np.rint(x.data.astype(np.float64)), 1, MOST).astype(np.uint8)
    matrix = sp.csr_matrix((data, x.indices.astype(np.int32), x.indptr.astype(np.int32)), shape=x.shape)
    matrix.has_sorted_indices = True
    return matrix


def _relations(folder: Path, kind: Kind, y: sp.coo_matrix) -> NDArray[np.int8]:
    path = folder / f"{kind}_T10_censor_y.npz"
    if kind != "reg" or not path.exists():
        return np.zeros(y.nnz, dtype=np.int8)
    censor = _load_csr(path)
    if censor.shape != y.shape:
        raise InputError(f"{path} has shape {censor.shape}, must be {y.shape} as y has")
    sign = np.sign(np.asarray(censor[y.row, y.col], dtype=np.float64).ravel())
    return np.asarray(sign, dtype=np.int8)


def _load_csr(path: Path) -> sp.csr_matrix:
    try:
        stored = sp.load_npz(path)
        matrix = stored.tocsr(copy=True)
        matrix.sum_duplicates()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        raise InputError(f"{path} is not a sparse matrix: {str(error).splitlines()[0]}") from error
    if matrix.nnz != stored.nnz:
        raise InputError(f"{path} holds {stored.nnz - matrix.nnz} entries more than once, must hold each once")
    return matrix


def _load_folds(path: Path) -> NDArray[np.int8]:
    try:
        numbers = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not an array: {error}") from error
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise InputError(f"{path} has shape {numbers.shape} of {numbers.dtype}, must be one row of numbers")
    # A half is no fold, and not the one below it.
    unknown = sorted(set(numbers.tolist()) - set(_FOLD))
    if unknown:
        raise InputError(f"{path}: fold {unknown[0]} is unknown, must be 0 to {AUDIT}")
    return np.array([_FOLD[int(one)] for one in numbers.tolist()], dtype=np.int8)
