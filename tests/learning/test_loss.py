"""Losses of cells: the closed forms, the censored side, and that they add up over any division of the records."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from securefl.chem.dataset import Relation
from securefl.learning.loss import CellBatch, batch_loss, cell_losses


def cells(target: list[float], relation: list[int], binary: list[bool]) -> CellBatch:
    m = len(target)
    return CellBatch(
        torch.arange(m),
        torch.zeros(m, dtype=torch.int64),
        torch.tensor(target),
        torch.tensor(relation).float(),
        torch.tensor(binary),
    )


def test_regression_is_half_the_squared_error() -> None:
    loss = cell_losses(torch.tensor([1.0, -2.0]), cells([0.0, 0.0], [0, 0], [False, False]))
    assert loss.tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("relation", "output", "expected"),
    [
        (Relation.LESS, 2.0, 0.5),
        (Relation.LESS, 0.0, 0.0),
        (Relation.GREATER, 0.0, 0.5),
        (Relation.GREATER, 2.0, 0.0),
        (Relation.LESS, 1.0, 0.0),
    ],
)
def test_censored_cells_are_charged_on_one_side(relation: Relation, output: float, expected: float) -> None:
    value = torch.tensor([output], requires_grad=True)
    loss = cell_losses(value, cells([1.0], [int(relation)], [False]))
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert loss.item() == expected
    assert value.grad is not None
    assert bool(value.grad.abs() > 0) == (expected > 0)


def test_classification_is_the_logistic_loss() -> None:
    loss = cell_losses(torch.tensor([0.3, 0.3, 0.5]), cells([1.0, 0.0, 0.0], [0, 0, 0], [True, True, False]))
    expected = [math.log1p(math.exp(-0.3)), math.log1p(math.exp(0.3)), 0.125]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)


def test_batch_loss_adds_up_over_any_division() -> None:
    draw = np.random.default_rng(0)
    output, target = (torch.from_numpy(draw.normal(size=30)) for _ in range(2))
    whole = cells(target.tolist(), [0] * 30, [False] * 30)
    parts = sum(
        batch_loss(output[a:b], cells(target[a:b].tolist(), [0] * (b - a), [False] * (b - a)), denominator=30)
        for a, b in ((0, 3), (3, 20), (20, 30))
    )
    assert float(parts) == pytest.approx(float(batch_loss(output, whole, denominator=30)), rel=1e-6)
