"""The allow-list of what may travel: a head can't, whatever it is called; and the hash that binds a round to a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from securefl.errors import ParameterError
from securefl.learning.heads import Heads
from securefl.learning.layout import model_hash, trunk_layout
from securefl.learning.trunk import Trunk

LAYOUT = trunk_layout(10, (4, 3))


def some_tensors(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in LAYOUT.tensors}


def test_layout_lists_the_trunk_and_nothing_else() -> None:
    assert LAYOUT.names == tuple(name for name, _ in Trunk(10, (4, 3)).named_parameters())
    assert LAYOUT.size == 10 * 4 + 4 + 4 * 3 + 3


@pytest.mark.property
@given(seed=st.integers(0, 10_000), hidden=st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_flatten_then_unflatten_is_the_identity(seed: int, hidden: list[int]) -> None:
    layout = trunk_layout(7, tuple(hidden))
    draw = np.random.default_rng(seed)
    tensors = {name: draw.normal(size=shape).astype(np.float32) for name, shape in layout.tensors}
    back = layout.unflatten(layout.flatten(tensors))
    assert list(back) == list(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(back[name], value)


@pytest.mark.property
@given(name=st.text(min_size=1, max_size=20) | st.sampled_from(["heads.weight", "heads.0.weight", "first.weight.grad"]))
def test_a_tensor_that_is_not_the_trunks_is_refused(name: str) -> None:
    assume(name not in LAYOUT.names)
    with pytest.raises(ParameterError, match="allowed are only"):
        LAYOUT.flatten({**some_tensors(), name: np.zeros(3, dtype=np.float32)})


def test_every_tensor_of_a_head_is_refused() -> None:
    for name, value in Heads(2, 3).named_parameters():
        with pytest.raises(ParameterError, match="allowed are only"):
            LAYOUT.flatten({**some_tensors(), f"heads.{name}": value.detach().numpy()})
        # Nor may it take the place of a trunk tensor: the shape gives it away.
        with pytest.raises(ParameterError, match="must be"):
            LAYOUT.flatten({**some_tensors(), "layers.0.weight": value.detach().numpy()})


def test_missing_tensors_and_wrong_lengths_are_refused() -> None:
    tensors = some_tensors()
    del tensors["first.bias"]
    with pytest.raises(ParameterError, match=r"lacks tensor 'first\.bias'"):
        LAYOUT.flatten(tensors)
    with pytest.raises(ParameterError, match="must be"):
        LAYOUT.unflatten(np.zeros(LAYOUT.size + 1))


def test_part_of_the_layout_keeps_its_order() -> None:
    part = LAYOUT.only(("layers.0.bias", "first.bias"))
    assert part.names == ("first.bias", "layers.0.bias")
    with pytest.raises(ParameterError, match=r"heads\.weight"):
        LAYOUT.only(("heads.weight",))
    with pytest.raises(ParameterError, match="at least one"):
        LAYOUT.only(())


def test_hash_depends_on_weights_shapes_and_order() -> None:
    tensors = some_tensors()
    changed = {**tensors, "first.bias": np.nextafter(tensors["first.bias"], np.float32(9))}
    assert model_hash(LAYOUT, tensors) == model_hash(LAYOUT, dict(reversed(tensors.items())))
    assert model_hash(LAYOUT, tensors) != model_hash(LAYOUT, changed)
    assert trunk_layout(4, (10, 3)).digest != trunk_layout(10, (4, 3)).digest
    assert len(model_hash(LAYOUT, tensors)) == 32
