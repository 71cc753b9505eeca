"""Outputs of labelled cells alone: dot products where labels are sparse, without the matrix of all outputs.

A tenth of a thousand labels in a row of a thousand tasks: the dense product computes a hundred outputs for each one that
has a label, forward and twice backward. Here a cell's output is one dot product (a sampled dense-dense product), its
gradients are weighted sums of rows. At 4,096 records, 2,000 hidden units, 1,000 tasks and 1 % labels the three products took
62 ms instead of 440 ms (float32, one core), and 30 ms on a hidden layer in pieces (:mod:`.columns`), whose rows are gathered
from the second cache. The results differ from the dense ones by rounding only.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from securefl.learning.columns import Columns, widths_of

SPARSE = 16
"""Dot products pay where at most one cell in so many has a label."""
SMALL = 1 << 26
"""Multiply-adds below which the dense product takes about a millisecond and is left as it is."""

# torch says once in a process that its CSR tensors are in beta; the one function of theirs that is used here is tested.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)


def gathering_pays(hidden: Columns, row: Tensor, tasks: int) -> bool:
    """Return whether the cells, one after another in ``row``'s order, are few enough among many enough outputs."""
    entries = len(hidden[0]) * tasks
    large = entries * sum(widths_of(hidden)) >= SMALL and 0 < len(row) * SPARSE < entries
    return large and hidden[0].device.type == "cpu" and bool((row[1:] >= row[:-1]).all())


class _CellDots(torch.autograd.Function):
    """Dot products of rows of the hidden layer and of ``weight``, cells sorted by row; one piece of columns after another."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, row: Tensor, task: Tensor, *hidden: Tensor) -> Tensor:
        ctx.save_for_backward(weight, row, task, *hidden)
        shape = (len(hidden[0]), len(weight))
        zero = hidden[0].new_zeros(len(task))
        dots = torch.sparse_csr_tensor(_pointers(row, shape[0]), task, zero, shape, check_invariants=False)
        for piece, columns in zip(hidden, weight.split_with_sizes(widths_of(hidden), 1), strict=True):
            dots = torch.sparse.sampled_addmm(dots, piece, columns.contiguous().t())
        return dots.values()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, row, task, *hidden = ctx.saved_tensors
        # Detached: embedding_bag prepares a gradient of its own for any table that may have one.
        weight, hidden, errors = weight.detach(), [piece.detach() for piece in hidden], gradients[0].contiguous()
        order = torch.argsort(task, stable=True)
        by_row = _Sums.of(task, row, errors, len(hidden[0]))
        by_task = _Sums.of(row[order], task[order], errors[order], len(weight))
        widths = widths_of(hidden)
        of_hidden, of_weight = [], torch.empty_like(weight)
        pieces = zip(hidden, weight.split_with_sizes(widths, 1), of_weight.split_with_sizes(widths, 1), strict=True)
        for piece, columns, of_columns in pieces:
            of_hidden.append(by_row.over(columns.contiguous()))
            of_columns.copy_(by_task.over(piece))
        return of_weight, None, None, *of_hidden


@dataclass(frozen=True, slots=True)
class _Sums:
    """Weighted sums of the rows ``chosen``, the sum of each bag beginning at its start; in 32-bit numbers, read many times."""

    chosen: Tensor
    starts: Tensor
    weights: Tensor

    @classmethod
    def of(cls, chosen: Tensor, into: Tensor, weights: Tensor, bags: int) -> _Sums:
        """Return the sums into ``bags`` of them, ``into`` sorted."""
        return cls(chosen.int(), _pointers(into, bags)[:-1].int(), weights)

    def over(self, table: Tensor) -> Tensor:
        """Return the sums of the rows of ``table``, shape (bags, k)."""
        return functional.embedding_bag(self.chosen, table, self.starts, mode="sum", per_sample_weights=self.weights)


def _pointers(sorted_rows: Tensor, rows: int) -> Tensor:
    """Return where each row begins and ends among ``sorted_rows``, int64 (rows + 1,)."""
    pointers = torch.zeros(rows + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(sorted_rows, minlength=rows), 0, out=pointers[1:])
    return pointers


def cell_dots(hidden: Columns, weight: Tensor, row: Tensor, task: Tensor) -> Tensor:
    """Return ``hidden[row[j]] . weight[task[j]]`` for each cell ``j``, shape (m,), over all columns of ``hidden``.

    Pre-conditions: ``row`` ascends, everything is on the CPU, there are 1 to ``B * len(weight)`` cells. A cell may occur more
    than once.
    """
    dots: Tensor = _CellDots.apply(weight, row, task, *hidden)  # type: ignore[no-untyped-call]
    return dots
