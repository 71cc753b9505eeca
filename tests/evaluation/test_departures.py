"""Departures through a whole arm: in the record, in the partners' folders, and in what is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stand_ins import TINY_BITS, CountingRng, make_dataset

from securefl.config import DataConfig, DepartureConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import InputError
from securefl.evaluation.arms import run_arm
from securefl.evaluation.artefacts import ARM_FILE, PREDICTIONS_FILE, partner_folder, seed_folder
from securefl.evaluation.predictions import load_predictions
from securefl.evaluation.run import open_run
from securefl.learning.owned import MANIFEST, load_owned
from securefl.records import ArmRecord, DepartureRecord, read_record


def test_nobody_leaves_who_is_not_there(tmp_path: Path) -> None:
    departures = (DepartureConfig(round=2, partner=4, decision="stop"),)
    config = RunConfig(arms=("plaintext",), federation=FederationConfig(departures=departures))
    with pytest.raises(InputError, match="partner=4 must be <= 3"):
        open_run(tmp_path / "run", make_dataset(partners=3), config)
    assert not (tmp_path / "run").exists()


def test_who_stopped_keeps_an_older_model_and_who_withdrew_keeps_none(tmp_path: Path) -> None:
    dataset = make_dataset(partners=5)
    departures = (
        DepartureConfig(round=2, partner=1, decision="stop"),
        DepartureConfig(round=3, partner=2, decision="withdraw"),
    )
    config = RunConfig(
        arms=("plaintext",),
        data=DataConfig(bits=TINY_BITS, partners=5),
        model=ModelConfig(hidden=(16, 8)),
        federation=FederationConfig(rounds=3, batch=32, learning_rate=5e-3, departures=departures),
    )
    run_arm(dataset, "plaintext", config=config, arms=tmp_path, rng=CountingRng())
    record = read_record(ArmRecord, tmp_path / "plaintext" / ARM_FILE)
    assert record.departures == (
        DepartureRecord(round=2, partner="partner 0", decision="stop"),
        DepartureRecord(round=3, partner="partner 1", decision="withdraw"),
    )
    owned = {p: partner_folder(tmp_path / "plaintext", 0, p) for p in range(5)}
    assert [(owned[p] / MANIFEST).exists() for p in range(5)] == [True, False, True, True, True]
    stopped, stayed = load_owned(owned[0]).model.trunk, load_owned(owned[2]).model.trunk
    assert not np.array_equal(stopped["first.weight"], stayed["first.weight"])
    prediction = load_predictions(seed_folder(tmp_path / "plaintext", 0) / PREDICTIONS_FILE, dataset)
    owner = np.array([task.partner for task in dataset.tasks])[dataset.activities.task]
    assert np.array_equal(np.isnan(prediction), owner == 1)
    assert "partner 1" not in record.performance.per_partner
