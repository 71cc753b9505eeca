"""MELLODDY-TUNER's tables: the join, thresholds on censored values, the 10**x rule, and the way back."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from molecules import long_table, write_csv

from securefl.chem.dataset import Dataset, Relation, TaskKind
from securefl.chem.keyed import public_key
from securefl.chem.prepare import prepare
from securefl.chem.table import Columns, Role, Table, table_of
from securefl.chem.tuner import read_tuner, table_of_partner, tuner_files, write_tuner
from securefl.config import DataConfig
from securefl.errors import InputError

T0 = "input_assay_id,assay_type,use_in_regression,expert_threshold_1,expert_threshold_2,direction\n"
T1 = "input_compound_id,input_assay_id,standard_qualifier,standard_value\n"
T2 = "input_compound_id,smiles\n1,CCO\n2,CCN\n3,CCC\n4,\n"


def read(tmp_path: Path, t0: str, t1: str, t2: str = T2) -> Table:
    names = [write_csv(tmp_path / name, text) for name, text in (("T0.csv", T0 + t0), ("T1.csv", T1 + t1), ("T2.csv", t2))]
    return read_tuner(*names)


def rows_of(table: Table) -> set[tuple[str, str, float, int]]:
    return {
        (table.task.names[task], table.smiles.names[smiles], round(float(value), 6), int(relation))
        for task, smiles, value, relation in zip(
            table.task.code, table.smiles.code, table.value, table.relation, strict=True
        )
    }


@pytest.mark.parametrize(
    ("t0", "t2", "reason"),
    [
        ("a,OTHER,True,,,high\na,OTHER,False,6,,high\n", T2, "assay 'a' occurs more than once"),
        ("a,OTHER,True,nan,,high\n", T2, "assay a: a threshold is not finite"),
        ("a,OTHER,perhaps,6,,high\n", T2, "use_in_regression 'perhaps' in row 1 must be true or false"),
        ("a,OTHER,False,6,,down\n", T2, "assay a: direction 'down' must be high or low"),
        ("a,OTHER,True,,,high\n", T2 + "1,CCCCO\n", "compound '1' has two structures"),
        ("a,OTHER,True,,,high\n", "input_compound_id,smiles,smiles\n1,CCO,CCO\n", "column smiles occurs more than once"),
    ],
)
def test_contradicting_tables_are_refused(tmp_path: Path, t0: str, t2: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read(tmp_path, t0, "1,a,=,6.5\n2,a,=,5\n", t2)


def test_a_structure_that_is_given_twice_alike_is_no_conflict(tmp_path: Path) -> None:
    assert len(read(tmp_path, "a,OTHER,yes,,,high\n", "1,a,=,6.5\n", T2 + "1,CCO\n")) == 1


def test_regression_rows_join_their_structures(tmp_path: Path) -> None:
    table = read(tmp_path, "a,OTHER,True,,,high\n", "1,a,=,6.5\n2,a,<,5\n3,a,>>,7\n")
    assert rows_of(table) == {("a", "CCO", 6.5, 0), ("a", "CCN", 5.0, -1), ("a", "CCC", 7.0, 1)}
    assert table.notes == ()


def test_thresholds_make_classes_and_undecided_values_none(tmp_path: Path) -> None:
    activities = "1,a,=,6\n2,a,=,5.9\n3,a,>,5\n1,a,<,6\n2,a,>,7\n3,a,<,7\n"
    table = read(tmp_path, "a,OTHER,False,6,,high\n", activities)
    assert [(int(row), float(value)) for row, value in zip(table.row, table.value, strict=True)] == [
        (1, 1.0), (2, 0.0), (4, 0.0), (5, 1.0),
    ]  # fmt: skip
    assert not table.relation.any()
    assert {reject.row: reject.reason for reject in table.rejects} == {
        3: "censored value on the undecided side of every threshold",
        6: "censored value on the undecided side of every threshold",
    }


def test_an_assay_without_a_usable_value_is_no_task(tmp_path: Path) -> None:
    table = read(tmp_path, "a,OTHER,True,,,high\nb,OTHER,True,,,high\n", "1,a,=,6.5\n2,b,=,\n4,b,=,7\n")
    assert table.task.names == ("a",)
    assert {(reject.row, reject.reason) for reject in table.rejects} == {(2, "blank value"), (3, "blank smiles")}


def test_where_low_values_are_active_the_classes_turn_round(tmp_path: Path) -> None:
    activities = "1,a,=,6\n2,a,=,5.9\n3,a,=,6.1\n1,a,>,6\n2,a,<,7\n3,a,<,6\n"
    table = read(tmp_path, "a,OTHER,False,6,,low\n", activities)
    assert [(int(row), float(value)) for row, value in zip(table.row, table.value, strict=True)] == [
        (1, 1.0), (2, 1.0), (3, 0.0), (4, 0.0), (6, 1.0),
    ]  # fmt: skip
    assert [(reject.row, reject.reason) for reject in table.rejects] == [
        (5, "censored value on the undecided side of every threshold")
    ]
    several = read(tmp_path, "a,OTHER,True,5,6,low\n", "1,a,=,5.5\n")
    assert rows_of(several) == {("a", "CCO", 5.5, 0), ("a <= 5", "CCO", 0.0, 0), ("a <= 6", "CCO", 1.0, 0)}


def test_one_assay_can_be_several_tasks(tmp_path: Path) -> None:
    table = read(tmp_path, "a,OTHER,True,5,6,high\n", "1,a,=,5.5\n")
    assert rows_of(table) == {("a", "CCO", 5.5, 0), ("a >= 5", "CCO", 1.0, 0), ("a >= 6", "CCO", 0.0, 0)}


def test_powers_of_ten_are_undone_and_reported(tmp_path: Path) -> None:
    assays = "a,ADME,True,,,high\nb,ADME,True,,,high\nc,ADME,True,,,high\n"
    activities = "1,a,=,1000000\n2,a,<,100\n1,b,=,-1\n2,b,=,5000\n1,c,=,900\n2,c,=,6\n"
    table = read(tmp_path, assays, activities)
    # b has a negative value and c none above the bound: both stay as they are.
    assert rows_of(table) == {
        ("a", "CCO", 6.0, 0), ("a", "CCN", 2.0, -1), ("b", "CCO", -1.0, 0), ("b", "CCN", 5000.0, 0),
        ("c", "CCO", 900.0, 0), ("c", "CCN", 6.0, 0),
    }  # fmt: skip
    assert table.notes == ("10**x undone by log10 in 1 assays with 2 values (all positive, one above 1000)",)


def test_what_does_not_join_is_rejected_with_its_row(tmp_path: Path) -> None:
    table = read(tmp_path, "a,OTHER,True,,,high\nn,OTHER,False,,,high\n", "1,a,=,6\n4,a,=,6\n9,a,=,6\n1,x,=,6\n1,n,=,6\n")
    assert {reject.row: reject.reason for reject in table.rejects} == {
        2: "blank smiles", 3: "blank smiles", 4: "assay is not in T0.csv", 5: "assay has neither regression nor a threshold",
    }  # fmt: skip


def test_bad_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"T2\.csv: missing column smiles"):
        read(tmp_path, "a,OTHER,True,,,\n", "1,a,=,6\n", "input_compound_id,structure\n1,CCO\n")
    with pytest.raises(InputError, match="assay a: a threshold is not a number"):
        read(tmp_path, "a,OTHER,False,high,,\n", "1,a,=,6\n")
    with pytest.raises(InputError, match="no activity belongs to an assay"):
        read(tmp_path, "a,OTHER,True,,,\n", "1,x,=,6\n")
    with pytest.raises(InputError, match="infinite"):
        read(tmp_path, "a,OTHER,True,,,\n", "1,a,=,inf\n")


@pytest.mark.parametrize("classes", [True, False])
def test_there_and_back(tmp_path: Path, classes: bool) -> None:
    table = table_of(long_table(tasks=2, n=60, classes=classes).drop_columns(["partner"]), Columns(), name="t")
    if classes:
        table = table.select(table.relation == Relation.EQUAL)
    write_tuner(table, tmp_path / "out")
    back = read_tuner(*(tmp_path / "out" / f"T{i}.csv" for i in range(3)))
    assert rows_of(back) == rows_of(table)
    assert back.rejects == ()
    with pytest.raises(InputError, match=r"T0\.csv exists"):
        write_tuner(table, tmp_path / "out")


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    table = table_of(long_table(tasks=1, n=20), Columns(), name="t")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        write_tuner(table, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_powers_can_be_kept(tmp_path: Path) -> None:
    read(tmp_path, "a,ADME,True,,,high\n", "1,a,=,1000000\n")
    table = read_tuner(*tuner_files(tmp_path), undo_powers=False)
    assert rows_of(table) == {("a", "CCO", 1_000_000.0, 0)}
    assert table.notes == ()


def test_auxiliary_assays_weigh_a_tenth_and_thresholds_share(tmp_path: Path) -> None:
    table = read(tmp_path, "h,AUX_HTS,False,5,6,high\no,OTHER,True,,,high\n", "1,h,=,5.5\n1,o,=,5.5\n")
    assert table.task.names == ("h >= 5", "h >= 6", "o")
    assert table.roles == (Role(0.05, auxiliary=True), Role(0.05, auxiliary=True), Role())


def test_a_folder_lacks_a_table(tmp_path: Path) -> None:
    write_csv(tmp_path / "T0.csv", T0)
    with pytest.raises(InputError, match=r"T1\.csv \(or \.csv\.gz, \.parquet\) is missing"):
        tuner_files(tmp_path)


def test_a_partners_part_of_a_dataset_comes_back(tiny_dataset: Dataset, tmp_path: Path) -> None:
    smiles = tuple("C" * (i + 1) for i in range(len(tiny_dataset.smiles)))
    tasks = tuple(replace(task, judged=i % 4 != 0) for i, task in enumerate(tiny_dataset.tasks))
    dataset = replace(tiny_dataset, smiles=smiles, tasks=tasks)
    write_tuner(table_of_partner(dataset, 1), tmp_path)
    back = read_tuner(*tuner_files(tmp_path))
    cells = dataset.cells(1)
    assert rows_of(back) == {
        (tasks[task].name, smiles[compound], round(float(str(value)), 6), int(relation))
        for task, compound, value, relation in zip(cells.task, cells.compound, cells.value, cells.relation, strict=True)
    }
    role = dict(zip(back.task.names, back.roles, strict=True))
    assert all(role[task.name].auxiliary is not task.judged for task in tasks if task.partner == 1)
    with pytest.raises(InputError, match="holds no structures"):
        table_of_partner(replace(dataset, smiles=("",) * len(smiles)), 1)


@pytest.mark.shared
def test_the_public_set_is_read(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "03_melloddy_tuner_format"
    table = read_tuner(folder / "T0.csv", folder / "T1.csv.gz", folder / "T2.csv.gz")
    assert len(table) + len(table.rejects) == 118_773
    [note] = table.notes
    assert note.startswith("10**x undone by log10 in 85 assays with 31398 values")
    assert table.value.max() < 18
    # The bound is not delicate: the logarithms leave a wide gap.
    kept = read_tuner(folder / "T0.csv", folder / "T1.csv.gz", folder / "T2.csv.gz", undo_powers=False)
    largest = {name: kept.value[kept.task.code == code].max() for code, name in enumerate(kept.task.names)}
    assert [sum(one > bound for one in largest.values()) for bound in (20, 100, 1_000)] == [85, 85, 85]
    few = table.select(np.isin(table.task.code, np.argsort(-np.bincount(table.task.code))[3:9]) & (table.smiles.code % 8 == 0))
    few = table_of_used(few)
    config = DataConfig(bits=512, partners=2, sizes="equal", min_train=5, min_test=0, min_train_class=5, min_test_class=0)
    dataset = prepare(few, config, tmp_path / "d", key=public_key(0))
    assert {task.kind for task in dataset.tasks} <= set(TaskKind)
    assert len(dataset.activities) > 100


def table_of_used(table: Table) -> Table:
    """Drop the structures that no row uses."""
    names, code = np.unique(table.smiles.code, return_inverse=True)
    smiles = type(table.smiles)(tuple(table.smiles.names[i] for i in names), code.astype(np.int32))
    return Table(smiles=smiles, task=table.task, value=table.value, relation=table.relation, row=table.row)
