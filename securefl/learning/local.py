"""A partner's local training: what the round loop asks of a trainer, and the plain one.

The plain trainer hides nothing: its update is what secure aggregation, the support guard and differential privacy exist
for. A private trainer (:mod:`securefl.learning.private_step`) has the same shape and can stand in its place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeAlias

import numpy as np
import torch

from securefl.chem.dataset import Dataset
from securefl.config import FederationConfig
from securefl.errors import ParameterError
from securefl.learning.cells import Records, RecordSource, Scaling
from securefl.learning.heads import Heads
from securefl.learning.loss import CellBatch
from securefl.learning.sparse import SparseBatch
from securefl.learning.step import TrainingStep
from securefl.learning.train_state import Arrays, array_of, part, prefixed, restore_shuffle, shuffle_array
from securefl.learning.trunk import Trunk

_TRIM_ABOVE, _MAP_ABOVE = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h."""


class LocalTrainer(Protocol):
    """Trains one partner's trunk and heads in place. One object lasts for a run and may keep its optimiser's state."""

    def train_epoch(self, trunk: Trunk, heads: Heads, records: Records) -> float:
        """Train one unit (an epoch, or the config's steps) on the TRAIN ``records`` and return the mean loss a record.

        Rows of ``trunk.first.weight`` of bits that no record has must come back bit-identical. (Noise is the exception: a
        private trainer adds it to every row, and must.)

        Raises:
            InputError: the loss is not finite.
        """
        ...

    def state(self) -> Arrays:
        """Return what the trainer needs to go on: the partner's own, never for a message."""
        ...

    def restore(self, state: Arrays, trunk: Trunk, heads: Heads) -> None:
        """Go on where the trainer stood that returned ``state``, with the same trunk and heads from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What a trainer is built for: ``partner`` counts from 0, ``seed`` is this partner's own seed of the run."""

    partner: int
    records: RecordSource
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
        self._step: TrainingStep | None = None
        self._endless: Iterator[tuple[SparseBatch, CellBatch]] | None = None
        self._skipped = self._taken = 0

    def train_epoch(self, trunk: Trunk, heads: Heads, records: RecordSource) -> float:
        """Train one epoch, or ``config.local_steps`` steps, in place and return the mean loss a record.

        Steps go on where the last call stopped, through one shuffled order after another. Trunk and heads are those of the
        first call.
        """
        if self._step is None:
            self._step = TrainingStep(trunk, heads, self._config)
        size = min(self._config.batch, len(records))
        total, seen = 0.0, 0
        with self._step.working():
            for batch, cells in self._unit(records, size):
                # The last batch may be short and is divided by the nominal one all the same: every record counts alike.
                batch, cells = batch.to(self._device), cells.to(self._device)
                total += self._step.step(batch, cells, denominator=size, dropout=self._dropout)
                seen += len(batch)
        return total * size / seen

    def _unit(self, records: RecordSource, size: int) -> Iterator[tuple[SparseBatch, CellBatch]]:
        if not self._config.local_steps:
            return records.batches(size, self._shuffle)
        if self._endless is None:
            self._endless = islice(_repeated(records, size, self._shuffle), self._skipped, None)
        self._taken += self._config.local_steps
        return islice(self._endless, self._config.local_steps)

    def state(self) -> Arrays:
        """Return the optimiser's moments, both generators, or where steps are counted how many were taken.

        Steps are counted from the first epoch's order, which the seed gives again.
        """
        order = {"taken": np.array(self._taken)} if self._config.local_steps else {"shuffle": shuffle_array(self._shuffle)}
        step = {} if self._step is None else prefixed("step", self._step.state())
        return {"dropout": array_of(self._dropout.get_state()), **order, **step}

    def restore(self, state: Arrays, trunk: Trunk, heads: Heads) -> None:
        """Go on where a fresh trainer of the same seat stood when it returned ``state``."""
        self._dropout.set_state(torch.from_numpy(state["dropout"].copy()))
        if self._config.local_steps:
            self._skipped = self._taken = int(state["taken"])
        else:
            restore_shuffle(self._shuffle, state["shuffle"])
        if step := part("step", state):
            self._step = TrainingStep(trunk, heads, self._config)
            self._step.restore(step)


def _repeated(records: RecordSource, size: int, shuffle: np.random.Generator) -> Iterator[tuple[SparseBatch, CellBatch]]:
    """Yield the batches of one shuffled epoch after another, without end."""
    while True:
        yield from records.batches(size, shuffle)


def limit_threads(count: int) -> None:
    """Let torch compute with ``count`` threads in this process: the one place that sets them.

    Raises:
        ParameterError: ``count`` is under 1.
    """
    if count < 1:
        raise ParameterError(f"threads={count} must be >= 1")
    torch.set_num_threads(count)


def keep_freed_memory() -> bool:
    """Let the C library keep what this process frees instead of handing it back, and return whether it does (glibc).

    A step on a wide first layer frees some 100 MB and asks for them again; cleared anew by the system each time they took up
    to a fifth of its time. The process's peak stays as it is, and its memory stays near the peak until it ends.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    wanted = ((_TRIM_ABOVE, 1 << 30), (_MAP_ABOVE, 1 << 25))
    return mallopt is not None and all(mallopt(which, size) == 1 for which, size in wanted)


def bf16_products(wanted: bool) -> bool:
    """Let float32 matrix products of this process round their factors to bfloat16, and return whether they do.

    Only where the machine multiplies bfloat16 natively (elsewhere it would be slower, and nothing changes). Sums stay in
    float32; the results then differ from float32 products by up to about 2**-8 relative to the factors' sizes, so a
    consortium that compares weights bit for bit leaves it off. It reaches the hidden layers and dense heads; the first
    layer's sums and sparse heads have no products that it touches.
    """
    capabilities = torch.cpu.get_capabilities()
    native = bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    torch.set_float32_matmul_precision("medium" if wanted and native else "highest")
    return wanted and native
