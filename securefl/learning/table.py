"""The first layer's weights while they are trained: blocks of columns, each stepped as soon as its gradient is known.

At 32,768 bits and 2,000 outputs the table has 262 MB, its optimiser twice as much. Gathering whole rows of 8,000 bytes runs at
the speed of the third cache at best; in a block of 64 columns the frequent rows stay in the second cache. And a block's
gradient is used while it is still in the cache: no gradient of the whole table is ever written. Every number is what the
undivided layer gives: a sum over a bag runs in the same order in each column, and Adam knows no column but its own.

A table of at most 512 columns, one on a GPU, or one under lazy Adam, which moves few rows and is served best by long ones, is
one block: the layer's own parameter, in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.learning.sparse import SparseBatch, transposed

BLOCK = 64
"""Columns of a block: 256 bytes a row, so that the errors of a batch of 4,096 records (1 MB a block) fit the second cache."""
WHOLE = 512
"""A table of no more columns is not divided: its rows are short, and copying it in and out would cost more than it saves."""


class BlockStep(Protocol):
    """What moves one block of the table; one object for each block, it keeps the optimiser's state."""

    def step(self, block: nn.Parameter, errors: Tensor, lists: SparseBatch) -> None:
        """Move ``block`` (bits, columns) by the gradient: row ``b`` is the sum of ``errors`` (B, columns) over list ``b``."""
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


class WeightTable:
    """The weight (bits, outputs) of a first layer in column blocks, each with the step that moves it.

    Between :meth:`working` and its end the blocks are the truth; the parameter is read before and written after.
    """

    def __init__(self, weight: nn.Parameter, stepper: Callable[[nn.Parameter], BlockStep], *, divided: bool = True) -> None:
        self._weight = weight
        bits, outputs = weight.shape
        self._whole = not divided or outputs <= WHOLE or weight.device.type != "cpu"
        starts = [0] if self._whole else list(range(0, outputs, BLOCK))
        self._columns = [slice(a, b) for a, b in zip(starts, [*starts[1:], outputs], strict=True)]
        self._blocks = [weight] if self._whole else [nn.Parameter(torch.empty(bits, c.stop - c.start)) for c in self._columns]
        self._steppers = [stepper(block) for block in self._blocks]

    @contextmanager
    def working(self) -> Iterator[None]:
        """Divide the weights into blocks, and put them back together at the end, also after an error."""
        if self._whole:
            yield
            return
        with torch.no_grad():
            for columns, block in zip(self._columns, self._blocks, strict=True):
                block.copy_(self._weight[:, columns])
        try:
            yield
        finally:
            with torch.no_grad():
                for columns, block in zip(self._columns, self._blocks, strict=True):
                    self._weight[:, columns] = block

    @torch.no_grad()
    def activations(self, batch: SparseBatch, bias: Tensor) -> Tensor:
        """Return ``relu(X @ weight + bias)`` for the binary batch X, shape (B, outputs), outside of autograd."""
        result = torch.empty(len(batch), self._weight.shape[1], device=self._weight.device)
        bags = _narrow(batch)
        for columns, block in zip(self._columns, self._blocks, strict=True):
            # Detached: embedding_bag prepares a gradient of its own for any table that may have one.
            part = functional.embedding_bag(bags.indices, block.detach(), bags.offsets, mode="sum")
            torch.clamp(part.add_(bias[columns]), min=0, out=result[:, columns])
        return result

    @torch.no_grad()
    def step(self, errors: Tensor, active: Tensor, batch: SparseBatch) -> Tensor:
        """Move every block and return the bias's gradient, shape (outputs,).

        ``errors`` is the loss's gradient at ``active``, the result of :meth:`activations` for ``batch``.
        """
        lists = _narrow(transposed(batch, len(self._weight)))
        bias = []
        for columns, block, stepper in zip(self._columns, self._blocks, self._steppers, strict=True):
            # What autograd calls for ReLU; torch.where took seven times as long on a block's columns.
            before = torch.ops.aten.threshold_backward(errors[:, columns], active[:, columns], 0).contiguous()
            stepper.step(block, before, lists)
            bias.append(before.sum(0))
        return torch.cat(bias)


def _narrow(batch: SparseBatch) -> SparseBatch:
    """Return the bags in 32-bit numbers: every block reads them again, and they compete with it for the cache."""
    return SparseBatch(batch.indices.int(), batch.offsets.int())
