"""Private arms and their ledgers: charged before they train, alternatives on public data, one budget on private data."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from stand_ins import CountingRng, make_dataset

from securefl.chem.dataset import Dataset
from securefl.config import DataConfig, DpConfig, FederationConfig, GuardConfig, ModelConfig, RunConfig
from securefl.dp.composition import FixedPrice
from securefl.dp.ledger import PrivacyLedger, Release, read_ledger
from securefl.errors import BudgetExceededError, InputError, ParameterError
from securefl.evaluation.arms import run_arm
from securefl.evaluation.run import arm_folder, open_run
from securefl.evaluation.spending import begin_ledgers, require_price
from securefl.learning.model import Model
from securefl.recipes import recipe_of
from securefl.records import ArmRecord

HIDDEN = (8, 4)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset(compounds=200, bits=64, tasks_each=2)


def config(*, private: bool = False, **dp: object) -> RunConfig:
    return RunConfig(
        data=DataConfig(bits=64, partners=3, private=private),
        model=ModelConfig(hidden=HIDDEN),
        federation=FederationConfig(rounds=2, batch=16, seeds=(0,)),
        dp=DpConfig.model_validate({"rounds": 2, "batch": 1000, "epsilon": 4.0, **dp}),
    )


def begun(dataset: Dataset, chosen: RunConfig) -> RunConfig:
    """Begin the partners' ledgers, and return the config."""
    begin_ledgers(dataset, chosen)
    return chosen


def train(dataset: Dataset, arm: str, chosen: RunConfig, run: Path, rng: int = 0) -> ArmRecord:
    return run_arm(dataset, arm, config=chosen, arms=run / "arms", rng=CountingRng(rng))


def test_a_record_level_arm_leaves_a_ledger_at_every_partner(dataset: Dataset, tmp_path: Path) -> None:
    record = train(dataset, "dp=3", config(), tmp_path)
    assert record.dp is not None
    assert record.noised
    assert record.dp.epsilon is not None
    assert record.dp.epsilon_lower is not None
    assert 2.9 < record.dp.epsilon_lower <= record.dp.epsilon <= 3.0
    assert (record.clipped, record.withheld_bits) == (None, None)
    assert record.consortium is not None
    for number in (1, 2, 3):
        state = read_ledger(arm_folder(tmp_path, "dp=3") / "seed-0" / "ledgers" / f"partner-{number}.jsonl")
        assert (state.budget.epsilon, state.budget.unit, len(state.releases)) == (3.0, "record", 1)
        assert state.releases[0].data == dataset.sha256
        assert state.spent.upper <= record.dp.epsilon + 1e-9


def test_partner_level_arms_run_and_the_central_one_is_forbidden(dataset: Dataset, tmp_path: Path) -> None:
    inside = train(dataset, "partner-dp", config(), tmp_path)
    central = train(dataset, "plaintext+central-dp", config(noise="discrete-gaussian"), tmp_path)
    for record in (inside, central):
        assert record.dp is not None
        assert record.dp.unit == "partner"
        assert record.dp.epsilon is not None
        assert 3.8 < record.dp.epsilon <= 4.0
        assert "replaced by zero" in record.dp.neighbouring
        # noise on purpose is no error of the sum, and nothing was counted for the operator
        assert (record.max_abs_aggregate_error, record.clipped, record.performance.curve) == (None, None, ())
    assert (inside.forbidden, central.forbidden) == (False, True)
    state = read_ledger(tmp_path / "arms" / "partner-dp" / "seed-0" / "ledgers" / "partner-2.jsonl")
    assert state.budget.unit == "partner"


def test_infinite_epsilon_clips_without_a_claim(dataset: Dataset, tmp_path: Path) -> None:
    for arm, unit in (("dp=inf", "record"), ("partner-dp=inf", "partner")):
        record = train(dataset, arm, config(), tmp_path)
        assert record.dp is not None
        assert (record.dp.unit, record.dp.epsilon, record.dp.noise_multiplier) == (unit, None, 0.0)
        assert not record.noised
        assert any("epsilon is infinite" in note for note in record.notes)
        state = read_ledger(arm_folder(tmp_path, arm) / "seed-0" / "ledgers" / "partner-1.jsonl")
        assert state.spent.upper == inf


