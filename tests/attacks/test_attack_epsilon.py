"""Lower bounds on epsilon against published and independent answers (the sources are named with each)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from attacks.epsilon import (
    Guesses,
    Level,
    ceiling,
    clopper_pearson_epsilon,
    gaussian_auc,
    gaussian_mu,
    gaussian_tpr,
    one_run_bound,
    one_run_p_value,
)
from securefl.errors import ParameterError

QUANTILES = norm.ppf((np.arange(10_000) + 0.5) / 10_000)


def test_clopper_pearson_of_the_tensorflow_privacy_tutorial() -> None:
    """500 of 500 hits and no false alarm at 1 %: epsilon 4.54 (Jagielski et al. 2020)."""
    level = Level(significance=0.01, delta=0.0)
    assert clopper_pearson_epsilon((500, 500), (0, 500), level=level) == pytest.approx(4.5419, abs=1e-4)
    assert clopper_pearson_epsilon((0, 500), (500, 500), level=level) == 0.0


@pytest.mark.vector
@pytest.mark.parametrize(
    ("shift", "gaussian", "expected"),
    [
        (0.0, False, 0.0),
        (1.0, False, 1.13346),
        (2.0, False, 2.311945),
        (4.0, False, 4.395568),
        (0.0, True, 0.0),
        (1.0, True, 2.164749),
        (2.0, True, 4.7218075),
        (4.0, True, 9.133752),
    ],
)
def test_one_run_bounds_of_jax_privacy(shift: float, gaussian: bool, expected: float) -> None:
    """10,000 in and 10,000 out, normal quantiles shifted, 5 %, delta 1e-6 (jax_privacy's canary_score_auditor_test)."""
    level = Level(significance=0.05, delta=1e-6)
    assert one_run_bound(QUANTILES + shift, QUANTILES, level=level, gaussian=gaussian) == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize(("canaries", "most"), [(100, 3.49), (500, 5.10), (1000, 5.78), (5000, 7.28)])
def test_ceiling_of_an_audit(canaries: int, most: float) -> None:
    """Perfect guesses at 95 % and delta 1e-5 prove no more than this."""
    assert round(ceiling(canaries, level=Level()), 2) == most


@pytest.mark.parametrize(
    ("mu", "tpr", "area"), [(0.5, 0.0048, 0.638), (1.0, 0.0183, 0.760), (2.0, 0.1378, 0.921)]
)
def test_gaussian_reference(mu: float, tpr: float, area: float) -> None:
    """Closed forms of two shifted normals at a false positive rate of 0.1 %."""
    assert round(gaussian_tpr(mu, 1e-3), 4) == tpr
    assert round(gaussian_auc(mu), 3) == area


def test_gaussian_mu_is_the_inverse_of_the_privacy_profile() -> None:
    """Balle and Wang's delta of mu at epsilon gives delta back."""
    for epsilon, delta in ((0.5, 1e-5), (3.0, 1e-6), (9.0, 1e-6)):
        mu = gaussian_mu(epsilon, delta)
        profile = norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
        assert profile == pytest.approx(delta, rel=1e-5)


def test_p_value_grows_with_epsilon_and_delta() -> None:
    """A larger claim is harder to refute."""
    guesses = Guesses(canaries=200, made=60, correct=55)
    values = [one_run_p_value(guesses, e, 0.0) for e in (0.0, 1.0, 2.0, 4.0)]
    assert values == sorted(values)
    assert one_run_p_value(guesses, 1.0, 1e-3) > values[1]
    with pytest.raises(ParameterError, match="correct=3"):
        Guesses(canaries=5, made=2, correct=3)
