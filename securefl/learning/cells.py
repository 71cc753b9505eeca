"""One partner's labelled compounds, ready for training: its records, its cells, and how its targets are scaled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset, Fold, Task, TaskKind
from securefl.chem.graphs import MoleculeGraphs
from securefl.errors import InputError
from securefl.learning.graph_batch import graph_batch
from securefl.learning.loss import CellBatch
from securefl.learning.sparse import SparseBatch, batch_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How a partner's own tasks map between original units and what its heads are trained on.

    ``tasks`` int32 (k,) are the dataset's task numbers; ``mean`` and ``std`` float32 (k,) come from the owner's training
    cells alone; ``binary`` bool (k,). Of a classification the mean is the log-odds of class 1, or 0 where nobody may know
    them: its targets are not shifted, its head begins there; the std is 1.
    """

    tasks: NDArray[np.int32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    binary: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tasks)

    @classmethod
    def joined(cls, parts: Sequence[Scaling]) -> Scaling:
        """Return the scaling of all partners' tasks behind each other."""
        return cls(**{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)})


def scaling_of(dataset: Dataset, partner: int) -> Scaling:
    """Return the scaling of a partner's tasks, from its TRAIN cells.

    Raises:
        InputError: the partner has no training cells, a classification task has one class or none in training, or a
            regression task has no training cell.
    """
    tasks = dataset.tasks_of(partner)
    cells = dataset.cells(partner, Fold.TRAIN)
    if not len(cells):
        raise InputError(f"partner {dataset.partners[partner]!r} has 0 training cells, must have >= 1")
    binary = np.array([dataset.tasks[t].kind is TaskKind.CLASSIFICATION for t in tasks], dtype=bool)
    mean = np.zeros(len(tasks), dtype=np.float32)
    std = np.ones(len(tasks), dtype=np.float32)
    for k, task in enumerate(tasks):
        values = cells.value[cells.task == task].astype(np.float64)
        _check(dataset.tasks[task], values)
        if binary[k]:
            mean[k] = log_odds(values)
        else:
            mean[k] = values.mean()
            # A task of one value has nothing to scale by; its head learns the mean and no more.
            std[k] = values.std() if values.std() > 1e-6 else 1.0
    return Scaling(tasks=tasks, mean=mean, std=std, binary=binary)


def log_odds(classes: NDArray[np.float64]) -> float:
    """Return the log-odds of class 1, with half a cell of each class more, so that those of a rare class stay finite."""
    ones = float(classes.sum())
    return math.log((ones + 0.5) / (len(classes) - ones + 0.5))


def _check(task: Task, values: NDArray[np.float64]) -> None:
    if not len(values):
        raise InputError(f"task {task.name!r} has 0 training cells, must have >= 1")
    if task.kind is TaskKind.CLASSIFICATION:
        classes = np.unique(values)
        if not np.isin(classes, (0.0, 1.0)).all():
            raise InputError(f"task {task.name!r} has value {classes[~np.isin(classes, (0.0, 1.0))][0]:g}, must be 0 or 1")
        if len(classes) < 2:
            raise InputError(f"task {task.name!r} has one class only ({classes[0]:g}) in training, must have both")


class RecordSource(Protocol):
    """What the plain trainer reads: a partner's records in memory (:class:`Records`) or on disk (:mod:`.shards`)."""

    def __len__(self) -> int:
        """Return the number of records."""
        ...

    def batches(self, size: int, shuffle: np.random.Generator) -> Iterator[tuple[SparseBatch, CellBatch]]:
        """Yield every record once, in batches of at most ``size``, in an order that ``shuffle`` alone decides."""
        ...


