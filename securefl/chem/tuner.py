"""MELLODDY-TUNER's tables (release 3): T0 the assays, T1 the activities, T2 the structures, as one long table and back.

An assay that T0 marks ``use_in_regression`` is a task of measured values; each of its expert thresholds is a task of
classes, 1 where the value reaches the threshold. A censored value on the undecided side of a threshold (``> 5`` against 6)
has no class and is rejected.

The 10**x trap: TUNER's input is logarithmic, but exports exist whose pooled assays hold 10**x instead. The rule: an assay
whose values are all positive, and one of them above :data:`LARGEST`, is taken for such an assay and its logarithm is used;
the table's ``notes`` say of how many assays and values. A logarithm of a concentration never comes near that bound.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from securefl.chem.dataset import Relation
from securefl.chem.rejects import Reject, Stage
from securefl.chem.table import Columns, Labels, Table, read_arrow, table_of
from securefl.errors import InputError

LARGEST = 1_000.0
THRESHOLDS = tuple(f"expert_threshold_{i}" for i in range(1, 6))
T0_COLUMNS = ("input_assay_id", "assay_type", "use_in_regression", *THRESHOLDS, "direction")
T1_COLUMNS = ("input_compound_id", "input_assay_id", "standard_qualifier", "standard_value")
T2_COLUMNS = ("input_compound_id", "smiles")
SYMBOLS = {Relation.LESS: "<", Relation.EQUAL: "=", Relation.GREATER: ">"}


@dataclass(frozen=True, slots=True)
class Assay:
    """A row of T0."""

    name: str
    regression: bool
    thresholds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one task: ``rows`` are positions in T1's table."""

    task: str
    rows: NDArray[np.int64]
    value: NDArray[np.float64]
    relation: NDArray[np.int8]


def read_tuner(assays: Path, activities: Path, structures: Path) -> Table:
    """Return T0, T1 and T2 as a long table; row numbers are those of T1.

    Raises:
        InputError: a file can't be read, a column is missing, a value is NaN or infinite, or no row is usable.
    """
    catalogue = {assay.name: assay for assay in _assays(assays)}
    t1, smiles_of = _columns(activities, T1_COLUMNS), _structures(structures)
    compound = t1["input_compound_id"].to_pylist()
    # A compound without a structure keeps a blank cell, which the long table's reader rejects with its row number.
    joined = pa.table({
        "smiles": pa.array([smiles_of.get(one or "") for one in compound], type=pa.string()),
        "task": t1["input_assay_id"], "value": t1["standard_value"], "relation": t1["standard_qualifier"],
    })  # fmt: skip
    table = table_of(joined, Columns(), name=activities.name)
    rejects = [*table.rejects]
    parts: list[_Part] = []
    undone: list[int] = []
    for code, name in enumerate(table.task.names):
        rows = np.flatnonzero(table.task.code == code)
        if name not in catalogue:
            rejects += _refused(table, rows, f"assay is not in {assays.name}")
            continue
        value, was_power = _logarithmic(table.value[rows])
        undone += [len(rows)] * was_power
        parts += _tasks(catalogue[name], rows, value, table.relation[rows])
        rejects += _undecided(table, catalogue[name], rows, value)
    if not parts:
        raise InputError(f"{activities}: no activity belongs to an assay of {assays}")
    note = f"10**x undone by log10 in {len(undone)} assays with {sum(undone)} values (all positive, one above {LARGEST:g})"
    return _assemble(table, parts, rejects, (note,) if undone else ())


def write_tuner(table: Table, folder: Path) -> None:
    """Write ``table`` as T0.csv, T1.csv and T2.csv into ``folder``; tasks of 0 and 1 get the expert threshold 0.5.

    Raises:
        InputError: one of the files is there already, or can't be written.
    """
    classes = np.bincount(table.task.code[(table.value != 0) & (table.value != 1)], minlength=len(table.task.names)) == 0
    t0 = ((name, "OTHER", not one, 0.5 if one else "", "", "", "", "", "high")
          for name, one in zip(table.task.names, classes.tolist(), strict=True))  # fmt: skip
    columns = (table.smiles.code.tolist(), table.task.code.tolist(), table.relation.tolist(), table.value.tolist())
    t1 = ((f"C{compound}", table.task.names[task], SYMBOLS[Relation(relation)], repr(value))
          for compound, task, relation, value in zip(*columns, strict=True))  # fmt: skip
    t2 = ((f"C{i}", smiles) for i, smiles in enumerate(table.smiles.names))
    _write(folder / "T0.csv", T0_COLUMNS, t0)
    _write(folder / "T1.csv", T1_COLUMNS, t1)
    _write(folder / "T2.csv", T2_COLUMNS, t2)


