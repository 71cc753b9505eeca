"""An arm that is killed between two rounds goes on; nothing is charged twice, and afterwards no state is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from stand_ins import TINY_BITS, CountingRng, make_dataset

from securefl.config import DataConfig, DpConfig, FederationConfig, ModelConfig, RunConfig
from securefl.dp.ledger import read_ledger
from securefl.errors import BudgetExceededError, InputError, VerificationError
from securefl.evaluation.arms import run_arm
from securefl.evaluation.artefacts import MODEL_FILE, RESUME, seed_folder
from securefl.evaluation.spending import begin_ledgers
from securefl.files import alone
from securefl.learning.model import Model
from securefl.records import ArmRecord


class KilledError(Exception):
    """Stands for the end of the process."""


def config(arm: str, *, ledgers: Path | None = None) -> RunConfig:
    return RunConfig(
        arms=(arm,),
        data=DataConfig(bits=TINY_BITS, partners=3, private=ledgers is not None),
        model=ModelConfig(hidden=(16, 8)),
        federation=FederationConfig(rounds=4, batch=32, learning_rate=5e-3),
        dp=DpConfig(
            rounds=4, batch=64, epsilon=8.0, unit="partner" if "partner" in arm else "record",
            total_epsilon=8.0 if ledgers else None, ledgers=str(ledgers) if ledgers else None,
        ),
    )


def train(arm: str, arms: Path, *, kill: int = 99, ledgers: Path | None = None) -> ArmRecord:
    def progress(what: str, done: int, total: int) -> None:
        if what.endswith("rounds") and done == kill:
            raise KilledError

    asked, dataset = config(arm, ledgers=ledgers), make_dataset()
    if ledgers is not None and not ledgers.exists():
        begin_ledgers(dataset, asked)
    return run_arm(dataset, arm, config=asked, arms=arms, rng=CountingRng(kill), progress=progress)


def test_a_resumed_arm_has_the_model_of_one_that_nobody_killed(tmp_path: Path) -> None:
    whole = train("masking", tmp_path / "whole")
    with pytest.raises(KilledError):
        train("masking", tmp_path / "killed", kill=2)
    assert (seed_folder(tmp_path / "killed" / "masking", 0) / RESUME).is_dir()
    resumed = train("masking", tmp_path / "killed")
    assert resumed.performance == whole.performance
    assert any("resumed from round" in note for note in resumed.notes)
    assert not any("resumed" in note for note in whole.notes)
    one, other = (
        Model.load(seed_folder(tmp_path / name / "masking", 0) / MODEL_FILE).trunk for name in ("whole", "killed")
    )
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])
    assert not list((tmp_path / "killed").rglob(RESUME)), "no state is left of a finished arm"


@pytest.mark.parametrize(
    ("arm", "private"),
    [("masking+partner-dp", False), ("masking+partner-dp", True), pytest.param("dp", True, marks=pytest.mark.slow)],
)
def test_a_resumed_private_arm_is_paid_once(tmp_path: Path, arm: str, private: bool) -> None:
    """On private data the whole budget goes into this one training: a second charge would be refused."""
    arms, given = tmp_path / "arms", tmp_path / "ledgers" if private else None
    with pytest.raises(KilledError):
        train(arm, arms, kill=2, ledgers=given)
    ledgers = given or seed_folder(arms / arm, 0) / "ledgers"
    before = {path.name: path.read_bytes() for path in ledgers.iterdir()}
    record = train(arm, arms, ledgers=given)
    assert {path.name: path.read_bytes() for path in ledgers.iterdir()} == before
    assert sorted(before) == ["partner-1.jsonl", "partner-2.jsonl", "partner-3.jsonl"]
    assert all(len(read_ledger(ledgers / name).releases) == 1 for name in before)
    assert record.rounds == 4


def test_a_copy_of_a_private_training_is_not_what_was_paid_for(tmp_path: Path) -> None:
    """Two folders that both go on would open the same rounds under two noises, and one was paid."""
    arm, ledgers = "masking+partner-dp", tmp_path / "ledgers"
    with pytest.raises(KilledError):
        train(arm, tmp_path / "arms", kill=2, ledgers=ledgers)
    shutil.copytree(tmp_path / "arms", tmp_path / "copy")
    with pytest.raises(BudgetExceededError):
        train(arm, tmp_path / "copy", ledgers=ledgers)
    assert train(arm, tmp_path / "arms", ledgers=ledgers).rounds == 4


def test_a_training_goes_on_only_with_the_ledgers_that_it_was_charged_to(tmp_path: Path) -> None:
    arm, ledgers, older = "masking+partner-dp", tmp_path / "ledgers", tmp_path / "older"
    begin_ledgers(make_dataset(), config(arm, ledgers=ledgers))
    shutil.copytree(ledgers, older)
    with pytest.raises(KilledError):
        train(arm, tmp_path / "arms", kill=2, ledgers=ledgers)
    charged = (ledgers / "partner-2.jsonl").read_bytes()
    shutil.copy(older / "partner-2.jsonl", ledgers)
    with pytest.raises(VerificationError, match=r"partner 1: training, seed 0 of '.*' was begun, and its ledger does"):
        train(arm, tmp_path / "arms", ledgers=ledgers)
    (ledgers / "partner-2.jsonl").unlink()
    with pytest.raises(InputError, match="partner 1 has no ledger"):
        train(arm, tmp_path / "arms", ledgers=ledgers)
    (ledgers / "partner-2.jsonl").write_bytes(charged)
    assert train(arm, tmp_path / "arms", ledgers=ledgers).rounds == 4


def test_two_processes_never_train_one_arm(tmp_path: Path) -> None:
    """The second would find the training begun and paid, and open its rounds again."""
    folder = tmp_path / "arms" / "masking"
    folder.mkdir(parents=True)
    with alone(folder), pytest.raises(InputError, match="in use by another process"):
        train("masking", tmp_path / "arms")
    assert train("masking", tmp_path / "arms").rounds == 4


RUN = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from test_resume import config
from stand_ins import make_dataset
from securefl.evaluation.arms import run_arm
from securefl.types import SystemRng
run_arm(make_dataset(), "masking", config=config("masking"), arms=Path({arms!r}), rng=SystemRng())
"""


@pytest.mark.slow
def test_a_process_that_is_killed_outright(tmp_path: Path) -> None:
    """SIGKILL as soon as the first state is there: no handler runs, no block is left in order."""
    code = RUN.format(paths=[str(Path(__file__).parent), str(Path(__file__).parent.parent)], arms=str(tmp_path / "killed"))
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ)
    state, until = seed_folder(tmp_path / "killed" / "masking", 0) / RESUME, time.monotonic() + 90
    while not list(state.glob("round-*.safetensors")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    train("masking", tmp_path / "whole")
    train("masking", tmp_path / "killed")
    one, other = (
        Model.load(seed_folder(tmp_path / name / "masking", 0) / MODEL_FILE).trunk for name in ("whole", "killed")
    )
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])
