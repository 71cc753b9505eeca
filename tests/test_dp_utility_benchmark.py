"""Utility against epsilon: what is public, what chooses the settings, what is read at the end, and the committed result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stand_ins import make_dataset

from benchmarks import dp_utility
from benchmarks.dp_utility import (
    HEADS,
    SEEDS,
    SETTINGS,
    STARTS,
    Cell,
    chosen,
    divided,
    left,
    path_of,
    record_arm,
    references,
    tuning,
)
from benchmarks.dp_utility_chart import draw, lines
from securefl.chem.dataset import Dataset, Fold

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"


def keep(cell: Cell, folder: Path, score: float) -> None:
    """Write what a finished cell says."""
    path = path_of(cell, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"validation": dict.fromkeys(HEADS, score), "dp": None, "cpu_seconds": 1.0}
    path.write_text(json.dumps(content), encoding="utf-8")


def test_no_scaffold_cluster_is_public_and_private_and_the_test_fold_stays_the_partners(tiny_dataset: Dataset) -> None:
    ours, theirs = divided(tiny_dataset)
    mine, public = (set(np.unique(one.cluster[one.activities.compound]).tolist()) for one in (ours, theirs))
    folds = [set(np.unique(one.fold[one.activities.compound]).tolist()) for one in (ours, theirs)]
    tested = tiny_dataset.fold[tiny_dataset.activities.compound] == Fold.TEST
    trained = set(np.unique(ours.cluster[ours.cells(fold=Fold.TRAIN).compound]).tolist())
    assert theirs.partners == ("public",)
    assert not trained & public
    assert mine
    assert folds[1] <= {int(Fold.TRAIN), int(Fold.VALIDATION)}
    assert len(ours.cells(fold=Fold.TEST)) == int(tested.sum())


def test_validation_chooses_a_setting_once_all_were_tried(tmp_path: Path) -> None:
    names = list(SETTINGS)
    for number, name in enumerate(names):
        assert chosen("public", "3", tmp_path) is None
        keep(Cell(record_arm("3"), "public", SEEDS[0], name), tmp_path, 0.1 * number)
    assert chosen("public", "3", tmp_path) == names[-1]
    assert chosen("fresh", "3", tmp_path) is None
    # the chosen setting is then wanted with the other seeds, and the one that chose it is not trained again
    wanted = [cell for cell in left(tmp_path) if cell.setting == names[-1] and cell.arm == record_arm("3")]
    assert [cell.seed for cell in wanted if cell.start == "public"] == list(SEEDS[1:])


def test_what_is_finished_is_not_wanted_again_and_names_differ(tmp_path: Path) -> None:
    cells = [*references(), *tuning()]
    assert len({cell.name for cell in cells}) == len(cells)
    keep(cells[0], tmp_path, 0.5)
    assert cells[0] not in left(tmp_path)
    assert len(left(tmp_path)) == len(cells) - 1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the benchmark read a few made-up compounds."""
    dataset = make_dataset(compounds=300, bits=64, tasks_each=2)
    monkeypatch.setattr(dp_utility, "datasets", lambda folder: divided(dataset))


@pytest.mark.usefixtures("small")
def test_a_cell_of_each_kind_is_trained_once_and_reported(tmp_path: Path) -> None:
    name = next(iter(SETTINGS))
    wanted = [
        Cell(arm, start, seed, name if "dp=" in arm and "partner" not in arm else "")
        for arm, start in (("standalone", "fresh"), ("untrained", "public"), (record_arm("8"), "local"))
        for seed in SEEDS
    ]
    for cell in wanted:
        dp_utility.run_cell(cell, tmp_path)
    first = path_of(wanted[-1], tmp_path).read_bytes()
    dp_utility.run_cell(wanted[-1], tmp_path)
    assert path_of(wanted[-1], tmp_path).read_bytes() == first
    content = dp_utility.report(tmp_path)
    assert [(row["arm"], row["heads"]) for row in content["references"]] == [("standalone", "own"), ("untrained", "refitted")]
    assert content["rows"] == []
    row = dp_utility.row(wanted[-3:], "refitted", tmp_path)
    assert row is not None
    assert row["ci_low"] <= row["mean"] <= row["ci_high"]
    assert row["n_seeds"] == len(SEEDS)
    assert row["dp"]["epsilon"] <= 8
    assert row["delta_vs_standalone"] is not None


def test_the_committed_result_is_complete_and_draws(tmp_path: Path) -> None:
    content = json.loads((RESULTS / "dp_utility.json").read_text(encoding="utf-8"))
    assert content["cells"]["left"] == 0
    assert set(lines(content["rows"])) == {(start, heads) for start in STARTS for heads in HEADS}
    for row in content["rows"]:
        # what was read at the end is what validation preferred
        tried = {name: content["validation"][Cell(row["arm"], row["start"], SEEDS[0], name).name] for name in SETTINGS}
        assert row["setting"] == max(tried, key=lambda name: sum(tried[name].values()))
        asks = row["arm"].partition("=")[2]
        assert row["dp"]["epsilon"] is None if asks == "inf" else row["dp"]["epsilon"] <= float(asks)
    draw(content, tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").stat().st_size > 10_000
