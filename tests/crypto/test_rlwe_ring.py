"""Ring, transform and products of threshold RLWE: against the schoolbook, and the bounds that the code states."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stand_ins import CountingRng

from securefl.crypto.rlwe import transform
from securefl.crypto.rlwe.encoding import decode_elements, element_size, encode_elements
from securefl.crypto.rlwe.product import Multiplier, ShortMultiplier, canonical, multiply, reduce_centred
from securefl.crypto.rlwe.ring import SECURE_MODULUS_BITS, Residues, Ring
from securefl.crypto.rlwe.samplers import ternary, uniform
from securefl.errors import DecodeError, ParameterError

RINGS = (Ring(64, (26, 26, 26, 26)), Ring(128, (30, 30, 31)), Ring(16, (12, 25)))


def schoolbook(left: NDArray[np.int64], right: NDArray[np.int64], prime: int) -> NDArray[np.int64]:
    """The product modulo x^N + 1 and ``prime`` in Python's integers, coefficient by coefficient."""
    degree = len(left)
    out = [0] * degree
    for i, a in enumerate(map(int, left)):
        for j, b in enumerate(map(int, right)):
            sign = 1 if i + j < degree else -1
            out[(i + j) % degree] += sign * a * b
    return np.array([value % prime for value in out], np.int64)


@pytest.mark.parametrize("ring", RINGS)
def test_products_are_those_of_the_schoolbook(ring: Ring) -> None:
    left, right = uniform(ring, 1, rng=CountingRng(1))[0], uniform(ring, 3, rng=CountingRng(2))
    got = canonical(Multiplier(left, ring).times(right), ring)
    for row, prime in enumerate(ring.primes):
        for element in range(3):
            expected = schoolbook(left[row].astype(np.int64), right[element, row].astype(np.int64), prime)
            assert np.array_equal(got[element, row], expected)


@pytest.mark.parametrize("ring", RINGS)
def test_short_products_are_those_of_the_schoolbook(ring: Ring) -> None:
    fixed, short = uniform(ring, 1, rng=CountingRng(1))[0], ternary(2, ring.degree, rng=CountingRng(3))
    values = ShortMultiplier(fixed, ring).times(transform.transform(short.astype(np.float64)[:, None]))
    reduce_centred(values, ring)
    for row, prime in enumerate(ring.primes):
        expected = schoolbook(fixed[row].astype(np.int64), short[1].astype(np.int64), prime)
        assert np.array_equal(canonical(values, ring)[1, row], expected)


@pytest.mark.parametrize("bits", [(25,) * 4, (26,) * 4, (30, 30, 31)])
def test_full_size_products_with_extreme_residues_are_exact(bits: tuple[int, ...]) -> None:
    """All residues at the ends of their range: Python's big integers multiply the polynomials (Kronecker's substitution)."""
    ring = Ring(4096, bits)
    draw = np.random.default_rng(5)
    for left, right in ((1, 1), (draw, draw)):
        a, b = _extreme(ring, left), _extreme(ring, right)
        got = multiply(a, b, ring)
        for row, prime in enumerate(ring.primes):
            assert np.array_equal(got[row], _kronecker(a[row], b[row], prime))


