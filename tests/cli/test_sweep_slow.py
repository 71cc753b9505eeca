"""A whole sweep on the synthetic data: every point trained and attacked with every seed, and resumed without running anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_ins import TINY_BITS

from securefl.chem.dataset import Dataset
from securefl.cli.sweep import LEAKS, parse_leak, run_sweep
from securefl.config import AttackConfig, DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import InputError
from securefl.evaluation.sweep import parse_vary, points
from securefl.evidence import SweepRecord
from securefl.types import silent

CONFIG = RunConfig(
    data=DataConfig(bits=TINY_BITS, partners=3),
    model=ModelConfig(hidden=(32, 12)),
    federation=FederationConfig(rounds=2, batch=16),
    attacks=AttackConfig(exposed_bits=2048, seconds_per_recovery=2.0),
)


@pytest.mark.slow
def test_a_sweep_measures_every_step_and_resumes(tiny_dataset: Dataset, tmp_path: Path) -> None:
    stations = points(CONFIG, "masking", [parse_vary("federation.local_epochs=1,2")])
    leaks = [parse_leak(text) for text in LEAKS]

    def swept() -> tuple[SweepRecord, dict[Path, int]]:
        record = run_sweep(tiny_dataset, stations, tmp_path, seeds=range(3), leaks=leaks, progress=silent)
        return record, {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}

    record, files = swept()
    again, same_files = swept()
    assert record == again
    assert files == same_files
    assert len(files) == len(stations) * 3
    # So few non-members can't tell a rate of 1 %: the sweep goes on with the leak that they can tell.
    assert {option.leak for option in record.options} == {LEAKS[0]}


def test_a_leak_is_named_in_full() -> None:
    assert parse_leak(LEAKS[0]).metric == "exact"
    for text in ("V1.fingerprint_recovery.exact", "fingerprint_recovery@exposed", ""):
        with pytest.raises(InputError, match=r"must be VIEW.ATTACK.METRIC@RELEASE"):
            parse_leak(text)
