"""A training that is killed in a round goes on from there, and ends with the very bits of one that nobody interrupted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import CountingRng, make_dataset

from securefl.chem.dataset import Dataset
from securefl.config import DataConfig, DpConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import InputError, ProtocolAbort, VerificationError
from securefl.federation.keeper import STATE_FILE, Keeper
from securefl.federation.releases import RoundTrace, Trained
from securefl.federation.sum_noise import SumNoise, sum_noise
from securefl.federation.training import train_federated
from securefl.files import write_bytes
from securefl.learning.layout import trunk_layout
from securefl.secagg import RoundResult, run_round
from securefl.secagg.base import Setup
from securefl.secagg.rounds import encode_input
from securefl.types import ClientId, FloatVector

PARTNERS = 5
KILLED = 3


class KilledError(Exception):
    """Stands for the end of the process."""


def config(hidden: tuple[int, ...] = (24, 12), **federation: object) -> RunConfig:
    return RunConfig(
        data=DataConfig(partners=PARTNERS),
        model=ModelConfig(hidden=hidden, dropout=0.3),
        federation=FederationConfig.model_validate({"rounds": 5, "batch": 32, "learning_rate": 5e-3, **federation}),
    )


@pytest.fixture(scope="module")
def five() -> Dataset:
    return make_dataset(partners=PARTNERS)


def keeper(folder: Path, identity: str = "same") -> Keeper:
    own = [folder / f"partner-{number + 1}" / "resume" for number in range(PARTNERS)]
    return Keeper(folder / "resume", own, identity=identity, share=float("inf"))


def train(
    dataset: Dataset, config: RunConfig, kept: Keeper | None, *, until: int = 99, noise: SumNoise | None = None,
    guard_k: int | None = None, traces: list[RoundTrace] | None = None, rng: int = 0,
) -> Trained:  # fmt: skip
    def observe(trace: RoundTrace) -> None:
        if traces is not None:
            traces.append(trace)
        if trace.round == until:
            raise KilledError

    return train_federated(
        dataset, config=config, scheme="masking", seed=0, rng=CountingRng(rng), observer=observe, keeper=kept, noise=noise,
        guard_k=guard_k,
    )  # fmt: skip


def killed_and_resumed(dataset: Dataset, config: RunConfig, folder: Path, guard_k: int | None = None) -> Trained:
    with pytest.raises(KilledError):
        train(dataset, config, keeper(folder), until=KILLED, guard_k=guard_k)
    # Another rng: keys, masks and the run's id are not those of the killed run.
    return train(dataset, config, keeper(folder), guard_k=guard_k, rng=7)


def assert_same(one: Trained, other: Trained) -> None:
    assert (one.rounds, one.best_round, one.curve) == (other.rounds, other.best_round, other.curve)
    for name, value in one.model.trunk.items():
        np.testing.assert_array_equal(value, other.model.trunk[name])
    assert sorted(one.model.heads) == sorted(other.model.heads)
    for number, heads in one.model.heads.items():
        np.testing.assert_array_equal(heads.weight, other.model.heads[number].weight)
        np.testing.assert_array_equal(heads.bias, other.model.heads[number].bias)
    assert (one.departures, sorted(one.left)) == (other.departures, sorted(other.left))
    assert (one.clipped, one.max_abs_error) == (other.clipped, other.max_abs_error)
    assert one.release is not None
    assert other.release is not None
    assert one.release.round == other.release.round
    for number, update in one.release.updates.items():
        np.testing.assert_array_equal(update, other.release.updates[number])


SETTINGS: dict[str, RunConfig] = {
    "adam": config(),
    "sgd": config(optimiser="sgd", learning_rate=0.05),
    "lazy-adam": config(optimiser="lazy-adam"),
    "steps": config(local_steps=7),
    "fedadam": config(server_optimiser="fedadam"),
    "a table in blocks": config(hidden=(576,), rounds=4),
    "a partner has stopped": config(departures=({"round": 2, "partner": 4, "decision": "stop"},)),
    "a partner is absent": config(departures=({"round": KILLED, "partner": 4, "decision": "absent"},)),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_resumed_training_ends_with_the_same_bits(five: Dataset, tmp_path: Path, name: str) -> None:
    whole = train(five, SETTINGS[name], None)
    resumed = killed_and_resumed(five, SETTINGS[name], tmp_path)
    assert (whole.resumed, resumed.resumed) == (0, KILLED)
    assert_same(whole, resumed)


def test_what_the_guard_withheld_is_kept(five: Dataset, tmp_path: Path) -> None:
    whole = train(five, config(), None, guard_k=3)
    resumed = killed_and_resumed(five, config(), tmp_path, guard_k=3)
    assert_same(whole, resumed)
    assert whole.withheld is not None
    assert resumed.withheld is not None
    for number, rows in whole.withheld.items():
        np.testing.assert_array_equal(rows, resumed.withheld[number])


def test_a_noised_round_is_sent_again_as_it_was_drawn(five: Dataset, tmp_path: Path) -> None:
    asked = config().model_copy(update={"dp": DpConfig(rounds=4, epsilon=50.0, update_norm=1.0)})
    noise = sum_noise(asked, length=trunk_layout(256, (24, 12)).size, parties=PARTNERS)[0]
    first: list[RoundTrace] = []
    with pytest.raises(KilledError):
        train(five, asked, keeper(tmp_path), until=KILLED, noise=noise, traces=first)
    again: list[RoundTrace] = []
    train(five, asked, keeper(tmp_path), noise=noise, traces=again, rng=7)
    fresh: list[RoundTrace] = []
    train(five, asked, None, noise=noise, traces=fresh, rng=7)
    assert again[0].round == KILLED
    for client, sent in first[-1].updates.items():
        np.testing.assert_array_equal(again[0].updates[client], sent)
        assert not np.array_equal(fresh[KILLED - 1].updates[client], sent), "the control draws its own noise"
    np.testing.assert_array_equal(again[0].result.total, first[-1].result.total)


class Wire:
    """Kills a training at its n-th durable step, and notes what its partners had put on the wire by then, sum by sum."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kill: int) -> None:
        self.sent: dict[int, dict[ClientId, bytes]] = {}
        self.steps, self._kill = 0, kill
        monkeypatch.setattr("securefl.federation.keeper.write_bytes", self._write)
        monkeypatch.setattr("securefl.federation.training.run_round", self._run_round)

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self._kill:
            raise KilledError

    def _write(self, path: Path, data: bytes) -> None:
        self._step()
        write_bytes(path, data)

    def _run_round(self, setup: Setup, updates: Mapping[ClientId, FloatVector], **asked: Any) -> RoundResult:
        self._step()
        encode = asked["encode"] or encode_input
        weights, quantizer = asked["weights"], asked["quantizer"]
        self.sent[asked["round"]] = {me: encode(u, weights[me], quantizer, me)[0].tobytes() for me, u in updates.items()}
        self._step()
        return run_round(setup, updates, **asked)


