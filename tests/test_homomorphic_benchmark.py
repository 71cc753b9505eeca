"""The benchmark of the homomorphic sums runs, its committed result has what its readers need, and the chart draws it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.homomorphic import QUICK_GRID, SCHEMES, grid_cell
from benchmarks.homomorphic_chart import draw

RESULT = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "homomorphic.json"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_cell_of_the_grid_is_measured(scheme: str) -> None:
    cell = grid_cell(scheme, 300, 3)
    assert cell["max_abs_error"] <= cell["error_bound"]
    assert cell["client_seconds"] > 0
    assert cell["bytes_up_per_parameter"] >= 4


def test_the_committed_result_is_complete_and_draws(tmp_path: Path) -> None:
    content = json.loads(RESULT.read_text(encoding="utf-8"))
    assert {(cell["d"], cell["n"]) for cell in content["grid"]} >= set(QUICK_GRID)
    assert {cell["scheme"] for cell in content["grid"]} == set(SCHEMES)
    for bar in content["bars"]:
        if bar["unit"] == "bytes/parameter":
            assert bar["value"] <= bar["bar"], bar
    draw(content, tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").stat().st_size > 10_000
