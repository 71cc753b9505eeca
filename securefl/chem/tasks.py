"""Tasks: what each partner owns after the division, kept only where it can be trained and judged.

A task needs a minimum of exact values in the training and in the test fold (the quorum), and values that differ: both
classes, or a spread. One that lacks them is rejected with all its rows. The order of the tasks comes from their content.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Fold, Relation, Task, TaskKind
from securefl.chem.partners import task_digests
from securefl.chem.rejects import Reject, Stage, summarise
from securefl.chem.replicates import Cells
from securefl.errors import InputError


@dataclass(frozen=True, slots=True)
class Quorum:
    """Exact values that a partner's task needs in the training and in the test fold."""

    train: int
    test: int


@dataclass(frozen=True, slots=True)
class Owned:
    """Cells with their owners: ``partner`` shape (n_cells,); ``names`` and ``classes`` belong to ``cells.source``."""

    cells: Cells
    partner: NDArray[np.int64]
    partners: tuple[str, ...]
    names: tuple[str, ...]
    classes: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class OwnedTasks:
    """Tasks in order of partner and content; ``cells.source`` counts them; cells are in order of task and compound."""

    tasks: tuple[Task, ...]
    partners: tuple[str, ...]
    cells: Cells
    rejects: tuple[Reject, ...]


def own_tasks(owned: Owned, fold: NDArray[np.int8], inchikeys: list[str], quorum: Quorum) -> OwnedTasks:
    """Return the tasks of every partner that meet the quorum, and the rows of the others as rejects.

    Raises:
        InputError: no task is left.
    """
    source = owned.cells.source
    width = len(owned.names)
    pairs, task = np.unique(owned.partner * width + source, return_inverse=True)
    order = np.lexsort((owned.cells.compound, task))
    edges = np.searchsorted(task[order], np.arange(len(pairs) + 1))
    rejects: list[Reject] = []
    good: list[int] = []
    for number, (start, stop) in enumerate(pairwise(edges)):
        rows = order[start:stop]
        reason = _lacks(owned.cells.select(rows), fold, bool(owned.classes[pairs[number] % width]), quorum)
        if reason:
            rejects += [Reject(int(row), Stage.TASK, reason) for row in owned.cells.row[rows]]
        else:
            good.append(number)
    partners = _partners_left(owned, sorted({int(pairs[i]) // width for i in good}), rejects)
    mine = Cells(task.astype(np.int64), owned.cells.compound, owned.cells.value, owned.cells.relation, owned.cells.row)
    digests = task_digests(mine, inchikeys)
    good.sort(key=lambda i: (int(pairs[i]) // width, digests[i]))
    new = np.full(len(pairs), -1, dtype=np.int64)
    new[good] = np.arange(len(good))
    keep = order[new[task[order]] >= 0]
    cells = Cells(new[task[keep]], *(getattr(mine, name)[keep] for name in ("compound", "value", "relation", "row")))
    cells = cells.select(np.lexsort((cells.compound, cells.source)))
    tasks = tuple(_task(owned, partners, *divmod(int(pairs[i]), width)) for i in good)
    return OwnedTasks(tasks, tuple(owned.partners[i] for i in partners), cells, tuple(rejects))


def _task(owned: Owned, partners: dict[int, int], partner: int, source: int) -> Task:
    kind = TaskKind.CLASSIFICATION if owned.classes[source] else TaskKind.REGRESSION
    return Task(partners[partner], owned.names[source], kind)


def _partners_left(owned: Owned, left: list[int], rejects: list[Reject]) -> dict[int, int]:
    """Return the new number of each partner that has a task.

    Raises:
        InputError: nobody has one.
    """
    if not left:
        raise InputError(f"no task is left: {summarise(rejects)}")
    return {old: new for new, old in enumerate(left)}


def _lacks(cells: Cells, fold: NDArray[np.int8], is_class: bool, quorum: Quorum) -> str:
    """Return what a task lacks, or the empty string."""
    if is_class and len(np.unique(cells.value)) < 2:
        return "task: one class only"
    of_fold = fold[cells.compound]
    exact = cells.relation == Relation.EQUAL
    for name, which, need in (("training", Fold.TRAIN, quorum.train), ("test", Fold.TEST, quorum.test)):
        values = cells.value[exact & (of_fold == which)]
        if len(values) < need:
            return f"task: {len(values)} exact {name} values, must be >= {need}"
        if need and len(np.unique(values)) < min(2, need):
            return f"task: one {'class' if is_class else 'value'} only in the {name} fold"
    return ""
