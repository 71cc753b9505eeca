"""A private arm's place in the round loop: its trainers, its scaling, and that no validation score is opened for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins import CountingRng

from securefl.chem.dataset import Dataset, TaskKind
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.federation.training import train_federated
from securefl.learning.cells import Records, Scaling
from securefl.learning.heads import Heads
from securefl.learning.local import LocalTrainer, PrivateTraining, Seat
from securefl.learning.train_state import Arrays
from securefl.learning.trunk import Trunk

CONFIG = RunConfig(
    data=DataConfig(partners=3), model=ModelConfig(hidden=(8, 4)), federation=FederationConfig(rounds=3, patience=1)
)


class AddsOne:
    """Stands for a private trainer: moves every weight of the trunk by a constant, and notes who trained."""

    def __init__(self, seat: Seat, seen: list[int]) -> None:
        self._seat, self._seen = seat, seen

    @torch.no_grad()
    def train_epoch(self, trunk: Trunk, heads: Heads, records: Records) -> float:
        assert records is self._seat.records
        self._seen.append(self._seat.partner)
        for parameter in trunk.parameters():
            parameter.add_(0.25)
        return 0.0

    def state(self) -> Arrays:
        return {}

    def restore(self, state: Arrays, trunk: Trunk, heads: Heads) -> None:
        assert not state


def constant_scaling(dataset: Dataset, partner: int) -> Scaling:
    tasks = dataset.tasks_of(partner)
    binary = np.array([dataset.tasks[task].kind is TaskKind.CLASSIFICATION for task in tasks])
    return Scaling(
        tasks=tasks,
        mean=np.where(binary, 0, 6.5).astype(np.float32),
        std=np.where(binary, 1, 1.5).astype(np.float32),
        binary=binary,
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_private_trainers_take_turns_and_the_last_round_is_kept(tiny_dataset: Dataset, threads: int) -> None:
    seen: list[int] = []

    def trainers(seat: Seat) -> LocalTrainer:
        return AddsOne(seat, seen)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        trained = train_federated(
            tiny_dataset,
            config=CONFIG,
            scheme="masking",
            seed=0,
            rng=CountingRng(),
            private=PrivateTraining(trainers=trainers, scaling=constant_scaling),
        )
    finally:
        torch.set_num_threads(before)
    # Patience of one round would have stopped a scored run; noise is drawn in one order whatever the threads.
    assert seen == [0, 1, 2] * 3
    assert (trained.rounds, trained.best_round, trained.curve) == (3, 3, ())
    assert trained.release is not None
    np.testing.assert_allclose(trained.model.trunk["first.weight"], trained.release.initial + 0.75, atol=1e-4)
    assert trained.model.heads[0].scaling.mean.tolist() == [6.5, 6.5, 6.5, 0.0]
