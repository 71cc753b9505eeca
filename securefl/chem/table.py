"""A long table of activities, one measured value a row: read from .csv, .csv.gz or .parquet with any column names.

A row whose cell is blank or unreadable is rejected with its number; a NaN or an infinity is an error, because it means
that whatever wrote the table computed something wrong, and the rows beside it are no safer.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from securefl.chem.dataset import Relation
from securefl.chem.rejects import Reject, Stage, summarise
from securefl.errors import InputError

RELATIONS = {
    "=": Relation.EQUAL, "": Relation.EQUAL, "~": Relation.EQUAL, "==": Relation.EQUAL,
    "<": Relation.LESS, "<=": Relation.LESS, "<<": Relation.LESS, "≤": Relation.LESS,
    ">": Relation.GREATER, ">=": Relation.GREATER, ">>": Relation.GREATER, "≥": Relation.GREATER,
}  # fmt: skip
"""Qualifiers as they occur in ChEMBL and in vendors' exports; a blank cell means an exact value."""


OPTIONAL = ("relation", "partner", "time", "unit")
MAX_HEADER = 1 << 16
"""Bytes of the first line that are looked at."""
MESSAGE_LEN = 200
"""Characters of another library's message that are shown: it may quote a whole row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The column names of a table. ``relation``, ``partner`` and ``time`` may be absent from it unless named here.

    ``unit`` is read only if it is named; :func:`securefl.chem.units.to_p` then converts each value from its own unit.
    """

    smiles: str = "smiles"
    task: str = "task"
    value: str = "value"
    relation: str = "relation"
    partner: str = "partner"
    time: str = "time"
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """A text column: distinct ``names`` and each row's ``code`` (int32); code -1 is a blank cell."""

    names: tuple[str, ...]
    code: NDArray[np.int32]

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Labels:
        """Return the rows that ``keep`` (a mask or positions) picks, with the same names."""
        return Labels(self.names, self.code[keep])

    def rows(self) -> list[NDArray[np.int64]]:
        """Return the positions of each name's rows, ascending."""
        order = np.argsort(self.code, kind="stable")
        return np.split(order, np.searchsorted(self.code[order], np.arange(len(self.names))))[1:]


@dataclass(frozen=True, slots=True)
class Role:
    """How much a task weighs in training, and whether it only helps there; see :mod:`securefl.chem.roles`."""

    weight: float = 1.0
    auxiliary: bool = False


