"""How well a trunk with heads explains the validation cells: the one number by which training stops.

Explained deviance is 1 - loss / null loss, summed over all cells: R2 about the training mean for regression, McFadden's R2
for classification, and for censored cells the one-sided error, so that one number covers every kind of task.

It also decides for classifications that are reported by ROC-AUC. Stopping by the mean ROC-AUC of the tasks gave the same one on
compounds that had not chosen the round (tox21, three divisions of its non-test compounds: 0.770 either way, five rounds
instead of four); the higher value on those that had is their own luck. By mean average precision, that one rose by 0.02 and the
ROC-AUC fell by 0.01.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from securefl.learning.cells import Records
from securefl.learning.heads import Heads
from securefl.learning.loss import cell_losses
from securefl.learning.trunk import Trunk

ROWS = 2048
"""Records that are computed at a time."""


@dataclass(frozen=True, slots=True)
class NullModel:
    """What predicts without a fingerprint: each task's training mean, or its training odds; ``output`` float32 (k,)."""

    output: Tensor

    @classmethod
    def of(cls, train: Records) -> NullModel:
        """Return the null model of ``train``."""
        count = np.bincount(train.task, minlength=len(train.binary))
        mean = np.bincount(train.task, weights=train.target, minlength=len(train.binary)) / np.maximum(count, 1)
        # Half a cell of each class more, so that the odds of a rare class stay finite.
        rate = np.where(train.binary, (mean * count + 0.5) / (count + 1.0), 0.5)
        output = np.where(train.binary, np.log(rate / (1.0 - rate)), mean)
        return cls(torch.from_numpy(output.astype(np.float32)))


@torch.no_grad()
def explained_deviance(trunk: Trunk, heads: Heads, records: Records, null: NullModel) -> float:
    """Return the explained deviance of ``records``: 1 is perfect, 0 as good as ``null``, negative worse; 0 without cells."""
    loss = reference = 0.0
    device = heads.bias.device
    for start in range(0, len(records), ROWS):
        batch, cells = records.batch(np.arange(start, min(start + ROWS, len(records))))
        batch, cells = batch.to(device), cells.to(device)
        loss += float(cell_losses(heads(trunk(batch), cells.row, cells.task), cells).sum())
        reference += float(cell_losses(null.output.to(device)[cells.task], cells).sum())
    return 1.0 - loss / reference if reference > 0 else 0.0
