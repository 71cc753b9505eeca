"""Heads that a partner fits by itself: better for it, and nothing of it reaches the trunk."""

from __future__ import annotations

import numpy as np
import torch

from securefl.chem.dataset import Dataset, Fold
from securefl.learning.cells import records_of, scaling_of
from securefl.learning.heads import Heads
from securefl.learning.model import Model, PartnerHeads
from securefl.learning.private_heads import ITERATIONS, fit, refitted
from securefl.learning.private_step import public_scaling
from securefl.learning.trunk import Trunk


def start(dataset: Dataset) -> Model:
    trunk = Trunk(dataset.bits, (24, 12), generator=torch.Generator().manual_seed(3))
    heads = {
        partner: PartnerHeads(
            weight=np.full((len(dataset.tasks_of(partner)), 12), 0.5, np.float32),
            bias=np.zeros(len(dataset.tasks_of(partner)), np.float32),
            scaling=public_scaling(dataset, partner),
        )
        for partner in range(len(dataset.partners))
    }
    return Model(trunk=trunk.tensors(), heads=heads)


def test_the_trunk_stays_bit_identical_and_the_heads_are_the_partners_own(tiny_dataset: Dataset) -> None:
    before = start(tiny_dataset)
    after = refitted(before, tiny_dataset)
    for name, value in before.trunk.items():
        np.testing.assert_array_equal(after.trunk[name], value)
    assert set(after.heads) == {0, 1, 2}
    own = scaling_of(tiny_dataset, 1)
    np.testing.assert_array_equal(after.heads[1].scaling.mean, own.mean)
    # another partner's records change nothing here
    cells = tiny_dataset.activities
    owner = np.array([task.partner for task in tiny_dataset.tasks])[cells.task]
    alone = refitted(before.of(1), tiny_dataset)
    np.testing.assert_array_equal(alone.heads[1].weight, after.heads[1].weight)
    assert (owner == 0).any()


def test_the_fit_does_not_depend_on_its_start_and_is_a_minimum(tiny_dataset: Dataset) -> None:
    trunk = start(tiny_dataset).network()
    records = records_of(tiny_dataset, scaling_of(tiny_dataset, 0), tiny_dataset.cells(0, Fold.TRAIN))
    losses, weights = [], []
    for value in (0.0, 1.0):
        heads = Heads(4, 12)
        torch.nn.init.constant_(heads.weight, value)
        for _ in range(3):
            fit(heads, trunk, records)
        losses.append(fit(heads, trunk, records))
        weights.append(heads.weight.detach().numpy().copy())
    np.testing.assert_allclose(weights[0], weights[1], atol=2e-2)
    assert abs(losses[0] - losses[1]) < 1e-4
    zero = Heads(4, 12)
    untouched = fit(zero, trunk, records)
    assert losses[0] < untouched
    assert ITERATIONS > 0
