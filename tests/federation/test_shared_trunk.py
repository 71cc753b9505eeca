"""Trap weights that the operator hands to everybody alike: every partner works the trunk out and trains on no other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import CountingRng, make_dataset

from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import AbortReason, ProtocolAbort
from securefl.federation.operator import Operator
from securefl.federation.releases import RoundTrace
from securefl.federation.shared_trunk import SharedTrunk
from securefl.federation.training import train_federated
from securefl.learning.layout import trunk_layout
from securefl.secagg import RoundResult

LAYOUT = trunk_layout(256, (16, 8))


def config(**federation: object) -> RunConfig:
    return RunConfig(
        data=DataConfig(partners=3),
        model=ModelConfig(hidden=(16, 8)),
        federation=FederationConfig.model_validate({"rounds": 3, "batch": 32, "learning_rate": 5e-3, **federation}),
    )


def imprint(trunk: dict[str, NDArray[np.float32]]) -> None:
    """Make every hidden unit count the same bits and switch on at another count: single compounds fall between two units."""
    bits, units = trunk["first.weight"].shape
    trunk["first.weight"] = np.full((bits, units), 1.0, dtype=np.float32)
    trunk["first.bias"] = -np.linspace(10, 60, units, dtype=np.float32)


def train(trained_on: list[int], **federation: object) -> None:
    def seen(trace: RoundTrace) -> None:
        trained_on.append(trace.round)

    train_federated(make_dataset(), config=config(**federation), scheme="masking", seed=0, rng=CountingRng(), observer=seen)


@pytest.mark.parametrize("server", ["fedavg", "fedadam"])
def test_an_honest_operator_hands_out_what_everybody_works_out(server: str) -> None:
    finished: list[int] = []
    train(finished, server_optimiser=server)
    assert finished == [1, 2, 3]


def test_trap_weights_of_the_first_round_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Operator.__init__

    def trapped(operator: Operator, trunk: dict[str, NDArray[np.float32]], **more: object) -> None:
        honest(operator, trunk, **more)  # type: ignore[arg-type]
        imprint(operator.trunk)

    monkeypatch.setattr(Operator, "__init__", trapped)
    finished: list[int] = []
    with pytest.raises(ProtocolAbort, match=r"round 1, party 1: .*handed out [0-9a-f]{16}, .* give [0-9a-f]{16}") as caught:
        train(finished)
    assert (caught.value.reason, caught.value.round, finished) == (AbortReason.WRONG_MODEL, 1, [])


def later_trap(operator: Operator, result: RoundResult, *, round: int) -> None:
    operator.shared.apply(result, round=round)
    if round == 2:
        imprint(operator.trunk)


def test_trap_weights_of_a_later_round_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Operator, "apply", later_trap)
    finished: list[int] = []
    with pytest.raises(ProtocolAbort) as caught:
        train(finished)
    assert (caught.value.reason, caught.value.round, finished) == (AbortReason.WRONG_MODEL, 2, [1])


def test_without_the_check_the_trap_weights_are_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the same operator, partners that believe it."""
    monkeypatch.setattr(Operator, "apply", later_trap)
    monkeypatch.setattr(SharedTrunk, "require", lambda *_, **__: None)
    finished: list[int] = []
    train(finished)
    assert finished == [1, 2, 3]


def test_one_bit_of_one_weight_is_noticed() -> None:
    draw = np.random.default_rng(0)
    first = {name: draw.normal(size=shape).astype(np.float32) for name, shape in LAYOUT.tensors}
    trunk = SharedTrunk(first, layout=LAYOUT, aggregated=LAYOUT)
    trunk.require(first, round=4)
    other = {name: value.copy() for name, value in first.items()}
    other["layers.0.bias"][3] = np.nextafter(other["layers.0.bias"][3], np.float32(np.inf))
    with pytest.raises(ProtocolAbort, match="round 4: message is bound to another model"):
        trunk.require(other, round=4)
    with pytest.raises(ProtocolAbort, match="another architecture"):
        trunk.require({"first.weight": first["first.weight"]}, round=4)


def test_a_partner_that_was_absent_works_out_the_round_that_it_missed() -> None:
    trained = train_federated(
        make_dataset(partners=5), config=config(departures=({"round": 2, "partner": 4, "decision": "absent"},)),
        scheme="masking", seed=0, rng=CountingRng(),
    )  # fmt: skip
    assert trained.rounds == 3
    assert [one.partner for one in trained.departures] == [3]


