"""Outputs of labelled cells alone: values and gradients of the dense product, and when they are chosen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from securefl.learning import heads as heads_module
from securefl.learning.gathered import cell_dots, gathering_pays
from securefl.learning.heads import Heads


def made(rows: int, tasks: int, width: int, cells: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=generator, requires_grad=True)
    weight = torch.randn(tasks, width, generator=generator, requires_grad=True)
    row = torch.randint(rows, (cells,), generator=generator).sort().values
    return hidden, weight, row, torch.randint(tasks, (cells,), generator=generator)


# Of few cells most rows and tasks have none; of many some occur more than once, as replicates do.
@pytest.mark.parametrize("cells", [1, 40, 100])
def test_dots_and_gradients_are_the_dense_ones(cells: int) -> None:
    hidden, weight, row, task = made(12, 9, 16, cells)
    errors = torch.randn(cells, generator=torch.Generator().manual_seed(1))
    dots = cell_dots([hidden], weight, row, task)
    found = torch.autograd.grad((dots * errors).sum(), (hidden, weight))
    dense = (hidden @ weight.t())[row, task]
    expected = torch.autograd.grad((dense * errors).sum(), (hidden, weight))
    torch.testing.assert_close(dots, dense, rtol=1e-5, atol=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_pieces_of_columns_are_the_undivided_layer() -> None:
    hidden, weight, row, task = made(12, 9, 16, 40)
    dots = cell_dots([hidden], weight, row, task)
    expected = torch.autograd.grad(dots.square().sum(), (hidden, weight))
    divided = cell_dots(hidden.split_with_sizes([7, 5, 4], 1), weight, row, task)
    torch.testing.assert_close(divided, dots, rtol=1e-5, atol=1e-5)
    for one, other in zip(torch.autograd.grad(divided.square().sum(), (hidden, weight)), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_it_pays_on_many_outputs_with_few_labels_in_order() -> None:
    hidden, row = torch.empty(1024, 256), torch.arange(1024).repeat_interleave(4)
    assert gathering_pays([hidden], row, 300)
    assert not gathering_pays([hidden], row, 60), "one label in fifteen"
    assert not gathering_pays([hidden.flip(0)], row.flip(0), 300), "rows that do not ascend"
    assert not gathering_pays([hidden], row[:0], 300), "no label at all"
    assert not gathering_pays([hidden[:128, :120]], row[:400], 40), "a small product"


def test_heads_give_the_same_outputs_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, row, task = made(1024, 300, 256, 2000)
    heads = Heads(300, 256)
    with torch.no_grad():
        heads.weight.copy_(weight)
        heads.bias.normal_(generator=torch.Generator().manual_seed(2))
    sparse = heads(hidden, row, task)
    sparse.square().sum().backward()
    found = [p.grad for p in heads.parameters()]
    heads.zero_grad()
    monkeypatch.setattr(heads_module, "gathering_pays", lambda *_: False)
    dense = heads(hidden, row, task)
    dense.square().sum().backward()
    torch.testing.assert_close(sparse, dense, rtol=1e-5, atol=1e-4)
    for one, other in zip(found, heads.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad, rtol=1e-4, atol=1e-2)
