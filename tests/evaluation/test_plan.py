"""The plan of a run: figures for what would run, reasons for what would be refused, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stand_ins import TINY_BITS, CountingRng
from typer.testing import CliRunner

from securefl.chem.dataset import Dataset
from securefl.chem.folder import save
from securefl.cli.main import app
from securefl.config import DEFAULT_ARMS, ArmName, DataConfig, DpConfig, FederationConfig, ModelConfig, RunConfig, SecaggConfig
from securefl.evaluation.plan import PlanRow, plan
from securefl.learning.loss import CellBatch
from securefl.learning.private_plan import record_counts
from securefl.learning.sparse import SparseBatch
from securefl.learning.step import TrainingStep

ARMS = DEFAULT_ARMS

SHORT_PAILLIER = SecaggConfig(
    paillier_bits=2048, paillier_decryption="single-decryptor", paillier_max_parameters=500, he_rounds=2
)


def config(*arms: ArmName, dp: DpConfig | None = None, secagg: SecaggConfig | None = None) -> RunConfig:
    return RunConfig(
        arms=arms,
        data=DataConfig(bits=TINY_BITS, partners=3),
        model=ModelConfig(hidden=(32, 12)),
        federation=FederationConfig(rounds=4, batch=16),
        secagg=secagg or SHORT_PAILLIER,
        dp=dp or DpConfig(rounds=2, batch=64),
    )


def rows(dataset: Dataset, chosen: RunConfig) -> dict[str, PlanRow]:
    return {row.arm: row for row in plan(chosen, dataset, rng=CountingRng())}


def test_every_arm_has_a_row_with_figures(tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = rows(tiny_dataset, config(*ARMS))
    assert tuple(found) == ARMS
    for arm, row in found.items():
        assert row.refusal == "", arm
        assert row.seconds is not None
        assert row.seconds > 0
        assert row.memory_mb is not None
    assert found["dp"].epsilon is not None
    assert 7.8 < found["dp"].epsilon <= 8
    assert found["masking"].epsilon is None
    assert found["masking"].spare_bits is not None
    assert found["masking"].spare_bits >= 0
    assert found["paillier"].parameters == 32 * 12 + 12
    assert not list(tmp_path.iterdir())


def test_steps_are_counted_where_they_are_the_unit(tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch of two batches, 32 records, is made to take 32 seconds: a second a record."""
    lengths: list[int] = []

    def step(self: TrainingStep, batch: SparseBatch, cells: CellBatch, **how: object) -> float:
        lengths.append(len(batch))
        return 1.0

    def timed(work: Callable[[], object]) -> float:
        work()
        return 32.0

    monkeypatch.setattr(TrainingStep, "step", step)
    monkeypatch.setattr("securefl.evaluation.plan._timed", timed)
    chosen = config("standalone", "pooled")
    steps = chosen.model_copy(update={"federation": FederationConfig(rounds=4, batch=16, local_steps=5)})
    found = rows(tiny_dataset, steps)
    assert lengths == [16, 16]
    assert found["standalone"].seconds == 3 * 4 * 5 * 16
    assert found["pooled"].seconds == 4 * 5 * 16
    assert rows(tiny_dataset, chosen)["pooled"].seconds == 4 * sum(record_counts(tiny_dataset))


def test_bytes_are_those_of_the_scheme(tiny_dataset: Dataset) -> None:
    found = rows(tiny_dataset, config("plaintext", "masking", "paillier"))
    size = found["masking"].parameters
    masking, paillier = found["masking"].bytes_up, found["paillier"].bytes_up
    assert masking is not None
    assert paillier is not None
    assert 4 * size < masking < 4 * size + 20_000
    assert paillier / found["paillier"].parameters > 2 * 4


def test_what_a_lattice_arm_assumes_is_said_before_it_runs(tiny_dataset: Dataset, tmp_path: Path) -> None:
    save(tiny_dataset, tmp_path / "data")
    text = f"arms = ['masking', 'rlwe', 'bfv', 'ckks']\n[data]\nbits = {TINY_BITS}\npartners = 3\n[model]\nhidden = [32, 12]\n"
    (tmp_path / "run.toml").write_text(text)
    done = CliRunner().invoke(app, ["run", str(tmp_path / "run.toml"), "--data", str(tmp_path / "data"), "--plan"])
    assert done.exit_code == 0, done.output
    for arm in ("rlwe", "bfv", "ckks"):
        assert f"warning: {arm}: " in done.stderr
        said = [line for line in done.stderr.splitlines() if line.startswith(f"warning: {arm}: ")]
        assert any("encryptors must be honest" in line for line in said)
    assert not [line for line in done.stderr.splitlines() if "masking: " in line and "honest" in line]
    assert "honest" not in done.stdout


def test_refusals_are_named_and_stop_nothing(tiny_dataset: Dataset) -> None:
    found = rows(
        tiny_dataset,
        config(
            "masking",
            "paillier",
            "dp",
            dp=DpConfig(delta=1e-3),
            secagg=SecaggConfig(paillier_max_parameters=10),
        ),
    )
    assert found["masking"].refusal == ""
    assert "396 parameters, must be <= " in found["paillier"].refusal
    assert "delta=0.001" in found["dp"].refusal
    assert found["dp"].seconds is None
