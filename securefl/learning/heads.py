"""A partner's private heads: one linear output for each of its tasks. They never leave the partner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from securefl.learning.cells import Scaling
from securefl.learning.columns import Columns, whole
from securefl.learning.gathered import cell_dots, gathering_pays


class Heads(nn.Module):
    """``weight`` (tasks, width) and ``bias`` (tasks,), from zero: a fresh head of a regression predicts the task's mean.

    Zero is a good start because every head is linear and has targets of its own: heads don't break each other's
    symmetry, and the trunk's weights, which must, start at random.
    """

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(tasks, width))
        self.bias = nn.Parameter(torch.zeros(tasks))

    @classmethod
    def fresh(cls, scaling: Scaling, width: int) -> Heads:
        """Return heads that predict each task's mean, a class by its odds in training where ``scaling`` knows them.

        With a bias from zero, a class of one in twenty is first unlearnt by the trunk, which lowers every compound by how many
        bits it has: after 8 rounds of 20 partners of tox21 the ROC-AUC on validation stood at 0.42.
        """
        heads = cls(len(scaling), width)
        heads.bias.data.copy_(torch.from_numpy(np.where(scaling.binary, scaling.mean, 0.0)))
        return heads

    @classmethod
    def handing_on(cls, places: Sequence[int], scaling: Scaling, width: int) -> Heads:
        """Return heads whose task ``i`` is output ``places[i]`` of the trunk above its own mean; they are not trained."""
        heads = cls.fresh(scaling, width).requires_grad_(False)
        heads.weight[torch.arange(len(places)), torch.tensor(places)] = 1.0
        return heads

    def forward(self, hidden: Tensor, row: Tensor, task: Tensor) -> Tensor:
        """Return the outputs of cells, shape (m,): cell ``j`` is task ``task[j]`` of row ``row[j]`` of ``hidden``."""
        return self.of_columns([hidden], row, task)

    def of_columns(self, hidden: Columns, row: Tensor, task: Tensor) -> Tensor:
        """Return the outputs of cells as :meth:`forward` does, of a hidden layer in pieces.

        All outputs are computed and the labelled ones gathered, unless they are few among many (:mod:`.gathered`).
        """
        if gathering_pays(hidden, row, len(self.bias)):
            return cell_dots(hidden, self.weight, row, task) + self.bias.index_select(0, task)
        logits = whole(hidden) @ self.weight.t() + self.bias
        return logits.reshape(-1).index_select(0, row * len(self.bias) + task)
