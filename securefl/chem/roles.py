"""Roles of tasks: how much one weighs in training, and whether it is judged.

An auxiliary task (single-dose screens, pseudo-labels) helps the trunk and enters no metric. A table of roles has the columns
``task``, ``weight`` and ``auxiliary`` (the last two optional); what it doesn't list weighs 1 and is judged. Several tasks
made of one assay share its weight, so that an assay with five thresholds doesn't count five times.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from securefl.chem.table import PLAIN, Role, Table, read_arrow, require_columns
from securefl.errors import InputError

AUXILIARY_WEIGHT = 0.1
"""What MELLODDY gave its auxiliary tasks."""
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no", "")


def read_roles(path: Path) -> dict[str, Role]:
    """Return the role of each task that the table in ``path`` lists (.csv, .csv.gz or .parquet).

    Raises:
        InputError: the file can't be read, has no column ``task`` or a column twice, lists a task twice or a blank one, or a
            weight is not a positive number.
    """
    content = read_arrow(path)
    given = [name for name in ("weight", "auxiliary") if name in content.column_names]
    require_columns(path, content.column_names, ("task", *given))
    roles: dict[str, Role] = {}
    for number, row in enumerate(content.to_pylist(), start=1):
        name = "" if row["task"] is None else str(row["task"]).strip()
        if not name:
            raise InputError(f"table {path}: blank task in row {number}")
        if name in roles:
            raise InputError(f"table {path}: task {name!r} occurs again in row {number}")
        auxiliary = read_flag(row.get("auxiliary"), f"table {path}: auxiliary", number)
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


def read_flag(cell: object, what: str, row: int) -> bool:
    """Return whether a cell says yes; blank is no.

    Raises:
        InputError: it says something else; the message begins with ``what`` and names ``row``.
    """
    text = "" if cell is None else str(cell).strip().lower()
    if text not in _TRUE + _FALSE:
        raise InputError(f"{what} {cell!r} in row {row} must be true or false")
    return text in _TRUE
