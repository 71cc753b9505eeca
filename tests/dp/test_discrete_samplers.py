"""The exact samplers against exact probabilities, floats against digits, and negative controls that must fail."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from math import exp, isqrt, lgamma

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from stand_ins import CountingRng

from securefl.dp.discrete_gaussian import discrete_gaussian
from securefl.dp.discrete_laplace import accepted, laplace_proposals, residues
from securefl.dp.exact_coin import LazyUniform, coins
from securefl.dp.skellam import centred_poisson, ln_factorial, log_ratio, skellam
from securefl.errors import ParameterError

N = 50_000
FALSE_ALARM = 1e-6
REACH = 60


def fit(draws: NDArray[np.int64], weight: Callable[[int], float]) -> float:
    """Return the p-value of a chi-square test against P(x) proportional to ``weight``, cells under 5 pooled."""
    support = np.arange(-REACH, REACH + 1)
    weights = np.array([weight(int(x)) for x in support])
    expected = weights / weights.sum() * len(draws)
    counts = np.bincount(draws + REACH, minlength=2 * REACH + 1)
    large = expected >= 5
    observed = [*counts[large], counts[~large].sum()]
    wanted = [*expected[large], expected[~large].sum()]
    return float(stats.chisquare(observed, np.array(wanted) * len(draws) / sum(wanted)).pvalue)


def gaussian_weight(variance: float) -> Callable[[int], float]:
    return lambda x: exp(-x * x / (2 * variance))


def skellam_weight(variance: float) -> Callable[[int], float]:
    return lambda x: float(stats.skellam.pmf(x, variance / 2, variance / 2))


@pytest.mark.statistical
@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(2), Fraction(37, 3)], ids=str)
def test_discrete_gaussian_has_its_exact_probabilities(variance: Fraction) -> None:
    draws = discrete_gaussian(N, variance=variance, rng=CountingRng(1))
    assert fit(draws, gaussian_weight(float(variance))) > FALSE_ALARM
    assert fit(draws, gaussian_weight(1.1 * float(variance))) < FALSE_ALARM
    if variance > 1:
        # a rounded continuous Gaussian is another distribution: its variance is larger by 1/12
        assert fit(draws, gaussian_weight(float(variance) + 1)) < FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize("variance", [2, 6, 40])
def test_skellam_has_its_exact_probabilities(variance: int) -> None:
    draws = skellam(N, variance=variance, rng=CountingRng(2))
    assert fit(draws, skellam_weight(variance)) > FALSE_ALARM
    assert fit(draws, skellam_weight(1.1 * variance)) < FALSE_ALARM
    # and it is not the Gaussian of the same variance
    if variance == 2:
        assert fit(draws, gaussian_weight(variance)) < FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize("rate", [1, 9])
def test_poisson_has_its_exact_probabilities(rate: int) -> None:
    draws = centred_poisson(N, rate=rate, rng=CountingRng(3))
    assert draws.min() >= -rate

    def weight(x: int) -> float:
        return 0.0 if x < -rate else float(stats.poisson.pmf(x + rate, rate))

    assert fit(draws, weight) > FALSE_ALARM
    assert fit(draws + 1, weight) < FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize("scale", [1, 3, 1 << 20, (1 << 40) - 87])
def test_every_residue_comes_from_equally_many_words(scale: int) -> None:
    whole = (1 << 64) // scale * scale
    last = np.array([whole - 1], dtype=np.uint64)
    residue, fair = residues(last, scale)
    assert fair.all()
    assert residue[0] == scale - 1
    beyond = np.array(sorted({min(whole, (1 << 64) - 1), (1 << 64) - 1}), dtype=np.uint64)
    # Where the scale divides 2^64 there is no incomplete run, and every word may be used.
    assert residues(beyond, scale)[1].any() == (whole == 1 << 64)


def test_laplace_proposals_have_their_exact_probabilities() -> None:
    draws = accepted(N, lambda n: laplace_proposals(3, n, rng=CountingRng(n)), rate=0.6)
    assert fit(draws, lambda x: exp(-abs(x) / 3)) > FALSE_ALARM
    assert fit(draws, lambda x: exp(-abs(x) / 3.2)) < FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize("variance", [10**6, 10**12])
def test_wide_noise_is_as_wide_as_it_should_be(variance: int) -> None:
    for draws in (
        discrete_gaussian(N, variance=Fraction(variance), rng=CountingRng(4)),
        skellam(N, variance=variance, rng=CountingRng(5)),
    ):
        # at such a width both are normal beyond what 50,000 draws can tell
        assert stats.kstest(draws / variance**0.5, "norm").pvalue > FALSE_ALARM
        assert stats.kstest(draws / variance**0.5 * 1.06, "norm").pvalue < FALSE_ALARM


@pytest.mark.statistical
def test_shares_of_skellam_add_up_to_skellam_and_shares_of_the_gaussian_do_not() -> None:
    shares = sum(skellam(N, variance=2, rng=CountingRng(seed)) for seed in (6, 7, 8))
    assert fit(np.asarray(shares), skellam_weight(6)) > FALSE_ALARM
    sums = discrete_gaussian(N, variance=Fraction(1, 4), rng=CountingRng(9)) + discrete_gaussian(
        N, variance=Fraction(1, 4), rng=CountingRng(10)
    )
    assert fit(sums, gaussian_weight(0.5)) < FALSE_ALARM


def test_the_exact_comparison_agrees_with_the_fast_one() -> None:
    exponents = np.linspace(0, 4, 2_000)

    def exact(i: int, digits: int) -> Decimal:
        with localcontext() as context:
            context.prec = digits + 30
            return Decimal(float(exponents[i]))

    fast = coins(exponents, exact, error=2.0**-48, rng=CountingRng(11))
    slow = coins(exponents, exact, error=0.99, rng=CountingRng(11))
    np.testing.assert_array_equal(fast, slow)
    assert fast[0]
    with pytest.raises(ParameterError, match="error="):
        coins(exponents, exact, error=1e-20, rng=CountingRng())


def test_a_close_comparison_draws_as_many_bits_as_it_needs() -> None:
    half = Decimal(2)
    with localcontext() as context:
        context.prec = 60
        word = int((-half).exp() * (1 << 64))
    # The first 64 bits are those of exp(-2) itself: only the bits that follow decide.
    fallen = [LazyUniform(word, rng=CountingRng(seed)).below_exp(lambda _: half) for seed in range(64)]
    with localcontext() as context:
        context.prec = 60
        rest = float((-half).exp() * (1 << 64) - word)
    assert abs(sum(fallen) / 64 - rest) < 0.3
    assert 0 < sum(fallen) < 64
    # Once settled, the same number keeps its answer.
    uniform = LazyUniform(word, rng=CountingRng())
    assert len({uniform.below_exp(lambda _: half) for _ in range(5)}) == 1


@pytest.mark.parametrize("rate", [1, 7, 1_000, 10**6, 10**12])
def test_the_log_ratio_is_within_the_error_that_the_coin_allows(rate: int) -> None:
    scale = isqrt(rate) + 4
    away = np.unique(np.linspace(max(-rate, -40 * scale), 40 * scale, 401).astype(np.int64))
    found = log_ratio(away, rate)
    # proposals dominate: no exponent of a coin is negative
    assert (0.5 + (2 - np.abs(away)) / scale - found).min() >= 0
    for j, ratio in zip(away[::40].tolist(), found[::40].tolist(), strict=True):
        with localcontext() as context:
            context.prec = 60
            truth = (j * Decimal(rate).ln() - ln_factorial(rate + j) + ln_factorial(rate)).exp()
        assert abs(float(truth) - exp(ratio)) < 2.0**-34
    assert np.isneginf(log_ratio(np.array([-rate - 1]), rate)).all()


@pytest.mark.parametrize("k", [0, 1, 5, 170, 10_000])
def test_ln_factorial_is_right_up_to_its_constant(k: int) -> None:
    with localcontext() as context:
        context.prec = 50
        found = ln_factorial(k) - ln_factorial(1)
    assert float(found) == pytest.approx(lgamma(k + 1), rel=1e-13, abs=1e-13)


def test_every_size_is_filled_and_repeats_with_the_same_bytes() -> None:
    for size in (0, 1, 33_000):
        one = discrete_gaussian(size, variance=Fraction(100), rng=CountingRng(12))
        assert one.shape == (size,)
        np.testing.assert_array_equal(one, discrete_gaussian(size, variance=Fraction(100), rng=CountingRng(12)))
    assert not np.array_equal(skellam(50, variance=100, rng=CountingRng(1)), skellam(50, variance=100, rng=CountingRng(2)))


def test_what_cannot_be_drawn_is_refused() -> None:
    for variance in (0, 1, 3, -2):
        with pytest.raises(ParameterError, match="variance="):
            skellam(1, variance=variance, rng=CountingRng())
    with pytest.raises(ParameterError, match="variance="):
        discrete_gaussian(1, variance=Fraction(0), rng=CountingRng())
    with pytest.raises(ParameterError, match="scale="):
        discrete_gaussian(1, variance=Fraction(1 << 90), rng=CountingRng())
    with pytest.raises(ParameterError, match="rate="):
        centred_poisson(1, rate=1 << 90, rng=CountingRng())