def _extreme(ring: Ring, source: int | np.random.Generator) -> Residues:
    shape = (len(ring.primes), ring.degree)
    if isinstance(source, int):
        return np.broadcast_to(ring.column - np.uint32(source), shape).astype(np.uint32)
    choice = source.integers(0, 4, shape)
    return np.choose(choice, [0 * ring.column, ring.column // 2, ring.column // 2 + 1, ring.column - 1]).astype(np.uint32)


def _kronecker(left: NDArray[np.uint32], right: NDArray[np.uint32], prime: int) -> NDArray[np.int64]:
    width = 12
    packed = [int.from_bytes(b"".join(int(v).to_bytes(width, "little") for v in one), "little") for one in (left, right)]
    content = (packed[0] * packed[1]).to_bytes(2 * len(left) * width, "little")
    values = [int.from_bytes(content[i : i + width], "little") for i in range(0, len(content), width)]
    degree = len(left)
    return np.array([(values[i] - values[i + degree]) % prime for i in range(degree)], np.int64)


def test_the_transform_error_is_within_its_bound_and_the_bound_is_enforced() -> None:
    """Exact products of random polynomials, compared before rounding; operands that could pass 1/4 are refused."""
    degree, limit = 256, 2**17
    draw = np.random.default_rng(2)
    a, b = draw.integers(-limit, limit, (2, 20, degree))
    exact = np.array([_negacyclic(x, y) for x, y in zip(a, b, strict=True)])
    spectrum = transform.transform(a.astype(np.float64)) * transform.transform(b.astype(np.float64))
    raw = _unrounded(spectrum)
    worst = float(np.abs(raw - exact).max())
    norms = np.linalg.norm(a, axis=1).max(), np.linalg.norm(b, axis=1).max()
    assert 0 < worst < transform.error_bound(degree, *norms)
    assert np.array_equal(transform.invert(spectrum), exact)
    transform.require_exact(4096, 2.0**30, 1.0)
    with pytest.raises(ParameterError, match="transform error"):
        transform.require_exact(4096, 2.0**30, 2.0**8)


def _negacyclic(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    full = np.array([int(v) for v in np.convolve(a.astype(object), b.astype(object))] + [0], dtype=object)
    product: NDArray[np.int64] = (full[: len(a)] - full[len(a) :]).astype(np.int64)
    return product


def _unrounded(spectrum: NDArray[np.complex128]) -> NDArray[np.float64]:
    half = spectrum.shape[-1]
    values = np.fft.ifft(spectrum, axis=-1) * np.exp(-1j * np.pi * np.arange(half) / (2 * half))
    return np.concatenate((values.real, values.imag), axis=-1)


def test_a_ring_whose_products_could_be_wrong_is_refused() -> None:
    ring = Ring(1 << 15, (31, 31))
    with pytest.raises(ParameterError, match="transform error"):
        Multiplier(uniform(ring, 1, rng=CountingRng())[0], ring)


@pytest.mark.parametrize("ring", RINGS)
def test_addition_subtraction_and_scaling_wrap_as_they_should(ring: Ring) -> None:
    a, b = uniform(ring, 2, rng=CountingRng(4)), uniform(ring, 2, rng=CountingRng(5))
    a[0], b[0] = ring.column - 1, ring.column - 1
    total, back = a.copy(), a.copy()
    ring.add(total, b)
    assert np.array_equal(total, (a.astype(np.int64) + b) % ring.column)
    ring.subtract(total, b)
    assert np.array_equal(total, a)
    ring.subtract(back, b)
    assert np.array_equal(back, (a.astype(np.int64) - b) % ring.column)
    many = [uniform(ring, 2, rng=CountingRng(seed)) for seed in range(200)]
    ring.add_all(total, many)
    assert np.array_equal(total, (a + np.sum(many, axis=0, dtype=np.int64)) % ring.column)
    factors = tuple(prime - 2 for prime in ring.primes)
    assert np.array_equal(ring.scale(a, factors), a.astype(object) * np.array(factors, object)[:, None] % ring.column)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=16, max_size=16))
def test_reduction_of_any_integer(values: list[int]) -> None:
    ring = RINGS[2]
    got = ring.reduce(np.array(values, np.int64)[None])
    assert got.tolist() == [[value % prime for value in values] for prime in ring.primes]


def test_primes_are_the_largest_of_their_length_and_distinct() -> None:
    ring = Ring(4096, (26, 26, 31, 26))
    assert ring.primes == (67108859, 67108837, 2147483647, 67108819)
    for prime in ring.primes:
        assert all(prime % divisor for divisor in range(2, math.isqrt(prime) + 1))


def test_the_security_table_is_enforced() -> None:
    assert SECURE_MODULUS_BITS[4096] == 106
    Ring(4096, (26, 26, 26, 26)).require_secure()
    for ring in (Ring(4096, (27, 27, 27, 27)), Ring(2048, (30, 30)), Ring(64, (12,))):
        with pytest.raises(ParameterError, match="ePrint 2024/463"):
            ring.require_secure()


def test_parameters_outside_their_bounds_are_refused() -> None:
    with pytest.raises(ParameterError, match="degree=12"):
        Ring(12, (26,))
    with pytest.raises(ParameterError, match="prime_bits"):
        Ring(16, (32,))


@pytest.mark.property
@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(12, 31), min_size=1, max_size=4), st.integers(0, 3), st.integers(0, 2**32))
def test_encoding_is_canonical_for_any_prime_lengths(bits: list[int], count: int, seed: int) -> None:
    ring = Ring(16, tuple(bits))
    elements = uniform(ring, count, rng=CountingRng(seed))
    content = encode_elements(elements, ring).tobytes()
    assert len(content) == count * element_size(ring) == count * 16 * sum(bits) // 8
    assert np.array_equal(decode_elements(content, ring, count), elements)


@pytest.mark.parametrize("ring", RINGS)
def test_non_canonical_elements_are_refused(ring: Ring) -> None:
    elements = uniform(ring, 2, rng=CountingRng(6))
    content = encode_elements(elements, ring).tobytes()
    for row in range(len(ring.primes)):
        wrong = elements.copy()
        wrong[1, row, 5] = ring.primes[row]
        with pytest.raises(DecodeError, match="not below its prime"):
            decode_elements(encode_elements(wrong, ring).tobytes(), ring, 2)
    for other in (content[:-1], content + b"\0", b""):
        with pytest.raises(DecodeError, match="bytes of ring elements"):
            decode_elements(other, ring, 2)
    assert canonical(np.array([[-1.0]]), Ring(16, (12,)))[0, 0] == Ring(16, (12,)).primes[0] - 1
