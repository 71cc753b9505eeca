"""Performance by how near a compound lies to what its owner has measured: where does the federation widen the domain?

The distance is the Tanimoto similarity of the test compound's bits to its nearest training compound of the same task at the
same owner: what the owner knew alone. The federation knew more, so its gain should grow as the similarity falls. A bin holds
cells of many tasks, so its figure is a loss that adds up over cells (RMSE, log loss), not a rank.

Bins say nothing of causes: dissimilar compounds also come from other tasks' chemistry and from harder assays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.evaluation.bootstrap import ClusterResamples, interval_record
from securefl.evaluation.comparison import Contest
from securefl.evaluation.metrics import LOG_LOSS, PROBABILITY_FLOOR, RMSE, Floats
from securefl.evaluation.task_scores import TaskCells
from securefl.measures import SimilarityBinRecord

EDGES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
MIN_CELLS = 20
"""A bin of fewer cells is left out."""
ROWS = 512
"""Test compounds that are compared with all training compounds at a time."""


def similarity_records(contest: Contest) -> tuple[SimilarityBinRecord, ...]:
    """Return a record for each kind of task and each bin that holds enough cells."""
    return tuple(record for kind in TaskKind for record in _of_kind(contest, kind))


def nearest_training(dataset: Dataset, task: int, compounds: NDArray[np.int32]) -> Floats:
    """Return each compound's largest Tanimoto similarity to a TRAIN compound of ``task``, shape (n,); 0 without any."""
    cells = dataset.activities
    train = cells.compound[(cells.task == task) & (dataset.fold[cells.compound] == Fold.TRAIN)]
    if not len(train):
        return np.zeros(len(compounds))
    return nearest(dataset.fingerprints[compounds], dataset.fingerprints[train])


def nearest(asked: sp.csr_matrix, known: sp.csr_matrix) -> Floats:
    """Return the largest Tanimoto similarity of each row of ``asked``, (n, bits), to a row of ``known``; 0 without any."""
    if not known.shape[0]:
        return np.zeros(asked.shape[0])
    known, asked = _bits(known), _bits(asked)
    blocks = [asked[start : start + ROWS] for start in range(0, asked.shape[0], ROWS)]
    return np.concatenate([_largest(block, known) for block in blocks]) if blocks else np.zeros(0)


def _bits(rows: sp.csr_matrix) -> sp.csr_matrix:
    """Return the rows with every stored value 1, counts or not, in a type whose sums don't wrap."""
    return sp.csr_matrix((np.ones(rows.nnz, np.float32), rows.indices, rows.indptr), shape=rows.shape)


def _largest(asked: sp.csr_matrix, known: sp.csr_matrix) -> Floats:
    common = (asked @ known.T).toarray().astype(np.float64)
    union = np.diff(asked.indptr)[:, None] + np.diff(known.indptr)[None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0).max(axis=1))


def _of_kind(contest: Contest, kind: TaskKind) -> list[SimilarityBinRecord]:
    tasks = contest.tasks(kind, contest.standalone)
    if not tasks:
        return []
    near = np.concatenate([nearest_training(contest.dataset, cells.task, cells.compound) for cells in tasks])
    bins = np.clip(np.digitize(near, EDGES) - 1, 0, len(EDGES) - 2)
    compound = np.concatenate([cells.compound for cells in tasks])
    losses = np.concatenate([cell_losses(kind, cells) for cells in tasks])
    draws = contest.draws(tasks)
    records = []
    for number in range(len(EDGES) - 1):
        rows = np.flatnonzero(bins == number)
        if len(rows) < MIN_CELLS:
            continue
        means = _means(kind, losses[rows], contest.dataset.cluster[compound[rows]], draws)
        ours = means[:, : len(contest.arm)].mean(axis=1)
        theirs = means[:, len(contest.arm) :].mean(axis=1) if contest.standalone else None
        records.append(
            SimilarityBinRecord(
                metric=(RMSE if kind is TaskKind.REGRESSION else LOG_LOSS).name,
                kind=kind.value,
                low=EDGES[number],
                high=EDGES[number + 1],
                n_cells=len(rows),
                n_compounds=len(np.unique(compound[rows])),
                value=interval_record(float(ours[0]), ours[1:]),
                delta=interval_record(float(theirs[0] - ours[0]), (theirs - ours)[1:]) if theirs is not None else None,
            )
        )
    return records


def cell_losses(kind: TaskKind, cells: TaskCells) -> Floats:
    """Return each cell's squared error or log loss under each prediction, shape (cells, predictions)."""
    predictions: Sequence[Floats] = cells.predictions
    if kind is TaskKind.REGRESSION:
        return np.stack([(cells.value - prediction) ** 2 for prediction in predictions], axis=1)
    sure = [np.clip(prediction, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR) for prediction in predictions]
    return np.stack([-np.where(cells.value > 0, np.log(p), np.log1p(-p)) for p in sure], axis=1)


def _means(kind: TaskKind, losses: Floats, cluster: NDArray[np.int32], draws: ClusterResamples) -> Floats:
    """Return the bin's figure under each prediction, first as it is, then of each resample, shape (1 + b, predictions)."""
    columns, width = draws.column[cluster], draws.times.shape[1]
    count = np.bincount(columns, minlength=width)
    totals = np.stack([np.bincount(columns, weights=one, minlength=width) for one in losses.T], axis=1)
    times = np.vstack([np.ones(width), draws.times])
    weight, total = (times @ count)[:, None], times @ totals
    mean = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)
    return np.asarray(np.sqrt(mean) if kind is TaskKind.REGRESSION else mean)
