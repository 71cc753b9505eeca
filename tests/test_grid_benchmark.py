"""The grid runs and resumes, its committed result has what its readers need, and the chart draws it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.environment import environment
from benchmarks.grid import LINES, cell, grid, refusal
from benchmarks.grid_chart import draw
from securefl.secagg import schemes

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"


@pytest.mark.parametrize("name", [name for name in LINES if LINES[name].scheme in schemes() and name != "paillier"])
def test_a_cell_is_measured_in_its_own_process(name: str) -> None:
    measured = cell(name, 300, 3)
    assert measured["max_abs_error"] <= measured["error_bound"]
    assert measured["cpu_seconds"] > 0
    assert measured["bytes_up_per_parameter"] >= 4
    assert measured["peak_rss_mb"] > 20
    assert measured["cpu"] == environment()["cpu"]


def test_an_interrupted_grid_goes_on_and_keeps_what_it_has(tmp_path: Path) -> None:
    out = tmp_path / "grid.json"
    grid([("plaintext", 100, 3)], out)
    before = json.loads(out.read_text())["cells"]
    grid([("plaintext", 100, 3), ("plaintext", 200, 3)], out)
    after = json.loads(out.read_text())["cells"]
    assert after[0] == before[0]
    assert [c["d"] for c in after] == [100, 200]


def test_what_was_ended_is_not_tried_at_a_larger_size() -> None:
    cells = [{"scheme": "ckks", "d": 100, "n": 10, "skipped": "ended: over 600 CPU seconds"}]
    assert refusal(cells, "ckks", 1000, 10) is not None
    assert refusal(cells, "ckks", 1000, 3) is None
    assert refusal(cells, "bfv", 1000, 10) is None
    assert refusal([], "paillier", 10**6, 3) is not None


def test_a_cell_that_would_take_too_long_or_too_much_is_listed_with_its_estimate() -> None:
    parts = {"client_seconds": 6.0, "server_seconds": 4.0, "decryptor_seconds": 6.0}
    cells = [{"scheme": "ckks", "d": 100, "n": 10, "cpu_seconds": 75.0, "peak_rss_mb": 100.0, **parts}]
    assert refusal(cells, "ckks", 500, 10) is None
    late = refusal(cells, "ckks", 1000, 10)
    assert late is not None
    assert late["skipped"] == "not run: estimated 750 CPU seconds by d=100, n=10"
    del cells[0]["cpu_seconds"]
    older = refusal(cells, "ckks", 1000, 10)
    assert older is not None
    assert older["skipped"] == "not run: estimated 700 CPU seconds by d=100, n=10"
    cells[0] |= {"cpu_seconds": 1.0, "peak_rss_mb": 2048.0}
    large = refusal(cells, "ckks", 1000, 10)
    assert large is not None
    assert large["skipped"].startswith("not run: estimated 20 GB")
    assert refusal([*cells, {**large, "n": 5}], "ckks", 200, 10) is None, "an estimate of one size is none of another"


def test_the_committed_results_are_complete_and_draw(tmp_path: Path) -> None:
    content = json.loads((RESULTS / "grid.json").read_text(encoding="utf-8"))
    assert {c["scheme"] for c in content["cells"]} == set(LINES)
    assert {c["d"] for c in content["cells"]} == {10**4, 10**5, 10**6, 10**7}
    draw(content, tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").stat().st_size > 10_000


def test_the_committed_bars_hold_in_bytes_and_in_units_of_one_phe_encryption() -> None:
    content = json.loads((RESULTS / "homomorphic.json").read_text(encoding="utf-8"))
    assert len(content["phe_encryption_seconds"]) == 5
    held = 0
    for bar in content["bars"]:
        if bar["unit"] == "bytes/parameter":
            assert bar["value"] <= bar["bar"], bar
        elif bar["scheme"] == "paillier" and bar.get("phe_encryptions_bar") is not None:
            assert bar["phe_encryptions"] <= bar["phe_encryptions_bar"], bar
            held += 1
    assert held == 3