def test_a_killed_arm_on_public_data_starts_again_and_keeps_the_old_ledger(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, "dp", config(), tmp_path)
    train(dataset, "dp", config(), tmp_path, rng=1)
    names = {path.name for path in (tmp_path / "arms" / "dp" / "seed-0" / "ledgers").glob("partner-1*")}
    assert names == {"partner-1.jsonl", "partner-1.killed-1.jsonl"}


def test_on_private_data_arms_compose_until_the_budget_is_spent(dataset: Dataset, tmp_path: Path) -> None:
    chosen = begun(dataset, config(private=True, total_epsilon=4.5, ledgers=str(tmp_path / "ledgers")))
    record = train(dataset, "dp=3", chosen, tmp_path)
    # the operator opens no number without a price: on public data the same arm's metrics are opened
    assert record.consortium is None
    assert "its metrics stay at the partners: no epsilon prices them" in record.notes
    train(dataset, "dp=1", chosen, tmp_path)
    state = read_ledger(tmp_path / "ledgers" / "partner-3.jsonl")
    assert [release.arm for release in state.releases] == ["dp=3", "dp=1"]
    # Gaussians compose better than the sum of their epsilons
    assert 3.0 < state.spent.upper < 4.0
    with pytest.raises(BudgetExceededError, match=r"after this release must be <= 4\.5"):
        train(dataset, "dp=4", chosen, tmp_path)
    # a restart of an arm is another release of it, and so is another run
    for run in (tmp_path, tmp_path / "another-run"):
        with pytest.raises(BudgetExceededError):
            train(dataset, "dp=3", chosen, run)
    assert not list((tmp_path / "arms" / "dp=4").iterdir())


def test_on_private_data_nobody_opens_the_metrics_of_a_partners_own_models_either(tmp_path: Path) -> None:
    """They are figures of private compounds, from models without noise: under a finite total they would be unpriced."""
    five = make_dataset(compounds=400, bits=64, tasks_each=6, partners=5)
    shared = {"total_epsilon": 4.5, "ledgers": str(tmp_path / "ledgers")}
    for name, chosen, opened in (
        ("public", config(), True),
        ("private", config(private=True, **shared), False),
        ("private, no total", config(private=True), False),
        ("private, nothing guaranteed", config(private=True, **shared | {"total_epsilon": inf}), True),
    ):
        record = train(five, "standalone", chosen, tmp_path / name)
        assert (record.consortium is not None) == opened, name
        assert any("metrics stay" in note for note in record.notes) != opened
        if record.consortium:
            assert any(metric.released for metric in record.consortium.metrics)


def test_a_private_arm_publishes_no_count_of_withheld_rows(dataset: Dataset, tmp_path: Path) -> None:
    record = train(dataset, "masking+guard+partner-dp", config(), tmp_path)
    assert (record.withheld_bits, record.withheld_bits_per_partner) == (None, {})
    plain = train(dataset, "masking+guard", config(), tmp_path)
    assert plain.withheld_bits == sum(plain.withheld_bits_per_partner.values()) > 0


def test_nobody_pays_for_a_training_that_another_partners_budget_stops(dataset: Dataset, tmp_path: Path) -> None:
    ledgers = tmp_path / "ledgers"
    chosen = begun(dataset, config(private=True, total_epsilon=4.5, ledgers=str(ledgers)))
    train(dataset, "dp=1", chosen, tmp_path)
    last = PrivacyLedger(ledgers / "partner-3.jsonl", read_ledger(ledgers / "partner-3.jsonl").budget)
    last.spend([Release(what="query", arm="none", data="00", mechanism=FixedPrice(epsilon=3.0))])
    before = {path.name: path.read_bytes() for path in ledgers.iterdir()}
    for _ in range(2):
        with pytest.raises(BudgetExceededError, match="partner 2"):
            train(dataset, "dp=2", chosen, tmp_path)
    assert {path.name: path.read_bytes() for path in ledgers.iterdir()} == before


