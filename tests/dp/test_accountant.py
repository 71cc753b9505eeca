"""The accountants against each other and against closed forms; what is refused."""

from __future__ import annotations

from itertools import pairwise
from math import erf, exp, expm1, isfinite, log, sqrt

import pytest
from scipy.integrate import quad
from scipy.special import log_ndtr
from scipy.stats import norm

from securefl.dp.accountant import (
    Accountant,
    PldAccountant,
    PrvAccountant,
    RdpAccountant,
    SampledGaussian,
    check_delta,
    solve_noise,
)
from securefl.dp.composition import lower_bound
from securefl.errors import BudgetExceededError, ParameterError

DELTA = 1e-5
ACCOUNTANTS: tuple[Accountant, ...] = (PrvAccountant(), PldAccountant(), RdpAccountant())
CASES = [(1.0, 256 / 7000, 220), (1.7, 1.0, 8), (1.5, 0.999, 8), (3.0, 0.1, 100)]


def exact_delta(epsilon: float, noise: float) -> float:
    """Return the delta of one Gaussian release of sensitivity 1 (Balle and Wang 2018, theorem 8)."""

    def below(x: float) -> float:
        return 0.5 * (1 + erf(x / sqrt(2)))

    return below(0.5 / noise - epsilon * noise) - exp(epsilon) * below(-0.5 / noise - epsilon * noise)


@pytest.mark.parametrize(("noise", "rate", "steps"), CASES)
def test_two_implementations_agree_and_renyi_is_looser(noise: float, rate: float, steps: int) -> None:
    mechanism = SampledGaussian(noise_multiplier=noise, sampling_rate=rate, steps=steps)
    prv, pld, rdp = (a.epsilon(mechanism, delta=DELTA) for a in (PrvAccountant(), PldAccountant(), RdpAccountant()))
    assert prv == pytest.approx(pld, abs=0.02)
    assert rdp > pld


@pytest.mark.parametrize("accountant", ACCOUNTANTS, ids=lambda a: a.name)
def test_unsampled_composition_is_never_under_the_closed_form(accountant: Accountant) -> None:
    # eight releases at noise s are one release at s / sqrt(8)
    mechanism = SampledGaussian(noise_multiplier=2.0, sampling_rate=1.0, steps=8)
    epsilon = accountant.epsilon(mechanism, delta=DELTA)
    assert exact_delta(epsilon, 2.0 / sqrt(8)) <= DELTA
    assert exact_delta(epsilon - 1.0, 2.0 / sqrt(8)) > DELTA


def sampled_delta(epsilon: float, noise: float, rate: float, *, removed: bool) -> float:
    """Return one sampled step's delta by integration: the record is removed from, or added to, what the sum is of."""

    def excess(x: float) -> float:
        without, with_it = norm.pdf(x, scale=noise), norm.pdf(x, loc=1.0, scale=noise)
        mixture = (1 - rate) * without + rate * with_it
        return float(max(0.0, mixture - exp(epsilon) * without if removed else without - exp(epsilon) * mixture))

    places = [k * noise for k in range(-12, 13)] + [1.0 + k * noise for k in range(-12, 13)]
    return float(sum(quad(excess, a, b, epsabs=1e-14, limit=200)[0] for a, b in pairwise(sorted(places))))


@pytest.mark.parametrize("accountant", ACCOUNTANTS, ids=lambda a: a.name)
@pytest.mark.parametrize(("noise", "rate"), [(0.7, 0.5), (1.0, 0.1), (40.0, 0.2)])
def test_a_sampled_step_is_never_under_its_integral_in_either_direction(
    accountant: Accountant, noise: float, rate: float
) -> None:
    epsilon = accountant.epsilon(SampledGaussian(noise_multiplier=noise, sampling_rate=rate, steps=1), delta=DELTA)
    for removed in (True, False):
        assert sampled_delta(epsilon, noise, rate, removed=removed) <= DELTA * (1 + 1e-6)
    # the negative control: not every epsilon passes
    assert sampled_delta(0.3 * epsilon, noise, rate, removed=True) > DELTA


