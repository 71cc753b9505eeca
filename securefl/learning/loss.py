"""Losses of single cells: squared error, one-sided squared error for censored values, and logistic loss.

A record's loss is the *sum* over its cells, and a batch's the sum over its records by a constant that doesn't depend on
how many labels the batch has. So gradients add up: the weighted sum of the partners' gradients is the gradient of the
pooled data, which no average over each partner's own label counts gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class CellBatch:
    """The labelled cells of a batch, in columns of length m.

    ``row`` int64 is the record's place in the batch, ``task`` int64 the head, ``target`` float32 standardised pX or 0/1,
    ``relation`` float32 the :class:`~securefl.chem.dataset.Relation`, ``binary`` bool whether the task classifies.
    """

    row: Tensor
    task: Tensor
    target: Tensor
    relation: Tensor
    binary: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def to(self, device: torch.device) -> CellBatch:
        """Return the cells on ``device``."""
        return CellBatch(*(column.to(device) for column in (self.row, self.task, self.target, self.relation, self.binary)))


def cell_losses(output: Tensor, cells: CellBatch) -> Tensor:
    """Return each cell's loss, shape (m,): half the squared error, or the logistic loss of a binary task.

    A censored cell costs nothing on the side that its relation allows: ``LESS`` (-1, the true value lies below the
    reported one) is charged only for an output above the target, ``GREATER`` only for one below.
    """
    error = output - cells.target
    allowed = (error * cells.relation) > 0
    squared = 0.5 * torch.where(allowed, torch.zeros_like(error), error).square()
    if not bool(cells.binary.any()):
        return squared
    logistic = functional.binary_cross_entropy_with_logits(output, cells.target, reduction="none")
    return torch.where(cells.binary, logistic, squared)


def batch_loss(output: Tensor, cells: CellBatch, *, denominator: float) -> Tensor:
    """Return the sum of the cells' losses over a constant ``denominator`` (the nominal batch, in records)."""
    return cell_losses(output, cells).sum() / denominator