def test_unpriced_arms_are_refused_on_private_data_before_anything_is_written(dataset: Dataset, tmp_path: Path) -> None:
    chosen = config(private=True, total_epsilon=8.0, ledgers=str(tmp_path / "ledgers"))
    for arm in ("masking", "masking+guard", "pooled", "plaintext", "dp=inf"):
        with pytest.raises(BudgetExceededError, match="releases without a price"):
            train(dataset, arm, chosen, tmp_path)
    with pytest.raises(ParameterError, match=r"dp\.total_epsilon must be set"):
        train(dataset, "dp", config(private=True), tmp_path)
    with pytest.raises(ParameterError, match=r"dp\.ledgers must be set"):
        train(dataset, "dp", config(private=True, total_epsilon=8.0), tmp_path)
    assert list(tmp_path.iterdir()) == []
    for arm in ("standalone", "single-task"):
        require_price(arm, recipe_of(arm), chosen)


def test_a_trusted_aggregator_that_sees_every_update_is_no_price_on_private_data(dataset: Dataset, tmp_path: Path) -> None:
    given = {"unit": "partner", "ledgers": str(tmp_path / "ledgers")}
    chosen = begun(dataset, config(private=True, total_epsilon=8.0, **given))
    with pytest.raises(BudgetExceededError, match="'central-dp' on private data releases without a price"):
        train(dataset, "central-dp", chosen, tmp_path)
    train(dataset, "partner-dp", chosen, tmp_path)
    free = config(private=True, total_epsilon=inf, unit="partner", ledgers=str(tmp_path / "free"))
    train(dataset, "central-dp", free, tmp_path)
    assert read_ledger(tmp_path / "free" / "partner-1.jsonl").spent.upper == inf


