"""A partner-local warm start: heads move and the trunk does not, and it is paid for where records are protected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.chem.dataset import Dataset
from securefl.config import DataConfig, DpConfig, FederationConfig, ModelConfig, RunConfig
from securefl.dp.accountant import RdpAccountant
from securefl.errors import BudgetExceededError
from securefl.federation.partner import Partner, Terms
from securefl.federation.releases import RoundTrace
from securefl.federation.sum_noise import sum_noise
from securefl.federation.training import train_federated
from securefl.learning.family import layout_of
from securefl.learning.local import PrivateTraining
from securefl.learning.private_plan import private_plans, private_training, record_counts
from securefl.learning.private_step import PrivateSteps


def config(**dp: object) -> RunConfig:
    return RunConfig(
        data=DataConfig(partners=3),
        model=ModelConfig(hidden=(8, 4)),
        federation=FederationConfig(rounds=2),
        dp=DpConfig.model_validate({"rounds": 2, "batch": 50, "learning_rate": 0.3, "local_start": 3, **dp}),
    )


def plans(dataset: Dataset, chosen: RunConfig) -> tuple[PrivateSteps, ...]:
    return private_plans(record_counts(dataset), config=chosen, accountant=RdpAccountant())


def made_partner(dataset: Dataset, chosen: RunConfig, private: PrivateTraining | None = None) -> Partner:
    """Return the first partner with the trunk that everybody begins with."""
    layout = layout_of(dataset, chosen.model)
    partner = Partner(dataset, 0, Terms(layout=layout, config=chosen, seed=0, private=private))
    draw = np.random.default_rng(0)
    partner.receive({name: draw.normal(0, 0.3, shape).astype(np.float32) for name, shape in layout.tensors})
    return partner


@pytest.mark.parametrize("protected", [True, False])
def test_heads_learn_and_the_trunk_stays(tiny_dataset: Dataset, protected: bool) -> None:
    chosen = config()
    partner = made_partner(
        tiny_dataset, chosen, private_training(plans(tiny_dataset, chosen), rng=CountingRng()) if protected else None
    )
    before = partner.trunk_tensors()
    assert not partner.heads().weight.any()
    partner.warm_up(3)
    assert partner.heads().weight.all()
    for name, value in partner.trunk_tensors().items():
        np.testing.assert_array_equal(value, before[name])
    # the round that follows trains everything
    assert np.abs(partner.update()).min() >= 0
    assert all((value != before[name]).any() for name, value in partner.trunk_tensors().items())


def test_the_start_is_among_the_steps_that_are_priced(tiny_dataset: Dataset) -> None:
    cold, warm = (plans(tiny_dataset, config(local_start=epochs)) for epochs in (0, 3))
    for without, with_start in zip(cold, warm, strict=True):
        assert with_start.steps == without.steps + 3 * without.steps_each
        assert with_start.noise_multiplier > without.noise_multiplier
    # a trainer that was paid for the rounds alone refuses the last of them after a start
    partner = made_partner(tiny_dataset, config(), private_training(cold, rng=CountingRng()))
    partner.warm_up(1)
    partner.update()
    with pytest.raises(BudgetExceededError, match="the priced number"):
        partner.update()


def test_a_private_run_begins_with_it_and_takes_exactly_the_paid_steps(tiny_dataset: Dataset) -> None:
    chosen, first = config(), []
    for epochs in (0, 3):
        settings = config(local_start=epochs)
        seen: list[RoundTrace] = []
        train_federated(
            tiny_dataset, config=settings, scheme="plaintext", seed=0, rng=CountingRng(), rounds=2, observer=seen.append,
            private=private_training([replace(one, noise_multiplier=0.0) for one in plans(tiny_dataset, settings)],
                                     rng=CountingRng()),
        )  # fmt: skip
        first.append(seen[0])
    # heads of zero send nothing back in the first step of round one; warm ones do
    cold, warm = (np.linalg.norm(np.concatenate([u for u in trace.updates.values()])) for trace in first)
    assert warm > cold
    assert chosen.dp.local_start == 3


def test_at_partner_level_it_costs_nothing(tiny_dataset: Dataset) -> None:
    length = layout_of(tiny_dataset, config().model).size
    spent = [sum_noise(config(local_start=epochs), length=length, parties=3)[1] for epochs in (0, 3)]
    assert spent[0] == spent[1]
    seen: list[RoundTrace] = []
    noise, _ = sum_noise(config(), length=length, parties=3)
    train_federated(
        tiny_dataset, config=config(), scheme="masking", seed=0, rng=CountingRng(), noise=noise, rounds=2, observer=seen.append
    )
    assert len(seen) == 2


def test_an_arm_without_privacy_takes_no_notice(tiny_dataset: Dataset) -> None:
    models = [
        train_federated(tiny_dataset, config=config(local_start=epochs), scheme="plaintext", seed=0, rng=CountingRng()).model
        for epochs in (0, 3)
    ]
    for name, value in models[0].trunk.items():
        np.testing.assert_array_equal(models[1].trunk[name], value)
