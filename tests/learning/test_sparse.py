"""The sparse first layer against the dense product, its gradient, and rows that must not move."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl.learning.sparse import SparseBatch, bag_sum, batch_of, transposed


def random_rows(seed: int, n: int, bits: int, density: float) -> sp.csr_matrix:
    draw = np.random.default_rng(seed)
    return sp.csr_matrix((draw.random((n, bits)) < density).astype(np.uint8))


@pytest.mark.property
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 9), bits=st.integers(1, 40), density=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_product_and_gradient_equal_the_dense_ones(seed: int, n: int, bits: int, density: float) -> None:
    rows = random_rows(seed, n, bits, density)
    dense = torch.from_numpy(rows.toarray().astype(np.float32))
    weight = torch.randn(bits, 7, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    errors = torch.randn(n, 7, generator=torch.Generator().manual_seed(seed + 1))
    product = bag_sum(weight, batch_of(rows, np.arange(n)))
    (product * errors).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    torch.testing.assert_close(product, dense @ weight, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weight.grad, dense.t() @ errors, atol=1e-5, rtol=1e-5)
    absent = ~dense.bool().any(0)
    assert (weight.grad[absent] == 0).all()


def test_transposed_lists_name_the_records_of_each_bit() -> None:
    rows = sp.csr_matrix(np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0]], dtype=np.uint8))
    lists = transposed(batch_of(rows, np.arange(3)), 3)
    assert lists.indices.tolist() == [0, 2, 0, 1]
    assert lists.offsets.tolist() == [0, 2, 2]


def test_batch_keeps_the_order_of_rows_and_empty_bags() -> None:
    rows = sp.csr_matrix(np.array([[0, 0, 0], [0, 1, 1]], dtype=np.uint8))
    batch = batch_of(rows, np.array([1, 0, 1]))
    assert (batch.indices.tolist(), batch.offsets.tolist()) == ([1, 2, 1, 2], [0, 2, 2])
    assert len(batch) == 3
    weight = torch.ones(3, 2)
    assert bag_sum(weight, batch).tolist() == [[2, 2], [0, 0], [2, 2]]


def test_a_batch_moves_between_devices() -> None:
    batch = SparseBatch(torch.tensor([1]), torch.tensor([0]))
    assert batch.to(torch.device("meta")).indices.device.type == "meta"
