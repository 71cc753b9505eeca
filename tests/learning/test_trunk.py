"""The trunk: seeds, dropout with an explicit generator, and what it refuses to load."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from securefl.errors import ParameterError
from securefl.learning.columns import whole
from securefl.learning.sparse import SparseBatch
from securefl.learning.trunk import Trunk, dropped


def test_weights_come_from_the_seed_alone() -> None:
    first = Trunk(50, (8, 4), generator=torch.Generator().manual_seed(3)).tensors()
    torch.manual_seed(99)
    again = Trunk(50, (8, 4), generator=torch.Generator().manual_seed(3)).tensors()
    other = Trunk(50, (8, 4), generator=torch.Generator().manual_seed(4)).tensors()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["first.weight"], other["first.weight"])


def dropped_whole(hidden: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    return whole(dropped([hidden], rate, generator))


@pytest.mark.statistical
def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    out = dropped_whole(torch.ones(400, 1000), 0.25, torch.Generator().manual_seed(0))
    # 400,000 units: five standard deviations are 0.0035 on the share.
    assert abs(float((out == 0).float().mean()) - 0.25) < 0.0035
    assert abs(float(out.mean()) - 1.0) < 0.005
    assert set(out[:, 0].tolist()) == {0.0, float(np.float32(256 / 192))}


def test_dropout_needs_a_generator_and_repeats_with_it() -> None:
    hidden = torch.rand(9, 7, generator=torch.Generator().manual_seed(0))
    assert dropped_whole(hidden, 0.5, None) is hidden
    assert dropped_whole(hidden, 0.0, torch.Generator()) is hidden
    one, two = (dropped_whole(hidden, 0.5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, dropped_whole(hidden, 0.5, torch.Generator().manual_seed(2)))


def test_the_same_units_are_dropped_however_the_columns_are_divided() -> None:
    hidden = torch.rand(9, 7, generator=torch.Generator().manual_seed(0))
    pieces = dropped(hidden.split_with_sizes([3, 4], 1), 0.5, torch.Generator().manual_seed(1))
    assert [piece.shape[1] for piece in pieces] == [3, 4]
    assert torch.equal(whole(pieces), dropped_whole(hidden, 0.5, torch.Generator().manual_seed(1)))


def test_forward_is_the_two_layer_network() -> None:
    trunk = Trunk(6, (5, 4), generator=torch.Generator().manual_seed(0))
    batch = SparseBatch(torch.tensor([0, 3, 5]), torch.tensor([0, 2]))
    dense = torch.tensor([[1.0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]])
    first = torch.relu(dense @ trunk.first.weight + trunk.first.bias)
    expected = torch.relu(first @ trunk.layers[0].weight.t() + trunk.layers[0].bias)  # type: ignore[operator]
    torch.testing.assert_close(trunk(batch), expected)
    assert trunk.width == 4


def test_load_refuses_foreign_tensors_and_shapes() -> None:
    trunk = Trunk(6, (5,))
    with pytest.raises(ParameterError, match=r"heads\.weight"):
        trunk.load({"heads.weight": np.zeros((2, 5), dtype=np.float32)})
    with pytest.raises(ParameterError, match=r"first\.weight"):
        trunk.load({"first.weight": np.zeros((5, 6), dtype=np.float32)})
    trunk.load({"first.bias": np.ones(5, dtype=np.float32)})
    assert trunk.tensors()["first.bias"].tolist() == [1.0] * 5


@pytest.mark.parametrize(("bits", "hidden"), [(0, (3,)), (4, ()), (4, (3, 0))])
def test_sizes_under_one_are_refused(bits: int, hidden: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match="must be >= 1"):
        Trunk(bits, hidden)
