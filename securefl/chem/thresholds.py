"""Classes from measured values: 1 where a value certainly reaches a threshold, 0 where it certainly doesn't.

A censored value decides only on its own side: ``> 7`` reaches 6, ``< 5`` doesn't, and ``> 5`` says nothing of 6. A row that
decides none of its assay's tasks is rejected. Thresholds come before replicates are merged: the classes of replicates are
merged by majority, and a tie is a conflict that is listed, where a median would have hidden it. The class tasks of one assay
share its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from securefl.chem.rejects import Reject, Stage
from securefl.chem.table import PLAIN, Labels, Role, Table
from securefl.errors import InputError


@dataclass(frozen=True, slots=True)
class Assay:
    """What becomes of an assay's values: a regression, classes at ``thresholds``, or both.

    Class 1 is a value at the threshold or above; where ``low`` values are the active ones, at the threshold or below.
    """

    name: str
    regression: bool
    thresholds: tuple[float, ...]
    role: Role = PLAIN
    low: bool = False

    def task_name(self, threshold: float) -> str:
        """Return the name of the class task at ``threshold``: the assay's own if it is the only task."""
        if len(self.thresholds) == 1 and not self.regression:
            return self.name
        return f"{self.name} {'<=' if self.low else '>='} {threshold:g}"

    def sides(
        self, value: NDArray[np.float64], relation: NDArray[np.int8], threshold: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which values are certainly of class 1, and which certainly of class 0; some are of neither."""
        if self.low:
            value, relation, threshold = -value, -relation, -threshold
        active = (relation >= 0) & (value >= threshold)
        # A value below v is below the threshold if v is not above it.
        inactive = ((relation == 0) & (value < threshold)) | ((relation < 0) & (value <= threshold))
        return np.asarray(active), np.asarray(inactive)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one task: ``rows`` are positions in the table."""

    task: str
    rows: NDArray[np.int64]
    value: NDArray[np.float64]
    relation: NDArray[np.int8]
    role: Role


def with_thresholds(table: Table, thresholds: Sequence[float], *, keep_values: bool) -> Table:
    """Return ``table`` with a task of classes for each threshold and each task of measured values.

    Args:
        keep_values: keep the measured values as a task of their own; tasks of 0 and 1 stay as they are in any case.

    Raises:
        InputError: no value decides any class.
    """
    if not thresholds:
        return table
    classes = class_tasks(table)
    rejects: list[Reject] = [*table.rejects]
    parts: list[Part] = []
    for code, (name, rows) in enumerate(zip(table.task.names, table.task.rows(), strict=True)):
        role = table.roles[code] if table.roles else PLAIN
        assay = Assay(name, True, (), role) if classes[code] else Assay(name, keep_values, tuple(sorted(set(thresholds))), role)
        made, unused = tasks_of(assay, table, rows, table.value[rows])
        parts += made
        rejects += unused
    return assemble(table, parts, rejects)


def class_tasks(table: Table) -> NDArray[np.bool_]:
    """Return which tasks of ``table`` hold nothing but 0 and 1, shape (tasks,)."""
    other = table.task.code[(table.value != 0) & (table.value != 1)]
    return np.asarray(np.bincount(other, minlength=len(table.task.names)) == 0)


def tasks_of(
    assay: Assay, table: Table, rows: NDArray[np.int64], value: NDArray[np.float64]
) -> tuple[list[Part], list[Reject]]:
    """Return the tasks that ``assay`` makes of its ``rows`` of ``table``, and as rejects the rows that none of them can use.

    ``value`` stands in for the table's own values of ``rows``, shape (rows,).
    """
    relation = table.relation[rows]
    parts = [Part(assay.name, rows, value, relation, assay.role)] if assay.regression else []
    used = np.full(len(rows), assay.regression)
    shared = replace(assay.role, weight=assay.role.weight / max(1, len(assay.thresholds)))
    for threshold in assay.thresholds:
        active, inactive = assay.sides(value, relation, threshold)
        decided = active | inactive
        used |= decided
        none = np.zeros(int(decided.sum()), dtype=np.int8)
        parts.append(Part(assay.task_name(threshold), rows[decided], active[decided].astype(np.float64), none, shared))
    undecided = "censored value on the undecided side of every threshold"
    return parts, refused(table, rows[~used], undecided if assay.thresholds else "assay has neither regression nor a threshold")


def refused(table: Table, rows: NDArray[np.int64], reason: str) -> list[Reject]:
    """Return a reject with ``reason`` for each of the table's ``rows``."""
    return [Reject(int(row), Stage.ACTIVITY, reason) for row in table.row[rows]]


def assemble(table: Table, parts: Sequence[Part], rejects: Sequence[Reject]) -> Table:
    """Return the table whose tasks are ``parts``; licence, citation and notes stay.

    Raises:
        InputError: no part has a row.
    """
    parts = [part for part in parts if len(part.rows)]
    if not parts:
        raise InputError(f"{table.name}: no value decides a class")
    rows = np.concatenate([part.rows for part in parts])
    sizes = [len(part.rows) for part in parts]
    return replace(
        table.select(rows),
        task=Labels(tuple(part.task for part in parts), np.repeat(np.arange(len(parts), dtype=np.int32), sizes)),
        value=np.concatenate([part.value for part in parts]),
        relation=np.concatenate([part.relation for part in parts]),
        rejects=tuple(rejects),
        roles=tuple(part.role for part in parts),
    )
