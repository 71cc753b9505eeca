"""Cost that was measured elsewhere: read, carried to the scale, said to be from elsewhere, and hashed like every input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_run import write_run
from pages import Page

from securefl.errors import InputError
from securefl.evidence import GridLineRecord
from securefl.report import Terms, build
from securefl.report.editions import AUDITOR
from securefl.report.grid import UNKNOWN_CPU, load_grid
from securefl.report.prices import load_prices
from securefl.report.verify import Scope, verify

COMMITTED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "grid.json"
CPU = "Invented processor 9000"


def cell(scheme: str, d: int, n: int, **more: object) -> dict[str, object]:
    """Return an invented cell."""
    return {"scheme": scheme, "d": d, "n": n, "load": 2.5, "cpu": CPU, "client_seconds": 1.0, "server_seconds": 2.0,
            "decryptor_seconds": 0.0, "bytes_up_per_parameter": 4.0, "bytes_down_per_parameter": 4.0, **more}  # fmt: skip


def grid_file(path: Path, *cells: dict[str, object]) -> Path:
    """Write an invented grid."""
    path.write_text(json.dumps({"cells": cells, "environment": {"cores": 2}}), encoding="utf-8")
    return path


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Return the file of an invented grid."""
    return grid_file(
        tmp_path / "grid.json",
        cell("masking", 10**5, 10),
        cell("masking", 10**6, 10, client_seconds=8.0),
        cell("masking", 10**7, 3, client_seconds=99.0),
        cell("paillier single-decryptor", 10**5, 3, decryptor_seconds=20.0, key_seconds=0.5),
        {"scheme": "paillier", "d": 10**6, "n": 10, "skipped": "not run: estimated 9000 CPU seconds"},
    )


def lines(path: Path) -> dict[str, GridLineRecord]:
    """Return the lines of a grid by scheme."""
    found = load_grid(path, load_prices())
    assert found is not None
    return {line.scheme: line for line in found.lines}


def test_the_cell_most_like_the_scale_is_carried_to_it(grid: Path) -> None:
    scale = load_prices().scale
    found = lines(grid)
    assert set(found) == {"masking", "paillier single-decryptor"}, "what was not run has no cost"
    masking, paillier = found["masking"], found["paillier single-decryptor"]
    assert (masking.parameters, masking.partners) == (10**6, 10)
    grown = scale.rounds * scale.parameters / 10**6
    assert masking.protocol_hours == pytest.approx(8.0 * grown / 3600)
    assert masking.operator_hours == pytest.approx(2.0 * grown / 3600)
    assert masking.gigabytes_sent == pytest.approx(4.0 * scale.parameters * scale.rounds / 1e9)
    assert paillier.operator_hours == pytest.approx(2.0 * 10 * grown * scale.partners / 3 / 3600)
    assert paillier.decryptor_hours == pytest.approx((20.0 * 10 * grown + 0.5 * scale.rounds) / 3600)


def test_every_row_says_that_it_is_from_elsewhere_and_where(tmp_path: Path, grid: Path) -> None:
    run = write_run(tmp_path / "run")
    report = build(run, Terms(grid=grid))
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    (table,) = [e for e in page.all("table") if e.attributes.get("id") == "t-grid"]
    rows = [e for e in page.all("tr") if "table" in e.parents and "".join(e.text) in "".join(table.text)]
    told = ["".join(row.text) for row in rows if "parameters," in "".join(row.text)]
    assert len(told) == 2
    assert all(f"elsewhere, on {CPU}" in row for row in told)
    assert report.grid is not None
    assert {line.cpu for line in report.grid.lines} == {CPU}
    assert [one.name for one in report.inputs if one.name.startswith("grid:")] == ["grid:grid.json"]


def test_without_a_grid_nothing_is_said_of_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert build(run).grid is None
    assert "elsewhere" not in Page((run / "report.html").read_text(encoding="utf-8")).visible()


def test_a_changed_grid_is_found(tmp_path: Path, grid: Path) -> None:
    run = write_run(tmp_path / "run")
    build(run, Terms(grid=grid, edition=AUDITOR))
    scope = Scope(outside={"grid": grid}, rerun=True)
    assert [item for item in verify(run, "report-auditor", scope) if item.status == "failed"] == []
    assert any(i.status == "skipped" and i.what == "grid:grid.json" for i in verify(run, "report-auditor", Scope()))
    grid.write_text(grid.read_text(encoding="utf-8").replace("8.0", "7.0"), encoding="utf-8")
    assert "grid:grid.json" in {i.what for i in verify(run, "report-auditor", scope) if i.status == "failed"}


def test_the_committed_grid_reads() -> None:
    assert {"plaintext", "masking", "rlwe", "ckks", "bfv", "paillier"} <= set(lines(COMMITTED))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        ("{}", "cells: Field required"),
        ('{"cells": [{"scheme": "masking", "d": 0, "n": 3}]}', "cells.0.d"),
        ('{"cells": [{"scheme": "masking", "d": 9, "n": 3, "client_seconds": -1}]}', "cells.0.client_seconds"),
    ],
)
def test_a_bad_grid_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "grid.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load_grid(path, load_prices())
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        load_grid(tmp_path / "gone.json", load_prices())


def test_a_grid_that_names_no_processor_says_so(tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    unnamed = {name: value for name, value in cell("masking", 10, 3).items() if name != "cpu"}
    assert lines(grid_file(path, unnamed))["masking"].cpu == UNKNOWN_CPU