def _columns(path: Path, wanted: Iterable[str]) -> pa.Table:
    content = read_arrow(path)
    missing = [name for name in wanted if name not in content.column_names]
    if missing:
        raise InputError(f"table {path}: missing column {', '.join(missing)}; found: {', '.join(content.column_names)}")
    return content


def _assays(path: Path) -> Iterator[Assay]:
    content = _columns(path, ("input_assay_id", "use_in_regression"))
    for row in content.to_pylist():
        given = [row.get(name) for name in THRESHOLDS]
        try:
            thresholds = tuple(float(one) for one in given if one not in (None, ""))
        except ValueError as error:
            raise InputError(f"table {path}: assay {row['input_assay_id']}: a threshold is not a number") from error
        yield Assay(str(row["input_assay_id"]), str(row["use_in_regression"]).strip().lower() in ("true", "1"), thresholds)


def _structures(path: Path) -> dict[str, str | None]:
    content = _columns(path, T2_COLUMNS)
    return dict(zip(content["input_compound_id"].to_pylist(), content["smiles"].to_pylist(), strict=True))


def _logarithmic(value: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """Return the values, or their logarithms where the rule says that they are 10**x, and whether it did."""
    if value.min() > 0 and value.max() > LARGEST:
        return np.log10(value), True
    return value, False


def _tasks(assay: Assay, rows: NDArray[np.int64], value: NDArray[np.float64], relation: NDArray[np.int8]) -> Iterator[_Part]:
    if assay.regression:
        yield _Part(assay.name, rows, value, relation)
    for threshold in assay.thresholds:
        above, below = _sides(value, relation, threshold)
        decided = above | below
        name = assay.name if len(assay.thresholds) == 1 and not assay.regression else f"{assay.name} >= {threshold:g}"
        yield _Part(name, rows[decided], above[decided].astype(np.float64), np.zeros(int(decided.sum()), dtype=np.int8))


def _sides(
    value: NDArray[np.float64], relation: NDArray[np.int8], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which values certainly reach the threshold, and which certainly don't; some do neither."""
    above = (relation >= 0) & (value >= threshold)
    # A value below v is below the threshold if v is not above it.
    below = ((relation == 0) & (value < threshold)) | ((relation < 0) & (value <= threshold))
    return np.asarray(above), np.asarray(below)


def _undecided(table: Table, assay: Assay, rows: NDArray[np.int64], value: NDArray[np.float64]) -> list[Reject]:
    """Reject the rows of an assay that none of its tasks can use."""
    if assay.regression:
        return []
    if not assay.thresholds:
        return _refused(table, rows, "assay has neither regression nor a threshold")
    used = np.zeros(len(rows), dtype=bool)
    for threshold in assay.thresholds:
        above, below = _sides(value, table.relation[rows], threshold)
        used |= above | below
    return _refused(table, rows[~used], "censored value on the undecided side of every threshold")


def _refused(table: Table, rows: NDArray[np.int64], reason: str) -> list[Reject]:
    return [Reject(int(row), Stage.ACTIVITY, reason) for row in table.row[rows]]


def _assemble(table: Table, parts: list[_Part], rejects: list[Reject], notes: tuple[str, ...]) -> Table:
    rows = np.concatenate([part.rows for part in parts])
    sizes = [len(part.rows) for part in parts]
    return Table(
        smiles=Labels(table.smiles.names, table.smiles.code[rows]),
        task=Labels(tuple(part.task for part in parts), np.repeat(np.arange(len(parts), dtype=np.int32), sizes)),
        value=np.concatenate([part.value for part in parts]),
        relation=np.concatenate([part.relation for part in parts]),
        row=table.row[rows],
        rejects=tuple(rejects),
        name=table.name,
        notes=notes,
    )


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    temporary = path.with_name(path.name + ".partial")
    if path.exists():
        raise InputError(f"{path} exists: choose another folder, or delete it yourself")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"can't write {path}: {error.strerror}") from error
