"""The first layer's weights while they are trained: blocks of columns, each stepped as soon as its gradient is known.

At 32,768 bits and 2,000 outputs the table has 262 MB, its optimiser twice as much. Gathering whole rows of 8,000 bytes runs at
the speed of the third cache at best; in a block of 64 columns the frequent rows stay in the second cache, the more so as
they stand together there: a block's rows are in the order of their bits' frequency in the first batch, which took a quarter off
the time of a gather. And a block's gradient is used while it is still in the cache: no gradient of the whole table is ever
written. Every number is what the undivided layer gives: a sum over a bag runs in the same order in each column, and Adam knows
no column and no row but its own.

A table of at most 512 columns, one on a GPU, or one under lazy Adam, which moves few rows and is served best by long ones, is
one block: the layer's own parameter, in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.learning.columns import Columns, empty_columns
from securefl.learning.sparse import SparseBatch, transposed
from securefl.learning.train_state import Arrays, array_of, optimiser_arrays, part, prefixed, restore_optimiser

BLOCK = 64
"""Columns of a block: 256 bytes a row, so that the errors of a batch of 4,096 records (1 MB a block) fit the second cache."""
WHOLE = 512
"""A table of no more columns is not divided: its rows are short, and copying it in and out would cost more than it saves."""


class BlockStep(Protocol):
    """What moves one block of the table; one object for each block, it keeps the optimiser's state."""

    def step(self, block: nn.Parameter, errors: Tensor, lists: SparseBatch) -> None:
        """Move ``block`` (bits, columns) by the gradient: row ``b`` is the sum of ``errors`` (B, columns) over list ``b``."""
        ...

    def state(self) -> Arrays:
        """Return the optimiser's state."""
        ...

    def restore(self, state: Arrays) -> None:
        """Go on from what :meth:`state` returned."""
        ...


class DenseStep:
    """Every row moves, by torch's own optimiser: with Adam a row that has ever had a gradient moves at every step."""

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self._optimiser = optimiser

    def step(self, block: nn.Parameter, errors: Tensor, lists: SparseBatch) -> None:
        """Compute the block's dense gradient and take the optimiser's step."""
        block.grad = functional.embedding_bag(lists.indices, errors, lists.offsets, mode="sum")
        self._optimiser.step()
        block.grad = None

    def state(self) -> Arrays:
        """Return the moments and the count of steps, if there are any."""
        return optimiser_arrays(self._optimiser)

    def restore(self, state: Arrays) -> None:
        """Go on from what :meth:`state` returned."""
        restore_optimiser(self._optimiser, state)


