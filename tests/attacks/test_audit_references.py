"""Published figures of auditing statistics that other toolkits' tests pin: ratios of rates, and the joint beta interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from roc_frontier import frontier

from attacks.epsilon.bounds import Level, clopper_pearson_epsilon
from attacks.epsilon.joint_beta import joint_beta_interval, region_mass
from attacks.epsilon.ratio_bounds import RATIO_BOUNDS, Rate
from attacks.score import auc, tpr_at_fpr
from securefl.errors import ParameterError

METHODS = ("Katz log", "adjusted log", "Bailey", "inverse sinh")


@pytest.mark.vector
@pytest.mark.parametrize(
    ("hits", "false_alarms", "expected"),
    [
        ((473, 984), (755, 1705), (1.01166194, 1.01189079, 1.01148934, 1.01167669)),
        ((2, 699), (213, 526), (0.00220470, 0.00310880, 0.00162322, 0.00233503)),
        ((1000, 1010), (10, 10010), (589.27335593, 568.32659563, 613.58766147, 592.63264572)),
        # counts at their ends
        ((0, 511), (755, 1705), (0.0, 0.00021568, 0.0, 0.0)),
        ((2, 699), (0, 313), (0.13325535, 0.17571862, 0.18481008, 0.08081083)),
        ((0, 10), (0, 10000), (0.0, 0.0, 0.0, 0.0)),
        ((473, 473), (755, 1705), (2.15959024, 2.15883995, 2.15787013, 2.15959827)),
        ((2, 699), (213, 213), (0.00089568, 0.00126522, 0.00066016, 0.00094821)),
        ((1000, 1000), (10, 10), (0.93375356, 0.93686007, 0.93591485, 0.93381958)),
    ],
)
def test_ratios_of_rates_of_the_r_package_asbio(hits: Rate, false_alarms: Rate, expected: tuple[float, ...]) -> None:
    """Every digit that TensorFlow Privacy's epsilon_lower_bound_test prints (one-sided, 5 %), from ``ci.prat``."""
    assert tuple(RATIO_BOUNDS) == METHODS
    found = [bound(hits, false_alarms, significance=0.05) for bound in RATIO_BOUNDS.values()]
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-8)


@pytest.mark.vector
def test_ratios_of_500_of_500() -> None:
    """The tutorial's case beside Clopper and Pearson's 4.54."""
    found = [bound((500, 500), (0, 500), significance=0.01) for bound in RATIO_BOUNDS.values()]
    np.testing.assert_allclose(found, (37.31696140, 37.35421695, 108.47420518, 35.46128691), rtol=0, atol=5e-8)


@pytest.mark.vector
def test_the_joint_beta_interval_of_privacy_estimates() -> None:
    """[0.145, 6.399] at 10 % and delta 1e-5, printed by a root finder that stops at 0.01 on a mass that is right to 0.005."""
    low, high = joint_beta_interval((487, 487), (512, 513), level=Level(significance=0.1, delta=1e-5))
    assert low == pytest.approx(0.145, abs=0.01)
    assert high == pytest.approx(6.399, abs=0.02)
    # rates taken one by one prove nothing here
    assert clopper_pearson_epsilon((487, 487), (512, 513), level=Level(significance=0.1, delta=1e-5)) == 0.0


@pytest.mark.statistical
def test_the_joint_beta_mass_is_that_of_draws_from_the_posterior() -> None:
    hits, false_alarms, delta, epsilon = (76, 999), (19, 1001), 1e-5, 1.2
    draw = np.random.default_rng(7)
    alarms, misses = draw.beta(19.5, 982.5, 200_000), draw.beta(923.5, 76.5, 200_000)
    grown = math.exp(epsilon)
    held = (alarms + grown * misses >= 1 - delta) & (misses + grown * alarms >= 1 - delta)
    held &= (1 - alarms + grown * (1 - misses) >= 1 - delta) & (1 - misses + grown * (1 - alarms) >= 1 - delta)
    # standard error of the share: 0.0011
    assert region_mass(hits, false_alarms, epsilon=epsilon, delta=delta) == pytest.approx(held.mean(), abs=0.005)
    assert 0.1 < held.mean() < 0.9


