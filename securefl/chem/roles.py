"""Roles of tasks: how much one weighs in training, and whether it is judged.

An auxiliary task (single-dose screens, pseudo-labels) helps the trunk and enters no metric. A table of roles has the columns
``task``, ``weight`` and ``auxiliary`` (the last two optional); what it doesn't list weighs 1 and is judged. Several tasks
made of one assay share its weight, so that an assay with five thresholds doesn't count five times.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from securefl.chem.table import PLAIN, Role, Table, read_arrow
from securefl.errors import InputError

AUXILIARY_WEIGHT = 0.1
"""What MELLODDY gave its auxiliary tasks."""
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no", "")


def read_roles(path: Path) -> dict[str, Role]:
    """Return the role of each task that the table in ``path`` lists (.csv, .csv.gz or .parquet).

    Raises:
        InputError: the file can't be read, has no column ``task``, lists a task twice, or a weight is not a positive number.
    """
    content = read_arrow(path)
    if "task" not in content.column_names:
        raise InputError(f"table {path}: missing column task; found: {', '.join(content.column_names)}")
    roles: dict[str, Role] = {}
    for number, row in enumerate(content.to_pylist(), start=1):
        name = str(row["task"]).strip()
        if name in roles:
            raise InputError(f"table {path}: task {name!r} occurs again in row {number}")
        auxiliary = _flag(row.get("auxiliary"), path, number)
        weight = _weight(row.get("weight"), AUXILIARY_WEIGHT if auxiliary else 1.0, path, number)
        roles[name] = Role(weight, auxiliary)
    return roles


def with_roles(table: Table, roles: dict[str, Role]) -> Table:
    """Return ``table`` with the roles of its tasks.

    Raises:
        InputError: ``roles`` names a task that the table doesn't have (most likely a misspelt one).
    """
    unknown = sorted(set(roles) - set(table.task.names))
    if unknown:
        raise InputError(f"{table.name}: roles name task {unknown[0]!r}, which the table doesn't have ({len(unknown)} such)")
    return replace(table, roles=tuple(roles.get(name, PLAIN) for name in table.task.names))


def _weight(cell: object, default: float, path: Path, row: int) -> float:
    if cell is None or cell == "":
        return default
    try:
        weight = float(str(cell))
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise InputError(f"table {path}: weight {cell!r} in row {row} must be a positive number")
    return weight


def _flag(cell: object, path: Path, row: int) -> bool:
    text = "" if cell is None else str(cell).strip().lower()
    if text not in _TRUE + _FALSE:
        raise InputError(f"table {path}: auxiliary {cell!r} in row {row} must be true or false")
    return text in _TRUE
