"""The keystream Gaussian: distribution, tail, independence, and negative controls that must fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from stand_ins import CountingRng

from securefl.learning.private_noise import TAIL, noised_descent, normal
from securefl.types import Rng

N = 200_000
FALSE_ALARM = 1e-6


def noise(size: int, rng: Rng) -> NDArray[np.float32]:
    """Return ``size`` draws as an array."""
    return np.asarray(normal(size, rng=rng))


def normal_p(draws: NDArray[np.float32]) -> float:
    """Return the p-value of a Kolmogorov-Smirnov test against the standard normal."""
    return float(stats.kstest(draws.astype(np.float64), "norm").pvalue)


def independence_p(pairs: NDArray[np.float64]) -> float:
    """Return the p-value of a chi-square test of uniform cells, for pairs that were mapped to the unit square."""
    cell = np.minimum((stats.norm.cdf(pairs) * 20).astype(np.int64), 19)
    return float(stats.chisquare(np.bincount(20 * cell[:, 0] + cell[:, 1], minlength=400)).pvalue)


@pytest.mark.statistical
def test_draws_are_standard_normal_and_slightly_wrong_ones_are_caught() -> None:
    draws = noise(N, CountingRng())
    assert normal_p(draws) > FALSE_ALARM
    for wrong in (draws * np.float32(1.03), draws + np.float32(0.02), np.clip(draws, -1.9, 1.9)):
        assert normal_p(wrong) < FALSE_ALARM


@pytest.mark.statistical
def test_neighbouring_draws_are_independent() -> None:
    draws = noise(N, CountingRng(1)).astype(np.float64).reshape(-1, 2)
    assert independence_p(draws) > FALSE_ALARM
    tied = np.stack([draws[:, 0], 0.95 * draws[:, 0] + 0.31 * draws[:, 1]], axis=1)
    assert independence_p(tied) < FALSE_ALARM


@pytest.mark.statistical
def test_the_tail_is_there() -> None:
    beyond = int((np.abs(noise(2_000_000, CountingRng(2))) > 4).sum())
    expected = 2_000_000 * 2 * stats.norm.sf(4)  # 127
    assert stats.poisson.sf(beyond, expected) > FALSE_ALARM
    assert stats.poisson.cdf(beyond, expected) > FALSE_ALARM


@pytest.mark.parametrize("size", [0, 1, 2, 65_535, 65_536, 65_537, 200_000])
def test_any_size_is_filled_and_repeats_only_with_the_same_bytes(size: int) -> None:
    first = noise(size, CountingRng(3))
    assert first.shape == (size,)
    assert np.isfinite(first).all()
    assert (np.abs(first) <= TAIL).all()
    np.testing.assert_array_equal(noise(size, CountingRng(3)), first)


def test_two_vectors_of_one_generator_differ(rng: Rng) -> None:
    first, second = noise(10_000, rng), noise(10_000, rng)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


@pytest.mark.statistical
def test_the_redrawn_tail_joins_the_quantiles_without_a_seam() -> None:
    """Cells about the edge at 3.29 deviations, and beyond it: a chi-square test, and one with a tail left out."""
    draws = np.abs(noise(4_000_000, CountingRng(4)).astype(np.float64))
    edges = np.array([0, 1, 2, 3, 3.2, 3.25, 3.28, 3.2905, 3.3, 3.35, 3.5, 3.8, 4.2, 20])
    expected = np.diff(2 * stats.norm.cdf(edges)) * len(draws)
    counts = np.histogram(draws, edges)[0]
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > FALSE_ALARM
    cut = np.histogram(np.minimum(draws, 3.3), edges)[0]
    assert stats.chisquare(cut, expected * cut.sum() / expected.sum()).pvalue < FALSE_ALARM


def test_the_descent_is_gradient_plus_noise_in_every_coordinate() -> None:
    parameter, gradient = torch.zeros(300, 500), torch.full((300, 500), 2.0)
    noised_descent(parameter, gradient, deviation=0.0, rate=0.5, rng=CountingRng())
    assert bool((parameter == -1.0).all())
    parameter.zero_()
    noised_descent(parameter, gradient, deviation=3.0, rate=0.5, rng=CountingRng(5))
    moved = -parameter.numpy().ravel() / 0.5
    assert moved.mean() == pytest.approx(2.0, abs=0.05)
    assert normal_p(((moved - 2.0) / 3.0).astype(np.float32)) > FALSE_ALARM
    assert len(np.unique(moved)) > 0.99 * len(moved)