def test_a_missing_ledger_is_no_empty_one(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is relative, deleted or not mounted would give every run the whole budget again."""
    monkeypatch.chdir(tmp_path)
    chosen = config(private=True, total_epsilon=8.0, ledgers="ledgers")
    with pytest.raises(InputError, match=r"partner 0 has no ledger ledgers/partner-1\.jsonl: find it, or begin"):
        train(dataset, "dp=1", chosen, tmp_path)
    assert not (tmp_path / "ledgers").exists()
    begun(dataset, chosen)
    train(dataset, "dp=1", chosen, tmp_path)
    with pytest.raises(InputError, match="is there already"):
        begun(dataset, chosen)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="has no ledger"):
        train(dataset, "dp=1", chosen, tmp_path / "another-run")
    (tmp_path / "ledgers" / "partner-3.jsonl").unlink()
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "ledgers").iterdir()}
    with pytest.raises(InputError, match="partner 2 has no ledger"):
        train(dataset, "dp=2", chosen, tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "ledgers").iterdir()} == before
    for lacking in ({"ledgers": None}, {"total_epsilon": None}, {"total_epsilon": inf}):
        with pytest.raises(ParameterError, match=r"dp\.ledgers="):
            begin_ledgers(dataset, config(private=True, **{"total_epsilon": 8.0, "ledgers": "l", **lacking}))


def test_an_arm_whose_name_says_epsilon_takes_no_other_noise(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"dp\.noise_multiplier=0\.5 decides epsilon, which 'masking\+dp=3' names"):
        train(dataset, "dp=3", config(noise_multiplier=0.5), tmp_path)
    record = train(dataset, "dp", config(noise_multiplier=0.5), tmp_path)
    assert record.dp is not None
    assert record.dp.epsilon is not None
    assert record.dp.epsilon > 10


def test_with_an_infinite_total_unpriced_arms_are_on_the_ledger_as_infinity(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, "masking", config(private=True, total_epsilon=inf, ledgers=str(tmp_path / "own")), tmp_path)
    state = read_ledger(tmp_path / "own" / "partner-1.jsonl")
    assert (state.releases[0].arm, state.spent.upper) == ("masking", inf)


def test_what_an_arm_cannot_keep_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    for arm, changes, message in (
        ("masking+guard+dp", {}, "withheld row"),
        ("plaintext+partner-dp", {}, "one share alone"),
        ("dp", {"unit": "partner"}, r"dp\.unit='partner' must be"),
        ("partner-dp", {"delta": 1e-4}, "delta=0.0001"),
        ("dp", {"delta": 1e-4}, "delta=0.0001"),
    ):
        with pytest.raises(ParameterError, match=message):
            train(dataset, arm, config(**changes), tmp_path)
    with pytest.raises(ParameterError, match="must be the arm's"):
        train(dataset, "partner-dp", config(private=True, total_epsilon=9.0, ledgers=str(tmp_path / "l")), tmp_path)


def test_a_count_of_contributors_has_no_price(dataset: Dataset, tmp_path: Path) -> None:
    asked = config().model_copy(update={"guard": GuardConfig(partners=2)})
    with pytest.raises(ParameterError, match=r"guard\.partners=2 must be 1 beside noise"):
        train(dataset, "masking+guard+partner-dp", asked, tmp_path)


def test_a_public_warm_start_gives_the_trunk_and_no_heads(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, "plaintext", config(), tmp_path)
    public = tmp_path / "arms" / "plaintext" / "seed-0" / "model.safetensors"
    # much noise on the heads alone would show; with a learning rate near zero the trunk stays where it began
    record = train(dataset, "dp", config(start=str(public), learning_rate=1e-12), tmp_path)
    digest = hashlib.sha256(public.read_bytes()).hexdigest()[:12]
    said = f"the trunk of model.safetensors (SHA-256 {digest}), which the config declares public: no epsilon covers it"
    assert record.warm_start == said
    started = Model.load(public)
    ended = Model.load(tmp_path / "arms" / "dp" / "seed-0" / "model.safetensors")
    for name, value in started.trunk.items():
        np.testing.assert_allclose(ended.trunk[name], value, atol=1e-6)
    assert np.abs(ended.heads[0].weight).max() < 1e-6 < np.abs(started.heads[0].weight).max()
    with pytest.raises(ParameterError, match="start has bits"):
        train(dataset, "dp", replace_hidden(config(start=str(public))), tmp_path)
    with pytest.raises(InputError):
        train(dataset, "dp", config(start=str(tmp_path / "nothing.safetensors")), tmp_path)


def test_a_start_out_of_a_run_on_the_same_private_data_is_not_public(dataset: Dataset, tmp_path: Path) -> None:
    """Its trunk was trained without noise, and everybody would see it."""
    own = tmp_path / "own"
    open_run(own, dataset, config(private=True))
    train(dataset, "standalone", config(private=True), own)
    start = own / "arms" / "standalone" / "seed-0" / "partner-1" / "trunk.safetensors"
    assert start.is_file()
    given = {"total_epsilon": 8.0, "ledgers": str(tmp_path / "ledgers"), "start": str(start)}
    chosen = begun(dataset, config(private=True, **given))
    before = (tmp_path / "ledgers" / "partner-1.jsonl").read_bytes()
    with pytest.raises(ParameterError, match="is a run on the same private data"):
        train(dataset, "dp=3", chosen, tmp_path / "second")
    assert (tmp_path / "ledgers" / "partner-1.jsonl").read_bytes() == before
    # a run on other data may be public
    train(replace(dataset, sha256="ff" * 32), "dp=3", chosen, tmp_path / "third")


def replace_hidden(chosen: RunConfig) -> RunConfig:
    """Return the config with another trunk."""
    return chosen.model_copy(update={"model": ModelConfig(hidden=(6, 4))})


def test_another_dataset_is_another_entry(dataset: Dataset, tmp_path: Path) -> None:
    chosen = begun(dataset, config(private=True, total_epsilon=20.0, ledgers=str(tmp_path / "ledgers")))
    train(dataset, "dp=2", chosen, tmp_path)
    train(replace(dataset, sha256="ff" * 32), "dp=2", chosen, tmp_path)
    state = read_ledger(tmp_path / "ledgers" / "partner-1.jsonl")
    assert [release.data for release in state.releases] == [dataset.sha256, "ff" * 32]
