"""Losses of single cells: squared error, what a censored value is charged, and logistic loss.

A record's loss is the *sum* over its cells, and a batch's the sum over its records by a constant that doesn't depend on
how many labels the batch has. So gradients add up: the weighted sum of the partners' gradients is the gradient of the
pooled data, which no average over each partner's own label counts gives. A task's weight multiplies its cells' losses and
changes no denominator: a partner that weighs its auxiliary tasks down sends a smaller gradient, and says so to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from torch.nn import functional


class Censoring(Enum):
    """What a cell costs whose true value is only known to lie below or above the reported one.

    ``ONE_SIDED``: half the squared error on the side that contradicts the report, nothing on the other. ``TOBIT``: minus the
    logarithm of the probability of the report, ``-log Phi(relation * (output - target))``, under Gaussian noise of the same
    unit spread under which half a squared error is the log likelihood of an exact cell ([Tobin 1958]).
    """

    ONE_SIDED = "one-sided"
    TOBIT = "tobit"


@dataclass(frozen=True, slots=True)
class CellBatch:
    """The labelled cells of a batch, in columns of length m.

    ``row`` int64 is the record's place in the batch, ``task`` int64 the head, ``target`` float32 standardised pX or 0/1,
    ``relation`` float32 the :class:`~securefl.chem.dataset.Relation`, ``binary`` bool whether the task classifies, ``weight``
    float32 the task's weight (``None``: 1 for all).
    """

    row: Tensor
    task: Tensor
    target: Tensor
    relation: Tensor
    binary: Tensor
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.row)

    def to(self, device: torch.device) -> CellBatch:
        """Return the cells on ``device``."""
        row, task, target, relation, binary = (
            column.to(device) for column in (self.row, self.task, self.target, self.relation, self.binary)
        )
        weight = None if self.weight is None else self.weight.to(device)
        return CellBatch(row, task, target, relation, binary, weight)


def cell_losses(output: Tensor, cells: CellBatch, censoring: Censoring = Censoring.ONE_SIDED) -> Tensor:
    """Return each cell's weighted loss, shape (m,): half the squared error, or the logistic loss of a binary task.

    A censored cell costs nothing on the side that its relation allows: ``LESS`` (-1, the true value lies below the
    reported one) is charged only for an output above the target, ``GREATER`` only for one below. Under ``TOBIT`` it costs
    little there, and falls off.
    """
    losses = _regression_losses(output - cells.target, cells.relation, censoring)
    if bool(cells.binary.any()):
        logistic = functional.binary_cross_entropy_with_logits(output, cells.target, reduction="none")
        losses = torch.where(cells.binary, logistic, losses)
    return losses if cells.weight is None else losses * cells.weight


def _regression_losses(error: Tensor, relation: Tensor, censoring: Censoring) -> Tensor:
    if censoring is Censoring.TOBIT:
        exact = 0.5 * error.square()
        return torch.where(relation == 0, exact, -torch.special.log_ndtr(relation * error))
    allowed = (error * relation) > 0
    return 0.5 * torch.where(allowed, torch.zeros_like(error), error).square()


def batch_loss(output: Tensor, cells: CellBatch, *, denominator: float, censoring: Censoring = Censoring.ONE_SIDED) -> Tensor:
    """Return the sum of the cells' losses over a constant ``denominator`` (the nominal batch, in records)."""
    return cell_losses(output, cells, censoring).sum() / denominator
