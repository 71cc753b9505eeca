"""Heads fitted by their partner alone, without noise, on top of a privately trained trunk.

A head never leaves its partner, so fitting it again at the end releases nothing: the trunk's guarantee is untouched, because
what others see is the trunk, and nothing flows back from these heads to it. What is NOT protected any more is the head: whoever
gets its predictions (view V0) sees something that the partner's records decided without noise.

The fit is the ridge-penalised sum of the records' losses, which is convex in a linear head: one answer, whatever the start.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from securefl.chem.dataset import Dataset, Fold
from securefl.learning.cells import Records, records_of, scaling_of
from securefl.learning.heads import Heads
from securefl.learning.loss import batch_loss
from securefl.learning.model import Model, PartnerHeads
from securefl.learning.trunk import Trunk

PENALTY = 0.01
"""On the squared weights, beside the mean loss of a record."""
ITERATIONS = 60


def refitted(model: Model, dataset: Dataset) -> Model:
    """Return ``model`` with every partner's heads fitted to its own training cells, scaled by its own means."""
    trunk = model.network()
    return replace(model, heads={partner: _heads(trunk, dataset, partner) for partner in model.heads})


def _heads(trunk: Trunk, dataset: Dataset, partner: int) -> PartnerHeads:
    scaling = scaling_of(dataset, partner)
    records = records_of(dataset, scaling, dataset.cells(partner, Fold.TRAIN))
    heads = Heads(len(scaling), trunk.width)
    fit(heads, trunk, records)
    return PartnerHeads(weight=heads.weight.detach().numpy(), bias=heads.bias.detach().numpy(), scaling=scaling)


def fit(heads: Heads, trunk: Trunk, records: Records) -> float:
    """Fit ``heads`` in place on the hidden layer of ``records`` and return the penalised mean loss."""
    batch, cells = records.batch(np.arange(len(records)))
    with torch.no_grad():
        hidden = trunk(batch)
    optimiser = torch.optim.LBFGS(heads.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def penalised() -> torch.Tensor:
        optimiser.zero_grad()
        loss = batch_loss(heads(hidden, cells.row, cells.task), cells, denominator=len(records))
        loss = loss + 0.5 * PENALTY * heads.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return float(optimiser.step(penalised).detach())  # type: ignore[no-untyped-call]
