"""A partner's private heads: one linear output for each of its tasks. They never leave the partner."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from securefl.learning.gathered import cell_dots, gathering_pays


class Heads(nn.Module):
    """``weight`` (tasks, width) and ``bias`` (tasks,), from zero: a fresh head predicts the task's mean.

    Zero is a good start because every head is linear and has targets of its own: heads don't break each other's
    symmetry, and the trunk's weights, which must, start at random.
    """

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(tasks, width))
        self.bias = nn.Parameter(torch.zeros(tasks))

    def forward(self, hidden: Tensor, row: Tensor, task: Tensor) -> Tensor:
        """Return the outputs of cells, shape (m,): cell ``j`` is task ``task[j]`` of row ``row[j]`` of ``hidden``.

        All outputs are computed and the labelled ones gathered, unless they are few among many (:mod:`.gathered`).
        """
        if gathering_pays(hidden, row, len(self.bias)):
            return cell_dots(hidden, self.weight, row, task) + self.bias.index_select(0, task)
        logits = hidden @ self.weight.t() + self.bias
        return logits.reshape(-1).index_select(0, row * len(self.bias) + task)
