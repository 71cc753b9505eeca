"""Accountants for record-level differential privacy: what steps cost, the noise for a budget, and what is refused.

The mechanism is the Poisson-subsampled Gaussian: every record joins a step independently with probability
``sampling_rate``, the clipped sum gets Gaussian noise of standard deviation ``noise_multiplier * clipping_norm``, and the
steps compose. Neighbouring: one compound with all its labels added to or removed from one partner. The figure holds
against everybody who sees every step's noisy sum, the operator and the other partners included.

Opacus's PRV accountant (Gopi et al. 2021, https://arxiv.org/abs/2106.02848) prices the training; the privacy loss
distributions of ``dp-accounting`` (Google) and Opacus's Renyi accountant are the independent checks.

Not covered: a compound that several partners own (its consortium-level epsilon is the sum over them), the partners'
compound counts (public here: sampling rates are computed from them), whatever a partner does with its validation and test
fold, and floating-point attacks on the noise (Mironov 2012).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from math import exp, isfinite, log
from typing import ClassVar, Protocol

import numpy as np
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant as DpAccountingRdp
from opacus.accountants import PRVAccountant, RDPAccountant

from securefl.errors import BudgetExceededError, ParameterError

MAX_DELTA = 1e-5
RECORD_NEIGHBOURS = "one compound with all its labels is added to or removed from one partner"
MAX_NOISE = 1e4
TOLERANCE = 5e-3
TINY = 1e-12
STEEP = 20.0
LEAST_NOISE = 0.25
"""Below a quarter of a clipping norm the accountants' grids grow without end: that much noise is taken anyway."""
HOPELESS = 100.0
LEAST_DELTA = 1e-10
"""Under a tenth of it the rounding of the PRV accountant's transforms exceeds its error interval: its bound is then too low."""
ORDERS = (*range(2, 64), *(2**x for x in range(6, 12)))
"""Whole orders alone: they have a closed form, fractional ones a series that takes a hundred times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledGaussian:
    """``steps`` steps of one mechanism. ``noise_multiplier`` is in units of the clipping norm."""

    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not (self.noise_multiplier > 0 and isfinite(self.noise_multiplier)):
            raise ParameterError(f"noise_multiplier={self.noise_multiplier} must be > 0 and finite")
        if not 0 < self.sampling_rate <= 1:
            raise ParameterError(f"sampling_rate={self.sampling_rate} must be > 0 and <= 1")
        if self.steps < 1:
            raise ParameterError(f"steps={self.steps} must be >= 1")


class Accountant(Protocol):
    """Prices a mechanism: an upper bound of epsilon at ``delta``."""

    name: ClassVar[str]

    def epsilon(self, mechanism: SampledGaussian, *, delta: float) -> float:
        """Return the smallest epsilon that this accountant can prove."""
        ...

    def __hash__(self) -> int: ...


@contextmanager
def _loose_orders() -> Iterator[None]:
    """Silence Opacus where the best Renyi order lies at the end of its list: the bound is loose there, and still a bound."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")
        yield


PRV_ERROR = 0.01


@dataclass(frozen=True, slots=True)
class PrvAccountant:
    """Opacus's PRV accountant: numerical composition by FFT, an upper bound within :data:`PRV_ERROR` of the exact value.

    Out of its range it is the Renyi bound: see :func:`prv_epsilon`.
    """

    name: ClassVar[str] = "Opacus PRV"

    def epsilon(self, mechanism: SampledGaussian, *, delta: float) -> float:
        """Return the upper end of the accountant's own error interval."""
        return prv_epsilon((mechanism,), delta=delta)


@lru_cache(maxsize=256)
def prv_epsilon(mechanisms: tuple[SampledGaussian, ...], *, delta: float) -> float:
    """Return an upper bound of epsilon for all ``mechanisms`` together: the upper end of the PRV accountant's interval.

    Kept, since it takes up to a second: a run prices its plan, its ledgers and its record by the same mechanisms.

    Where its grid grows without end (an epsilon over 100) or its floating point has too few digits (a delta under 1e-10) it is
    the Renyi bound, and never more than that.
    """
    history = [(one.noise_multiplier, one.sampling_rate, one.steps) for one in mechanisms]
    renyi, accountant = RDPAccountant(), PRVAccountant()
    renyi.history = accountant.history = history
    # At sampling rate 1 it takes log(1 - q) = -inf, which is the right limit.
    with np.errstate(divide="ignore"), _loose_orders():
        bound = float(renyi.get_privacy_spent(delta=delta, alphas=ORDERS)[0])
        if bound <= HOPELESS and delta >= LEAST_DELTA:
            bound = min(bound, float(accountant.get_epsilon(delta=delta, eps_error=PRV_ERROR)))
    # A delta that is large enough alone needs no epsilon, and the bounds go on below zero.
    return max(0.0, bound)


class RdpAccountant:
    """Opacus's Renyi accountant: looser, and proven without numerical error terms."""

    name: ClassVar[str] = "Opacus RDP"

    def epsilon(self, mechanism: SampledGaussian, *, delta: float) -> float:
        """Return the best epsilon over the accountant's orders."""
        accountant = RDPAccountant()
        accountant.history = [(mechanism.noise_multiplier, mechanism.sampling_rate, mechanism.steps)]
        with _loose_orders():
            return float(accountant.get_privacy_spent(delta=delta, alphas=ORDERS)[0])


