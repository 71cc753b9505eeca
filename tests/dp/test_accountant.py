"""The accountants against each other and against closed forms; what is refused."""

from __future__ import annotations

from math import erf, exp, sqrt

import pytest

from securefl.dp.accountant import (
    Accountant,
    PldAccountant,
    PrvAccountant,
    RdpAccountant,
    SampledGaussian,
    check_delta,
    solve_noise,
)
from securefl.errors import BudgetExceededError, ParameterError

DELTA = 1e-5
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


@pytest.mark.parametrize("accountant", [PrvAccountant(), PldAccountant(), RdpAccountant()], ids=lambda a: a.name)
def test_unsampled_composition_is_never_under_the_closed_form(accountant: Accountant) -> None:
    # eight releases at noise s are one release at s / sqrt(8)
    mechanism = SampledGaussian(noise_multiplier=2.0, sampling_rate=1.0, steps=8)
    epsilon = accountant.epsilon(mechanism, delta=DELTA)
    assert exact_delta(epsilon, 2.0 / sqrt(8)) <= DELTA
    assert exact_delta(epsilon - 1.0, 2.0 / sqrt(8)) > DELTA


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