class LazyAdam:
    """Adam that leaves rows of bits absent from the batch alone: weights *and* moments ([Kingma & Ba 2015], as SparseAdam).

    Not the same as Adam: there the moments of an absent bit decay and its weights keep moving for a while. The correction of
    the first steps' bias counts all steps, as in torch's SparseAdam, to whose result a test compares it. At a batch of 128
    records some 3,000 of 32,768 rows are read and written instead of all.
    """

    def __init__(self, rate: float, *, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> None:
        self._rate, self._betas, self._epsilon = rate, betas, epsilon
        self._moments: tuple[Tensor, Tensor] | None = None
        self._steps = 0

    def step(self, block: nn.Parameter, errors: Tensor, lists: SparseBatch) -> None:
        """Move the rows whose list is not empty."""
        if self._moments is None:
            self._moments = (torch.zeros_like(block), torch.zeros_like(block))
        self._moments = (self._moments[0].to(block.device), self._moments[1].to(block.device))
        self._steps += 1
        ends = torch.cat([lists.offsets[1:], lists.offsets.new_tensor([len(lists.indices)])])
        rows = torch.nonzero(ends > lists.offsets).squeeze(1)
        if not len(rows):
            return
        gradient = functional.embedding_bag(lists.indices, errors, lists.offsets[rows], mode="sum")
        (first, second), (beta1, beta2) = self._moments, self._betas
        mean = first.index_select(0, rows).lerp_(gradient, 1 - beta1)
        square = second.index_select(0, rows).mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        first.index_copy_(0, rows, mean)
        second.index_copy_(0, rows, square)
        size = self._rate * (1 - beta2**self._steps) ** 0.5 / (1 - beta1**self._steps)
        moved = block.index_select(0, rows).addcdiv_(mean, square.sqrt_().add_(self._epsilon), value=-size)
        block.index_copy_(0, rows, moved)

    def state(self) -> Arrays:
        """Return the moments and the count of steps, if there are any."""
        if self._moments is None:
            return {}
        return {"first": array_of(self._moments[0]), "second": array_of(self._moments[1]), "steps": np.array(self._steps)}

    def restore(self, state: Arrays) -> None:
        """Go on from what :meth:`state` returned; the next step puts the moments where the block is."""
        if state:
            self._moments = (torch.from_numpy(state["first"].copy()), torch.from_numpy(state["second"].copy()))
            self._steps = int(state["steps"])


class WeightTable:
    """The weight (bits, outputs) of a first layer in column blocks, each with the step that moves it.

    Between the first step inside :meth:`working` and its end the blocks are the truth; the parameter is read before and
    written after.
    """

    def __init__(self, weight: nn.Parameter, stepper: Callable[[nn.Parameter], BlockStep], *, divided: bool = True) -> None:
        self._weight = weight
        bits, outputs = weight.shape
        self._whole = not divided or outputs <= WHOLE or weight.device.type != "cpu"
        starts = [0] if self._whole else list(range(0, outputs, BLOCK))
        self._columns = [slice(a, b) for a, b in zip(starts, [*starts[1:], outputs], strict=True)]
        self._blocks = [weight] if self._whole else [nn.Parameter(torch.empty(bits, c.stop - c.start)) for c in self._columns]
        self._steppers = [stepper(block) for block in self._blocks]
        self._order, self._place = torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int32)
        self._filled = False
        self._active: list[Tensor] | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let the blocks hold the weights, and put these back together at the end, also after an error."""
        try:
            yield
        finally:
            if self._filled:
                self._join()

    @torch.no_grad()
    def _divide(self, batch: SparseBatch) -> None:
        """Copy the weights into the blocks; the first ``batch`` of all decides about the order of the rows."""
        if not len(self._order):
            count = torch.bincount(batch.indices, minlength=len(self._weight))
            self._take_order(torch.argsort(count, descending=True, stable=True))
        for columns, block in zip(self._columns, self._blocks, strict=True):
            torch.index_select(self._weight[:, columns], 0, self._order, out=block)
        self._filled = True

    def _take_order(self, order: Tensor) -> None:
        self._order, self._place = order, torch.argsort(order).int()

    def state(self) -> Arrays:
        """Return the steps' states and the order of the rows in which they are; the weights are the trunk's own."""
        found: Arrays = {"order": array_of(self._order)}
        for number, stepper in enumerate(self._steppers):
            found |= prefixed(str(number), stepper.state())
        return found

    def restore(self, state: Arrays) -> None:
        """Go on from what :meth:`state` returned of a table of the same shape."""
        if len(state["order"]):
            self._take_order(torch.from_numpy(state["order"].copy()))
        for number, stepper in enumerate(self._steppers):
            stepper.restore(part(str(number), state))

    @torch.no_grad()
    def _join(self) -> None:
        for columns, block in zip(self._columns, self._blocks, strict=True):
            self._weight[:, columns].index_copy_(0, self._order, block)
        self._filled = False

    def _bags(self, batch: SparseBatch) -> SparseBatch:
        """Return the bags as places in a block, in 32-bit numbers: every block reads them again and they compete with it."""
        place = self._place[batch.indices] if len(self._place) else batch.indices.int()
        return SparseBatch(place, batch.offsets.int())

    @torch.no_grad()
    def activations(self, batch: SparseBatch, bias: Tensor) -> list[Tensor]:
        """Return ``relu(X @ weight + bias)`` for the binary batch X in the blocks' columns, outside of autograd.

        The next call overwrites it: fresh memory of that size at every step would have to be cleared by the system first.
        """
        if not self._whole and not self._filled:
            self._divide(batch)
        bags = self._bags(batch)
        if self._active is None or len(self._active[0]) != len(batch):
            self._active = empty_columns(len(batch), [block.shape[1] for block in self._blocks], bias)
        for columns, block, piece in zip(self._columns, self._blocks, self._active, strict=True):
            # Detached: embedding_bag prepares a gradient of its own for any table that may have one.
            part = functional.embedding_bag(bags.indices, block.detach(), bags.offsets, mode="sum")
            torch.clamp(part.add_(bias[columns]), min=0, out=piece)
        return [piece.detach() for piece in self._active]

    @torch.no_grad()
    def step(self, errors: Columns, active: Columns, batch: SparseBatch) -> Tensor:
        """Move every block and return the bias's gradient, shape (outputs,).

        ``errors`` is the loss's gradient at ``active``, the result of :meth:`activations` for ``batch``.
        """
        found = transposed(self._bags(batch), len(self._weight))
        lists = SparseBatch(found.indices.int(), found.offsets.int())
        bias = []
        for block, stepper, error, output in zip(self._blocks, self._steppers, errors, active, strict=True):
            # What autograd calls for ReLU; torch.where took seven times as long on a block's columns.
            before = torch.ops.aten.threshold_backward(error, output, 0)
            stepper.step(block, before, lists)
            bias.append(before.sum(0))
        return torch.cat(bias)
