"""A partner's records: scaling from training alone, grouping by compound, and the errors that bad tables give."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import make_dataset

from securefl.chem.dataset import Activities, Dataset, Fold, TaskKind
from securefl.errors import InputError
from securefl.learning.cells import joined, records_of, scaling_of


def with_cells(dataset: Dataset, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Dataset:
    return dataclasses.replace(dataset, activities=dataset.activities.select(keep))


def owner_of(dataset: Dataset) -> NDArray[np.int64]:
    return np.array([task.partner for task in dataset.tasks])[dataset.activities.task]


def test_scaling_comes_from_the_training_fold_alone(tiny_dataset: Dataset) -> None:
    scaling = scaling_of(tiny_dataset, 0)
    held_out = tiny_dataset.fold[tiny_dataset.activities.compound] != Fold.TRAIN
    cells = tiny_dataset.activities
    moved = Activities(cells.task, cells.compound, cells.value.copy(), cells.relation)
    # Classification values must stay 0 or 1.
    moved.value[held_out & (cells.value > 1)] += 100
    again = scaling_of(dataclasses.replace(tiny_dataset, activities=moved), 0)
    np.testing.assert_array_equal(scaling.mean, again.mean)
    np.testing.assert_array_equal(scaling.std, again.std)
    train = tiny_dataset.cells(0, Fold.TRAIN)
    values = train.value[train.task == scaling.tasks[1]]
    assert scaling.mean[1] == pytest.approx(values.mean(), rel=1e-6)
    assert scaling.binary.tolist() == [False, False, False, True]
    classes = train.value[train.task == scaling.tasks[3]]
    assert scaling.mean[3] == pytest.approx(np.log((classes.sum() + 0.5) / ((1 - classes).sum() + 0.5)), rel=1e-6)
    assert scaling.std[3] == 1


def test_every_cell_is_in_exactly_one_record(tiny_dataset: Dataset) -> None:
    cells = tiny_dataset.cells(1, Fold.TRAIN)
    scaling = scaling_of(tiny_dataset, 1)
    records = records_of(tiny_dataset, scaling, cells)
    compound = np.repeat(records.compound, np.diff(records.start))
    task = scaling.tasks[records.task]
    shift = np.where(scaling.binary, 0, scaling.mean)
    value = records.target * scaling.std[records.task] + shift[records.task]
    found = sorted(zip(compound.tolist(), task.tolist(), np.round(value, 3).tolist(), records.relation.tolist(), strict=True))
    given = sorted(
        zip(
            cells.compound.tolist(),
            cells.task.tolist(),
            np.round(cells.value, 3).tolist(),
            cells.relation.tolist(),
            strict=True,
        )
    )
    assert [f[:2] + f[3:] for f in found] == [g[:2] + g[3:] for g in given]
    np.testing.assert_allclose([f[2] for f in found], [g[2] for g in given], atol=2e-3)
    assert len(np.unique(records.compound)) == len(records)


def test_batch_points_each_cell_at_its_row(tiny_dataset: Dataset) -> None:
    records = records_of(tiny_dataset, scaling_of(tiny_dataset, 0), tiny_dataset.cells(0, Fold.TRAIN))
    rows = np.array([5, 0, 9])
    _, cells = records.batch(rows)
    expected = [
        (i, int(records.task[c])) for i, row in enumerate(rows) for c in range(records.start[row], records.start[row + 1])
    ]
    assert list(zip(cells.row.tolist(), cells.task.tolist(), strict=True)) == expected
    assert cells.binary.tolist() == [bool(records.binary[task]) for _, task in expected]


def test_order_of_the_table_does_not_reach_the_records(tiny_dataset: Dataset) -> None:
    order = np.random.default_rng(0).permutation(len(tiny_dataset.activities))
    shuffled = with_cells(tiny_dataset, order)
    one, two = (records_of(d, scaling_of(tiny_dataset, 0), d.cells(0, Fold.TRAIN)) for d in (tiny_dataset, shuffled))
    for name in ("compound", "start", "task", "target", "relation"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_joined_keeps_partners_tasks_apart(tiny_dataset: Dataset) -> None:
    parts = [records_of(tiny_dataset, scaling_of(tiny_dataset, p), tiny_dataset.cells(p, Fold.TRAIN)) for p in range(3)]
    whole = joined(parts)
    assert (len(whole), whole.cells) == (sum(map(len, parts)), sum(part.cells for part in parts))
    assert whole.task.max() == 11
    _, cells = whole.batch(np.array([len(parts[0])]))
    _, own = parts[1].batch(np.array([0]))
    assert (cells.task - 4).tolist() == own.task.tolist()
    assert cells.target.tolist() == own.target.tolist()


def test_partner_without_training_cells_is_named(tiny_dataset: Dataset) -> None:
    gone = (owner_of(tiny_dataset) == 2) & (tiny_dataset.fold[tiny_dataset.activities.compound] == Fold.TRAIN)
    with pytest.raises(InputError, match="partner 'partner 2' has 0 training cells"):
        scaling_of(with_cells(tiny_dataset, ~gone), 2)


def test_task_with_one_class_is_named(tiny_dataset: Dataset) -> None:
    task = next(i for i, t in enumerate(tiny_dataset.tasks) if t.kind is TaskKind.CLASSIFICATION)
    actives = (tiny_dataset.activities.task == task) & (tiny_dataset.activities.value == 1)
    with pytest.raises(InputError, match=r"task 'assay 3' has one class only \(0\) in training"):
        scaling_of(with_cells(tiny_dataset, ~actives), tiny_dataset.tasks[task].partner)


def test_task_without_training_cells_is_named(tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match="task 'assay 1' has 0 training cells"):
        scaling_of(with_cells(tiny_dataset, tiny_dataset.activities.task != 1), 0)


def test_class_other_than_0_or_1_is_refused() -> None:
    dataset = make_dataset(seed=4)
    task = next(i for i, t in enumerate(dataset.tasks) if t.kind is TaskKind.CLASSIFICATION)
    dataset.activities.value[dataset.activities.task == task] = 7.5
    with pytest.raises(InputError, match=r"has value 7\.5, must be 0 or 1"):
        scaling_of(dataset, dataset.tasks[task].partner)


def test_cells_of_another_partner_are_refused(tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match="tasks of another partner"):
        records_of(tiny_dataset, scaling_of(tiny_dataset, 0), tiny_dataset.cells(1, Fold.TRAIN))


def test_counts_are_refused_where_bits_are_read(tiny_dataset: Dataset) -> None:
    counts = tiny_dataset.fingerprints.copy()
    counts.data[3] = 9
    dataset = dataclasses.replace(tiny_dataset, fingerprints=counts)
    with pytest.raises(InputError, match="has counts up to 9, training reads bits alone: prepare it without counts=true"):
        records_of(dataset, scaling_of(dataset, 0), dataset.cells(0, Fold.TRAIN))