PLAIN = Role()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of measured values, all arrays of shape (n,); ``row`` is each one's number in the source, from 1.

    ``value`` is pX (-log10 of a molar value), or 0/1 for a classification; the table can't tell the unit, so whoever
    makes it converts (:mod:`securefl.chem.units`). ``notes`` say what was done to the values on the way. ``roles`` belong to
    ``task.names``; empty if all are :data:`PLAIN`.
    """

    smiles: Labels
    task: Labels
    value: NDArray[np.float64]
    relation: NDArray[np.int8]
    row: NDArray[np.int64]
    partner: Labels | None = None
    time: NDArray[np.float64] | None = None
    unit: Labels | None = None
    rejects: tuple[Reject, ...] = ()
    name: str = "table"
    licence: str = "not stated"
    citation: str = "not stated"
    notes: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()

    def __len__(self) -> int:
        return len(self.value)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Table:
        """Return the rows that ``keep`` (a mask or positions) picks; the rejects stay as they are."""
        return replace(
            self,
            smiles=self.smiles.select(keep),
            task=self.task.select(keep),
            value=self.value[keep],
            relation=self.relation[keep],
            row=self.row[keep],
            partner=None if self.partner is None else self.partner.select(keep),
            time=None if self.time is None else self.time[keep],
            unit=None if self.unit is None else self.unit.select(keep),
        )

    def sha256(self) -> str:
        """Return the hex SHA-256 of the rows and their numbers: the same content resumes a preparation."""
        digest = hashlib.sha256(b"securefl/chem/1/table")
        for labels in (self.smiles, self.task, self.partner):
            names = () if labels is None else labels.names
            digest.update(b"%d;" % len(names))
            digest.update("\x00".join(names).encode())
            digest.update(b"" if labels is None else labels.code.tobytes())
        for array in (self.value, self.relation, self.row, self.time):
            digest.update(b"none" if array is None else array.tobytes())
        digest.update(repr([(r.row, r.stage.value, r.reason) for r in self.rejects]).encode())
        digest.update(repr(self.roles).encode())
        digest.update("\x00".join((self.name, self.licence, self.citation, *self.notes)).encode())
        return digest.hexdigest()


def read_table(path: Path, columns: Columns | None = None) -> Table:
    """Return the long table in ``path`` (.csv, .csv.gz or .parquet).

    Raises:
        InputError: the file can't be read or is no table, a column is missing (named, with what was found), a value is
            NaN or infinite, or no row is usable.
    """
    columns = columns or Columns()
    content = read_arrow(path)
    _check_columns(path, columns, content.column_names)
    return table_of(content, columns, name=path.name)


def table_of(content: pa.Table, columns: Columns, *, name: str) -> Table:
    """Return the long table in an Arrow table; ``name`` stands for it in messages.

    Raises:
        InputError: as for :func:`read_table`.
    """
    smiles, task = _labels(content[columns.smiles]), _labels(content[columns.task])
    value, bad_text = measured(content[columns.value], name, columns.value)
    relation, bad_relation = _relations(content, columns)
    partner = _labels(content[columns.partner]) if columns.partner in content.column_names else None
    reasons = [
        (smiles.code < 0, f"blank {columns.smiles}"),
        (task.code < 0, f"blank {columns.task}"),
        (bad_text, f"{columns.value} is not a number"),
        (np.isnan(value), f"blank {columns.value}"),
        (bad_relation, f"unknown {columns.relation}"),
    ]
    if partner is not None:
        reasons.append((partner.code < 0, f"blank {columns.partner}"))
    keep, rejects = _first_reason(reasons)
    if not keep.any():
        raise InputError(f"table {name}: no usable row of {len(keep)}: {summarise(rejects)}")
    time, notes = _times(content[columns.time], columns.time) if columns.time in content.column_names else (None, ())
    table = Table(
        smiles=smiles,
        task=task,
        value=value,
        relation=relation,
        row=np.arange(1, len(keep) + 1, dtype=np.int64),
        partner=partner,
        time=time,
        unit=_labels(content[columns.unit]) if columns.unit else None,
        rejects=tuple(rejects),
        name=name,
        notes=notes,
    )
    return table.select(keep)


def read_arrow(path: Path, *, text: bool = True) -> pa.Table:
    """Return the file's columns as they are; in CSV everything is text, or numbers are recognised if not ``text``.

    Raises:
        InputError: the file can't be read as what its name says.
    """
    name = path.name.lower()
    if not name.endswith((".csv", ".csv.gz", ".parquet")):
        raise InputError(f"table {path}: unknown kind of file, must end in .csv, .csv.gz or .parquet")
    try:
        if name.endswith(".parquet"):
            return pq.read_table(path)
        # Text stays text: a task named 007 or a qualifier column that begins with numbers keeps its spelling.
        _require_commas(path)
        # On one thread a message about a bad row has the row's number.
        read, parse = pacsv.ReadOptions(use_threads=False), pacsv.ParseOptions(newlines_in_values=True)
        with pacsv.open_csv(path, read, parse_options=parse) as reader:
            header = reader.schema.names
        types = dict.fromkeys(header, pa.string()) if text else None
        convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""])
        return pacsv.read_csv(path, read, parse_options=parse, convert_options=convert)
    except FileNotFoundError as error:
        raise InputError(f"table {path}: no such file") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise InputError(f"table {path}: can't be read: {_one_line(error)}") from error


def _require_commas(path: Path) -> None:
    """Refuse a table whose first line has no comma but what other exports put between columns.

    Such an export may also write 6,5 for 6.5, so nothing is guessed.
    """
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as handle:
        header = handle.readline(MAX_HEADER)
    for sign, name in ((b";", "semicolons"), (b"\t", "tabs"), (b"|", "bars")):
        if sign in header and b"," not in header:
            raise InputError(f"table {path}: columns are separated by {name}, must be by commas (and 6.5, not 6,5)")


def _one_line(error: Exception) -> str:
    """Return the beginning of a message that may quote the file: no control character of it reaches a terminal."""
    text = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in str(error).splitlines()[0])
    return text if len(text) <= MESSAGE_LEN else text[:MESSAGE_LEN] + " ..."


def _check_columns(path: Path, columns: Columns, found: list[str]) -> None:
    named = {f.name: getattr(columns, f.name) for f in fields(columns)}
    absent = {f.name for f in fields(columns) if f.name in OPTIONAL and named[f.name] == f.default}
    require_columns(path, found, {name: f"{name} (for {role})" for role, name in named.items() if role not in absent})


def require_columns(path: Path, found: Sequence[str], wanted: Mapping[str, str] | Sequence[str]) -> None:
    """Return if the table has each of the columns ``wanted`` once; a mapping says what a missing one is called.

    Raises:
        InputError: one is missing, or occurs more than once.
    """
    called = wanted if isinstance(wanted, Mapping) else dict(zip(wanted, wanted, strict=True))
    missing = [what for name, what in called.items() if name not in found]
    if missing:
        raise InputError(f"table {path}: missing column {', '.join(missing)}; found: {', '.join(found) or 'none'}")
    doubled = sorted(name for name in called if found.count(name) > 1)
    if doubled:
        raise InputError(f"table {path}: column {', '.join(doubled)} occurs more than once")


def _labels(column: pa.ChunkedArray) -> Labels:
    try:
        text = _filled(column.cast(pa.string()))
    except pa.ArrowException as error:
        raise InputError(f"a column of type {column.type} can't be read as text") from error
    encoded = text.combine_chunks().dictionary_encode() if text.num_chunks != 1 else text.chunk(0).dictionary_encode()
    code = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Labels(tuple(encoded.dictionary.to_pylist()), code)


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds texts: Parquet from other writers has them in four types."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column with its texts trimmed, null where nothing is left of one; another column as it is."""
    if not is_text(column.type):
        return column
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def numbers_of(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the values (NaN where blank) and a mask of the cells that hold something else than a number."""
    column = _filled(column)
    if not is_text(column.type):
        with suppress(pa.ArrowException):
            value = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            return value.astype(np.float64), np.zeros(len(value), dtype=bool)
    return _parse([None if cell is None else str(cell) for cell in column.to_pylist()])


def measured(column: pa.ChunkedArray, table: str, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return :func:`numbers_of` a column of values.

    Raises:
        InputError: one is NaN or infinite; ``table`` and ``name`` stand for the two in the message.
    """
    value, other = numbers_of(column)
    bad = np.flatnonzero(np.asarray(_filled(column).is_valid()) & ~other & ~np.isfinite(value))
    if len(bad):
        kind = "NaN" if np.isnan(value[bad[0]]) else "infinite"
        raise InputError(f"table {table}: {name} is {kind} in row {bad[0] + 1} ({len(bad)} such rows); must be finite or blank")
    return value, other


def _times(column: pa.ChunkedArray, name: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return years, of a date its year, NaN where there is none; and a note on cells that hold something else."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = pc.year(column)
    elif is_text(column.type):
        column = pc.replace_substring_regex(_filled(column), pattern=r"^\s*(\d{4})-\d\d(-\d\d.*)?$", replacement=r"\1")
    value, bad = numbers_of(column)
    bad |= np.isinf(value)
    if not bad.any():
        return value, ()
    first = int(np.flatnonzero(bad)[0]) + 1
    note = f"{name} is neither year nor date in {int(bad.sum())} rows, first in row {first}: they count as without a time"
    return np.where(bad, np.nan, value), (note,)


def _parse(cells: list[str | None]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    value = np.full(len(cells), np.nan)
    bad = np.zeros(len(cells), dtype=bool)
    for i, cell in enumerate(cells):
        if cell:
            try:
                # Python reads 1_000 as a thousand; whoever wrote that may have meant something else.
                value[i] = float(cell.replace("_", "?"))
            except ValueError:
                bad[i] = True
    return value, bad


def _relations(content: pa.Table, columns: Columns) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    if columns.relation not in content.column_names:
        return np.zeros(len(content), dtype=np.int8), np.zeros(len(content), dtype=bool)
    labels = _labels(content[columns.relation])
    known = [RELATIONS.get(name.strip("'\"")) for name in labels.names]
    # The last entry stands for a blank cell, code -1.
    sign = np.array([0 if one is None else int(one) for one in known] + [0], dtype=np.int8)
    unknown = np.array([one is None for one in known] + [False])
    return sign[labels.code], unknown[labels.code]


def _first_reason(reasons: list[tuple[NDArray[np.bool_], str]]) -> tuple[NDArray[np.bool_], list[Reject]]:
    """Return the mask of the good rows, and a reject with its first reason for each of the others."""
    keep = np.ones(len(reasons[0][0]), dtype=bool)
    rejects: list[Reject] = []
    for mask, reason in reasons:
        rejects += [Reject(int(row) + 1, Stage.READ, reason) for row in np.flatnonzero(mask & keep)]
        keep &= ~mask
    return keep, rejects
