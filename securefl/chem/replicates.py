"""Replicates: several rows of one task and one compound become one cell.

Rule for measured values: exact values win over censored ones and their median is taken, or they are rejected if they lie
further apart than the caller allows; censored values that all point the same way keep the tightest bound; contradicting
bounds without an exact value are rejected. Rule for classes: the majority; a tie is rejected. Every row that was merged into
another is counted, every conflict is listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Relation
from securefl.chem.rejects import Reject, Stage


@dataclass(frozen=True, slots=True)
class Cells:
    """Values in columns of equal length: ``source`` is the task of the table, ``row`` the first row that gave the cell."""

    source: NDArray[np.int64]
    compound: NDArray[np.int64]
    value: NDArray[np.float64]
    relation: NDArray[np.int8]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.value)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Cells:
        """Return the cells that ``rows`` (a mask or row numbers) picks, in that order."""
        return Cells(self.source[rows], self.compound[rows], self.value[rows], self.relation[rows], self.row[rows])


@dataclass(frozen=True, slots=True)
class Merged:
    """Cells without replicates, in order of task and compound; how many rows were merged; the conflicts."""

    cells: Cells
    merged: int
    rejects: tuple[Reject, ...]


def merge_replicates(cells: Cells, classes: NDArray[np.bool_], *, max_spread: float | None = None) -> Merged:
    """Return one cell for each (source, compound); ``classes[source]`` says whether the task holds classes.

    ``max_spread``: exact values of one cell that differ by more are a conflict instead of a median.
    """
    if not len(cells):
        return Merged(cells, 0, ())
    group = _groups(cells)
    n_groups = int(group.max()) + 1
    is_class = classes[cells.source]
    exact = _any_in_group(group, is_class | (cells.relation == Relation.EQUAL), n_groups)
    both = ~exact & _any_in_group(group, cells.relation < 0, n_groups) & _any_in_group(group, cells.relation > 0, n_groups)
    used = ~both[group] & (~exact[group] | is_class | (cells.relation == Relation.EQUAL))
    value, relation, tie = _summaries(cells, group, used, is_class)
    first = _first_rows(group, n_groups)
    far = _spread(cells, group, used & ~is_class, n_groups) > (np.inf if max_spread is None else max_spread)
    bad = both | tie | far
    rows = first[~bad]
    rejects = _conflicts(cells, group, both, "contradicting < and > for one compound")
    rejects += _conflicts(cells, group, tie, "as many replicates of class 0 as of class 1")
    rejects += _conflicts(cells, group, far, f"replicates more than {max_spread} apart")
    row = np.full(n_groups, np.iinfo(np.int64).max)
    np.minimum.at(row, group, cells.row)
    merged = Cells(cells.source[rows], cells.compound[rows], value[~bad], relation[~bad], row[~bad])
    return Merged(merged, len(cells) - len(rejects) - len(merged), tuple(rejects))


def _groups(cells: Cells) -> NDArray[np.int64]:
    """Number each (source, compound) in ascending order."""
    width = int(cells.compound.max()) + 1
    number = cells.source.astype(np.int64) * width + cells.compound
    return np.asarray(np.unique(number, return_inverse=True)[1], dtype=np.int64)


def _any_in_group(group: NDArray[np.int64], mask: NDArray[np.bool_], n_groups: int) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(group[mask], minlength=n_groups) > 0)


def _first_rows(group: NDArray[np.int64], n_groups: int) -> NDArray[np.int64]:
    first = np.zeros(n_groups, dtype=np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return first


def _summaries(
    cells: Cells, group: NDArray[np.int64], used: NDArray[np.bool_], is_class: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.bool_]]:
    """Return each group's value, relation, and whether its classes tie; groups without a used row get 0."""
    n_groups = int(group.max()) + 1
    order = np.lexsort((cells.value, group))
    order = order[used[order]]
    size = np.bincount(group[order], minlength=n_groups)
    start = np.concatenate(([0], np.cumsum(size)[:-1]))
    some = size > 0
    sorted_value = np.append(cells.value[order], 0.0)
    low = sorted_value[np.minimum(start + (size - 1) // 2 * some, len(order))]
    high = sorted_value[np.minimum(start + size // 2, len(order))]
    value = (low + high) / 2
    relation = np.zeros(n_groups, dtype=np.int8)
    relation[group[used]] = np.where(is_class[used], 0, cells.relation[used])
    # The tightest bound is the smallest of upper bounds and the largest of lower bounds.
    value = np.where(relation < 0, sorted_value[np.minimum(start, len(order))], value)
    value = np.where(relation > 0, sorted_value[np.minimum(start + size - 1, len(order))], value)
    of_class = _any_in_group(group, is_class, n_groups)
    tie = of_class & (low != high)
    return np.where(some, value, 0.0), relation, tie


def _spread(cells: Cells, group: NDArray[np.int64], used: NDArray[np.bool_], n_groups: int) -> NDArray[np.float64]:
    """Return how far apart the exact values of each group are."""
    exact = used & (cells.relation == Relation.EQUAL)
    low, high = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
    np.minimum.at(low, group[exact], cells.value[exact])
    np.maximum.at(high, group[exact], cells.value[exact])
    return np.asarray(np.maximum(high - low, 0.0))


def _conflicts(cells: Cells, group: NDArray[np.int64], bad: NDArray[np.bool_], reason: str) -> list[Reject]:
    return [Reject(int(row), Stage.REPLICATE, reason) for row in cells.row[bad[group]]]
