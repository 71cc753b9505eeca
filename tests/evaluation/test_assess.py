"""What a run's arms are worth: every section is there, agrees with the others, and can be made again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stand_ins import TINY_BITS, CountingRng, make_dataset

from securefl.chem.dataset import Dataset
from securefl.config import BaselineConfig, DataConfig, FederationConfig, MetricsConfig, ModelConfig, RunConfig
from securefl.errors import InputError, ParameterError
from securefl.evaluation.assess import LEDGERS, PAIRS_FILE, SINGLE_TASK, Entry, assess
from securefl.evaluation.metric_ledger import OPENED_FILE
from securefl.evaluation.predictions import load_predictions
from securefl.evaluation.run import ordered, run
from securefl.evaluation.unannotated import load_pairs, unannotated_pairs
from securefl.records import ArmRecord

CONFIG = RunConfig(
    arms=("plaintext", "single-task", "standalone"),
    data=DataConfig(bits=TINY_BITS, partners=3),
    model=ModelConfig(hidden=(32, 12)),
    federation=FederationConfig(rounds=3, batch=32, learning_rate=5e-3, seeds=(0, 1)),
    baselines=BaselineConfig(trees=10, models=("random-forest", "linear-svm")),
    metrics=MetricsConfig(min_tasks=4),
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Return 700 compounds with 6 tasks at each of 3 partners."""
    return make_dataset(compounds=700, tasks_each=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run's folder."""
    return tmp_path_factory.mktemp("assessed") / "run"


@pytest.fixture(scope="module")
def records(dataset: Dataset, folder: Path) -> dict[str, ArmRecord]:
    """Return the records of the run, trained once."""
    return {record.name: record for record in run(dataset, CONFIG, folder, rng=CountingRng())}


def test_references_come_before_what_is_compared_with_them() -> None:
    assert ordered(("masking", "ckks", "single-task", "standalone")) == ("standalone", "single-task", "masking", "ckks")


def test_every_arm_has_every_section(records: dict[str, ArmRecord]) -> None:
    for name, record in records.items():
        assert record.evaluation is not None
        assert record.consortium is not None
        names = {metric.name for metric in record.evaluation.metrics}
        assert {"RMSE", "Kendall", "ROC-AUC", "calibrated PR-AUC"} <= names
        assert record.evaluation.similarity
        measured = {one.on for one in record.evaluation.conformal}
        assert measured == ({"annotated"} if name == SINGLE_TASK else {"annotated", "unannotated"})
    assert [one.model for one in records[SINGLE_TASK].baselines] == ["random-forest", "linear-svm"]
    assert sum(one.chosen for one in records[SINGLE_TASK].baselines) == 18


def test_the_summary_is_the_main_metric_of_the_evaluation(records: dict[str, ArmRecord]) -> None:
    for record in records.values():
        assert record.evaluation is not None
        main = next(one for one in record.evaluation.metrics if one.name == record.performance.metric)
        assert (record.performance.mean, record.performance.n_tasks) == (main.value.mean, main.n_tasks)
        assert record.performance.delta_vs_standalone == (main.delta.mean if main.delta else None)


def test_arms_are_compared_with_what_came_before_them(records: dict[str, ArmRecord]) -> None:
    for name, alone, forests in (("standalone", False, False), ("single-task", True, False), ("plaintext", True, True)):
        evaluation = records[name].evaluation
        assert evaluation is not None
        for metric in evaluation.metrics:
            assert (metric.delta is not None, metric.delta_vs_single_task is not None) == (alone, forests)
        assert all((one.delta is not None) == alone for one in evaluation.similarity)
        assert all((one.delta is not None) == alone for one in evaluation.conformal)


def test_the_consortiums_figures_are_those_of_the_evaluation(records: dict[str, ArmRecord]) -> None:
    for record in records.values():
        assert record.evaluation is not None
        assert record.consortium is not None
        clear = {one.name: one for one in record.evaluation.metrics}
        released = [one for one in record.consortium.metrics if one.released]
        assert "RMSE" in {one.metric for one in released}
        for one in released:
            expected = clear[one.metric].value if one.of == "value" else clear[one.metric].delta
            assert one.mean is not None
            assert expected is not None
            assert one.mean.mean == pytest.approx(expected.mean, abs=1e-6)
            assert (one.mean.low, one.mean.high) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_an_arm_made_again_is_no_differencing_and_the_ledgers_stay_with_their_owners(
    records: dict[str, ArmRecord], dataset: Dataset, folder: Path
) -> None:
    arm = folder / "arms" / "plaintext"
    predictions = [load_predictions(arm / f"seed-{seed}" / "predictions.npz", dataset) for seed in (0, 1)]
    entry = Entry(dataset=dataset, arm="plaintext", arms=folder / "arms", seeds=(0, 1), predictions=predictions)
    again = assess(entry, config=CONFIG.metrics, rng=CountingRng(9))
    assert records["plaintext"].consortium is not None
    assert again.consortium == records["plaintext"].consortium
    for partner in range(3):
        content = json.loads((folder / LEDGERS / f"partner-{partner + 1}" / OPENED_FILE).read_text(encoding="utf-8"))
        named = {task for opening in content.values() for task in opening["own"]}
        assert named <= set(dataset.tasks_of(partner).tolist())


def test_what_models_say_of_unannotated_pairs_is_kept_and_checked(
    records: dict[str, ArmRecord], dataset: Dataset, folder: Path
) -> None:
    assert records
    pairs = unannotated_pairs(dataset)
    path = folder / "arms" / "standalone" / "seed-1" / PAIRS_FILE
    said = load_pairs(path, pairs)
    assert said is not None
    assert np.isfinite(said).all()
    assert load_pairs(path.with_name("nothing.npz"), pairs) is None
    with pytest.raises(InputError, match="other pairs"):
        load_pairs(path, unannotated_pairs(dataset, most=10))


def test_two_partners_have_no_consortium_figures(tmp_path: Path) -> None:
    dataset = make_dataset(partners=2)
    prediction = np.clip(dataset.activities.value, 0, 9)
    entry = Entry(dataset=dataset, arm="standalone", arms=tmp_path, seeds=(0,), predictions=[prediction])
    assert assess(entry, config=CONFIG.metrics, rng=CountingRng()).consortium is None


def test_metrics_under_the_bound_are_refused_by_the_config() -> None:
    for values in ({"min_partners": 2}, {"min_tasks": 1}):
        with pytest.raises((ValueError, ParameterError), match="greater than or equal"):
            MetricsConfig.model_validate(values)
