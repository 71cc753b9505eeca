"""A wide hidden layer in pieces: tensors (B, k) that stand beside each other, each small enough for the second cache.

Everything that works on single columns (the first layer, ReLU, dropout) or adds up over them (dot products) takes the pieces as
they are; a dense layer joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Columns: TypeAlias = Sequence[Tensor]
"""At least one tensor, shapes (B, k_i), in the order of the columns."""


def widths_of(columns: Columns) -> list[int]:
    """Return the number of columns in each piece."""
    return [piece.shape[1] for piece in columns]


def empty_columns(rows: int, widths: Sequence[int], like: Tensor) -> list[Tensor]:
    """Return pieces (rows, width) with undefined values, each contiguous, all in one large allocation: it gets huge pages."""
    memory = like.new_empty(rows * sum(widths))
    return [part.view(rows, -1) for part in memory.split_with_sizes([rows * width for width in widths])]


def whole(columns: Columns) -> Tensor:
    """Return all columns in one tensor, a single piece as it is."""
    return columns[0] if len(columns) == 1 else torch.cat(list(columns), 1)
