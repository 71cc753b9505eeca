"""Long tables: every format and column name is read, and every kind of bad input has a clear error or a reject."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from molecules import write_csv, write_parquet

from securefl.chem.dataset import Relation
from securefl.chem.rejects import Reject, Stage
from securefl.chem.table import Columns, Labels, read_table
from securefl.errors import InputError

GOOD = "smiles,task,value,relation\nCCO,a,6.5,=\nCCN,a,5.5,>\nCCC,b,7,<=\n"


def test_csv_gz_and_parquet_give_the_same_table(tmp_path: Path) -> None:
    plain = read_table(write_csv(tmp_path / "t.csv", GOOD))
    with gzip.open(tmp_path / "t.csv.gz", "wt", encoding="utf-8") as handle:
        handle.write(GOOD)
    zipped = read_table(tmp_path / "t.csv.gz")
    content = pa.table({
        "smiles": ["CCO", "CCN", "CCC"], "task": ["a", "a", "b"], "value": [6.5, 5.5, 7.0], "relation": ["=", ">", "<="],
    })  # fmt: skip
    packed = read_table(write_parquet(tmp_path / "t.parquet", content))
    for other in (zipped, packed):
        assert other.smiles.names == plain.smiles.names
        assert other.task.names == plain.task.names
        np.testing.assert_array_equal(other.value, plain.value)
        np.testing.assert_array_equal(other.relation, plain.relation)
    assert plain.relation.tolist() == [Relation.EQUAL, Relation.GREATER, Relation.LESS]
    assert plain.row.tolist() == [1, 2, 3]
    assert plain.partner is None


def test_columns_can_have_any_name(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", "structure,assay,pIC50,qualifier,site,year\nCCO,a,6.5,>,x,2001\nCCN,a,5,,y,\n")
    columns = Columns(smiles="structure", task="assay", value="pIC50", relation="qualifier", partner="site", time="year")
    table = read_table(path, columns)
    assert table.relation.tolist() == [Relation.GREATER, Relation.EQUAL]
    assert table.partner is not None
    assert table.partner.names == ("x", "y")
    assert table.time is not None
    assert table.time[0] == 2001
    assert np.isnan(table.time[1])


def test_missing_columns_are_named_with_what_was_found(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", "SMILES,task,y\nCCO,a,6.5\n")
    with pytest.raises(InputError, match=r"missing column smiles \(for smiles\), value \(for value\); found: SMILES, task, y"):
        read_table(path)


@pytest.mark.parametrize("role", ["relation", "partner", "time"])
def test_an_optional_column_that_was_asked_for_must_be_there(tmp_path: Path, role: str) -> None:
    with pytest.raises(InputError, match=rf"missing column nope \(for {role}\)"):
        read_table(write_csv(tmp_path / "t.csv", GOOD), Columns(**{role: "nope"}))


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column value occurs more than once"):
        read_table(write_csv(tmp_path / "t.csv", "smiles,task,value,value\nCCO,a,6,7\n"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.parquet", b"PAR1 this is not parquet"),
        ("t.csv.gz", b"not gzip at all"),
        ("t.csv", b""),
        ("t.csv", b"smiles,task,value\nCCO,a\n"),
        ("t.csv", b"smiles,task,value\n\xff\xfe,a,6\n"),
        ("t.csv", b"smiles\n\xb5,\xff,1\n"),
        ("t.csv.gz", gzip.compress(b"smiles,task,value\nCCO,a,6\n" * 99, mtime=0)[:-20]),
        ("t.xlsx", b"PK"),
    ],
)
def test_an_unreadable_table_is_an_input_error_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_a_table_with_other_separators_is_refused_and_not_guessed(tmp_path: Path, sign: str) -> None:
    text = "smiles,task,value\nCCO,a,6\nCCN,a,7\n".replace(",", sign).replace("7", "7,5")
    with pytest.raises(InputError, match="must be by commas"):
        read_table(write_csv(tmp_path / "t.csv", text))


def test_a_ragged_row_is_named_and_nothing_of_it_reaches_the_terminal_raw(tmp_path: Path) -> None:
    text = "smiles,task,value\n" + "CCO,a,6\n" * 700 + "\x1b[2J,b\n"
    with pytest.raises(InputError, match="Row #702: Expected 3 columns, got 2") as caught:
        read_table(write_csv(tmp_path / "t.csv", text))
    assert str(caught.value).isprintable()
    with pytest.raises(InputError) as caught:
        read_table(write_csv(tmp_path / "t.csv", "smiles,task,value\n" + "C" * 5_000 + ",b\n"))
    assert len(str(caught.value)) < 500


def test_dates_in_a_csv_become_years_and_what_is_none_is_noted(tmp_path: Path) -> None:
    lines = ["CCO,a,6,2019-05-17", "CCN,a,6,2020-01", "CCC,a,6,2018", "CCS,a,6,last May", "CCF,a,6,", "CCP,a,6,inf"]
    text = "smiles,task,value,time\n" + "\n".join(lines) + "\n"
    table = read_table(write_csv(tmp_path / "t.csv", text))
    assert table.time is not None
    np.testing.assert_array_equal(table.time, [2019, 2020, 2018, np.nan, np.nan, np.nan])
    assert table.notes == ("time is neither year nor date in 2 rows, first in row 4: they count as without a time",)


def test_underscores_make_no_number(tmp_path: Path) -> None:
    table = read_table(write_csv(tmp_path / "t.csv", "smiles,task,value\nCCO,a,1_000\nCCN,a,6\n"))
    assert table.value.tolist() == [6.0]
    assert [(one.row, one.reason) for one in table.rejects] == [(1, "value is not a number")]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "absent.csv")


def test_a_folder_is_not_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "t.csv"
    folder.mkdir()
    with pytest.raises(InputError, match="can't be read"):
        read_table(folder)


@pytest.mark.parametrize(("cell", "kind"), [("NaN", "NaN"), ("inf", "infinite"), ("-Infinity", "infinite")])
def test_nan_and_infinity_in_a_csv_are_errors_that_name_the_row(tmp_path: Path, cell: str, kind: str) -> None:
    path = write_csv(tmp_path / "t.csv", f"smiles,task,value\nCCO,a,6\nCCN,a,{cell}\n")
    with pytest.raises(InputError, match=f"value is {kind} in row 2"):
        read_table(path)


def test_a_blank_text_is_a_blank_cell_and_no_nan(tmp_path: Path) -> None:
    table = read_table(write_csv(tmp_path / "t.csv", 'smiles,task,value\nCCO,a,6\nCCN,a,"  "\n'))
    assert table.rejects == (Reject(2, Stage.READ, "blank value"),)
    content = pa.table({"smiles": ["CCO", "CCN"], "task": ["a", "a"], "value": ["6", ""]})
    for value in (content["value"], content["value"].dictionary_encode(), content["value"].cast(pa.string_view())):
        path = write_parquet(tmp_path / "t.parquet", content.set_column(2, "value", value))
        assert read_table(path).rejects == table.rejects


def test_infinity_in_a_parquet_is_an_error_and_null_is_not(tmp_path: Path) -> None:
    content = pa.table({"smiles": ["CCO", "CCN"], "task": ["a", "a"], "value": [6.0, None]})
    table = read_table(write_parquet(tmp_path / "t.parquet", content))
    assert table.rejects == (Reject(2, Stage.READ, "blank value"),)
    bad = content.set_column(2, "value", pa.array([float("inf"), 6.0]))
    with pytest.raises(InputError, match="infinite in row 1"):
        read_table(write_parquet(tmp_path / "u.parquet", bad))


def test_each_bad_row_is_rejected_with_its_number_and_first_reason(tmp_path: Path) -> None:
    rows = ["CCO,a,6,=", ",a,6,=", "CCO,,6,=", "CCO,a,>10,=", "CCO,a,,=", "CCO,a,6,about", ",,,", "CCN,b,5,"]
    table = read_table(write_csv(tmp_path / "t.csv", "smiles,task,value,relation\n" + "\n".join(rows) + "\n"))
    assert table.row.tolist() == [1, 8]
    assert {reject.row: reject.reason for reject in table.rejects} == {
        2: "blank smiles", 3: "blank task", 4: "value is not a number", 5: "blank value", 6: "unknown relation",
        7: "blank smiles",
    }  # fmt: skip


def test_no_usable_row_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no usable row of 2: blank value \(2 rows\)"):
        read_table(write_csv(tmp_path / "t.csv", "smiles,task,value\nCCO,a,\nCCN,a,\n"))
    with pytest.raises(InputError, match="no usable row of 0"):
        read_table(write_csv(tmp_path / "u.csv", "smiles,task,value\n"))


def test_dates_become_years_and_odd_columns_are_refused(tmp_path: Path) -> None:
    dates = pa.array([date(2015, 3, 1), None])
    content = pa.table({"smiles": ["CCO", "CCN"], "task": ["a", "a"], "value": [6.0, 5.0], "time": dates})
    table = read_table(write_parquet(tmp_path / "t.parquet", content))
    assert table.time is not None
    np.testing.assert_array_equal(table.time, [2015.0, np.nan])
    nested = content.set_column(0, "smiles", pa.array([["CCO"], ["CCN"]]))
    with pytest.raises(InputError, match="can't be read as text"):
        read_table(write_parquet(tmp_path / "u.parquet", nested))


def test_a_byte_order_mark_is_not_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert len(read_table(tmp_path / "t.csv")) == 3


def test_task_names_keep_their_spelling(tmp_path: Path) -> None:
    table = read_table(write_csv(tmp_path / "t.csv", "smiles,task,value\nCCO,007,6\nCCN,7,5\n"))
    assert table.task.names == ("007", "7")


def test_rows_are_found_by_name_and_blank_cells_belong_to_none() -> None:
    labels = Labels(("a", "none", "b"), np.array([2, -1, 0, 2, 0], dtype=np.int32))
    assert [rows.tolist() for rows in labels.rows()] == [[2, 4], [], [0, 3]]
    assert Labels((), np.zeros(0, dtype=np.int32)).rows() == []


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    first = read_table(write_csv(tmp_path / "t.csv", GOOD))
    assert read_table(tmp_path / "t.csv").sha256() == first.sha256()
    assert read_table(write_csv(tmp_path / "t.csv", GOOD.replace("6.5", "6.6"))).sha256() != first.sha256()
