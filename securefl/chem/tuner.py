"""MELLODDY-TUNER's tables (release 3): T0 the assays, T1 the activities, T2 the structures, as one long table and back.

An assay that T0 marks ``use_in_regression`` is a task of measured values; each of its expert thresholds is a task of
classes (:mod:`securefl.chem.thresholds`), where its ``direction`` is low one at or below it. Assays of type AUX_HTS and AUX_PL
are auxiliary and weigh a tenth.

The 10**x trap: TUNER's input is logarithmic, but exports exist whose pooled assays hold 10**x instead. The rule: an assay
whose values are all positive, and one of them above :data:`LARGEST`, is taken for such an assay and its logarithm is used;
the table's ``notes`` say of how many assays and values. A logarithm of a concentration never comes near that bound. On the
public set every bound from 20 to 1,000 finds the same 85 assays (31,398 values); bounds that look safer miss some (1e6: 66,
1e7: 55). A catalogue of linear values that are meant so (clearance in uL/min) is the rule's blind spot: switch it off there.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Relation
from securefl.chem.roles import AUXILIARY_WEIGHT, read_flag
from securefl.chem.table import PLAIN, Columns, Labels, Role, Table, read_arrow, require_columns, table_of
from securefl.chem.thresholds import Assay, Part, assemble, refused, tasks_of
from securefl.errors import InputError

LARGEST = 1_000.0
THRESHOLDS = tuple(f"expert_threshold_{i}" for i in range(1, 6))
T0_COLUMNS = ("input_assay_id", "assay_type", "use_in_regression", *THRESHOLDS, "direction")
T1_COLUMNS = ("input_compound_id", "input_assay_id", "standard_qualifier", "standard_value")
T2_COLUMNS = ("input_compound_id", "smiles")
LOW = {"": False, "high": False, "low": True}
"""Whether low values are the active ones, by T0's ``direction``."""
SYMBOLS = {Relation.LESS: "<", Relation.EQUAL: "=", Relation.GREATER: ">"}


def read_tuner(assays: Path, activities: Path, structures: Path, *, undo_powers: bool = True) -> Table:
    """Return T0, T1 and T2 as a long table; row numbers are those of T1.

    Args:
        undo_powers: apply the rule of the 10**x trap; without it every value stays as it is.

    Raises:
        InputError: a file can't be read, a column is missing, an assay is listed twice, a compound has two structures, a value
            is NaN or infinite, or no row is usable.
    """
    catalogue: dict[str, Assay] = {}
    for assay in _assays(assays):
        if assay.name in catalogue:
            raise InputError(f"table {assays}: assay {assay.name!r} occurs more than once")
        catalogue[assay.name] = assay
    t1, smiles_of = _columns(activities, T1_COLUMNS), _structures(structures)
    compound = t1["input_compound_id"].to_pylist()
    # A compound without a structure keeps a blank cell, which the long table's reader rejects with its row number.
    joined = pa.table({
        "smiles": pa.array([smiles_of.get(one or "") for one in compound], type=pa.string()),
        "task": t1["input_assay_id"], "value": t1["standard_value"], "relation": t1["standard_qualifier"],
    })  # fmt: skip
    table = table_of(joined, Columns(), name=activities.name)
    rejects = [*table.rejects]
    parts: list[Part] = []
    undone: list[int] = []
    for name, rows in zip(table.task.names, table.task.rows(), strict=True):
        if name not in catalogue:
            rejects += refused(table, rows, f"assay is not in {assays.name}")
            continue
        value, was_power = _logarithmic(table.value[rows]) if undo_powers else (table.value[rows], False)
        undone += [len(rows)] * was_power
        made, unused = tasks_of(catalogue[name], table, rows, value)
        parts += made
        rejects += unused
    if not parts:
        raise InputError(f"{activities}: no activity belongs to an assay of {assays}")
    note = f"10**x undone by log10 in {len(undone)} assays with {sum(undone)} values (all positive, one above {LARGEST:g})"
    return assemble(replace(table, notes=(note,) if undone else ()), parts, rejects)


def tuner_files(folder: Path) -> tuple[Path, Path, Path]:
    """Return T0, T1 and T2 in ``folder``, each as .csv, .csv.gz or .parquet.

    Raises:
        InputError: one of them is missing.
    """
    found = []
    for name in ("T0", "T1", "T2"):
        paths = [folder / f"{name}{end}" for end in (".csv", ".csv.gz", ".parquet")]
        there = [path for path in paths if path.is_file()]
        if not there:
            raise InputError(f"folder {folder}: {name}.csv (or .csv.gz, .parquet) is missing")
        found.append(there[0])
    return found[0], found[1], found[2]


