"""Server optimisers: the published rule, and that any party computes the same trunk from the opened sums alone."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import CountingRng, make_dataset

from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import ParameterError
from securefl.federation.releases import RoundTrace
from securefl.federation.server_optimiser import FedAdam, FedAvg, server_optimiser
from securefl.federation.starts import first_trunk
from securefl.federation.training import train_federated
from securefl.learning.layout import trunk_layout

CONFIG = RunConfig(
    data=DataConfig(partners=3),
    model=ModelConfig(hidden=(24, 12)),
    federation=FederationConfig(
        rounds=4, batch=32, learning_rate=5e-3, server_optimiser="fedadam", server_learning_rate=0.01
    ),
)


def test_fedavg_at_rate_one_is_the_mean() -> None:
    mean = np.array([0.1, -0.2])
    assert FedAvg().step(mean) is mean
    np.testing.assert_allclose(FedAvg(rate=0.5).step(mean), [0.05, -0.1])
    assert FedAvg().moments() == {}
    with pytest.raises(ParameterError, match="has none"):
        FedAvg().restore({"first": mean})


def test_fedadam_is_algorithm_2_of_the_paper() -> None:
    optimiser = FedAdam(rate=0.1)
    np.testing.assert_allclose(optimiser.step(np.array([1.0, 0.0])), [0.1 * 0.1 / (np.sqrt(0.01) + 1e-3), 0.0])
    # Second round: m = 0.9 * 0.1 + 0.1 * -1, v = 0.99 * 0.01 + 0.01 * 1.
    np.testing.assert_allclose(optimiser.step(np.array([-1.0, 0.0])), [0.1 * -0.01 / (np.sqrt(0.0199) + 1e-3), 0.0])


def test_fedadam_goes_on_from_its_moments() -> None:
    draw = np.random.default_rng(0)
    one, other = FedAdam(), FedAdam()
    one.step(draw.normal(size=5))
    other.restore(one.moments())
    mean = draw.normal(size=5)
    np.testing.assert_array_equal(one.step(mean), other.step(mean))
    with pytest.raises(ParameterError, match="must be first and second"):
        other.restore({"third": mean})


def test_every_partner_can_keep_the_moments_because_the_opened_sums_are_all_they_depend_on() -> None:
    traces: list[RoundTrace] = []
    dataset = make_dataset()
    trained = train_federated(dataset, config=CONFIG, scheme="masking", seed=0, rng=CountingRng(), observer=traces.append)
    layout = trunk_layout(dataset.bits, (24, 12))
    mine, optimiser = first_trunk(dataset, CONFIG, 0), server_optimiser(CONFIG.federation)
    assert trained.best_round >= 1
    for trace in traces:
        for name, value in trace.before.items():
            np.testing.assert_array_equal(mine[name], value)
        move = layout.unflatten(optimiser.step(trace.result.total / trace.result.weight))
        mine = {name: (mine[name] + move[name]).astype(np.float32) for name in mine}
        if trace.round == trained.best_round:
            for name, value in trained.model.trunk.items():
                np.testing.assert_array_equal(mine[name], value)


def test_fedadam_trains_and_differs_from_fedavg() -> None:
    dataset = make_dataset()

    def curve(**changes: object) -> tuple[float, ...]:
        config = CONFIG.model_copy(update={"federation": CONFIG.federation.model_copy(update={"rounds": 8, **changes})})
        return train_federated(dataset, config=config, scheme="plaintext", seed=0, rng=CountingRng()).curve

    adam, average = curve(), curve(server_optimiser="fedavg")
    assert adam != average
    assert max(adam) > 0.02
    assert curve(server_learning_rate=1e-9)[-1] < max(adam)
