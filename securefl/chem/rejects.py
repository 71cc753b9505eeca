"""Rows that preparation could not use: each one with its row number, the stage that refused it, and why.

Nothing is dropped silently: rows of the table are either in the dataset, merged into a replicate (counted), or here.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import IO, NamedTuple

from securefl.errors import InputError


class Stage(Enum):
    """Where a row was refused, in the order in which rows pass."""

    SOURCE = "source"
    READ = "read"
    STRUCTURE = "structure"
    ACTIVITY = "activity"
    REPLICATE = "replicate"
    TASK = "task"


class Reject(NamedTuple):
    """One refused row: ``row`` counts the data rows of the table from 1 (for ChEMBL it is the activity_id)."""

    row: int
    stage: Stage
    reason: str


def write_rejects(handle: IO[str], rejects: Iterable[Reject]) -> None:
    """Write ``rejects`` as CSV with the columns row, stage, reason, in the order of the rows."""
    writer = csv.writer(handle, lineterminator="\n")
    writer.writerow(("row", "stage", "reason"))
    for reject in sorted(rejects, key=lambda one: (one.row, one.stage.value, one.reason)):
        writer.writerow((reject.row, reject.stage.value, reject.reason))


def read_rejects(handle: IO[str]) -> tuple[Reject, ...]:
    """Return what :func:`write_rejects` wrote.

    Raises:
        InputError: the file is not such a table.
    """
    try:
        rows = list(csv.DictReader(handle))
        return tuple(Reject(int(row["row"]), Stage(row["stage"]), row["reason"]) for row in rows)
    except (csv.Error, KeyError, ValueError) as error:
        raise InputError(f"rejects.csv is not a list of rejects: {error}") from error


def summarise(rejects: Iterable[Reject], most: int = 3) -> str:
    """Return the most frequent reasons in one line, for an error message.

    >>> summarise([Reject(1, Stage.READ, "no value"), Reject(2, Stage.READ, "no value")])
    'no value (2 rows)'
    """
    counts = Counter(reject.reason for reject in rejects).most_common(most)
    return "; ".join(f"{reason} ({count} row{'s' if count > 1 else ''})" for reason, count in counts) or "no rows"
