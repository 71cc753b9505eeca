"""Exact draws of the Skellam distribution: the difference of two Poisson variables of the same integer rate.

A sum of independent Skellam variables is Skellam again, so shares of noise add up to exactly the noise that was priced
(Agarwal, Kairouz, Liu 2021). Integers only. The Poisson variables are drawn by exact rejection from discrete Laplace
proposals about the rate: with t = isqrt(rate) + 4 the ratio of p(rate + j) / p(rate) to exp(-|j| / t) is at most
exp(1/2 + 2/t). (Right of the mode the logarithm of p falls faster than the integral of ln(1 + i / (rate + 1)), left of it
faster than j (j - 1) / (2 rate); both maxima are below 1/2 + 2/t for t >= 4, t^2 >= rate + 1.)

Agarwal, Kairouz, Liu 2021, https://arxiv.org/abs/2110.04995; the deviance form of p is Loader's (2000).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from math import comb, factorial, isqrt, log, perm, pi

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlog1py

from securefl.dp.discrete_laplace import MAX_SCALE, accepted, laplace_proposals
from securefl.dp.exact_coin import GUARD_DIGITS, coins
from securefl.errors import ParameterError
from securefl.types import Rng

_COIN_ERROR = 2.0**-30
"""The deviance is a difference of near numbers; its error is below 2^-34 at every rate."""
_RATE = 0.25
_SMALL = 16
_SERIES_LIMIT = 2.0**-5
_SERIES_TERMS = 14


def skellam(size: int, *, variance: int, rng: Rng) -> NDArray[np.int64]:
    """Return ``size`` independent exact draws with mean 0 and ``variance``, int64, shape (size,).

    Raises:
        ParameterError: ``variance`` is not an even number >= 2, or its root is above 2^40.
    """
    if variance < 2 or variance % 2:
        raise ParameterError(f"variance={variance} must be an even integer >= 2")
    one, other = (centred_poisson(size, rate=variance // 2, rng=rng) for _ in range(2))
    return one - other


def centred_poisson(size: int, *, rate: int, rng: Rng) -> NDArray[np.int64]:
    """Return ``size`` exact draws of a Poisson variable less its mean ``rate``, int64, shape (size,).

    Raises:
        ParameterError: ``rate`` is outside 1..2^79.
    """
    if not (rate >= 1 and isqrt(rate) + 4 <= MAX_SCALE):
        raise ParameterError(f"rate={rate} must be in 1..2^79")
    scale = isqrt(rate) + 4

    def draw(proposals: int) -> NDArray[np.int64]:
        found = laplace_proposals(scale, proposals, rng=rng)
        exponents = 0.5 + (2.0 - np.abs(found)) / scale - log_ratio(found, rate)
        return found[coins(exponents, _exact(found, rate, scale), error=_COIN_ERROR, rng=rng)]

    return accepted(size, draw, rate=_RATE)


def log_ratio(away: NDArray[np.int64], rate: int) -> NDArray[np.float64]:
    """Return ln p(rate + away) - ln p(rate) of the Poisson distribution, minus infinity below zero events."""
    mean = float(rate)
    share = away / mean
    inside = np.maximum(share, -1.0)
    exact = xlog1py(1.0 + inside, inside) - inside
    small = np.clip(share, -_SERIES_LIMIT, _SERIES_LIMIT)
    series = np.zeros_like(small)
    # (1 + u) ln(1 + u) - u, by Horner: the direct form loses the digits that the rate multiplies.
    for n in range(_SERIES_TERMS, 1, -1):
        series = series * small + (1 if n % 2 == 0 else -1) / (n * (n - 1))
    deviance = mean * np.where(np.abs(share) <= _SERIES_LIMIT, series * small * small, exact)
    ratio = -deviance - _stirling_rest(np.maximum(away + mean, 0.0)) + _stirling_rest(np.array([mean]))
    return np.where(away + rate >= 0, ratio, -np.inf) if rate < 1 << 62 else ratio


def _stirling_rest(k: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ln k! - k ln k + k."""
    table = np.array([log(factorial(i)) - (i * log(i) if i else 0.0) + i for i in range(_SMALL)])
    large = np.maximum(k, float(_SMALL))
    tail = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / large**2) / large**2) / large**2) / large
    series = 0.5 * np.log(2 * pi * large) + tail
    return np.where(k < _SMALL, table[np.minimum(k, _SMALL - 1.0).astype(np.int64)], series)


def _exact(found: NDArray[np.int64], rate: int, scale: int) -> Callable[[int, int], Decimal]:
    def exponent(i: int, digits: int) -> Decimal:
        away = int(found[i])
        with localcontext() as context:
            context.prec = digits + GUARD_DIGITS
            ratio = away * Decimal(rate).ln() - ln_factorial(rate + away) + ln_factorial(rate)
            return Decimal("0.5") + Decimal(2 - abs(away)) / scale - ratio

    return exponent


def ln_factorial(k: int) -> Decimal:
    """Return ln k! - ln(2 pi) / 2 to the precision of the current decimal context: the constant cancels in every ratio.

    Stirling's series, whose remainder is smaller than the first term left out; a small k is moved up by the exact product.
    """
    with localcontext() as context:
        wanted = context.prec
        context.prec = wanted + 10
        n = max(k, 4 * wanted)
        x = Decimal(n)
        total, smallest = x * x.ln() - x + x.ln() / 2, Decimal(10) ** -wanted
        for i in range(1, n):
            bernoulli = _bernoulli(2 * i)
            term = Decimal(bernoulli.numerator) / bernoulli.denominator / (2 * i * (2 * i - 1) * x ** (2 * i - 1))
            total += term
            if abs(term) < smallest:
                break
        return total - Decimal(perm(n, n - k)).ln()


@cache
def _bernoulli(m: int) -> Fraction:
    """Return the Bernoulli number B_m, by its recursion."""
    return Fraction(m == 0) - sum((comb(m, k) * _bernoulli(k) / (m - k + 1) for k in range(m)), Fraction(0))
