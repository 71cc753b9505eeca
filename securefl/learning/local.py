"""A partner's local training: what the round loop asks of a trainer, and the plain one.

The plain trainer hides nothing: its update is what secure aggregation, the support guard and differential privacy exist
for. A private trainer (:mod:`securefl.learning.private_step`) has the same shape and can stand in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset
from securefl.config import FederationConfig
from securefl.errors import InputError, ParameterError
from securefl.learning.cells import Records, Scaling
from securefl.learning.heads import Heads
from securefl.learning.loss import batch_loss
from securefl.learning.trunk import Trunk


class LocalTrainer(Protocol):
    """Trains one partner's trunk and heads in place. One object lasts for a run and may keep its optimiser's state."""

    def train_epoch(self, trunk: Trunk, heads: Heads, records: Records) -> float:
        """Train one local epoch on the partner's TRAIN ``records`` and return the mean loss a record.

        Rows of ``trunk.first.weight`` of bits that no record has must come back bit-identical. (Noise is the exception: a
        private trainer adds it to every row, and must.)

        Raises:
            InputError: the loss is not finite.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What a trainer is built for: ``partner`` counts from 0, ``seed`` is this partner's own seed of the run."""

    partner: int
    records: Records
    seed: int


TrainerFactory: TypeAlias = Callable[[Seat], LocalTrainer]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateTraining:
    """What a private arm trains with: its trainers, and a scaling of targets that no partner's data decided.

    The scaling belongs to it because the mean and spread of a partner's own targets would be an unpriced release.
    """

    trainers: TrainerFactory
    scaling: Callable[[Dataset, int], Scaling]


class PlainTrainer:
    """Mini-batches in a shuffled order, with Adam or plain SGD; deterministic given the seat's seed.

    No weight decay reaches the first layer, and Adam moves a weight only once its gradient was not zero: rows of bits
    that the partner's compounds don't have keep their exact values, so their delta is exactly zero.
    """

    def __init__(self, seat: Seat, *, config: FederationConfig, device: torch.device | None = None) -> None:
        self._config = config
        self._device = device or torch.device("cpu")
        self._shuffle = np.random.default_rng([seat.seed, 1])
        self._dropout = torch.Generator(self._device).manual_seed(seat.seed)
        self._optimiser: torch.optim.Optimizer | None = None

    def train_epoch(self, trunk: Trunk, heads: Heads, records: Records) -> float:
        """Train one epoch in place and return the mean loss a record."""
        if self._optimiser is None:
            self._optimiser = optimiser_for(self._config, trunk, heads)
        order = self._shuffle.permutation(len(records))
        batch = min(self._config.batch, len(records))
        # The last batch may be short and is divided by the nominal one all the same: every record counts alike.
        total = 0.0
        for start in range(0, len(order), batch):
            total += self._step(self._optimiser, trunk, heads, records, order[start : start + batch])
        return total * batch / len(records)

    def _step(
        self, optimiser: torch.optim.Optimizer, trunk: Trunk, heads: Heads, records: Records, rows: NDArray[np.int64]
    ) -> float:
        batch, cells = records.batch(rows)
        batch, cells = batch.to(self._device), cells.to(self._device)
        optimiser.zero_grad(set_to_none=True)
        output = heads(trunk(batch, self._dropout), cells.row, cells.task)
        loss = batch_loss(output, cells, denominator=min(self._config.batch, len(records)))
        if not math.isfinite(value := loss.item()):
            raise InputError(f"training loss is {value}, must be finite: lower federation.learning_rate")
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return value


def optimiser_for(config: FederationConfig, trunk: Trunk, heads: Heads) -> torch.optim.Optimizer:
    """Return the optimiser that ``config`` names, fused (one pass over weights and moments), for trunk and heads."""
    parameters = [*trunk.parameters(), *heads.parameters()]
    if config.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=config.learning_rate, fused=True)
    return torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)


def limit_threads(count: int) -> None:
    """Let torch compute with ``count`` threads in this process: the one place that sets them.

    Raises:
        ParameterError: ``count`` is under 1.
    """
    if count < 1:
        raise ParameterError(f"threads={count} must be >= 1")
    torch.set_num_threads(count)
