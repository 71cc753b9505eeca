"""Losses of cells: the closed forms, the censored side, and that they add up over any division of the records."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from securefl.chem.dataset import Relation
from securefl.learning.loss import CellBatch, Censoring, batch_loss, cell_losses


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


def test_tobit_is_minus_the_log_probability_of_the_report() -> None:
    """Exact cells: the Gaussian likelihood without its constant. Censored ones: the tail of scipy's normal distribution."""
    output = torch.tensor([1.0, 0.2, 0.2, -3.0, 12.0], dtype=torch.float64)
    data = cells(
        [0.5, 1.0, 1.0, 1.0, 0.0], [0, int(Relation.GREATER), int(Relation.LESS), int(Relation.GREATER), -1], [False] * 5
    )
    data = dataclasses.replace(data, target=data.target.double(), relation=data.relation.double())
    loss = cell_losses(output, data, Censoring.TOBIT)
    expected = [
        -norm.logpdf(1.0, loc=0.5) + norm.logpdf(0),
        -norm.logsf(1.0, loc=0.2),
        -norm.logcdf(1.0, loc=0.2),
        -norm.logsf(1.0, loc=-3.0),
        -norm.logcdf(0.0, loc=12.0),
    ]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-9)


def test_tobit_pushes_only_towards_the_report_and_stays_finite() -> None:
    output = torch.tensor([-40.0, 40.0], requires_grad=True)
    cell_losses(output, cells([0.0, 0.0], [1, 1], [False, False]), Censoring.TOBIT).sum().backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert output.grad[0].item() == pytest.approx(-40, rel=0.01)
    assert output.grad[1].item() == 0


@pytest.mark.parametrize("censoring", list(Censoring))
def test_a_task_of_weight_two_is_a_task_twice(censoring: Censoring) -> None:
    """Hybrid cells: exact, censored and binary ones, of weights 2, 0.5 and 0."""
    output = torch.tensor([1.0, 0.3, -0.4])
    data = cells([0.0, 1.0, 1.0], [0, 1, 0], [False, False, True])
    plain = cell_losses(output, data, censoring)
    weighted = cell_losses(output, dataclasses.replace(data, weight=torch.tensor([2.0, 0.5, 0.0])), censoring)
    assert weighted.tolist() == (plain * torch.tensor([2.0, 0.5, 0.0])).tolist()
    assert bool((plain > 0).all())
