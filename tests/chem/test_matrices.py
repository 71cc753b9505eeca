"""SparseChem's matrices: what is written comes back, and files that don't fit are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.chem.matrices import read_matrices, write_matrices
from securefl.errors import InputError


def cells_by_content(dataset: Dataset, partner: int, kind: TaskKind) -> list[tuple[bytes, float, int, int]]:
    """A partner's cells without any numbering: fingerprint, value, relation and fold, sorted."""
    cells = dataset.cells(partner)
    keep = np.array([dataset.tasks[task].kind is kind for task in cells.task])
    cells = cells.select(keep)
    return sorted(
        (dataset.fingerprints[compound].indices.tobytes(), float(value), int(relation), int(dataset.fold[compound]))
        for compound, value, relation in zip(cells.compound, cells.value, cells.relation, strict=True)
    )


@pytest.fixture
def mixed(tiny_dataset: Dataset) -> Dataset:
    """The small dataset with some censored values, and a value of exactly 0."""
    relation = np.where(tiny_dataset.activities.value > 0.9, 1, tiny_dataset.activities.relation).astype(np.int8)
    value = tiny_dataset.activities.value.copy()
    classes = np.array([task.kind is TaskKind.CLASSIFICATION for task in tiny_dataset.tasks])[tiny_dataset.activities.task]
    value[np.flatnonzero(~classes)[0]] = 0.0
    relation[classes] = 0
    return replace(tiny_dataset, activities=replace(tiny_dataset.activities, value=value, relation=relation))


@pytest.mark.parametrize(("kind", "task_kind"), [("cls", TaskKind.CLASSIFICATION), ("reg", TaskKind.REGRESSION)])
def test_there_and_back(mixed: Dataset, tmp_path: Path, kind: str, task_kind: TaskKind) -> None:
    owners = [p for p in range(3) if any(mixed.tasks[t].kind is task_kind for t in mixed.tasks_of(p))]
    if not owners:
        pytest.fail(f"the dataset of the tests has no task of {task_kind}")
    folders = {}
    for partner in owners:
        folders[mixed.partners[partner]] = tmp_path / f"p{partner}"
        write_matrices(mixed, partner, tmp_path / f"p{partner}")
    back = read_matrices(folders, "cls" if kind == "cls" else "reg")
    assert back.partners == tuple(mixed.partners[p] for p in owners)
    for number, partner in enumerate(owners):
        assert cells_by_content(back, number, task_kind) == cells_by_content(mixed, partner, task_kind)


def test_files_folds_and_weights(mixed: Dataset, tmp_path: Path) -> None:
    write_matrices(mixed, 0, tmp_path / "p")
    folds = np.load(tmp_path / "p" / "reg_T11_fold_vector.npy", allow_pickle=False)
    assert set(folds.tolist()) == {0, 1, 2, 3, 4, 5}
    assert np.sum(folds == 5) == len(np.unique(reg_cells(mixed, Fold.AUDIT)))
    header, *rows = (tmp_path / "p" / "reg_weights.csv").read_text().splitlines()
    assert header == "task_id,task_type,training_weight,aggregation_weight"
    names = {task.name for task in mixed.tasks}
    assert not any(name in row.split(",") for name in names for row in rows)
    with pytest.raises(InputError, match="exists"):
        write_matrices(mixed, 0, tmp_path / "p")


def reg_cells(dataset: Dataset, fold: Fold) -> list[int]:
    cells = dataset.cells(0, fold)
    return [int(c) for t, c in zip(cells.task, cells.compound, strict=True) if dataset.tasks[t].kind is TaskKind.REGRESSION]


def test_what_does_not_fit_is_named(mixed: Dataset, tmp_path: Path) -> None:
    def fresh(name: str) -> Path:
        write_matrices(mixed, 0, tmp_path / name)
        return tmp_path / name

    with pytest.raises(InputError, match="no folder given"):
        read_matrices({}, "reg")
    with pytest.raises(InputError, match=r"reg_T11_x\.npz: no such file"):
        read_matrices({"a": tmp_path / "absent"}, "reg")
    folder = fresh("a")
    (folder / "reg_T10_y.npz").write_bytes(b"no matrix")
    with pytest.raises(InputError, match=r"reg_T10_y\.npz is not a sparse matrix"):
        read_matrices({"a": folder}, "reg")
    folder = fresh("b")
    np.save(folder / "reg_T11_fold_vector.npy", np.zeros(3, dtype=int))
    with pytest.raises(InputError, match="fold_vector has 3 rows, must be"):
        read_matrices({"b": folder}, "reg")
    folder = fresh("c")
    np.save(folder / "reg_T11_fold_vector.npy", np.full(3, 9))
    with pytest.raises(InputError, match="fold 9 is unknown"):
        read_matrices({"c": folder}, "reg")
    folder = fresh("d")
    sp.save_npz(folder / "reg_T10_censor_y.npz", sp.csr_matrix((2, 2)))
    with pytest.raises(InputError, match=r"must be .* as y has"):
        read_matrices({"d": folder}, "reg")
    folder = fresh("e")
    x = sp.load_npz(folder / "reg_T11_x.npz")
    sp.save_npz(folder / "reg_T11_x.npz", sp.hstack([x, x], format="csr"))
    with pytest.raises(InputError, match="must agree"):
        read_matrices({"e": folder, "f": fresh("f")}, "reg")