def table_of_partner(dataset: Dataset, partner: int) -> Table:
    """Return what ``partner`` owns as a long table of standardised structures, replicates merged.

    Raises:
        InputError: the dataset holds no structures (it was read from matrices).
    """
    tasks = dataset.tasks_of(partner)
    cells = dataset.cells(partner)
    compounds, code = np.unique(cells.compound, return_inverse=True)
    if not all(dataset.smiles[i] for i in compounds):
        raise InputError(f"dataset {dataset.name!r} holds no structures: T2 can't be written")
    return Table(
        smiles=Labels(tuple(dataset.smiles[i] for i in compounds), code.astype(np.int32)),
        task=Labels(tuple(dataset.tasks[i].name for i in tasks), np.searchsorted(tasks, cells.task).astype(np.int32)),
        # Values are kept as float32: their shortest text is what was measured, not that text's binary neighbour.
        value=np.array([float(str(one)) for one in cells.value], dtype=np.float64),
        relation=cells.relation,
        row=np.arange(1, len(cells) + 1, dtype=np.int64),
        name=dataset.name,
        licence=dataset.licence,
        citation=dataset.citation,
        roles=tuple(Role(dataset.tasks[i].weight, auxiliary=not dataset.tasks[i].judged) for i in tasks),
    )


def write_tuner(table: Table, folder: Path) -> None:
    """Write ``table`` as T0.csv, T1.csv and T2.csv into ``folder``; tasks of 0 and 1 get the expert threshold 0.5.

    Auxiliary tasks get the type AUX_HTS; other weights have no column there and are not written.

    Raises:
        InputError: one of the files is there already, or can't be written.
    """
    classes = np.bincount(table.task.code[(table.value != 0) & (table.value != 1)], minlength=len(table.task.names)) == 0
    roles = table.roles or (PLAIN,) * len(table.task.names)
    t0 = ((name, "AUX_HTS" if role.auxiliary else "OTHER", not one, 0.5 if one else "", "", "", "", "", "high")
          for name, one, role in zip(table.task.names, classes.tolist(), roles, strict=True))  # fmt: skip
    columns = (table.smiles.code.tolist(), table.task.code.tolist(), table.relation.tolist(), table.value.tolist())
    t1 = ((f"C{compound}", table.task.names[task], SYMBOLS[Relation(relation)], repr(value))
          for compound, task, relation, value in zip(*columns, strict=True))  # fmt: skip
    t2 = ((f"C{i}", smiles) for i, smiles in enumerate(table.smiles.names))
    _write(folder / "T0.csv", T0_COLUMNS, t0)
    _write(folder / "T1.csv", T1_COLUMNS, t1)
    _write(folder / "T2.csv", T2_COLUMNS, t2)


def _columns(path: Path, wanted: Sequence[str]) -> pa.Table:
    content = read_arrow(path)
    require_columns(path, content.column_names, wanted)
    return content


def _assays(path: Path) -> Iterator[Assay]:
    content = _columns(path, ("input_assay_id", "use_in_regression"))
    for number, row in enumerate(content.to_pylist(), start=1):
        given = [row.get(name) for name in THRESHOLDS]
        try:
            thresholds = tuple(float(one) for one in given if one not in (None, ""))
        except ValueError as error:
            raise InputError(f"table {path}: assay {row['input_assay_id']}: a threshold is not a number") from error
        if not all(map(math.isfinite, thresholds)):
            raise InputError(f"table {path}: assay {row['input_assay_id']}: a threshold is not finite")
        regression = read_flag(row["use_in_regression"], f"table {path}: use_in_regression", number)
        role = Role(AUXILIARY_WEIGHT, auxiliary=True) if str(row.get("assay_type")).startswith("AUX_") else PLAIN
        direction = str(row.get("direction") or "")
        if direction not in LOW:
            raise InputError(f"table {path}: assay {row['input_assay_id']}: direction {direction!r} must be high or low")
        yield Assay(str(row["input_assay_id"]), regression, thresholds, role, LOW[direction])


def _structures(path: Path) -> dict[str, str | None]:
    content = _columns(path, T2_COLUMNS)
    found: dict[str, str | None] = {}
    for compound, smiles in zip(content["input_compound_id"].to_pylist(), content["smiles"].to_pylist(), strict=True):
        if found.setdefault(compound, smiles) != smiles:
            raise InputError(f"table {path}: compound {compound!r} has two structures, must have one")
    return found


def _logarithmic(value: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """Return the values, or their logarithms where the rule says that they are 10**x, and whether it did."""
    if len(value) and value.min() > 0 and value.max() > LARGEST:
        return np.log10(value), True
    return value, False


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