class PldAccountant:
    """Privacy loss distributions of dp-accounting: a second implementation, pessimistic rounding."""

    name: ClassVar[str] = "dp-accounting PLD"

    def epsilon(self, mechanism: SampledGaussian, *, delta: float) -> float:
        """Return the pessimistic epsilon under the add-or-remove-one relation."""
        return float(PLDAccountant().compose(_event(mechanism), mechanism.steps).get_epsilon(delta))


class SecondRdpAccountant:
    """The Renyi accountant of dp-accounting, independent of Opacus's."""

    name: ClassVar[str] = "dp-accounting RDP"

    def epsilon(self, mechanism: SampledGaussian, *, delta: float) -> float:
        """Return the best epsilon over the accountant's orders under the add-or-remove-one relation."""
        accountant = DpAccountingRdp(orders=list(ORDERS)).compose(_event(mechanism), mechanism.steps)
        return float(accountant.get_epsilon(delta))


def _event(mechanism: SampledGaussian) -> dp_event.DpEvent:
    event = dp_event.GaussianDpEvent(mechanism.noise_multiplier)
    if mechanism.sampling_rate < 1:
        return dp_event.PoissonSampledDpEvent(mechanism.sampling_rate, event)
    return event


def delta_bound(smallest: int) -> float:
    """Return the largest delta at record level: min(1e-5, 1 / (10 N)), N the records of the smallest partner.

    It is the consortium's rule, not the strictest: from 10,000 records on, a larger partner's own 1 / (10 N) is under 1e-5.
    """
    return min(MAX_DELTA, 1.0 / (10 * max(smallest, 1)))


def check_delta(delta: float, *, smallest: int) -> None:
    """Refuse a delta that would allow to publish somebody's record outright.

    Args:
        delta: the run's delta.
        smallest: protected units of the smallest partner: its records, or 1 at partner level.

    Raises:
        ParameterError: ``delta`` is above min(1e-5, 1 / (10 N)).
    """
    bound = delta_bound(smallest)
    if not 0 < delta <= bound:
        raise ParameterError(f"delta={delta:g} must be > 0 and <= {bound:g} (smallest partner has {smallest} records)")


@lru_cache(maxsize=256)
def solve_noise(epsilon: float, *, delta: float, sampling_rate: float, steps: int, accountant: Accountant) -> float:
    """Return the least noise multiplier (within 0.5 %) with which ``steps`` steps cost at most ``epsilon``.

    >>> sigma = solve_noise(8.0, delta=1e-5, sampling_rate=0.1, steps=80, accountant=RdpAccountant())
    >>> round(sigma, 1)
    0.9

    Raises:
        BudgetExceededError: no noise up to 10,000 clipping norms is enough.
        ParameterError: a parameter is outside its bound.
    """
    if not (epsilon > 0 and isfinite(epsilon)):
        raise ParameterError(f"epsilon={epsilon} must be > 0 and finite")

    @cache
    def excess(noise: float, by: Accountant) -> float:
        mechanism = SampledGaussian(noise_multiplier=noise, sampling_rate=sampling_rate, steps=steps)
        # Bounded, because some accountants answer 0 or infinity at the ends and the search takes slopes.
        return min(max(log(max(by.epsilon(mechanism, delta=delta), TINY) / epsilon), -STEEP), STEEP)

    # Renyi accounting costs milliseconds, tight accounting up to a second: the first finds the place, the second the value.
    renyi = RdpAccountant()
    rough = least_noise(lambda noise: excess(noise, renyi), low=LEAST_NOISE, high=MAX_NOISE)
    if rough is None:
        raise BudgetExceededError(f"epsilon={epsilon:g} needs a noise multiplier over {MAX_NOISE:g} for {steps} steps")
    while excess(rough, accountant) > 0:
        rough *= 1.1
    low = max(LEAST_NOISE, 0.7 * rough)
    while low > LEAST_NOISE and excess(low, accountant) <= 0:
        low, rough = max(LEAST_NOISE, 0.7 * low), low
    exact = least_noise(lambda noise: excess(noise, accountant), low=low, high=rough)
    return rough if exact is None else exact


def least_noise(excess: Callable[[float], float], *, low: float, high: float) -> float | None:
    """Return the least noise in [low, high], within 0.5 %, whose ``excess`` is not positive, ``None`` if there is none.

    False position on logarithms, where the curve is nearly straight; the answer always comes from the safe side.
    """
    above, under = excess(low), excess(high)
    if under > 0:
        return None
    if above <= 0:
        return low
    while high > low * (1 + TOLERANCE):
        share = above / (above - under)
        # Kept off the ends, so that each step shortens the interval by a twentieth at least.
        share = min(max(share + TOLERANCE, 0.05), 0.95)
        middle = exp(log(low) + share * (log(high) - log(low)))
        value = excess(middle)
        if value > 0:
            low, above = middle, value
        else:
            high, under = middle, value
            if value > -TOLERANCE:
                break
    return high
