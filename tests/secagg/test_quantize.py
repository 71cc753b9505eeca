"""The quantiser: capacity, clipping, rounding, and the bound that the report prints."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securefl.errors import CapacityError, ParameterError
from securefl.quantize import CHUNK_LEN, Quantizer
from securefl.types import SystemRng


@pytest.mark.parametrize(("n", "bits"), [(3, 21), (5, 20), (8, 20), (9, 19), (50, 17)])
def test_for_sum_takes_the_largest_scale_that_fits(n: int, bits: int) -> None:
    quantizer = Quantizer.for_sum(n, clip=1.0)
    assert quantizer.scale_bits == bits
    quantizer.require_capacity(n)
    with pytest.raises(CapacityError):
        Quantizer(clip=1.0, scale_bits=bits + 1).require_capacity(n)


def test_the_extreme_sum_does_not_wrap_and_one_more_bit_would() -> None:
    quantizer = Quantizer.for_sum(7, clip=0.7)
    extreme = quantizer.quantize(np.array([9.0, -9.0])).steps
    total = np.zeros(2, quantizer.dtype)
    for _ in range(7):
        total += quantizer.encode(extreme, 255)
    assert quantizer.decode(total).tolist() == [7 * 255 * quantizer.limit, -7 * 255 * quantizer.limit]
    assert 7 * 255 * round(0.7 * 2 ** (quantizer.scale_bits + 1)) >= 1 << 31


def test_no_scale_fits() -> None:
    with pytest.raises(CapacityError, match="n=3"):
        Quantizer.for_sum(3, clip=1.0, max_weight=(1 << 31) - 1)


def test_noise_that_could_wrap_is_refused_and_the_bound_is_the_tail_bound() -> None:
    quantizer = Quantizer.for_sum(5, clip=1.0)
    room = (2**31 - 1 - 5 * 255 * 2**20) * quantizer.step
    factor = math.sqrt(2 * math.log(2 * 10**6 * 2.0**40))
    quantizer.require_noise_capacity(5, noise=0.999 * room / factor, length=10**6)
    with pytest.raises(CapacityError, match="noise needs"):
        quantizer.require_noise_capacity(5, noise=1.001 * room / factor, length=10**6)
    with pytest.raises(ParameterError):
        quantizer.require_noise_capacity(5, noise=float("nan"), length=10)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan"), float("inf")])
def test_clip_must_be_positive_and_finite(clip: float) -> None:
    with pytest.raises(ParameterError, match="clip"):
        Quantizer(clip=clip, scale_bits=10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 3])
def test_a_value_that_is_not_finite_names_tensor_and_coordinate(bad: float, at: int) -> None:
    update = np.zeros(CHUNK_LEN + 5, np.float32)
    update[at] = bad
    with pytest.raises(ParameterError, match=f"layers.0.weight: coordinate {at} is not finite"):
        Quantizer.for_sum(3, clip=1.0).quantize(update, name="layers.0.weight")


def test_integer_or_matrix_input_is_refused() -> None:
    quantizer = Quantizer.for_sum(3, clip=1.0)
    with pytest.raises(ParameterError, match="float vector"):
        quantizer.quantize(np.zeros((2, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip", [1.0, 0.1, 3.7])
def test_clipping_is_counted_and_bounded_by_the_limit(dtype: type[np.float32], clip: float) -> None:
    quantizer = Quantizer.for_sum(3, clip=clip)
    values = np.array([0.0, 2 * clip, -2 * clip, clip / 2, 1e30], dtype)
    quantized = quantizer.quantize(values)
    assert quantized.clipped == 3
    assert quantized.steps.tolist() == [0, quantizer.limit, -quantizer.limit, round(clip / 2 * 2**quantizer.scale_bits),
                                        quantizer.limit]  # fmt: skip


@given(st.floats(-1, 1, width=32), st.integers(4, 22))
def test_rounding_is_half_to_even_as_the_rational_model_says(value: float, bits: int) -> None:
    quantizer = Quantizer(clip=1.0, scale_bits=bits)
    exact = Fraction(value) * 2**bits
    assert quantizer.quantize(np.array([value], np.float32)).steps[0] == round(exact)
    assert quantizer.quantize(np.array([value], np.float64)).steps[0] == round(exact)


@pytest.mark.parametrize("ring_bits", [32, 64])
def test_the_error_bound_holds_and_is_tight_to_a_factor_of_two(ring_bits: int) -> None:
    generator = np.random.default_rng(1)
    quantizer = Quantizer.for_sum(4, clip=1.0, ring_bits=64 if ring_bits == 64 else 32)
    updates = generator.uniform(-1, 1, (4, 5000))
    weights = [255, 1, 17, 90]
    total = np.zeros(5000, quantizer.dtype)
    for update, weight in zip(updates, weights, strict=True):
        total += quantizer.encode(quantizer.quantize(update).steps, weight)
    exact = sum(weight * update for update, weight in zip(updates, weights, strict=True))
    error = np.abs(quantizer.dequantize(quantizer.decode(total)) - exact).max()
    bound = quantizer.error_bound(sum(weights))
    assert bound / 2 < error <= bound * (1 + 1e-9)


@pytest.mark.parametrize("scale", [0.3, 2.0])
@pytest.mark.parametrize("length", [1, CHUNK_LEN - 1, CHUNK_LEN + 1])
def test_one_pass_gives_the_same_words_as_two(length: int, scale: float) -> None:
    update = np.random.default_rng(length).normal(0, scale, length).astype(np.float32)
    quantizer = Quantizer.for_sum(3, clip=1.0)
    quantized = quantizer.quantize(update)
    out = np.empty(length, np.uint32)
    assert quantizer.encode_update(update, 17, out=out) == quantized.clipped
    assert np.array_equal(out, quantizer.encode(quantized.steps, 17))
    with pytest.raises(ParameterError, match="weight=256"):
        quantizer.encode_update(update, 256, out=out)


@pytest.mark.statistical
def test_stochastic_rounding_is_unbiased_where_rounding_to_even_is_not() -> None:
    quantizer = Quantizer(clip=1.0, scale_bits=3)
    value = np.full(200_000, 0.3 / 8)  # 0.3 steps
    stochastic = quantizer.quantize(value, rng=SystemRng()).steps
    # Standard error sqrt(0.3 * 0.7 / 200000) = 0.00102: a false alarm at 6 sigma in 5e8 runs.
    assert abs(stochastic.mean() - 0.3) < 0.0062
    assert set(np.unique(stochastic).tolist()) == {0, 1}
    assert abs(quantizer.quantize(value).steps.mean() - 0.3) > 0.0062  # the negative control: deterministic rounding


@pytest.mark.parametrize("weight", [-1, 256])
def test_a_weight_outside_its_bound_is_refused(weight: int) -> None:
    quantizer = Quantizer.for_sum(3, clip=1.0)
    with pytest.raises(ParameterError, match=f"weight={weight}"):
        quantizer.encode(np.zeros(3, np.int32), weight)
