"""Dense panels: one column a task becomes long rows with the panel's row numbers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from molecules import write_csv, write_parquet

from securefl.chem.rejects import Reject, Stage
from securefl.chem.wide import read_wide
from securefl.errors import InputError

PANEL = "id,smiles,one,two\na,CCO,1,0.5\nb,,1,\nc,CCN,,2\n"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_cells_become_rows_and_empty_ones_nothing(tmp_path: Path, suffix: str) -> None:
    content = pa.table({
        "id": ["a", "b", "c"], "smiles": ["CCO", None, "CCN"], "one": [1, 1, None], "two": [0.5, None, 2.0],
    })  # fmt: skip
    path = tmp_path / f"t.{suffix}"
    table = read_wide(write_csv(path, PANEL) if suffix == "csv" else write_parquet(path, content))
    assert [table.task.names[code] for code in table.task.code] == ["one", "two", "two"]
    assert table.value.tolist() == [1.0, 0.5, 2.0]
    assert table.row.tolist() == [1, 1, 3]
    assert table.rejects == (Reject(2, Stage.READ, "blank smiles"),)


def test_tasks_can_be_chosen_and_must_exist(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", PANEL)
    assert read_wide(path, tasks=["two"]).task.names == ("two",)
    with pytest.raises(InputError, match="missing column three; found: id, smiles, one, two"):
        read_wide(path, tasks=["three"])
    with pytest.raises(InputError, match="missing column SMILES"):
        read_wide(path, smiles="SMILES")


def test_a_panel_without_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no task column holds a number"):
        read_wide(write_csv(tmp_path / "t.csv", "smiles,one\nCCO,high\n"))


def test_what_is_no_finite_number_is_named_as_the_panel_has_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two is infinite in row 2"):
        read_wide(write_csv(tmp_path / "t.csv", "smiles,one,two\nCCO,1,2\nCCN,2,inf\n"))
    with pytest.raises(InputError, match="two is NaN in row 1"):
        read_wide(write_csv(tmp_path / "t.csv", "smiles,one,two\nCCO,1,nan\nCCN,2,x\n"), tasks=["one", "two"])


def test_a_text_among_numbers_is_never_lost_in_silence(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", "id,smiles,one,two,site\na,CCO,1,0.5,A\nb,CCC,N/A,0.25,B\nc,CCN,0,,7\n")
    table = read_wide(path)
    assert table.task.names == ("two",)
    assert len(table.notes) == 1
    assert table.notes[0] == "column 'one' holds text and is no task: 2 numbers and 1 cells that are none (first in row 2)"
    texts = pa.table({"smiles": ["CCO", "CCN"], "one": [1, 0], "two": ["1", "0"]})
    assert read_wide(write_parquet(tmp_path / "t.parquet", texts)).notes[0].endswith("2 numbers and 0 cells that are none")
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        mixed = pa.table({"smiles": ["CCO", "CCC", "CCN"], "one": pa.array(["1", "N/A", "0"]).cast(kind), "two": [1, 2, 3]})
        assert read_wide(write_parquet(tmp_path / "t.parquet", mixed)).notes == table.notes
    named = read_wide(path, tasks=["one", "two"])
    cells = zip(named.task.code.tolist(), named.row.tolist(), named.value.tolist(), strict=True)
    assert list(cells) == [(0, 1, 1.0), (0, 3, 0.0), (1, 1, 0.5), (1, 2, 0.25)]
    assert named.rejects == (Reject(2, Stage.READ, "value is not a number"),)
    assert named.notes == ()


def test_a_column_that_occurs_twice_is_refused_where_it_is_read(tmp_path: Path) -> None:
    for header in ("smiles,one,one", "smiles,smiles,one"):
        with pytest.raises(InputError, match="occurs more than once"):
            read_wide(write_csv(tmp_path / "t.csv", f"{header}\n1,1,0\n2,0,1\n"))
    # Blank columns at the end are what spreadsheets leave.
    assert len(read_wide(write_csv(tmp_path / "t.csv", "smiles,one,,\nCCO,1,,\n"))) == 1


def test_large_numbers_and_numbers_for_structures(tmp_path: Path) -> None:
    table = read_wide(write_csv(tmp_path / "t.csv", "smiles,one\n1,9007199254740993\n2,0\n"))
    assert table.task.names == ("one",)
    assert table.value.tolist() == [9007199254740992.0, 0.0]