@pytest.mark.parametrize("delta", [1e-5, 1e-9, 1e-12, 2e-13, 1e-15])
@pytest.mark.parametrize(
    ("noise", "steps"),
    # with many steps the transforms' rounding was once more than the interval: an "upper bound" under the exact value
    [(0.02, 1), (0.06, 1), (0.25, 100), (1.0, 1), (5.0, 8), (10.0, 400), (16.5, 4246), (1e4, 1), (1e6, 3)],
)
def test_what_is_far_from_usual_has_a_price_and_none_under_the_closed_form(noise: float, steps: int, delta: float) -> None:
    """Hardly any noise, hardly any delta: Opacus's accountant stops there, or takes a minute for an infinite answer."""
    mechanism = SampledGaussian(noise_multiplier=noise, sampling_rate=1.0, steps=steps)
    found = PrvAccountant().epsilon(mechanism, delta=delta)
    assert isfinite(found)
    assert lower_bound(mechanism, delta=delta) <= found
    mu = sqrt(steps) / noise
    above, under = log_ndtr(mu / 2 - found / mu), found + log_ndtr(-mu / 2 - found / mu)
    assert under >= above or above + log(-expm1(under - above)) <= log(delta)


def test_a_large_delta_needs_no_epsilon() -> None:
    weak = SampledGaussian(noise_multiplier=20.0, sampling_rate=1.0, steps=1)
    assert PrvAccountant().epsilon(weak, delta=0.3) == 0.0


def test_forgetting_the_sampling_rate_shows() -> None:
    """A wrong sampling rate (the negative control): half the true one claims clearly less than is spent."""
    true = SampledGaussian(noise_multiplier=1.0, sampling_rate=0.1, steps=80)
    wrong = SampledGaussian(noise_multiplier=1.0, sampling_rate=0.05, steps=80)
    accountant = PrvAccountant()
    assert accountant.epsilon(wrong, delta=DELTA) < 0.7 * accountant.epsilon(true, delta=DELTA)


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
@pytest.mark.parametrize(("rate", "steps"), [(1.0, 8), (0.2, 40)])
def test_solved_noise_spends_the_budget_and_no_more(epsilon: float, rate: float, steps: int) -> None:
    noise = solve_noise(epsilon, delta=DELTA, sampling_rate=rate, steps=steps, accountant=PrvAccountant())
    for accountant in (PrvAccountant(), PldAccountant()):
        spent = accountant.epsilon(SampledGaussian(noise_multiplier=noise, sampling_rate=rate, steps=steps), delta=DELTA)
        assert 0.97 * epsilon < spent <= epsilon


def test_loose_budget_still_gets_some_noise() -> None:
    noise = solve_noise(500.0, delta=DELTA, sampling_rate=0.01, steps=1, accountant=RdpAccountant())
    assert 0.1 < noise <= 0.5


def test_a_budget_that_no_noise_meets_is_refused() -> None:
    with pytest.raises(BudgetExceededError, match="epsilon=1e-06"):
        solve_noise(1e-6, delta=DELTA, sampling_rate=1.0, steps=100, accountant=RdpAccountant())


@pytest.mark.parametrize(
    ("delta", "smallest", "fine"),
    [(1e-5, 150, True), (1.1e-5, 150, False), (1e-5, 20_000, False), (5e-6, 20_000, True), (0.0, 10, False)],
)
def test_delta_is_at_most_a_tenth_of_one_record(delta: float, smallest: int, fine: bool) -> None:
    if fine:
        check_delta(delta, smallest=smallest)
    else:
        with pytest.raises(ParameterError, match=f"delta={delta:g}"):
            check_delta(delta, smallest=smallest)


@pytest.mark.parametrize(("noise", "rate", "steps"), [(0.0, 0.1, 1), (1.0, 0.0, 1), (1.0, 1.1, 1), (1.0, 0.1, 0)])
def test_mechanisms_outside_their_bounds_are_refused(noise: float, rate: float, steps: int) -> None:
    with pytest.raises(ParameterError):
        SampledGaussian(noise_multiplier=noise, sampling_rate=rate, steps=steps)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("inf"), float("nan")])
def test_an_epsilon_that_is_none_is_refused(epsilon: float) -> None:
    with pytest.raises(ParameterError, match="epsilon="):
        solve_noise(epsilon, delta=DELTA, sampling_rate=0.1, steps=1, accountant=RdpAccountant())
