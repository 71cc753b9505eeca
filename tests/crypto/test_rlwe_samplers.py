"""Samplers of threshold RLWE: exact laws by chi-square at a stated false-alarm rate, each with a sampler that must fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from stand_ins import CountingRng

from securefl.crypto.rlwe import samplers
from securefl.crypto.rlwe.ring import Ring
from securefl.types import Secret

pytestmark = pytest.mark.statistical
ALARM = 1e-6
"""Seeds are fixed, so that a test that passes keeps passing; a right sampler fails for one seed in a million."""

RING = Ring(1024, (12, 25))


def p_value(counts: NDArray[np.int64], law: NDArray[np.float64]) -> float:
    return float(stats.chisquare(counts, law * counts.sum()).pvalue)


def binomial_law(bits: int) -> NDArray[np.float64]:
    """The law of the difference of two binomials of ``bits`` fair bits: binomial of 2 * bits, shifted."""
    return np.array([math.comb(2 * bits, k) / 4**bits for k in range(2 * bits + 1)])


def test_ternary_is_uniform_on_three_values() -> None:
    drawn = samplers.ternary(100, 1024, rng=CountingRng(1))
    counts = np.array([(drawn == value).sum() for value in (-1, 0, 1)])
    assert counts.sum() == drawn.size
    assert p_value(counts, np.full(3, 1 / 3)) > ALARM
    # The control: three bits reduced instead of rejected.
    biased = (np.frombuffer(CountingRng(1).bytes(drawn.size), np.uint8) & 7) % 3
    assert p_value(np.bincount(biased, minlength=3), np.full(3, 1 / 3)) < ALARM


def test_neighbouring_ternary_digits_are_independent() -> None:
    drawn = samplers.ternary(100, 1024, rng=CountingRng(2)).reshape(-1)[:102_400] + 1
    pairs = np.bincount(3 * drawn[:-1:2] + drawn[1::2], minlength=9)
    assert p_value(pairs, np.full(9, 1 / 9)) > ALARM
    assert p_value(np.bincount(3 * drawn + drawn, minlength=9)[[0, 4, 8]], np.array([0.5, 0.25, 0.25])) < ALARM


def test_errors_are_centred_binomial_with_the_stated_variance() -> None:
    drawn = samplers.centred_binomial(200, 1024, rng=CountingRng(3)).reshape(-1).astype(np.int64)
    law = binomial_law(samplers.BINOMIAL_BITS)
    inner = slice(6, -6)  # cells that expect five and more
    counts = np.bincount(drawn + samplers.BINOMIAL_BITS, minlength=len(law))
    kept = law[inner] / law[inner].sum()
    assert p_value(counts[inner], kept) > ALARM
    assert counts[:6].sum() + counts[-6:].sum() < 10
    assert abs(drawn.var() - samplers.ERROR_VARIANCE) < 0.15
    # The control: one bit fewer on one side.
    words = np.frombuffer(CountingRng(3).bytes(8 * drawn.size), "<u8")
    ones = np.bitwise_count(words & np.uint64(2**21 - 1)).astype(np.int64)
    skewed = ones - np.bitwise_count(words >> np.uint64(21) & np.uint64(2**20 - 1))
    assert p_value(np.bincount(skewed + 21, minlength=len(law))[inner], kept) < ALARM


@pytest.mark.parametrize("row", [0, 1])
def test_residues_are_uniform_below_their_prime(row: int) -> None:
    drawn = samplers.uniform(RING, 200, rng=CountingRng(4))[:, row].reshape(-1).astype(np.int64)
    prime = RING.primes[row]
    assert drawn.max() < prime
    bins = np.bincount(drawn * 97 // prime, minlength=97)
    law = np.bincount(np.arange(prime) * 97 // prime, minlength=97) / prime
    assert p_value(bins, law) > ALARM
    # The control: words that are reduced instead of rejected, under a prime far from a power of two.
    reduced = np.frombuffer(CountingRng(4).bytes(2 * drawn.size), "<u2").astype(np.int64) % 40_000
    assert p_value(np.bincount(reduced * 97 // 40_000, minlength=97), np.full(97, 1 / 97)) < ALARM


def test_rejected_words_are_drawn_again_and_everyone_with_the_key_gets_the_same() -> None:
    """Twelve-bit primes reject three words in four thousand: their places must be uniform too."""
    ring = Ring(1024, (12,))
    drawn = samplers.expand_uniform(Secret(bytes(32)), ring, 100)
    again = samplers.expand_uniform(Secret(bytes(32)), ring, 100)
    assert np.array_equal(drawn, again)
    assert drawn.max() < ring.primes[0]
    assert p_value(np.bincount(drawn.reshape(-1) % 64, minlength=64), _law(ring.primes[0], 64)) > ALARM


def _law(prime: int, cells: int) -> NDArray[np.float64]:
    return np.bincount(np.arange(prime) % cells, minlength=cells) / prime


@pytest.mark.parametrize("bits", [33, 62, 70])
def test_smudging_is_the_sum_of_four_uniforms(bits: int) -> None:
    size = 60_000
    high, low = samplers.smudging_words(size, bits, rng=CountingRng(5))
    value = (high.astype(np.float64) * 2.0**32 + low) / 2.0**bits  # between -2 and 2
    assert stats.kstest(value, irwin_hall_cdf).pvalue > ALARM
    assert stats.kstest(value * 1.05, irwin_hall_cdf).pvalue < ALARM
    assert -2 <= value.min() < -1 < 1 < value.max() <= 2


def irwin_hall_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distribution function of the sum of four uniforms on [-1/2, 1/2]."""
    shifted = np.clip(np.asarray(x) + 2, 0, 4)
    terms = [(-1) ** k * math.comb(4, k) * np.clip(shifted - k, 0, None) ** 4 for k in range(5)]
    return np.asarray(sum(terms) / 24)


