"""The keystream Gaussian and the Poisson sampler: distribution, independence, and negative controls that must fail."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from stand_ins import CountingRng

from securefl.dp.gaussian import TAIL, gaussian, poisson_sample, sampling_threshold
from securefl.errors import ParameterError
from securefl.types import Rng

N = 200_000
FALSE_ALARM = 1e-6


def normal_p(draws: NDArray[np.float32]) -> float:
    """Return the p-value of a Kolmogorov-Smirnov test against the standard normal."""
    return float(stats.kstest(draws.astype(np.float64), "norm").pvalue)


def independence_p(pairs: NDArray[np.float64]) -> float:
    """Return the p-value of a chi-square test of uniform cells, for pairs that were mapped to the unit square."""
    cell = np.minimum((stats.norm.cdf(pairs) * 20).astype(np.int64), 19)
    return float(stats.chisquare(np.bincount(20 * cell[:, 0] + cell[:, 1], minlength=400)).pvalue)


@pytest.mark.statistical
def test_draws_are_standard_normal_and_slightly_wrong_ones_are_caught() -> None:
    draws = gaussian(N, rng=CountingRng())
    assert normal_p(draws) > FALSE_ALARM
    for wrong in (draws * np.float32(1.02), draws + np.float32(0.02), np.clip(draws, -1.9, 1.9)):
        assert normal_p(wrong) < FALSE_ALARM


@pytest.mark.statistical
def test_the_two_draws_of_a_pair_are_independent() -> None:
    draws = gaussian(N, rng=CountingRng(1)).astype(np.float64).reshape(-1, 2)
    assert independence_p(draws) > FALSE_ALARM
    tied = np.stack([draws[:, 0], 0.95 * draws[:, 0] + 0.31 * draws[:, 1]], axis=1)
    assert independence_p(tied) < FALSE_ALARM


@pytest.mark.statistical
def test_the_tail_is_there() -> None:
    beyond = int((np.abs(gaussian(2_000_000, rng=CountingRng(2))) > 4).sum())
    expected = 2_000_000 * 2 * stats.norm.sf(4)  # 127
    assert stats.poisson.sf(beyond, expected) > FALSE_ALARM
    assert stats.poisson.cdf(beyond, expected) > FALSE_ALARM


@pytest.mark.parametrize("size", [0, 1, 2, 32_767, 32_768, 32_769, 65_537])
def test_any_size_is_filled_and_repeats_only_with_the_same_bytes(size: int) -> None:
    first = gaussian(size, rng=CountingRng(3))
    assert first.shape == (size,)
    assert np.isfinite(first).all()
    assert (np.abs(first) <= TAIL).all()
    np.testing.assert_array_equal(gaussian(size, rng=CountingRng(3)), first)


def test_two_vectors_of_one_generator_differ(rng: Rng) -> None:
    first, second = gaussian(10_000, rng=rng), gaussian(10_000, rng=rng)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


@pytest.mark.statistical
def test_poisson_batches_vary_as_a_binomial_does(rng: Rng) -> None:
    sizes = np.array([len(poisson_sample(500, rate=0.1, rng=rng)) for _ in range(2_000)])
    assert abs(sizes.mean() - 50) < 5 * np.sqrt(45 / 2_000)
    assert 0.8 < sizes.var() / 45 < 1.2
    fixed = np.full(2_000, 50)
    assert not 0.8 < fixed.var() / 45 < 1.2


def test_poisson_sampling_can_be_empty_and_can_be_everybody(rng: Rng) -> None:
    assert any(len(poisson_sample(3, rate=0.1, rng=rng)) == 0 for _ in range(50))
    np.testing.assert_array_equal(poisson_sample(7, rate=1.0, rng=rng), np.arange(7))
    rows = poisson_sample(1_000, rate=0.5, rng=rng)
    assert (np.diff(rows) > 0).all()
    assert len(poisson_sample(0, rate=0.5, rng=rng)) == 0


def test_the_drawn_rate_is_never_above_the_paid_one() -> None:
    for rate in (1e-6, 0.1, 1 / 3, 0.999999, 1.0):
        assert sampling_threshold(rate) <= rate * 2**64
    for rate in (0.0, -0.1, 1.0001):
        with pytest.raises(ParameterError, match="sampling_rate"):
            sampling_threshold(rate)