@dataclass(frozen=True, kw_only=True)
class Records:
    """A partner's records: each compound that has a cell, with its cells beside each other.

    Attributes:
        fingerprints: CSR uint8, shape (n, bits): row ``i`` is record ``i``.
        compound: int32 (n,), the dataset's row of each record.
        start: int64 (n + 1,): the cells of record ``i`` are ``start[i]`` to ``start[i + 1]``.
        task: int64 (m,), or less on disk, 0 to ``tasks`` - 1. target: float32 (m,), scaled. relation: int8 (m,).
        binary: bool (tasks,).
        graphs: every molecule of the dataset, by its row there, for the graph family.
        weight: float32 (tasks,), what each task's losses are multiplied by; ``None`` is 1 for all.
    """

    fingerprints: sp.csr_matrix
    compound: NDArray[np.int32]
    start: NDArray[np.int64]
    task: NDArray[np.integer]
    target: NDArray[np.float32]
    relation: NDArray[np.int8]
    binary: NDArray[np.bool_]
    graphs: MoleculeGraphs | None = None
    weight: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.compound)

    @property
    def cells(self) -> int:
        """Number of labelled cells."""
        return len(self.target)

    def batch(self, rows: NDArray[np.int64]) -> tuple[SparseBatch, CellBatch]:
        """Return the fingerprints and the cells of ``rows``, int64 (B,), in that order."""
        row, cell = self._cells_of(rows)
        task = self.task[cell].astype(np.int64, copy=False)
        cells = CellBatch(
            torch.from_numpy(row),
            torch.from_numpy(task),
            torch.from_numpy(self.target[cell]),
            torch.from_numpy(self.relation[cell].astype(np.float32)),
            torch.from_numpy(self.binary[task]),
            None if self.weight is None else torch.from_numpy(self.weight[task]),
        )
        graph = None if self.graphs is None else graph_batch(self.graphs.select(self.compound[rows]))
        return batch_of(self.fingerprints, rows, graph), cells

    def _cells_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return, for each cell of ``rows``, the place of its record in ``rows``, and its own number."""
        counts = self.start[rows + 1] - self.start[rows]
        row = np.repeat(np.arange(len(rows)), counts)
        before = np.repeat(np.cumsum(counts) - counts, counts)
        return row, np.repeat(self.start[rows], counts) + np.arange(len(row)) - before

    def select(self, rows: NDArray[np.int64]) -> Records:
        """Return the records ``rows``, in that order."""
        _, cell = self._cells_of(rows)
        return replace(
            self,
            fingerprints=self.fingerprints[rows],
            compound=self.compound[rows],
            start=np.append(0, np.cumsum(self.start[rows + 1] - self.start[rows])),
            task=self.task[cell],
            target=self.target[cell],
            relation=self.relation[cell],
        )

    def batches(self, size: int, shuffle: np.random.Generator) -> Iterator[tuple[SparseBatch, CellBatch]]:
        """Yield every record once, in one shuffled order, ``size`` at a time; the last batch may be short."""
        order = shuffle.permutation(len(self))
        for start in range(0, len(order), size):
            yield self.batch(order[start : start + size])


def records_of(dataset: Dataset, scaling: Scaling, cells: Activities) -> Records:
    """Return ``cells`` of one partner grouped by compound, scaled by its ``scaling``.

    Raises:
        InputError: a cell belongs to a task that ``scaling`` doesn't list, or the fingerprints are counts or no sets of bits.
    """
    _require_bits(dataset)
    local = np.full(len(dataset.tasks), -1, dtype=np.int64)
    local[scaling.tasks] = np.arange(len(scaling))
    # Sorted by compound, then task: the order of the cells in the table must not reach the result.
    order = np.lexsort((local[cells.task], cells.compound))
    task = local[cells.task[order]]
    if len(task) and task.min() < 0:
        raise InputError(f"{int((task < 0).sum())} cells belong to tasks of another partner, must be 0")
    compound, first = np.unique(cells.compound[order], return_index=True)
    shift = np.where(scaling.binary, np.float32(0), scaling.mean)
    return Records(
        fingerprints=dataset.fingerprints[compound],
        compound=compound.astype(np.int32),
        start=np.append(first, len(order)).astype(np.int64),
        task=task,
        target=((cells.value[order] - shift[task]) / scaling.std[task]).astype(np.float32),
        relation=cells.relation[order].astype(np.int8),
        binary=scaling.binary,
        graphs=dataset.graphs,
        weight=_weights(dataset, scaling),
    )


def _require_bits(dataset: Dataset) -> None:
    """Refuse counts: the first layer adds up the rows of the bits that are there, and would read every count as 1.

    A bit that is listed twice is a count of 2 in disguise: its row would move twice as far as a private step's norm says.
    """
    table = dataset.fingerprints
    if not (table.has_canonical_format or table.sorted_indices().has_canonical_format):
        raise InputError(f"dataset {dataset.name!r} lists a bit twice in a fingerprint, it must be there once")
    counts = dataset.fingerprints.data
    if len(counts) and (counts != 1).any():
        raise InputError(
            f"dataset {dataset.name!r} has counts up to {int(counts.max())}, training reads bits alone: prepare it without "
            "counts=true ('securefl data export --form matrices' hands counts to other tools)"
        )


def _weights(dataset: Dataset, scaling: Scaling) -> NDArray[np.float32] | None:
    weight = np.array([dataset.tasks[task].weight for task in scaling.tasks], dtype=np.float32)
    return None if (weight == 1).all() else weight


def joined(parts: list[Records]) -> Records:
    """Return all partners' records behind each other, tasks numbered on: the pooled data that no partner may see."""
    cells = np.cumsum([0] + [part.cells for part in parts])
    tasks = np.cumsum([0] + [len(part.binary) for part in parts])
    starts = [part.start[:-1] + before for part, before in zip(parts, cells, strict=False)]
    return Records(
        fingerprints=sp.vstack([part.fingerprints for part in parts], format="csr"),
        compound=np.concatenate([part.compound for part in parts]),
        start=np.concatenate([*starts, cells[-1:]]).astype(np.int64),
        task=np.concatenate([part.task + before for part, before in zip(parts, tasks, strict=False)]),
        target=np.concatenate([part.target for part in parts]),
        relation=np.concatenate([part.relation for part in parts]),
        binary=np.concatenate([part.binary for part in parts]),
        graphs=parts[0].graphs,
        weight=_joined_weights(parts),
    )


def _joined_weights(parts: list[Records]) -> NDArray[np.float32] | None:
    if all(part.weight is None for part in parts):
        return None
    ones = (np.ones(len(part.binary), dtype=np.float32) if part.weight is None else part.weight for part in parts)
    return np.concatenate(list(ones))
