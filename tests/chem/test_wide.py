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
    with pytest.raises(InputError, match="infinite"):
        read_wide(write_csv(tmp_path / "t.csv", "smiles,one\nCCO,1\nCCN,inf\n"))
