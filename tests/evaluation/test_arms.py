"""Every arm really runs on the synthetic data, leaves the files that others read, and keeps its promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stand_ins import TINY_BITS, CountingRng, make_dataset

from securefl.chem.dataset import Dataset
from securefl.config import (
    DEFAULT_ARMS,
    ArmName,
    BaselineConfig,
    DataConfig,
    DpConfig,
    FederationConfig,
    ModelConfig,
    RunConfig,
    SecaggConfig,
)
from securefl.errors import BudgetExceededError, InputError, ParameterError, VerificationError
from securefl.evaluation.arms import rounds_of, run_arm, tensors_of, warm_start_of
from securefl.evaluation.artefacts import ARM_FILE
from securefl.evaluation.predictions import load_predictions
from securefl.learning.model import Model, predict
from securefl.recipes import Recipe, recipe_of
from securefl.records import ArmRecord, read_record
from securefl.secagg.replay import verify_transcript

ARMS = (*DEFAULT_ARMS, "bfv", "rlwe")
AGGREGATED = tuple(arm for arm in ARMS if recipe_of(arm))


def small_config(**changes: object) -> RunConfig:
    """Return a config that trains the synthetic data in seconds."""
    parts: dict[str, object] = {
        "data": DataConfig(bits=TINY_BITS, partners=3),
        "model": ModelConfig(hidden=(32, 12)),
        "federation": FederationConfig(rounds=20, batch=16, learning_rate=5e-3),
        "baselines": BaselineConfig(trees=20),
        "secagg": SecaggConfig(
            paillier_bits=2048, paillier_decryption="single-decryptor", paillier_max_parameters=500, he_rounds=2
        ),
        "dp": DpConfig(rounds=2, batch=64, epsilon=8.0),
    }
    return RunConfig.model_validate({**parts, **changes})


@pytest.fixture(scope="module")
def arms_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the arms of this module's run go."""
    return tmp_path_factory.mktemp("run") / "arms"


@pytest.fixture(scope="module")
def records(tiny_dataset: Dataset, arms_folder: Path) -> dict[str, ArmRecord]:
    """Return the record of every arm, trained once."""
    return {
        arm: run_arm(tiny_dataset, arm, config=small_config(), arms=arms_folder, rng=CountingRng(i))
        for i, arm in enumerate(ARMS)
    }


@pytest.mark.parametrize("arm", ARMS)
def test_the_files_of_an_arm_are_there_and_agree(
    records: dict[str, ArmRecord], tiny_dataset: Dataset, arms_folder: Path, arm: ArmName
) -> None:
    folder = arms_folder / arm
    assert read_record(ArmRecord, folder / ARM_FILE) == records[arm]
    prediction = load_predictions(folder / "seed-0" / "predictions.npz", tiny_dataset)
    assert np.isfinite(prediction).all()
    if arm not in ("standalone", "single-task"):
        model = Model.load(folder / "seed-0" / "model.safetensors")
        np.testing.assert_array_equal(predict(model, tiny_dataset, tiny_dataset.activities), prediction)
    assert not list(arms_folder.rglob("*.partial"))


def test_recipes_are_told_in_the_records(records: dict[str, ArmRecord]) -> None:
    assert [records[arm].scheme for arm in AGGREGATED] == [
        "plaintext", "masking", "masking", "paillier", "ckks", "masking", "bfv", "rlwe"
    ]  # fmt: skip
    assert [arm for arm in ARMS if records[arm].forbidden] == ["pooled"]
    assert [arm for arm in ARMS if records[arm].warm_start] == ["paillier", "ckks", "bfv", "rlwe"]
    assert records["paillier"].rounds <= 2
    assert records["paillier"].parameters == 32 * 12 + 12
    assert records["masking"].parameters == TINY_BITS * 32 + 32 + 32 * 12 + 12
    assert records["standalone"].parameters == 0


@pytest.mark.parametrize("arm", AGGREGATED)
def test_the_aggregate_is_within_the_bound_and_nothing_was_clipped(records: dict[str, ArmRecord], arm: ArmName) -> None:
    record = records[arm]
    # a private arm's clip counts stay at the partners
    assert record.clipped == (None if record.dp else 0)
    assert record.max_abs_aggregate_error is not None
    assert record.quantization_bound is not None
    assert 0 < record.max_abs_aggregate_error <= record.quantization_bound
    assert record.cost.bytes_up_per_parameter > 0
    assert record.cost.peak_rss_mb > 0


@pytest.mark.parametrize("arm", ["standalone", "single-task", "pooled"])
def test_without_a_protocol_nothing_is_claimed_of_one(records: dict[str, ArmRecord], arm: ArmName) -> None:
    record = records[arm]
    assert record.scheme is None
    assert (record.max_abs_aggregate_error, record.quantization_bound, record.clipped) == (None, None, None)
    assert record.cost.bytes_up_per_parameter == 0


def test_every_arm_but_standalone_is_compared_with_it(records: dict[str, ArmRecord]) -> None:
    for arm in ARMS:
        assert (records[arm].performance.delta_vs_standalone is None) == (arm == "standalone")


def test_sharing_helps_where_tasks_share_a_signal(records: dict[str, ArmRecord]) -> None:
    pooled, masking = records["pooled"].performance, records["masking"].performance
    assert pooled.delta_vs_standalone is not None
    assert masking.delta_vs_standalone is not None
    assert pooled.delta_vs_standalone > 0
    assert masking.delta_vs_standalone > 0
    # exact sums: masking is plaintext within what rounding the updates can change
    assert masking.mean == pytest.approx(records["plaintext"].performance.mean, abs=1e-6)