@pytest.mark.parametrize("noised", [False, True])
def test_killed_at_any_durable_step_nothing_is_sent_twice_in_two_ways(
    five: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noised: bool
) -> None:
    """Between any two writes, before a sum and after it: what both runs sent for one sum is the same, bit for bit."""
    asked = config(hidden=(4,), rounds=2).model_copy(update={"dp": DpConfig(rounds=2, epsilon=50.0, update_norm=1.0)})
    noise = sum_noise(asked, length=trunk_layout(256, (4,)).size, parties=PARTNERS)[0] if noised else None
    counting = Wire(monkeypatch, 0)
    train(five, asked, keeper(tmp_path / "counted"), noise=noise)
    assert counting.steps == (18 if noised else 22)  # two snapshots of seven files; before and after each sum (scores too)
    for step in range(1, counting.steps + 1):
        first = Wire(monkeypatch, step)
        with pytest.raises(KilledError):
            train(five, asked, keeper(tmp_path / str(step)), noise=noise)
        second = Wire(monkeypatch, 0)
        train(five, asked, keeper(tmp_path / str(step)), noise=noise, rng=7)
        assert sorted({**first.sent, **second.sent}) == sorted(counting.sent)
        for number, sent in first.sent.items():
            assert second.sent.get(number, sent) == sent, f"killed at step {step}: sum {number} was sent in two ways"


def test_private_state_lies_in_the_partners_own_folders(five: Dataset, tmp_path: Path) -> None:
    kept = keeper(tmp_path)
    with pytest.raises(KilledError):
        train(five, config(), kept, until=KILLED)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    name = f"round-{KILLED}.safetensors"
    assert files == [*(f"partner-{k}/resume/{name}" for k in range(1, 6)), f"resume/{name}", f"resume/{STATE_FILE}"]
    saved = keeper(tmp_path).saved
    assert saved is not None
    assert {name.split(".")[0] for name in saved.shared} == {"trunk", "best", "release"}
    kept.remove()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_another_training_is_not_taken_up(five: Dataset, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        train(five, config(), keeper(tmp_path), until=1)
    assert keeper(tmp_path).begun
    other = keeper(tmp_path, identity="another config")
    assert not other.begun
    assert other.saved is None


@pytest.mark.parametrize("damage", ["missing", "changed", "state", "state without its files", "state of another shape"])
def test_damage_is_named(five: Dataset, tmp_path: Path, damage: str) -> None:
    with pytest.raises(KilledError):
        train(five, config(), keeper(tmp_path), until=1)
    path = tmp_path / "partner-2" / "resume" / "round-1.safetensors"
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    else:
        path = tmp_path / "resume" / STATE_FILE
        state = json.loads(path.read_text())
        broken = {"state without its files": {}, "state of another shape": [1]}
        path.write_text("{" if damage == "state" else json.dumps({**state, "files": broken[damage]}))
    with pytest.raises((VerificationError, InputError), match=str(path)):
        keeper(tmp_path)


def test_a_trunk_that_the_partner_did_not_work_out_is_refused(five: Dataset, tmp_path: Path) -> None:
    """Whoever holds the operator's folder can write a trunk and its hash, and not what the partners noted in theirs."""
    with pytest.raises(KilledError):
        train(five, config(), keeper(tmp_path), until=KILLED)
    kept = keeper(tmp_path)
    assert kept.saved is not None
    trunk = kept.saved.shared["trunk.first.weight"]
    forged = {**kept.saved.shared, "trunk.first.weight": np.ones_like(trunk)}
    kept.saved = dataclasses.replace(kept.saved, shared=forged)
    with pytest.raises(ProtocolAbort, match="not the one that this partner worked out"):
        train(five, config(), kept)
