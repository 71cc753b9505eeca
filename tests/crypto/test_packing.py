"""Packing: any values whose sums fit their slots come back, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl.crypto.packing import Packing
from securefl.errors import CapacityError, DecodeError, ParameterError

WIDTHS = st.sampled_from([32, 64])


@settings(max_examples=100, deadline=None)
@given(st.data(), WIDTHS, st.integers(1, 6), st.integers(1, 12), st.integers(1, 30))
def test_sums_of_packed_values_are_packed_sums(data: st.DataObject, width: int, clients: int, slots: int, size: int) -> None:
    packing = Packing(slot_bits=width, slots=slots)
    limit = (2 ** (width - 1) - 1) // clients
    vectors = [
        np.array(data.draw(st.lists(st.integers(-limit, limit), min_size=size, max_size=size)), dtype=np.int64)
        for _ in range(clients)
    ]
    packed = [packing.pack(vector) for vector in vectors]
    total = [sum(column) for column in zip(*packed, strict=True)]
    assert np.array_equal(packing.unpack(total, size), np.sum(vectors, axis=0))


@settings(max_examples=50, deadline=None)
@given(st.integers(64, 4096), WIDTHS)
def test_a_packed_plaintext_stays_under_a_quarter_of_the_modulus(bits: int, width: int) -> None:
    if bits - 2 < width:
        with pytest.raises(CapacityError, match="slots=0"):
            Packing.for_modulus(bits, slot_bits=width)
        return
    packing = Packing.for_modulus(bits, slot_bits=width)
    extreme = packing.pack(np.full(packing.slots, -(2 ** (width - 1)), dtype=np.int64))[0]
    assert 0 < -extreme < 2 ** (bits - 2)


def test_values_outside_the_slot_are_refused() -> None:
    packing = Packing(slot_bits=32, slots=4)
    for value in (2**31, -(2**31) - 1):
        with pytest.raises(CapacityError, match=str(value)):
            packing.pack(np.array([0, value], dtype=np.int64))


def test_a_sum_that_left_its_slots_is_refused_at_the_top() -> None:
    packing = Packing(slot_bits=32, slots=2)
    top = packing.pack(np.array([0, 2**31 - 1], dtype=np.int64))[0]
    with pytest.raises(DecodeError, match="outside"):
        packing.unpack([2 * top], 2)
    with pytest.raises(DecodeError, match="plaintexts=1 must be 2"):
        packing.unpack([top], 3)


@pytest.mark.parametrize("width", [0, 16, 33])
def test_other_slot_widths_are_refused(width: int) -> None:
    with pytest.raises(ParameterError, match=f"slot_bits={width}"):
        Packing(slot_bits=width, slots=1)
