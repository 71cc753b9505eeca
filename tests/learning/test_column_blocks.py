"""The table of column blocks: the same weights as the undivided layer under plain autograd, and what lazy Adam leaves alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from securefl.learning.columns import whole
from securefl.learning.sparse import SparseBatch, bag_sum, batch_of
from securefl.learning.table import WHOLE, BlockStep, DenseStep, LazyAdam, WeightTable

BITS = 40
WIDE = WHOLE + 13
"""Columns that make several blocks, the last of them short."""


def batches(count: int, *, low: int = 0, high: int = BITS) -> list[SparseBatch]:
    """Batches of 9 records with bits ``low`` to ``high`` - 1."""
    draw = np.random.default_rng(3)
    found = []
    for _ in range(count):
        dense = np.zeros((9, BITS), dtype=np.uint8)
        dense[:, low:high] = draw.random((9, high - low)) < 0.2
        found.append(batch_of(sp.csr_matrix(dense), np.arange(9)))
    return found


def fresh(outputs: int) -> tuple[nn.Parameter, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return nn.Parameter(torch.randn(BITS, outputs, generator=generator)), torch.randn(outputs, generator=generator)


def by_autograd(outputs: int, data: list[SparseBatch], make: Callable[[nn.Parameter], torch.optim.Optimizer]) -> Tensor:
    weight, bias = fresh(outputs)
    optimiser = make(weight)
    for batch in data:
        optimiser.zero_grad()
        torch.relu(bag_sum(weight, batch) + bias).square().sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return weight.detach()


def by_table(outputs: int, data: list[SparseBatch], stepper: Callable[[nn.Parameter], BlockStep]) -> Tensor:
    weight, bias = fresh(outputs)
    table = WeightTable(weight, stepper)
    with table.working():
        for batch in data:
            active = table.activations(batch, bias)
            table.step([2 * piece for piece in active], active, batch)
    return weight.detach()


def adam(weight: nn.Parameter) -> torch.optim.Optimizer:
    return torch.optim.Adam([weight], lr=0.01, fused=True)


def sgd(weight: nn.Parameter) -> torch.optim.Optimizer:
    return torch.optim.SGD([weight], lr=0.01, fused=True)


@pytest.mark.parametrize("make", [adam, sgd])
def test_one_block_is_autograd_bit_for_bit(make: Callable[[nn.Parameter], torch.optim.Optimizer]) -> None:
    data = batches(5)
    assert torch.equal(by_table(WHOLE, data, lambda p: DenseStep(make(p))), by_autograd(WHOLE, data, make))


@pytest.mark.parametrize("make", [adam, sgd])
def test_blocks_are_the_undivided_layer(make: Callable[[nn.Parameter], torch.optim.Optimizer]) -> None:
    data = batches(5)
    blocks, whole = by_table(WIDE, data, lambda p: DenseStep(make(p))), by_autograd(WIDE, data, make)
    assert not torch.equal(whole, fresh(WIDE)[0])
    torch.testing.assert_close(blocks, whole, rtol=0, atol=1e-6)


def test_activations_and_the_bias_gradient_are_the_dense_ones() -> None:
    weight, bias = fresh(WIDE)
    (batch,) = batches(1)
    dense = torch.zeros(9, BITS)
    bags = torch.bucketize(torch.arange(len(batch.indices)), batch.offsets, right=True) - 1
    dense[bags, batch.indices] = 1
    bias.requires_grad_()
    expected = torch.relu(dense @ weight + bias)
    expected.square().sum().backward()  # type: ignore[no-untyped-call]
    table = WeightTable(weight, lambda p: DenseStep(sgd(p)))
    with table.working():
        active = table.activations(batch, bias.detach())
        gradient = table.step([2 * piece for piece in active], active, batch)
    assert len(active) > 1
    torch.testing.assert_close(whole(active), expected.detach(), rtol=1e-5, atol=1e-5)
    assert bias.grad is not None
    torch.testing.assert_close(gradient, bias.grad, rtol=1e-5, atol=1e-4)


def test_an_error_loses_no_step_that_was_taken() -> None:
    weight, bias = fresh(WIDE)
    before, table = weight.detach().clone(), WeightTable(weight, lambda p: DenseStep(sgd(p)))
    (batch,) = batches(1)

    def fail() -> None:
        with table.working():
            active = table.activations(batch, bias)
            table.step(active, active, batch)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not torch.equal(weight, before)


def lazy(weight: nn.Parameter) -> BlockStep:
    return LazyAdam(0.01)


@pytest.mark.parametrize("outputs", [8, WIDE])
def test_lazy_adam_is_torchs_sparse_adam(outputs: int) -> None:
    """Bits 0 to 19 in three steps, then others: SparseAdam is asked for the same steps with sparse gradients."""
    data = [*batches(3, high=20), *batches(3, low=15)]
    weight, bias = fresh(outputs)
    optimiser = torch.optim.SparseAdam([weight], lr=0.01)
    for batch in data:
        dense = weight.detach().clone().requires_grad_()
        torch.relu(bag_sum(dense, batch) + bias).square().sum().backward()  # type: ignore[no-untyped-call]
        assert dense.grad is not None
        rows = torch.unique(batch.indices)
        weight.grad = torch.sparse_coo_tensor(rows[None], dense.grad[rows], dense.shape, check_invariants=False)
        optimiser.step()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(by_table(outputs, data, lazy), weight.detach(), rtol=0, atol=1e-5)


def test_lazy_adam_lets_absent_bits_rest_and_adam_does_not() -> None:
    first, then = batches(2, high=20), batches(2, low=20)
    for stepper, rests in ((lazy, True), (lambda p: DenseStep(adam(p)), False)):
        before, after = by_table(WIDE, first, stepper), by_table(WIDE, first + then, stepper)
        assert torch.equal(before[:20], after[:20]) is rests
        assert not torch.equal(before[20:], after[20:])


def test_lazy_adam_takes_a_batch_without_any_bit() -> None:
    assert torch.equal(by_table(8, batches(1, high=0), lazy), fresh(8)[0])
