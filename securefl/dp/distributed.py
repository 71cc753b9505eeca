"""Partner-level differential privacy inside a secure sum: every partner adds a share of integer noise before masking.

Each of n partners clips its whole update to norm C, rounds it to integers of squared norm at most D2
(:mod:`securefl.dp.rounding`), and adds integer noise of variance v to every coordinate. At least ``contributors`` = minimum
survivors - c shares stay unknown to an operator with c colluding partners, so v = target / contributors; further shares only
add noise. Neighbouring: one partner's update is replaced by zero (its place in the survivor set is public), so that two sums
differ by at most sqrt(D2).
What this does NOT protect: that a partner takes part, single records beyond what protecting the whole update implies, a
partner's own noise from itself, and partners beyond c who reveal their shares.

What it costs, with its constants and sources, is stated in :mod:`securefl.dp.noisy_sums`. The sum doesn't wrap: a noised
coordinate is held to ``limit``, n * limit < 2^(ring_bits - 1) is proven before the run, and that a draw reaches the limit
has probability at most 2^-80 a round, which delta pays for. Sampling is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite, isqrt, ldexp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from securefl.dp.accountant import LEAST_NOISE, MAX_NOISE, least_noise
from securefl.dp.discrete_gaussian import discrete_gaussian
from securefl.dp.discrete_laplace import MAX_SCALE
from securefl.dp.noisy_sums import TAIL_BITS, Family, NoisySums, renyi_epsilon
from securefl.dp.rounding import clipped, conditional_rounding, norm_bound_squared
from securefl.dp.skellam import skellam
from securefl.errors import BudgetExceededError, CapacityError, ParameterError
from securefl.types import FloatVector, Rng

MAX_SCALE_BITS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SumTerms:
    """What is public about a noised sum: ``parties`` n, honest ``contributors`` at least, vector ``length`` d, norm C."""

    parties: int
    contributors: int
    length: int
    clipping_norm: float
    ring_bits: int = 32
    family: Family = Family.SKELLAM

    def __post_init__(self) -> None:
        if not 1 <= self.contributors <= self.parties:
            raise ParameterError(f"contributors={self.contributors} must be in 1..{self.parties}")
        if self.length < 1:
            raise ParameterError(f"length={self.length} must be >= 1")
        if not (self.clipping_norm > 0 and isfinite(self.clipping_norm)):
            raise ParameterError(f"clipping_norm={self.clipping_norm} must be > 0 and finite")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedNoise:
    """The mechanism of one round. ``share_variance`` v in steps^2 (0: only clipping, no guarantee), ``bound_squared`` D2.

    A step is 2^-``scale_bits``; ``limit`` is the largest noised coordinate of one partner, in steps.
    """

    terms: SumTerms
    scale_bits: int
    bound_squared: int
    share_variance: int
    limit: int

    @property
    def noise_multiplier(self) -> float:
        """Deviation of the unknown noise in units of the sensitivity sqrt(D2)."""
        return self.priced(1).noise_multiplier

    @property
    def deviation(self) -> float:
        """Standard deviation of the unknown noise in a coordinate of the sum, in units of the update."""
        return ldexp(sqrt(self.terms.contributors * self.share_variance), -self.scale_bits)

    def input(self, update: FloatVector, *, rng: Rng) -> NDArray[np.int64]:
        """Return a partner's clipped update in steps, int64, shape (d,), without noise.

        Raises:
            ParameterError: the update has another length.
        """
        if len(update) != self.terms.length:
            raise ParameterError(f"length={len(update)} must be {self.terms.length}")
        norm = self.terms.clipping_norm
        steps = clipped(update, norm) * ldexp(1.0, self.scale_bits)
        return conditional_rounding(steps, bound_squared=self.bound_squared, rng=rng)

    def noise(self, *, rng: Rng) -> NDArray[np.int64]:
        """Return one share of noise in steps, int64, shape (d,)."""
        size, variance = self.terms.length, self.share_variance
        if variance == 0:
            return np.zeros(size, dtype=np.int64)
        if self.terms.family is Family.SKELLAM:
            return skellam(size, variance=variance, rng=rng)
        return discrete_gaussian(size, variance=Fraction(variance), rng=rng)

    def noised_input(self, update: FloatVector, *, rng: Rng) -> NDArray[np.int64]:
        """Return what a partner puts into the sum: clipped, rounded, noised, within [-limit, limit]."""
        steps = self.input(update, rng=rng) + self.noise(rng=rng)
        return np.clip(steps, -self.limit, self.limit, out=steps)

    def priced(self, rounds: int) -> NoisySums:
        """Return what ``rounds`` opened sums are to an accountant."""
        return NoisySums(
            family=self.terms.family,
            contributors=self.terms.contributors,
            length=self.terms.length,
            bound_squared=self.bound_squared,
            share_variance=self.share_variance,
            rounds=rounds,
        )

    def epsilon(self, *, rounds: int, delta: float) -> float:
        """Return an upper bound of epsilon at ``delta`` for ``rounds`` opened sums."""
        return renyi_epsilon([self.priced(rounds)], delta=delta)


def design(terms: SumTerms, *, noise_multiplier: float) -> DistributedNoise:
    """Return the mechanism with the finest step at which the noised sum is proven not to wrap; 0 is clipping alone.

    Raises:
        CapacityError: not even steps of a clipping norm fit into the ring.
        ParameterError: the noise multiplier is negative or not finite.
    """
    if not (noise_multiplier >= 0 and isfinite(noise_multiplier)):
        raise ParameterError(f"noise_multiplier={noise_multiplier} must be >= 0 and finite")
    for bits in range(MAX_SCALE_BITS, -MAX_SCALE_BITS, -1):
        norm = ldexp(terms.clipping_norm, bits)
        if not 1 <= norm < 1 << 29:
            continue
        found = _at_scale(terms, bits, norm, noise_multiplier)
        if terms.parties * found.limit < 1 << (terms.ring_bits - 1) and isqrt(found.share_variance) + 4 <= MAX_SCALE:
            return found
    raise CapacityError(f"noise of {noise_multiplier:g} norms for {terms.parties} parties must fit {terms.ring_bits} bits")


def _at_scale(terms: SumTerms, bits: int, norm: float, noise_multiplier: float) -> DistributedNoise:
    bound = norm_bound_squared(norm, terms.length)
    # An even number, so that a Skellam share has Poisson rates that are whole; never less than asked for.
    share = 2 * ceil(noise_multiplier**2 * bound / terms.contributors / 2)
    tail = log(2.0 * terms.parties * terms.length) + TAIL_BITS * log(2)
    # Bernstein's bound for unit jumps holds for Skellam, and the sub-Gaussian one of the discrete Gaussian is below it.
    reach = tail / 3 + sqrt(tail * tail / 9 + 2 * share * tail)
    limit = isqrt(bound) + 1 + ceil(reach)
    return DistributedNoise(terms=terms, scale_bits=bits, bound_squared=bound, share_variance=share, limit=limit)


def solve_distributed(terms: SumTerms, *, epsilon: float, delta: float, rounds: int) -> DistributedNoise:
    """Return the mechanism with the least noise (within 0.5 %) with which ``rounds`` sums cost at most ``epsilon``.

    Raises:
        BudgetExceededError: no noise up to 10,000 norms is enough.
        CapacityError: so much noise doesn't fit the ring.
        ParameterError: epsilon, delta or rounds are outside their bounds.
    """
    if not (epsilon > 0 and isfinite(epsilon)) or rounds < 1 or not 0 < delta < 1:
        raise ParameterError(f"epsilon={epsilon} must be > 0 and finite, delta={delta} in (0, 1), rounds={rounds} >= 1")

    def excess(noise: float) -> float:
        spent = design(terms, noise_multiplier=noise).epsilon(rounds=rounds, delta=delta)
        return log(spent / epsilon) if isfinite(spent) else log(MAX_NOISE)

    noise = least_noise(excess, low=LEAST_NOISE, high=_enough(epsilon, delta, rounds))
    if noise is None:
        raise BudgetExceededError(f"epsilon={epsilon:g} needs a noise multiplier over {MAX_NOISE:g} for {rounds} rounds")
    return design(terms, noise_multiplier=noise)


def _enough(epsilon: float, delta: float, rounds: int) -> float:
    """Return a noise multiplier that is surely enough, as long as the ring has room for it."""
    concentrated = (sqrt(log(1 / delta) + epsilon) - sqrt(log(1 / delta))) ** 2
    return min(MAX_NOISE, 1.5 * sqrt(rounds / (2 * concentrated)) + LEAST_NOISE)