def test_the_joint_beta_interval_does_not_depend_on_which_side_is_called_inside() -> None:
    """As privacy-estimates' own symmetry test: errors exchanged, and the attack turned round."""
    level = Level(significance=0.05, delta=1e-5)
    first = joint_beta_interval((200, 212), (58, 258), level=level)
    for hits, false_alarms in (((200, 258), (12, 212)), ((12, 212), (200, 258))):
        assert joint_beta_interval(hits, false_alarms, level=level) == pytest.approx(first, abs=1e-4)
    assert 0 < first[0] < first[1]
    # less certainty, a wider interval; no difference of rates, no lower end
    wide = joint_beta_interval((200, 212), (58, 258), level=Level(significance=0.01, delta=1e-5))
    assert wide[0] < first[0] < first[1] < wide[1]
    assert joint_beta_interval((50, 100), (50, 100), level=Level(significance=0.05, delta=0.3))[0] == 0.0


def test_counts_that_cannot_be_are_refused() -> None:
    for bound in RATIO_BOUNDS.values():
        with pytest.raises(ParameterError, match="hits=6 of 5"):
            bound((6, 5), (0, 5))
        with pytest.raises(ParameterError, match=r"significance=0\.6"):
            bound((1, 5), (0, 5), significance=0.6)
    with pytest.raises(ParameterError, match="false_alarms=-1"):
        joint_beta_interval((1, 5), (-1, 5), level=Level())


@pytest.mark.statistical
def test_clopper_and_pearsons_bound_covers_and_the_joint_betas_lower_end_is_never_zero() -> None:
    """2,000 audits of randomised response at epsilon 1 (seeded): wrong in 5 % at most; a level of 80 % is the control."""
    draw, runs, epsilon = np.random.default_rng(8), 500, 1.0
    right = math.exp(epsilon) / (1 + math.exp(epsilon))
    counts = np.stack([draw.binomial(runs, right, 2000), draw.binomial(runs, 1 - right, 2000)], axis=1).tolist()
    strict, loose = Level(significance=0.05, delta=0.0), Level(significance=0.8, delta=0.0)
    wrong = {
        level.significance: np.mean(
            [clopper_pearson_epsilon((tp, runs), (fp, runs), level=level) > epsilon for tp, fp in counts]
        )
        for level in (strict, loose)
    }
    assert wrong[0.05] <= 0.05
    assert wrong[0.8] > 0.2
    # no leak at all, and yet a lower end above zero: a posterior has no mass there
    assert joint_beta_interval((50, 500), (50, 500), level=strict)[0] > 0.0


@pytest.mark.vector
def test_the_circular_roc_curve_of_jax_privacy() -> None:
    """A quarter circle about (1, 0): true positive rate sqrt(f (2 - f)) at a false positive rate f, area pi / 4."""
    rate = (np.arange(4000) + 0.5) / 4000
    members, non_members = np.sqrt(1 - rate**2), 1 - rate
    for fpr in (0.1, 0.01):
        assert tpr_at_fpr(members, non_members, fpr=fpr).value == pytest.approx(math.sqrt(fpr * (2 - fpr)), abs=2e-3)
    assert auc(members, non_members).value == pytest.approx(math.pi / 4, abs=1e-4)


@pytest.mark.vector
def test_the_upper_hull_of_jax_privacy() -> None:
    """Under the hull of ([0, 4, 6, 7] in, [1, 2, 3, 5] out) lie 13 of 16, under the steps of the curve 11."""
    inside, outside = np.array([0.0, 4, 6, 7]), np.array([1.0, 2, 3, 5])
    hull = sorted((guesses.made - guesses.correct, guesses.correct) for guesses in frontier(inside, outside))
    false, true = np.array(hull).T / 4
    assert float(np.trapezoid(true, false)) == 13 / 16
    assert auc(inside, outside).value == 11 / 16
