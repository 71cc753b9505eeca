"""Thresholds, roles and plausible values: what becomes a class, what it weighs, what is rejected and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from molecules import write_csv

from securefl.chem.plausible import PX, plausible
from securefl.chem.roles import read_roles, with_roles
from securefl.chem.table import PLAIN, Columns, Role, Table, table_of
from securefl.chem.thresholds import class_tasks, with_thresholds
from securefl.errors import InputError


def table(*rows: tuple[str, float, str]) -> Table:
    """A table of (task, value, relation) rows, a compound of its own each."""
    task, value, relation = zip(*rows, strict=True)
    smiles = ["C" * (i + 1) for i in range(len(rows))]
    content = {"smiles": smiles, "task": list(task), "value": list(value), "relation": list(relation)}
    return table_of(pa.table(content), Columns(), name="t")


def rows_of(found: Table) -> list[tuple[str, int, float, int]]:
    columns = (found.task.code.tolist(), found.row.tolist(), found.value.tolist(), found.relation.tolist())
    return [(found.task.names[task], row, value, relation) for task, row, value, relation in zip(*columns, strict=True)]


VALUES = (("a", 6.0, "="), ("a", 5.9, "="), ("a", 5.0, ">"), ("a", 6.0, "<"), ("a", 7.0, ">"), ("a", 7.0, "<"))


def test_a_value_counts_only_where_it_is_certain() -> None:
    found = with_thresholds(table(*VALUES), (6.0,), keep_values=False)
    assert rows_of(found) == [("a", 1, 1.0, 0), ("a", 2, 0.0, 0), ("a", 4, 0.0, 0), ("a", 5, 1.0, 0)]
    assert {reject.row: reject.reason for reject in found.rejects} == {
        3: "censored value on the undecided side of every threshold",
        6: "censored value on the undecided side of every threshold",
    }


def test_values_stay_beside_their_classes_and_several_classes_share_a_weight() -> None:
    found = with_thresholds(table(*VALUES), (7.0, 5.0, 7.0), keep_values=True)
    assert found.task.names == ("a", "a >= 5", "a >= 7")
    assert found.roles == (PLAIN, Role(0.5), Role(0.5))
    assert found.rejects == ()
    kept = [row[1:] for row in rows_of(found)][:6]
    assert kept == [(1, 6.0, 0), (2, 5.9, 0), (3, 5.0, 1), (4, 6.0, -1), (5, 7.0, 1), (6, 7.0, -1)]
    assert [row[1:3] for row in rows_of(found) if row[0] == "a >= 7"] == [(1, 0.0), (2, 0.0), (4, 0.0), (5, 1.0), (6, 0.0)]


def test_classes_have_no_thresholds_and_no_bounds() -> None:
    classes = table(("c", 1.0, "="), ("c", 0.0, "="), ("v", 9.0, "="), ("v", 20.0, "="))
    assert class_tasks(classes).tolist() == [True, False]
    found = with_thresholds(classes, (5.0,), keep_values=False)
    assert found.task.names == ("c", "v")
    assert found.value.tolist() == [1.0, 0.0, 1.0, 1.0]
    bounded = plausible(classes, *PX)
    assert bounded.row.tolist() == [1, 2, 3]
    assert [(r.row, r.stage.value, r.reason) for r in bounded.rejects] == [(4, "activity", "value outside 2..12")]


def test_no_threshold_and_no_bound_change_nothing() -> None:
    source = table(*VALUES)
    assert with_thresholds(source, (), keep_values=False) is source
    np.testing.assert_array_equal(plausible(source, None, None).value, source.value)
    assert plausible(source, None, 6.5).rejects[0].reason == "value outside -inf..6.5"


def test_bounds_that_leave_nothing_are_an_error() -> None:
    with pytest.raises(InputError, match=r"no plausible value: value outside 100\.\.200 \(6 rows\)"):
        plausible(table(*VALUES), 100, 200)
    with pytest.raises(InputError, match="min_value=5 must be < max_value=4"):
        plausible(table(*VALUES), 5, 4)
    with pytest.raises(InputError, match="no value decides a class"):
        with_thresholds(table(("a", 5.0, ">")), (6.0,), keep_values=False)


def test_roles_are_read_and_belong_to_names(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "roles.csv", "task,weight,auxiliary\nb,2.5,\nc,,yes\n")
    roles = read_roles(path)
    assert roles == {"b": Role(2.5), "c": Role(0.1, auxiliary=True)}
    source = table(("a", 5.0, "="), ("b", 5.0, "="), ("c", 5.0, "="))
    assert with_roles(source, roles).roles == (PLAIN, Role(2.5), Role(0.1, auxiliary=True))
    assert with_roles(source, roles).sha256() != source.sha256()
    split = with_thresholds(with_roles(source, roles), (4.0, 6.0), keep_values=False)
    assert split.roles == (Role(0.5), Role(0.5), Role(1.25), Role(1.25), Role(0.05, True), Role(0.05, True))
    with pytest.raises(InputError, match="roles name task 'z', which the table doesn't have"):
        with_roles(source, {"z": PLAIN})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("assay\na\n", "missing column task"),
        ("task,weight,task\na,1,b\n", "column task occurs more than once"),
        ("task,weight\n,1\n", "blank task in row 1"),
        ("task,weight\na,1\na,2\n", "task 'a' occurs again in row 2"),
        ("task,weight\na,0\n", "weight '0' in row 1 must be a positive number"),
        ("task,weight\na,inf\n", "weight 'inf' in row 1"),
        ("task,weight\na,heavy\n", "weight 'heavy' in row 1"),
        ("task,auxiliary\na,perhaps\n", "auxiliary 'perhaps' in row 1 must be true or false"),
    ],
)
def test_bad_roles_are_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_roles(write_csv(tmp_path / "roles.csv", text))
