"""A partner's own exposure and the full budget, on a small run: compounds by name, for their owner alone; work resumes."""

from __future__ import annotations

import csv
import dataclasses
import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import CountingRng
from typer.testing import CliRunner

from attacks.effort import DEFAULT, EFFORTS, Outlook, outlook
from attacks.own_exposure import OwnExposure, own_exposure, write_exposure
from attacks.target import Target
from securefl.chem.dataset import Dataset, Fold
from securefl.chem.folder import load, save
from securefl.cli.attack import announced
from securefl.cli.main import app
from securefl.cli.pipeline import attack_arms
from securefl.config import RunConfig, parse_config
from securefl.errors import InputError
from securefl.evaluation.run import run
from securefl.records import ArmRecord, AuditRecord, DpRecord, read_record
from securefl.types import silent

ARMS = ("plaintext", "masking+guard")


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return parse_config(
        {
            "arms": ARMS,
            "data": {"bits": 256, "partners": 3},
            "model": {"hidden": [64, 24]},
            "federation": {"rounds": 2, "batch": 16},
            "attacks": {"exposed_bits": 256, "exposed_single": 24, "exposed_each": 12},
        },
        source="test",
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset) -> Path:
    """The dataset's folder: what the command line reads."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    save(tiny_dataset, folder)
    return folder


@pytest.fixture(scope="module")
def dataset(data: Path) -> Dataset:
    return load(data)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, config: RunConfig) -> Path:
    """A run of two arms."""
    folder = tmp_path_factory.mktemp("run")
    run(dataset, config, folder, rng=CountingRng())
    return folder


def exposure(out: Path, dataset: Dataset, config: RunConfig, arm: str, partner: int) -> list[OwnExposure]:
    record = read_record(ArmRecord, out / "arms" / arm / "record.json")
    target = Target(run=out, dataset=dataset, config=config, record=record, rng=CountingRng(), progress=silent)
    return own_exposure(target, partner)


def test_every_own_compound_has_a_row_and_the_guard_changes_it(out: Path, dataset: Dataset, config: RunConfig) -> None:
    """The partner's training compounds and nobody else's; small batches show most of them, under the guard none."""
    own = {dataset.inchikeys[i] for i in dataset.cells(1, Fold.TRAIN).compound}
    bare, guarded = (exposure(out, dataset, config, arm, 1) for arm in ARMS)
    for found in (bare, guarded):
        assert {one.inchikey for one in found} == own
        assert all(one.accused_at_fpr is not None and 0 < one.accused_at_fpr <= 1 for one in found)
    assert np.mean([bool(one.recovered_small_batch) for one in bare]) > 0.8
    assert not any(one.recovered_small_batch for one in guarded)


def test_the_file_is_its_owners_and_nothing_is_lost(tmp_path: Path) -> None:
    """Readable by its owner alone, no structure in what is printed; a folder in its way is named."""
    one = OwnExposure(
        arm="plaintext", inchikey="K", smiles="CC", accused_at_fpr=None, own_bits=3, recovered=True, recovered_small_batch=None
    )
    path = tmp_path / "mine" / "exposure.csv"
    write_exposure([one], path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(encoding="utf-8") as lines:
        assert list(csv.DictReader(lines)) == [
            {"arm": "plaintext", "inchikey": "K", "smiles": "CC", "accused_at_fpr": "", "own_bits": "3", "recovered": "True",
             "recovered_small_batch": ""}
        ]  # fmt: skip
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(InputError, match="can't write"):
        write_exposure([one], tmp_path / "taken")


def test_on_the_command_line(out: Path, data: Path, tmp_path: Path) -> None:
    """By number: a row an arm, and a file in each of the partner's folders, or one where --out says."""
    command = ["attack", str(out), "--data", str(data), "--own", "1", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert [row["arm"] for row in json.loads(done.stdout)] == list(ARMS)
    assert (out / "arms" / "plaintext" / "seed-0" / "partner-1" / "exposure.csv").exists()
    assert CliRunner().invoke(app, [*command, "--out", str(tmp_path / "mine.csv")]).exit_code == 0
    assert len((tmp_path / "mine.csv").read_text().splitlines()) > 1
    for wrong in (["--own", "nobody"], ["--backend", "telepathy"]):
        assert CliRunner().invoke(app, ["attack", str(out), "--data", str(data), *wrong]).exit_code != 0


def test_partners_are_found_by_name_or_number(dataset: Dataset) -> None:
    assert dataset.partner_number(dataset.partners[2]) == dataset.partner_number("3") == 2
    for wrong in ("0", "4", "nobody"):
        with pytest.raises(InputError, match="unknown"):
            dataset.partner_number(wrong)


@pytest.mark.slow
def test_a_full_budget_takes_the_place_of_a_default_one_and_resumes(out: Path, dataset: Dataset) -> None:
    """Default, then full: attacked again with more shadows; full or default after that: read from the file."""

    def attacked(budget: str) -> AuditRecord:
        full = dataclasses.replace(DEFAULT, budget="full", shadows=2)
        effort = full if budget == "full" else DEFAULT
        return attack_arms(dataset, out, rng=CountingRng(), progress=silent, effort=effort)["plaintext"]

    first = attacked("default")
    fuller = attacked("full")
    assert (first.budget, fuller.budget) == ("default", "full")
    assert len([path for path in (out / "shadows").glob("*.npz") if "-" not in path.stem]) == 2
    before = (out / "attacks" / "plaintext.json").stat().st_mtime_ns
    assert attacked("full") == attacked("default") == fuller
    assert (out / "attacks" / "plaintext.json").stat().st_mtime_ns == before


def test_a_full_budget_says_first_what_it_takes(out: Path, config: RunConfig) -> None:
    """One set of shadows for all plain arms, one for each epsilon of records, none for other units; half of the arms' time."""
    arm = read_record(ArmRecord, out / "arms" / "plaintext" / "record.json")
    trained = arm.model_copy(update={"cost": arm.cost.model_copy(update={"training_seconds": 30.0})})

    def private(unit: str, epsilon: float) -> ArmRecord:
        stated: dict[str, Any] = {"unit": unit, "epsilon": epsilon}
        return trained.model_copy(update={"dp": DpRecord.model_construct(**stated)})

    full = EFFORTS["full"]
    assert outlook([trained, trained], config.attacks, full) == Outlook(64, 64 * 15.0)
    arms = [trained, private("record", 8.0), private("record", 8.0), private("record", 1.0), private("partner", 8.0)]
    assert outlook(arms, config.attacks, full) == Outlook(64 + 2 * 32, 128 * 15.0)
    text = announced(out, full, jobs=2)
    assert "64 shadow models" in text
    assert "2 processes" in text
    assert "160 s of search" in text


def test_a_narrowed_attack_leaves_the_run_as_it_was(out: Path, dataset: Dataset) -> None:
    """It is shown and not kept, so it adds nothing to the run's time either: a report of the run still verifies."""
    before = {path: path.read_bytes() for path in out.rglob("*.json")}
    assert attack_arms(dataset, out, rng=CountingRng(), progress=silent, only="union_of_bits", view="V3")["plaintext"].attacks
    assert {path: path.read_bytes() for path in out.rglob("*.json")} == before
