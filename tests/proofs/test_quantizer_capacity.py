"""Capacity, error bound and unbiasedness as the theorems of Quantize.v state them, on the product's quantiser."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from product_under_proof import GRID, Bytes

from securefl.errors import CapacityError
from securefl.quantize import Quantizer


def worst_sum(code: Quantizer, n: int) -> int:
    """Return what n clients at -clip with the largest weight decode to."""
    steps = code.quantize(np.array([-code.clip])).steps
    return decoded_sum(code, np.full(n, code.encode(steps, code.max_weight)[0], np.uint32))


def decoded_sum(code: Quantizer, words: NDArray[np.uint32]) -> int:
    """Return what the ring sum of ``words`` stands for."""
    return int(code.decode(np.array([words.sum(dtype=np.uint32)], np.uint32))[0])


def test_capacity_is_the_theorem_s() -> None:
    """`no_overflow`: n * W * limit < 2^(k-1) is taken and decodes; one more client is refused, and would wrap at 2^k."""
    for bits, weight in [(14, 255), (20, 4), (10, 1023), (20, 1), (23, 1)]:
        code = Quantizer(clip=1.0, scale_bits=bits, ring_bits=32, max_weight=weight)
        most = ((1 << 31) - 1) // (weight * code.limit)
        code.require_capacity(most)
        assert worst_sum(code, most) == -most * weight * code.limit
        with pytest.raises(CapacityError):
            code.require_capacity(most + 1)
    # 2048 clients of 2^20 steps reach 2^31 exactly: +2^31 is not a value of the ring.
    at = Quantizer(clip=1.0, scale_bits=20, ring_bits=32, max_weight=1)
    with pytest.raises(CapacityError):
        at.require_capacity(2048)
    steps = at.encode(at.quantize(np.array([1.0])).steps, 1)
    assert decoded_sum(at, np.full(2048, steps[0], np.uint32)) == -(1 << 31)


def test_error_bound_is_the_theorem_s() -> None:
    """`sum_error`: |sum w q - 2^s sum w x| <= sum w / 2, reached by values half way between two steps."""
    code = Quantizer(clip=2.0, scale_bits=6, ring_bits=64, max_weight=255)
    draw = np.random.default_rng(0)
    weights = [int(weight) for weight in draw.integers(0, 256, 40)]
    values = [float(value) for value in draw.uniform(-2, 2, 40)]
    halves = [(4 * k + 1) / 2 / 64 for k in range(40)]
    reached = False
    for inputs in (values, halves):
        sums = code.quantize(np.array(inputs)).steps.astype(object)
        found = sum(w * int(q) for w, q in zip(weights, sums, strict=True))
        exact = sum((w * Fraction(x) for w, x in zip(weights, inputs, strict=True)), Fraction(0))
        error = abs(found * Fraction(code.step) - exact)
        bound = Fraction(code.error_bound(sum(weights)))
        assert bound == Fraction(sum(weights)) * Fraction(code.step) / 2
        assert error <= bound
        reached = reached or error == bound
    assert reached


def test_one_pass_writes_the_same_words() -> None:
    """What the vectors show of quantize and encode holds of encode_update: it writes the same words."""
    code = Quantizer(clip=1.0, scale_bits=10, ring_bits=32, max_weight=255)
    values = np.random.default_rng(1).uniform(-1.3, 1.3, 500)
    out = np.empty(500, code.dtype)
    assert code.encode_update(values, 7, out=out) == code.quantize(values).clipped > 0
    assert np.array_equal(out, code.encode(code.quantize(values).steps, 7))


def test_stochastic_rounding_is_unbiased_over_all_draws() -> None:
    """`quantize_stochastic_unbiased`: over all 2^16 draws the steps sum to the grid value, exactly."""
    every_draw = np.arange(GRID, dtype="<u2").tobytes()
    code = Quantizer(clip=8.0, scale_bits=0, ring_bits=64, max_weight=1)
    for grid in (0, 1, -1, 30000, -32768, 99999, -123457, 8 * GRID):
        steps = code.quantize(np.full(GRID, grid / GRID), rng=Bytes(every_draw)).steps
        assert int(steps.sum()) == grid


def test_stochastic_rounding_is_biased_where_the_limit_cuts_in() -> None:
    """Controls.limit_biases: with clip * 2^s = 2.5 the limit is 2, and 2.5 is always rounded to it."""
    code = Quantizer(clip=2.5, scale_bits=0, ring_bits=64, max_weight=1)
    steps = code.quantize(np.full(GRID, 2.5), rng=Bytes(np.arange(GRID, dtype="<u2").tobytes())).steps
    assert code.limit == 2
    assert set(steps.tolist()) == {2}