def test_the_release_holds_what_went_in_and_what_came_out(records: dict[str, ArmRecord], arms_folder: Path) -> None:
    with np.load(arms_folder / "masking" / "seed-0" / "release.npz", allow_pickle=False) as release:
        parts = sum(int(release[f"weight_{p}"]) * release[f"update_{p}"].astype(np.float64) for p in range(3))
        bound = records["masking"].quantization_bound
        assert bound is not None
        assert np.abs(release["total"] - parts).max() <= bound
        assert int(release["round"]) == 1
    assert not (arms_folder / "paillier" / "seed-0" / "release.npz").exists()


def test_the_guarded_release_lacks_the_withheld_rows(records: dict[str, ArmRecord], arms_folder: Path) -> None:
    record = records["masking+guard"]
    with np.load(arms_folder / "masking+guard" / "seed-0" / "release.npz", allow_pickle=False) as release:
        for partner in range(3):
            withheld = release[f"withheld_{partner}"]
            assert int(withheld.sum()) == record.withheld_bits_per_partner[f"partner {partner}"]
            assert not release[f"update_{partner}"][withheld].any()
    assert record.withheld_bits == sum(record.withheld_bits_per_partner.values())
    assert record.withheld_bits
    assert records["masking"].withheld_bits is None


def test_the_private_arm_says_what_it_spent(records: dict[str, ArmRecord], tiny_dataset: Dataset) -> None:
    dp = records["dp"].dp
    assert dp is not None
    assert dp.epsilon is not None
    assert dp.unit == "record"
    assert dp.partner in tiny_dataset.partners
    assert 7.8 < dp.epsilon <= 8.0
    assert "one compound" in dp.neighbouring
    assert dp.accountant == "Opacus PRV"
    assert records["dp"].performance.curve == ()
    assert all(records[arm].dp is None for arm in ARMS if arm != "dp")


def test_the_transcript_replays(records: dict[str, ArmRecord], arms_folder: Path) -> None:
    path = arms_folder / "masking" / "seed-0" / "transcript.jsonl"
    report = verify_transcript(path)
    assert report.signed
    assert report.violations == ()
    # Each training round is two protocol rounds: the updates, and the validation scores.
    assert [round.round for round in report.rounds] == list(range(1, 2 * records["masking"].rounds + 1))
    assert all(not round.dropped for round in report.rounds)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.with_name("cut.jsonl").write_text("\n".join(lines[:5] + lines[6:]) + "\n", encoding="utf-8")
    with pytest.raises(VerificationError):
        verify_transcript(path.with_name("cut.jsonl"))


def test_an_heir_needs_its_finished_ancestor(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished arm 'masking'"):
        run_arm(tiny_dataset, "ckks", config=small_config(), arms=tmp_path, rng=CountingRng())
    assert not (tmp_path / "ckks" / ARM_FILE).exists()
    assert not list(tmp_path.rglob("*.partial"))


def test_paillier_refuses_more_than_it_may_sum() -> None:
    config = small_config(secagg=SecaggConfig(paillier_max_parameters=395))
    with pytest.raises(ParameterError, match="second layer has 396 parameters, must be <= "):
        tensors_of(Recipe("paillier"), config, bits=TINY_BITS)
    with pytest.raises(ParameterError, match="second layer"):
        tensors_of(Recipe("paillier"), small_config(model=ModelConfig(hidden=(32,))), bits=TINY_BITS)
    assert tensors_of(Recipe("ckks"), config, bits=TINY_BITS) is None


def test_without_limits_a_homomorphic_arm_trains_in_full() -> None:
    config = small_config(secagg=SecaggConfig(paillier_max_parameters=10**6, he_rounds=20))
    for recipe in (Recipe("paillier"), Recipe("ckks")):
        assert tensors_of(recipe, config, bits=TINY_BITS) is None
        assert rounds_of(recipe, config) == 20
        assert warm_start_of(recipe, config) is None
        assert warm_start_of(recipe, small_config()) == "masking"


def test_a_private_arm_outside_its_budget_is_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    for dp, error in (
        (DpConfig(epsilon=1e-7, rounds=100), BudgetExceededError),
        (DpConfig(delta=1e-3), ParameterError),
    ):
        with pytest.raises(error):
            run_arm(tiny_dataset, "dp", config=small_config(dp=dp), arms=tmp_path, rng=CountingRng())
    assert not (tmp_path / "dp" / ARM_FILE).exists()


def test_several_seeds_are_averaged_and_a_killed_arm_is_overwritten(tmp_path: Path) -> None:
    dataset = make_dataset(compounds=200, bits=64, tasks_each=2)
    config = small_config(
        data=DataConfig(bits=64, partners=3),
        model=ModelConfig(hidden=(8, 4)),
        federation=FederationConfig(rounds=2, batch=16, seeds=(3, 4)),
    )
    left = tmp_path / "plaintext" / "seed-3" / "predictions.npz"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of a file")
    together = run_arm(dataset, "plaintext", config=config, arms=tmp_path, rng=CountingRng())
    assert together.seeds == (3, 4)
    means = []
    for seed in (3, 4):
        one = config.model_copy(update={"federation": FederationConfig(rounds=2, batch=16, seeds=(seed,))})
        means.append(run_arm(dataset, "plaintext", config=one, arms=tmp_path / str(seed), rng=CountingRng()).performance.mean)
    assert means[0] != means[1]
    assert together.performance.mean == pytest.approx(np.mean(means))
