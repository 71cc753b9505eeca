"""Tasks: what each partner owns after the division, kept only where it can be trained and judged.

A task of measured values needs a minimum of exact ones in the training and in the test fold (the quorum) that are not all
the same; a task of classes needs a minimum of each class in either. One that misses the training quorum is rejected with all
its rows. One that misses only the test quorum is rejected too, or, if so asked, trained and never judged; an auxiliary task
is never judged and needs no test values. The order of the tasks comes from their content.
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
from securefl.chem.table import Role
from securefl.errors import InputError


@dataclass(frozen=True, slots=True)
class Quorum:
    """Exact values that a partner's regression needs in the training and in the test fold, and of each class otherwise.

    ``train_unjudged``: keep a task that misses only the test quorum, for training.
    """

    train: int
    test: int
    train_class: int
    test_class: int
    train_unjudged: bool = False


@dataclass(frozen=True, slots=True)
class Owned:
    """Cells with their owners: ``partner`` shape (n_cells,); ``names``, ``classes``, ``roles`` belong to ``cells.source``."""

    cells: Cells
    partner: NDArray[np.int64]
    partners: tuple[str, ...]
    names: tuple[str, ...]
    classes: NDArray[np.bool_]
    roles: tuple[Role, ...]


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
    judged: set[int] = set()
    for number, (start, stop) in enumerate(pairwise(edges)):
        rows, source_task = order[start:stop], int(pairs[number]) % width
        cells, is_class = owned.cells.select(rows), bool(owned.classes[source_task])
        auxiliary = owned.roles[source_task].auxiliary
        lacks_test = "auxiliary" if auxiliary else _lacks(cells, fold, is_class, Fold.TEST, quorum)
        reason = _lacks(cells, fold, is_class, Fold.TRAIN, quorum)
        if reason or (lacks_test and not auxiliary and not quorum.train_unjudged):
            rejects += [Reject(int(row), Stage.TASK, reason or lacks_test) for row in cells.row]
            continue
        good.append(number)
        if not lacks_test:
            judged.add(number)
    partners = _partners_left(owned, sorted({int(pairs[i]) // width for i in good}), rejects)
    mine = Cells(task.astype(np.int64), owned.cells.compound, owned.cells.value, owned.cells.relation, owned.cells.row)
    digests = task_digests(mine, inchikeys)
    good.sort(key=lambda i: (int(pairs[i]) // width, digests[i]))
    new = np.full(len(pairs), -1, dtype=np.int64)
    new[good] = np.arange(len(good))
    keep = order[new[task[order]] >= 0]
    cells = Cells(new[task[keep]], *(getattr(mine, name)[keep] for name in ("compound", "value", "relation", "row")))
    cells = cells.select(np.lexsort((cells.compound, cells.source)))
    tasks = tuple(_task(owned, partners, *divmod(int(pairs[i]), width), judged=i in judged) for i in good)
    return OwnedTasks(tasks, tuple(owned.partners[i] for i in partners), cells, tuple(rejects))


def _task(owned: Owned, partners: dict[int, int], partner: int, source: int, *, judged: bool) -> Task:
    kind = TaskKind.CLASSIFICATION if owned.classes[source] else TaskKind.REGRESSION
    return Task(partners[partner], owned.names[source], kind, owned.roles[source].weight, judged)


def _partners_left(owned: Owned, left: list[int], rejects: list[Reject]) -> dict[int, int]:
    """Return the new number of each partner that has a task.

    Raises:
        InputError: nobody has one.
    """
    if not left:
        raise InputError(f"no task is left: {summarise(rejects)}")
    return {old: new for new, old in enumerate(left)}


def _lacks(cells: Cells, fold: NDArray[np.int8], is_class: bool, which: Fold, quorum: Quorum) -> str:
    """Return what a task lacks in the training or the test fold, or the empty string."""
    training = which is Fold.TRAIN
    values = cells.value[(cells.relation == Relation.EQUAL) & (fold[cells.compound] == which)]
    name = "training" if training else "test"
    if is_class:
        need = quorum.train_class if training else quorum.test_class
        if len(np.unique(cells.value)) < 2:
            return "task: one class only"
        ones = int((values == 1).sum())
        for what, have in (("actives", ones), ("inactives", len(values) - ones)):
            if have < need:
                return f"task: {have} {name} {what}, must be >= {need}"
        return ""
    need = quorum.train if training else quorum.test
    if len(values) < need:
        return f"task: {len(values)} exact {name} values, must be >= {need}"
    if need and len(np.unique(values)) < min(2, need):
        return f"task: one value only in the {name} fold"
    return ""
