"""Lower bounds on epsilon against published and independent answers (the sources are named with each)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from roc_frontier import frontier
from scipy.stats import binom, norm

from attacks.epsilon.bounds import (
    Guesses,
    Level,
    ceiling,
    clopper_pearson_epsilon,
    gaussian_mu,
    one_run_bound,
    one_run_p_value,
    planned,
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
    assert one_run_bound(frontier(QUANTILES + shift, QUANTILES), level=level, gaussian=gaussian) == pytest.approx(
        expected, abs=5e-6
    )


@pytest.mark.parametrize(("canaries", "most"), [(100, 3.49), (500, 5.10), (1000, 5.78), (5000, 7.28)])
def test_ceiling_of_an_audit(canaries: int, most: float) -> None:
    """Perfect guesses at 95 % and delta 1e-5 prove no more than this."""
    assert round(ceiling(canaries, level=Level()), 2) == most


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


def refuted(candidates: list[Guesses], epsilon: float) -> bool:
    """Whether an audit at 5 % refutes ``epsilon`` (delta 0) by any of ``candidates``, each at its share."""
    made, correct = (np.array([getattr(one, name) for one in candidates]) for name in ("made", "correct"))
    return bool((binom.sf(correct - 1, made, 1 / (1 + np.exp(-epsilon))) <= 0.05 / len(candidates)).any())


def audits(number: int, *, shift: float, canaries: int = 1000) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Scores and coins of ``number`` audits of a Laplace mechanism of scale 1, which is exactly ``shift``-DP."""
    draw = np.random.default_rng(11)
    coins = draw.random((number, canaries)) < 0.5
    return list(zip(draw.laplace(size=coins.shape) + shift * coins, coins, strict=True))


@pytest.mark.statistical
@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_a_claim_that_holds_is_refuted_in_five_percent_of_audits_at_most(epsilon: float) -> None:
    """Seeded; a rule that is wrong in exactly 5 % would fail this in under one of a hundred seeds."""
    assert sum(refuted(planned(scores, coins), epsilon) for scores, coins in audits(400, shift=epsilon)) <= 30


@pytest.mark.slow
@pytest.mark.statistical
def test_thresholds_that_were_chosen_with_the_coins_in_hand_are_wrong_more_often() -> None:
    """The negative control: 7.2 % of 3,000 audits, four standard errors of 0.47 % over the 5 % that were promised."""
    found = audits(3000, shift=0.0)
    assert sum(refuted(frontier(scores[coins], scores[~coins]), 0.0) for scores, coins in found) > 180
    assert sum(refuted(planned(scores, coins), 0.0) for scores, coins in found) <= 150


def test_planned_guesses_find_a_leak_that_is_there() -> None:
    """Twice the claimed epsilon is refuted; a perfect attack comes near the ceiling; nobody looked at the coins."""
    assert sum(refuted(planned(scores, coins), 1.0) for scores, coins in audits(20, shift=2.0)) >= 18
    coins = np.random.default_rng(3).random(1000) < 0.5
    perfect = planned(coins.astype(np.float64), coins)
    assert one_run_bound(perfect, level=Level()) > 0.7 * ceiling(1000, level=Level())
    assert [one.made for one in perfect] == [one.made for one in planned(np.zeros(1000), ~coins)]
    assert planned(np.zeros(1), coins[:1]) == []
    assert one_run_bound([], level=Level()) == 0.0
