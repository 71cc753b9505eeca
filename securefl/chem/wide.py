"""A dense panel, one column a task, as a long table: empty cells are simply not measured and are no rejects.

A text among a column's numbers (``N/A``, ``<5``) makes it a column of texts, which most panels have beside the tasks (vendors'
numbers, such as 317714313 and P-20, look the same): it is left out and named in the table's notes. Where the caller names the
task columns, such a cell is a reject with its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from securefl.chem.table import Columns, Table, is_text, measured, numbers_of, read_arrow, require_columns, table_of
from securefl.errors import InputError


def read_wide(path: Path, *, smiles: str = "smiles", tasks: Sequence[str] | None = None) -> Table:
    """Return the panel in ``path`` as a long table; row numbers are those of the panel.

    Args:
        tasks: the task columns; by default every column but ``smiles`` that holds nothing but numbers.

    Raises:
        InputError: the file can't be read, a column is missing, or no task column holds a number.
    """
    content = read_arrow(path, text=False)
    columns = [(name, column) for name, column in zip(content.column_names, content.columns, strict=True) if name != smiles]
    names = list(tasks) if tasks is not None else [name for name, column in columns if _is_number(column.type)]
    require_columns(path, content.column_names, (smiles, *names))
    filled = [name for name in names if len(content) > content[name].null_count]
    for name in filled:
        measured(content[name], path.name, name)
    # One kind for all: where a column holds texts too, the long table's reader tells them from numbers.
    kind = pa.string() if any(is_text(content[name].type) for name in filled) else pa.float64()
    parts = [_part(content, smiles, name, kind) for name in filled]
    if not parts:
        raise InputError(f"table {path}: no task column holds a number; found: {', '.join(content.column_names)}")
    long = pa.concat_tables(parts)
    table = table_of(long, Columns(), name=path.name)
    origin = long["row"].to_numpy()
    rejects = tuple(one._replace(row=int(origin[one.row - 1])) for one in table.rejects)
    notes = () if tasks is not None else tuple(filter(None, (_left_out(name, column) for name, column in columns)))
    return replace(table, row=origin[table.row - 1], rejects=rejects, notes=notes)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _left_out(name: str, column: pa.ChunkedArray) -> str:
    """Return a note on a column that would be a task but for fewer texts than numbers, the empty string on any other."""
    if not is_text(column.type):
        return ""
    value, bad = numbers_of(column)
    found, texts = int(np.isfinite(value).sum()), np.flatnonzero(bad)
    if found <= len(texts):
        return ""
    where = f" (first in row {texts[0] + 1})" if len(texts) else ""
    return f"column {name!r} holds text and is no task: {found} numbers and {len(texts)} cells that are none{where}"


def _part(content: pa.Table, smiles: str, name: str, kind: pa.DataType) -> pa.Table:
    """Return one task's measured cells in long form, its values of the Arrow type ``kind``."""
    column = content[name]
    if not is_text(column.type):
        column = column.cast(pa.float64(), safe=False)
    numbers = pa.array(range(1, len(content) + 1), type=pa.int64())
    part = pa.table({"smiles": content[smiles], "value": column.cast(kind), "row": numbers})
    part = part.filter(column.is_valid())
    return part.append_column("task", pa.array([name] * len(part), type=pa.string()))