def test_smudging_residues_are_those_of_the_integers() -> None:
    ring = Ring(1024, (26, 31))
    high, low = samplers.smudging_words(2 * 1024, 66, rng=CountingRng(6))
    residues = samplers.smudging(ring, 2, 66, rng=CountingRng(6))
    for row, prime in enumerate(ring.primes):
        expected = [(int(h) * 2**32 + int(w)) % prime for h, w in zip(high, low, strict=True)]
        assert residues[:, row].reshape(-1).tolist() == expected


def four_uniforms(size: int) -> list[Fraction]:
    """The exact law of the sum of four uniform integers on [0, size)."""
    law = [Fraction(1, size)] * size
    total = law
    for _ in range(3):
        total = [
            sum((total[j] for j in range(max(0, i - size + 1), min(i, len(total) - 1) + 1)), Fraction(0)) / size
            for i in range(len(total) + size - 1)
        ]
    return total


@pytest.mark.parametrize("size", [16, 32])
def test_the_hellinger_calculation_holds_exactly_for_small_noise(size: int) -> None:
    """H(1)^2 is below I / (8 M^2) up to 3 / M^2, and total variation below what the module says, for every shift."""
    law = np.array([float(p) for p in four_uniforms(size)])
    padded = np.concatenate((np.zeros(size), law, np.zeros(size)))

    def hellinger(shift: int) -> float:
        return 0.5 * float(np.sum((np.sqrt(padded) - np.sqrt(np.roll(padded, shift))) ** 2))

    bound = samplers.SMUDGING_FISHER / (8 * size**2) * (1 + 3 / size**2)
    assert 0.9 * bound < hellinger(1) <= bound
    for shift in range(1, size // 2):
        variation = 0.5 * float(np.abs(padded - np.roll(padded, shift)).sum())
        assert math.sqrt(hellinger(shift)) <= shift * math.sqrt(bound)
        assert variation <= math.sqrt(samplers.SMUDGING_FISHER) / 2 * shift / size * (1 + 3 / size**2)
    # The control: one uniform of the same size has no such bound.
    flat = np.concatenate((np.zeros(size), np.full(size, 1 / size), np.zeros(size)))
    assert 0.5 * float(np.sum((np.sqrt(flat) - np.sqrt(np.roll(flat, 1))) ** 2)) > 5 * bound


def test_the_fisher_information_is_the_stated_number() -> None:
    x = np.linspace(1, 2, 200_001)
    density = (-3 * x**3 + 12 * x**2 - 12 * x + 4) / 6
    slope = (-9 * x**2 + 24 * x - 12) / 6
    value = 2 * (0.75 + float(np.trapezoid(slope**2 / density, x)))
    assert samplers.SMUDGING_FISHER - 2e-4 < value < samplers.SMUDGING_FISHER


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: samplers.ternary(1, 64, rng=rng),
        lambda rng: samplers.centred_binomial(1, 64, rng=rng),
        lambda rng: samplers.uniform(RING, 1, rng=rng),
        lambda rng: samplers.smudging(RING, 1, 60, rng=rng),
    ],
)
def test_every_draw_is_fresh_and_comes_from_the_injected_generator(draw: Callable[[CountingRng], NDArray[np.int64]]) -> None:
    rng = CountingRng(7)
    first, second = draw(rng), draw(rng)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, draw(CountingRng(7)))