@pytest.mark.parametrize(
    ("folds", "reason"),
    [
        (np.zeros((5, 1)), r"has shape \(5, 1\)"),
        (np.array(["one"]), "must be one row of numbers"),
        (np.array([1.5]), "fold 1.5 is unknown"),
        (np.array([np.nan]), "fold nan is unknown"),
    ],
)
def test_what_is_no_fold_is_named(mixed: Dataset, tmp_path: Path, folds: NDArray[np.generic], reason: str) -> None:
    write_matrices(mixed, 0, tmp_path / "p")
    np.save(tmp_path / "p" / "reg_T11_fold_vector.npy", folds)
    with pytest.raises(InputError, match=reason):
        read_matrices({"p": tmp_path / "p"}, "reg")


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_what_is_no_fingerprint_is_refused(mixed: Dataset, tmp_path: Path, value: float) -> None:
    write_matrices(mixed, 0, tmp_path / "p")
    x = sp.load_npz(tmp_path / "p" / "reg_T11_x.npz").astype(np.float64)
    x.data[0] = value
    sp.save_npz(tmp_path / "p" / "reg_T11_x.npz", x)
    with pytest.raises(InputError, match=r"reg_T11_x\.npz holds values that are negative or not finite"):
        read_matrices({"p": tmp_path / "p"}, "reg")


@pytest.mark.parametrize("form", ["csr", "coo"])
@pytest.mark.parametrize("name", ["reg_T11_x.npz", "reg_T10_y.npz"])
def test_an_entry_that_is_there_twice_is_refused(mixed: Dataset, tmp_path: Path, name: str, form: str) -> None:
    """A measured value would be trained on twice, or be the sum of the two."""
    write_matrices(mixed, 0, tmp_path / "a")
    matrix = sp.load_npz(tmp_path / "a" / name).tocoo()
    row, column, value = (np.append(part[0], part) for part in (matrix.row, matrix.col, matrix.data))
    order = np.argsort(row, kind="stable")
    start = np.append(0, np.cumsum(np.bincount(row, minlength=matrix.shape[0])))
    doubled = {
        "coo": sp.coo_matrix((value, (row, column)), shape=matrix.shape),
        "csr": sp.csr_matrix((value[order], column[order], start), shape=matrix.shape),
    }[form]
    sp.save_npz(tmp_path / "a" / name, doubled)
    with pytest.raises(InputError, match=f"{name} holds 1 entries more than once"):
        read_matrices({"a": tmp_path / "a"}, "reg")


def test_a_task_that_is_weighed_twice_is_refused(mixed: Dataset, tmp_path: Path) -> None:
    write_matrices(mixed, 0, tmp_path / "p")
    path = tmp_path / "p" / "reg_weights.csv"
    path.write_text(path.read_text() + "0,OTHER,0.5,1\n")
    with pytest.raises(InputError, match="once each"):
        read_matrices({"p": tmp_path / "p"}, "reg")


def test_a_table_of_weights_may_begin_with_a_byte_order_mark(mixed: Dataset, tmp_path: Path) -> None:
    write_matrices(mixed, 0, tmp_path / "p")
    path = tmp_path / "p" / "reg_weights.csv"
    before = read_matrices({"p": tmp_path / "p"}, "reg")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_matrices({"p": tmp_path / "p"}, "reg").tasks == before.tasks


def test_weights_and_auxiliary_tasks_travel(mixed: Dataset, tmp_path: Path) -> None:
    tasks = [replace(t, weight=1 + i / 4, judged=t.kind is TaskKind.REGRESSION) for i, t in enumerate(mixed.tasks)]
    dataset = replace(mixed, tasks=tuple(tasks))
    owner = next(task.partner for task in tasks if not task.judged)
    write_matrices(dataset, owner, tmp_path / "p")
    assert not (tmp_path / "p" / "cls_T11_x.npz").exists()
    for kind, judged in (("clsaux", False), ("reg", True)):
        back = read_matrices({"p": tmp_path / "p"}, "clsaux" if kind == "clsaux" else "reg")
        mine = [task for task in tasks if task.partner == owner and task.judged is judged]
        assert [(task.weight, task.judged) for task in back.tasks] == [(task.weight, judged) for task in mine]
    (tmp_path / "p" / "reg_weights.csv").unlink()
    assert {task.weight for task in read_matrices({"p": tmp_path / "p"}, "reg").tasks} == {1.0}


def test_counts_travel(mixed: Dataset, tmp_path: Path) -> None:
    counted = mixed.fingerprints.copy()
    counted.data = (counted.data * 3).astype(np.uint8)
    write_matrices(replace(mixed, fingerprints=counted), 0, tmp_path / "p")
    back = read_matrices({"p": tmp_path / "p"}, "reg")
    assert set(back.fingerprints.data.tolist()) == {3}
    assert back.fingerprints.dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("task_id,weight\n0,1\n", "is no table of task_id, training_weight"),
        ("task_id,training_weight\n0,1\n", "lists 1 tasks, must list 0 to"),
        ("task_id,training_weight\n0,heavy\n", "is no table of task_id, training_weight"),
    ],
)
def test_bad_weights_are_named(mixed: Dataset, tmp_path: Path, text: str, reason: str) -> None:
    write_matrices(mixed, 0, tmp_path / "p")
    (tmp_path / "p" / "reg_weights.csv").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_matrices({"p": tmp_path / "p"}, "reg")
