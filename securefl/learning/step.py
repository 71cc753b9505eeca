"""One gradient step of trunk and heads: the fast path of the fingerprint family, and plain autograd for everything else.

Above the first layer's pre-activations both are the same autograd graph. Below them the fast path holds the table in column
blocks (:mod:`securefl.learning.table`) and never builds its gradient. A table of one block gives the plain path's numbers bit
for bit. Nothing here is private: a step's effect on the weights is the partner's update.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from securefl.config import FederationConfig
from securefl.errors import InputError
from securefl.learning.columns import Columns
from securefl.learning.heads import Heads
from securefl.learning.loss import CellBatch, Censoring, batch_loss
from securefl.learning.sparse import SparseBatch
from securefl.learning.table import BlockStep, DenseStep, LazyAdam, WeightTable
from securefl.learning.train_state import Arrays, optimiser_arrays, part, prefixed, restore_optimiser
from securefl.learning.trunk import FirstLayer, Trunk


def optimiser_for(config: FederationConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser that ``config`` names, fused: one pass over weights and moments."""
    if config.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=config.learning_rate, fused=True)
    return torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)


class TrainingStep:
    """Steps one trunk and its heads; keeps the optimiser's state. All steps happen inside :meth:`working`."""

    def __init__(self, trunk: Trunk, heads: Heads, config: FederationConfig) -> None:
        self._trunk, self._heads, self._config = trunk, heads, config
        self._censoring = Censoring(config.censoring)
        weight = trunk.first.weight
        self._table = None
        if isinstance(trunk.first, FirstLayer) and weight.requires_grad:
            self._table = WeightTable(weight, self._block_step, divided=config.optimiser != "lazy-adam")
        others = [p for p in (*trunk.parameters(), *heads.parameters()) if self._table is None or p is not weight]
        self._optimiser = optimiser_for(config, others)

    def _block_step(self, block: nn.Parameter) -> BlockStep:
        if self._config.optimiser == "lazy-adam":
            return LazyAdam(self._config.learning_rate)
        return DenseStep(optimiser_for(self._config, [block]))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the weights as the steps need them; afterwards, also after an error, trunk and heads have what was learnt."""
        if self._table is None:
            yield
            return
        with self._table.working():
            yield

    def state(self) -> Arrays:
        """Return the optimiser's state, of the table and of all other parameters."""
        table = {} if self._table is None else prefixed("table", self._table.state())
        return {**prefixed("others", optimiser_arrays(self._optimiser)), **table}

    def restore(self, state: Arrays) -> None:
        """Go on from what :meth:`state` returned for the same architecture and config."""
        restore_optimiser(self._optimiser, part("others", state))
        if self._table is not None:
            self._table.restore(part("table", state))

    def step(
        self, batch: SparseBatch, cells: CellBatch, *, denominator: float, dropout: torch.Generator | None = None
    ) -> float:
        """Take one step on the sum of the cells' losses over ``denominator`` and return that loss.

        Raises:
            InputError: the loss is not finite; no weight was moved by it.
        """
        self._optimiser.zero_grad(set_to_none=True)
        active = self._active(batch)
        output = self._heads.of_columns(self._trunk.above(active, dropout), cells.row, cells.task)
        loss = batch_loss(output, cells, denominator=denominator, censoring=self._censoring)
        if not math.isfinite(value := loss.item()):
            raise InputError(f"training loss is {value}, must be finite: lower federation.learning_rate")
        loss.backward()  # type: ignore[no-untyped-call]
        if self._table is not None:
            self._move_table(self._table, active, batch)
        self._optimiser.step()
        return value

    def _active(self, batch: SparseBatch) -> Columns:
        """Return the first layer's activations; those of the table are leaves, which collect the errors for its step."""
        if self._table is None:
            return [torch.relu(self._trunk.first(batch))]
        return [piece.requires_grad_() for piece in self._table.activations(batch, self._trunk.first.bias.detach())]

    def _move_table(self, table: WeightTable, active: Columns, batch: SparseBatch) -> None:
        errors = [piece.grad for piece in active if piece.grad is not None]
        if errors:
            gradient = table.step(errors, [piece.detach() for piece in active], batch)
            self._trunk.first.bias.grad = gradient if self._trunk.first.bias.requires_grad else None
