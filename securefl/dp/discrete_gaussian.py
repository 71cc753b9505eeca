"""Exact draws of the discrete Gaussian: P(x) proportional to exp(-x^2 / (2 variance)) on the integers ([CKS20] algorithm 3).

Integers only: no floating-point noise, so nothing can be read from low bits. The variance parameter is a fraction; the
distribution's true variance is a little smaller, by less than one in 10^6 from variance 1 on. A sum of two discrete
Gaussians is NOT one: what a sum costs is in :mod:`securefl.dp.distributed`.

Canonne, Kamath, Steinke 2020, https://arxiv.org/abs/2004.00010.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from securefl.dp.discrete_laplace import accepted, laplace_proposals
from securefl.dp.exact_coin import GUARD_DIGITS, coins
from securefl.errors import ParameterError
from securefl.types import Rng

_COIN_ERROR = 2.0**-45
"""Centre and square are computed in doubles: exp(-x) is off by at most 2^-47, whatever x is."""
_RATE = 0.45


def discrete_gaussian(size: int, *, variance: Fraction, rng: Rng) -> NDArray[np.int64]:
    """Return ``size`` independent exact draws, int64, shape (size,).

    Raises:
        ParameterError: ``variance`` is not > 0, or its root is above 2^40.
    """
    if not variance > 0:
        raise ParameterError(f"variance={variance} must be > 0")
    scale = isqrt(variance.numerator // variance.denominator) + 1
    centre = variance / scale
    near, width = float(centre), 2.0 * float(variance)

    def draw(proposals: int) -> NDArray[np.int64]:
        found = laplace_proposals(scale, proposals, rng=rng)
        away = np.abs(found) - near

        def exact(i: int, digits: int) -> Decimal:
            x = (abs(int(found[i])) - centre) ** 2 / (2 * variance)
            with localcontext() as context:
                context.prec = digits + GUARD_DIGITS
                return Decimal(x.numerator) / x.denominator

        return found[coins(away * away / width, exact, error=_COIN_ERROR, rng=rng)]

    return accepted(size, draw, rate=_RATE)
