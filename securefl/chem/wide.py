"""A dense panel, one column a task, as a long table: empty cells are simply not measured and are no rejects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from securefl.chem.table import Columns, Table, read_arrow, table_of
from securefl.errors import InputError


def read_wide(path: Path, *, smiles: str = "smiles", tasks: Sequence[str] | None = None) -> Table:
    """Return the panel in ``path`` as a long table; row numbers are those of the panel.

    Args:
        tasks: the task columns; by default every column that holds numbers.

    Raises:
        InputError: the file can't be read, a column is missing, or no task column holds a number.
    """
    content = read_arrow(path, text=False)
    names = list(tasks) if tasks is not None else [f.name for f in content.schema if _is_number(f.type)]
    missing = [name for name in (smiles, *names) if name not in content.column_names]
    if missing:
        raise InputError(f"table {path}: missing column {', '.join(missing)}; found: {', '.join(content.column_names)}")
    parts = [_part(content, smiles, name) for name in names if len(content) > content[name].null_count]
    if not parts:
        raise InputError(f"table {path}: no task column holds a number; found: {', '.join(content.column_names)}")
    long = pa.concat_tables(parts)
    table = table_of(long, Columns(), name=path.name)
    origin = long["row"].to_numpy()
    rejects = tuple(one._replace(row=int(origin[one.row - 1])) for one in table.rejects)
    return replace(table, row=origin[table.row - 1], rejects=rejects)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _part(content: pa.Table, smiles: str, name: str) -> pa.Table:
    """Return one task's measured cells in long form."""
    measured = content[name].is_valid()
    numbers = pa.array(range(1, len(content) + 1), type=pa.int64())
    part = pa.table({"smiles": content[smiles].cast(pa.string()), "value": content[name].cast(pa.float64()), "row": numbers})
    part = part.filter(measured)
    return part.append_column("task", pa.array([name] * len(part), type=pa.string()))
