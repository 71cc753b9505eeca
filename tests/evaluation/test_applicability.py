"""Similarity to the training set against RDKit, and the bins of performance."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from rdkit import DataStructs
from stand_ins import make_dataset

from securefl.chem.dataset import Dataset, Fold
from securefl.evaluation.applicability import EDGES, nearest_training, similarity_records
from securefl.evaluation.comparison import Contest


def rdkit_bits(row: sp.csr_matrix) -> DataStructs.ExplicitBitVect:
    """Return a fingerprint as RDKit has it."""
    bits = DataStructs.ExplicitBitVect(row.shape[1])
    bits.SetBitsFromList(row.indices.tolist())
    return bits


def test_similarity_is_rdkits_to_the_nearest_training_compound_of_the_task(tiny_dataset: Dataset) -> None:
    cells = tiny_dataset.activities
    mine = cells.task == 1
    test = cells.compound[mine & (tiny_dataset.fold[cells.compound] == Fold.TEST)]
    train = cells.compound[mine & (tiny_dataset.fold[cells.compound] == Fold.TRAIN)]
    known = [rdkit_bits(tiny_dataset.fingerprints[row]) for row in train]
    expected = [max(DataStructs.BulkTanimotoSimilarity(rdkit_bits(tiny_dataset.fingerprints[row]), known)) for row in test]
    assert nearest_training(tiny_dataset, 1, test) == pytest.approx(expected)


def test_counts_are_read_as_bits_and_no_training_compound_is_similarity_zero(tiny_dataset: Dataset) -> None:
    compounds = np.arange(20, dtype=np.int32)
    counts = tiny_dataset.fingerprints.copy()
    counts.data = np.full_like(counts.data, 200)
    once = nearest_training(tiny_dataset, 1, compounds)
    assert nearest_training(replace(tiny_dataset, fingerprints=counts), 1, compounds) == pytest.approx(once)
    untrained = replace(tiny_dataset, fold=np.full_like(tiny_dataset.fold, Fold.TEST))
    assert not nearest_training(untrained, 1, compounds).any()


def test_bins_hold_every_cell_once_and_see_where_the_gain_is() -> None:
    dataset = make_dataset(compounds=1500, tasks_each=6)
    cells = dataset.activities
    draw = np.random.default_rng(0)
    near = np.concatenate([nearest_training(dataset, task, cells.compound[cells.task == task]) for task in range(18)])
    order = np.argsort(cells.task, kind="stable")
    similarity = np.empty(len(cells))
    similarity[order] = near
    noise = draw.normal(0, 1, len(cells))
    # Standalone errs where nothing similar was measured; the arm errs everywhere alike.
    standalone = np.clip(cells.value + noise * np.where(similarity < 0.4, 1.0, 0.3), 0, 9).astype(np.float32)
    arm = np.clip(cells.value + 0.3 * noise, 0, 9).astype(np.float32)
    classes = cells.value <= 1
    standalone[classes], arm[classes] = np.clip(standalone[classes], 0, 1), np.clip(arm[classes], 0, 1)
    contest = Contest(dataset=dataset, arm=[arm], standalone=[standalone], resamples=200)
    records = [record for record in similarity_records(contest) if record.kind == "regression"]
    assert len(records) >= 2
    assert {(record.low, record.high) for record in records} <= set(pairwise(EDGES))
    for record in records:
        assert record.metric == "RMSE"
        assert record.delta is not None
        assert (record.delta.low > 0) == (record.low < 0.4), record
        if record.low >= 0.4:
            assert record.delta.mean == pytest.approx(0.0, abs=1e-6)
    tested = sum(len(task.value) for task in contest.tasks(dataset.tasks[0].kind, contest.standalone))
    assert tested - 20 * (len(EDGES) - 1) < sum(record.n_cells for record in records) <= tested
