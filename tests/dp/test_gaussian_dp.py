"""Closed forms of the Gaussian mechanism: published figures, and the accountants beside them."""

from __future__ import annotations

import math

import pytest

from securefl.dp.accountant import PldAccountant, PrvAccountant, RdpAccountant, SampledGaussian, SecondRdpAccountant
from securefl.dp.gaussian_dp import (
    best_auc,
    best_true_positive_rate,
    gaussian_delta,
    gaussian_epsilon,
    true_positive_rate_bound,
)


@pytest.mark.vector
@pytest.mark.parametrize(("mu", "tpr", "auc"), [(0.5, 0.0048, 0.638), (1.0, 0.0183, 0.760), (2.0, 0.1378, 0.921)])
def test_the_gaussian_reference_of_membership(mu: float, tpr: float, auc: float) -> None:
    assert best_true_positive_rate(mu, 1e-3) == pytest.approx(tpr, abs=5e-5)
    assert best_auc(mu) == pytest.approx(auc, abs=5e-4)


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
def test_epsilon_and_delta_are_inverse(mu: float) -> None:
    for delta in (1e-3, 1e-6):
        assert gaussian_delta(mu, gaussian_epsilon(mu, delta)) == pytest.approx(delta, rel=1e-6)
    assert gaussian_epsilon(1e-9, 1e-3) == 0.0
    assert gaussian_epsilon(1e4, 1e-6) == math.inf


def test_every_accountant_is_an_upper_bound_of_the_exact_value() -> None:
    mechanism = SampledGaussian(noise_multiplier=3.0, sampling_rate=1.0, steps=9)
    exact = gaussian_epsilon(1.0, 1e-6)
    for accountant in (PrvAccountant(), PldAccountant(), RdpAccountant(), SecondRdpAccountant()):
        found = accountant.epsilon(mechanism, delta=1e-6)
        assert exact <= found + 1e-6
        assert found < 1.15 * exact
    # a wrong noise multiplier (the negative control) is under it
    less = SampledGaussian(noise_multiplier=3.3, sampling_rate=1.0, steps=9)
    assert PrvAccountant().epsilon(less, delta=1e-6) < exact


def test_the_best_attack_stays_under_what_epsilon_allows() -> None:
    for mu in (0.5, 1.0, 2.0):
        for delta in (1e-6, 1e-3):
            epsilon = gaussian_epsilon(mu, delta)
            for rate in (1e-4, 1e-2, 0.3):
                assert best_true_positive_rate(mu, rate) <= true_positive_rate_bound(epsilon, delta, rate) + 1e-9
    assert true_positive_rate_bound(0.0, 0.0, 0.2) == pytest.approx(0.2)
    assert true_positive_rate_bound(1e6, 0.0, 0.2) == 1.0


def test_two_renyi_accountants_agree_where_there_is_sampling() -> None:
    mechanism = SampledGaussian(noise_multiplier=1.1, sampling_rate=0.05, steps=200)
    one, two = RdpAccountant().epsilon(mechanism, delta=1e-6), SecondRdpAccountant().epsilon(mechanism, delta=1e-6)
    assert two == pytest.approx(one, rel=0.05)


def test_an_epsilon_between_256_and_500_is_no_infinity() -> None:
    """A search by doubling passed the end at 512."""
    assert gaussian_epsilon(20.0, 1e-5) == pytest.approx(284.3918, abs=1e-3)
    assert gaussian_epsilon(40.0, 1e-5) == math.inf
