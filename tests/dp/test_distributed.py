"""Noise inside the sum against brute force: the true privacy loss of small mechanisms never exceeds what is claimed."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from stand_ins import CountingRng

from securefl.dp.distributed import DistributedNoise, SumTerms, design, solve_distributed
from securefl.dp.noisy_sums import Family, closeness, skellam_renyi
from securefl.dp.rounding import clipped, conditional_rounding, norm_bound_squared
from securefl.errors import BudgetExceededError, CapacityError, ParameterError

REACH = 400
SUPPORT = np.arange(-REACH, REACH + 1)
Pmf = NDArray[np.float64]
TERMS = SumTerms(parties=5, contributors=3, length=1, clipping_norm=1.0)


def unit(family: Family, share_variance: int, contributors: int, sensitivity: int) -> DistributedNoise:
    """Return a one-dimensional mechanism in steps of 1."""
    terms = replace(TERMS, contributors=contributors, family=family)
    return DistributedNoise(terms=terms, scale_bits=0, bound_squared=sensitivity**2, share_variance=share_variance, limit=10**6)


def pmf(family: Family, share_variance: float, contributors: int) -> Pmf:
    """Return the exact probabilities of the sum of the shares, by convolution."""
    if family is Family.SKELLAM:
        one = stats.skellam.pmf(SUPPORT, share_variance / 2, share_variance / 2)
    else:
        one = np.exp(-(SUPPORT.astype(np.float64) ** 2) / (2 * share_variance))
    one = one / one.sum()
    total = one
    for _ in range(contributors - 1):
        total = np.convolve(total, one, mode="same")
    return np.asarray(total)


def renyi(p: Pmf, shift: int, order: float) -> float:
    """Return the Renyi divergence between ``p`` and ``p`` moved by ``shift``, on the mass that doubles resolve."""
    moved = np.roll(p, shift)
    seen = (p > 1e-250) & (moved > 1e-250)
    return float(np.log(np.sum(np.exp(order * np.log(p[seen]) - (order - 1) * np.log(moved[seen])))) / (order - 1))


def delta_of(p: Pmf, shift: int, epsilon: float, rounds: int) -> float:
    """Return the exact delta of ``rounds`` releases: the hockey-stick divergence of the product, by convolution."""
    moved = np.roll(p, shift)
    joint, other = p, moved
    for _ in range(rounds - 1):
        joint, other = np.outer(joint, p).ravel(), np.outer(other, moved).ravel()
    return float(np.maximum(joint - exp(epsilon) * other, 0).sum())


CASES = [(2, 1, 1), (2, 3, 1), (4, 2, 2), (6, 3, 3), (20, 3, 5)]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(("share_variance", "contributors", "shift"), CASES)
def test_the_claimed_divergence_is_never_under_the_true_one(
    family: Family, share_variance: int, contributors: int, shift: int
) -> None:
    claim, p = unit(family, share_variance, contributors, shift), pmf(family, share_variance, contributors)
    for order in (2, 3, 5, 8, 16, 32):
        true = max(renyi(p, shift, order), renyi(p, -shift, order))
        assert true <= claim.priced(1).renyi(order) * (1 + 1e-9) + 1e-12
        # and it is no empty bound: within 60 % where the order is small
        if order == 2 and share_variance * contributors >= 8:
            assert claim.priced(1).renyi(order) < 1.6 * true


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("rounds", [1, 2])
def test_the_claimed_epsilon_holds_by_brute_force(family: Family, rounds: int) -> None:
    for share_variance, contributors, shift in CASES:
        claim, p = unit(family, share_variance, contributors, shift), pmf(family, share_variance, contributors)
        epsilon = claim.epsilon(rounds=rounds, delta=1e-4)
        assert delta_of(p, shift, epsilon, rounds) <= 1e-4
        assert delta_of(p, shift, 0.4 * epsilon, rounds) > 1e-4


def test_the_gaussian_claim_would_be_false_for_skellam() -> None:
    """Near order 1 a small Skellam diverges more than the Gaussian of its variance (the negative control)."""
    true = renyi(pmf(Family.SKELLAM, 2, 1), 1, 1.01)
    assert true > 1.01 * 1.01 / (2 * 2)
    assert true <= skellam_renyi(2, l2_squared=1, length=1, variance=2)


def test_noise_left_out_of_the_sum_is_caught_by_brute_force() -> None:
    """One of three shares missing: the claim for three no longer covers what two shares leak."""
    for family in Family:
        claim = unit(family, 20, 3, 5)
        assert renyi(pmf(family, 20, 2), 5, 4) > claim.priced(1).renyi(4) >= 0.999999 * renyi(pmf(family, 20, 3), 5, 4)


def test_without_the_closeness_term_the_claim_would_be_false() -> None:
    """Two shares of variance 1/5: their sum is visibly no discrete Gaussian; calling it one claims too little."""
    share, order = 0.2, 2
    p = pmf(Family.DISCRETE_GAUSSIAN, share, 2)
    true = max(renyi(p, shift, order) / (order * shift**2 / (2 * 2 * share)) for shift in (1, 2, 3))
    assert true > 1.0
    tau = closeness(share, 2)
    assert tau == pytest.approx(10 * exp(-(np.pi**2) * share))
    assert true <= (1 / sqrt(2 * share) + tau) ** 2 * 2 * share


def test_the_closeness_term_grows_with_the_dimension() -> None:
    claim = unit(Family.DISCRETE_GAUSSIAN, 1, 3, 1)
    wide = replace(claim, terms=replace(claim.terms, length=10_000))
    assert wide.priced(1).renyi(2) > 1.15 * claim.priced(1).renyi(2)
    alone = replace(claim, terms=replace(claim.terms, contributors=1, length=10_000))
    assert alone.priced(1).renyi(2) == pytest.approx(1.0)
    assert closeness(1, 1) == 0


def test_two_coordinates_by_brute_force() -> None:
    """Divergences of independent coordinates add up: (1, 2) has l1 = 3, squared l2 = 5."""
    for family in Family:
        p = pmf(family, 4, 2)
        for order in (2, 4, 8):
            true = renyi(p, 1, order) + renyi(p, 2, order)
            claim = replace(unit(family, 4, 2, 1), bound_squared=5)
            assert true <= replace(claim, terms=replace(claim.terms, length=2)).priced(1).renyi(order)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("epsilon", [1.0, 3.0, 8.0])
def test_solved_noise_spends_the_budget_and_fits_the_ring(family: Family, epsilon: float) -> None:
    terms = SumTerms(parties=5, contributors=3, length=100_000, clipping_norm=2.0, family=family)
    found = solve_distributed(terms, epsilon=epsilon, delta=1e-5, rounds=8)
    assert 0.97 * epsilon < found.epsilon(rounds=8, delta=1e-5) <= epsilon
    assert found.share_variance % 2 == 0
    assert terms.parties * found.limit < 1 << 31
    assert found.limit > sqrt(found.bound_squared) + 10 * sqrt(found.share_variance)
    # fewer honest shares: each must be larger, so that what is unknown stays the same
    alone = solve_distributed(replace(terms, contributors=1), epsilon=epsilon, delta=1e-5, rounds=8)
    assert alone.noise_multiplier == pytest.approx(found.noise_multiplier, rel=0.01)
    assert alone.share_variance / alone.bound_squared == pytest.approx(3 * found.share_variance / found.bound_squared, rel=0.02)


def test_a_loose_budget_is_close_to_the_gaussian_mechanism() -> None:
    found = solve_distributed(replace(TERMS, length=1_000), epsilon=1.0, delta=1e-6, rounds=1)
    mu = 1 / found.noise_multiplier
    exact = stats.norm.cdf(mu / 2 - 1 / mu) - exp(1) * stats.norm.cdf(-mu / 2 - 1 / mu)
    assert exact <= 1e-6
    closer = 1 / (0.85 * found.noise_multiplier)
    assert stats.norm.cdf(closer / 2 - 1 / closer) - exp(1) * stats.norm.cdf(-closer / 2 - 1 / closer) > 1e-6


def test_what_is_not_possible_is_refused() -> None:
    with pytest.raises(BudgetExceededError, match="epsilon=1e-09"):
        solve_distributed(TERMS, epsilon=1e-9, delta=1e-5, rounds=8)
    with pytest.raises(CapacityError, match="must fit 32 bits"):
        design(replace(TERMS, length=1_000_000), noise_multiplier=1e9)
    for changes in ({"contributors": 0}, {"contributors": 6}, {"length": 0}, {"clipping_norm": 0.0}):
        with pytest.raises(ParameterError):
            replace(TERMS, **changes)
    with pytest.raises(ParameterError, match="noise_multiplier=-1"):
        design(TERMS, noise_multiplier=-1.0)
    with pytest.raises(ParameterError, match="epsilon=inf"):
        solve_distributed(TERMS, epsilon=inf, delta=1e-5, rounds=1)


def test_without_noise_there_is_no_guarantee() -> None:
    found = design(replace(TERMS, length=50), noise_multiplier=0.0)
    assert found.epsilon(rounds=1, delta=1e-5) == inf
    assert not found.noise(rng=CountingRng()).any()


@pytest.mark.statistical
@pytest.mark.parametrize("family", Family)
def test_a_partners_input_is_its_clipped_update_and_noise_of_the_right_size(family: Family) -> None:
    terms = SumTerms(parties=3, contributors=2, length=20_000, clipping_norm=0.5, family=family)
    mechanism = design(terms, noise_multiplier=3.0)
    update = np.full(terms.length, 1.0, dtype=np.float32)
    steps = mechanism.noised_input(update, rng=CountingRng())
    values = steps * 2.0**-mechanism.scale_bits
    share = mechanism.deviation / sqrt(2)
    assert values.std() == pytest.approx(share, rel=0.03)
    assert values.mean() == pytest.approx(0.5 / sqrt(terms.length), abs=5 * share / sqrt(terms.length))
    assert np.abs(steps).max() < mechanism.limit
    with pytest.raises(ParameterError, match="length=3 must be 20000"):
        mechanism.noised_input(update[:3], rng=CountingRng())


@pytest.mark.parametrize(("norm", "length"), [(1.0, 1), (3.7, 50), (1000.0, 10), (5.0, 4_000)])
def test_rounding_keeps_the_exact_bound_and_the_mean(norm: float, length: int) -> None:
    generator = np.random.default_rng(0)
    vector = clipped(generator.normal(size=length) * 1e6, norm)
    assert np.linalg.norm(vector) == pytest.approx(norm)
    bound = norm_bound_squared(norm, length)
    assert bound <= (norm + sqrt(length)) ** 2 + 1
    draws = np.stack([conditional_rounding(vector, bound_squared=bound, rng=CountingRng(i)) for i in range(200)])
    assert (np.square(draws).sum(axis=1) <= bound).all()
    assert np.abs(draws - vector).max() < 1
    assert abs((draws - vector).mean()) < 5 * 0.5 / sqrt(200 * length) + 0.1 / norm


def test_rounding_that_ignored_the_bound_would_break_it() -> None:
    """Plain rounding (the negative control) exceeds the clipping norm itself: the growth must be in the sensitivity."""
    vector = clipped(np.full(4_000, 1.0), 5.0)
    plain = np.floor(vector + np.random.default_rng(1).random(4_000))
    assert np.square(plain).sum() > 5.0**2
    with pytest.raises(ParameterError, match="can't be rounded"):
        conditional_rounding(np.full(9, 2.0), bound_squared=25, rng=CountingRng())
    with pytest.raises(ParameterError, match="norm="):
        norm_bound_squared(float(1 << 40), 10)


def test_an_update_that_is_not_finite_counts_as_zero() -> None:
    for bad in (np.nan, np.inf):
        assert not clipped(np.array([1.0, bad]), 1.0).any()


def test_the_skellam_bound_is_the_published_formula() -> None:
    assert skellam_renyi(2, l2_squared=3, length=3, variance=100) == pytest.approx(
        2 * 3 / 200 + min((3 * 3 + 6 * 3) / 40_000, 9 / 200)
    )
