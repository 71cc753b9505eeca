"""Clip a whole update and round it to integer steps so that its Euclidean norm is bounded exactly, in integers.

Randomised rounding keeps the mean right; what it may add to the norm is bounded by drawing again until the rounded vector is
inside ([KLS21] algorithm 1, conditional randomised rounding). The bound is checked on integers, so floating point decides
about accuracy alone. Kairouz, Liu, Steinke 2021, https://arxiv.org/abs/2102.06387.
"""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from securefl.dp.exact_coin import words
from securefl.errors import ParameterError
from securefl.types import FloatVector, Rng

MAX_SQUARE = 1 << 60
"""A larger squared norm might not fit the 64 bits that it is summed in."""


def norm_bound_squared(norm: float, length: int) -> int:
    """Return the squared norm, in steps, that rounding a vector of ``norm`` steps and ``length`` coordinates is kept to.

    min(c^2 + d/4 + c + sqrt(d)/2, (c + sqrt(d))^2), [KLS21] theorem 1 with beta = exp(-1/2): a first draw is inside with
    probability at least 1 - beta.

    Raises:
        ParameterError: the norm is under one step, the vector is empty, or the bound is 2^60 or more.
    """
    if not norm >= 1 or length < 1:
        raise ParameterError(f"norm={norm} and length={length} must be >= 1")
    root = sqrt(length)
    bound = min(norm * norm + length / 4 + norm + root / 2, (norm + root) ** 2)
    if not bound < MAX_SQUARE:
        raise ParameterError(f"norm={norm:g} steps must be < 2^30")
    return ceil(bound)


def clipped(update: FloatVector, norm: float) -> NDArray[np.float64]:
    """Return ``update``, float64, scaled down to Euclidean ``norm`` where it is longer; zero where it is not finite.

    A vector that isn't finite counts as zero: an error would tell others about the data.
    """
    values = update.astype(np.float64)
    length = float(np.linalg.norm(values))
    if not np.isfinite(length):
        return np.zeros_like(values)
    return values * (norm / length) if length > norm else values


def conditional_rounding(steps: NDArray[np.float64], *, bound_squared: int, rng: Rng) -> NDArray[np.int64]:
    """Return ``steps`` rounded at random to neighbouring integers, int64, with a squared norm of at most ``bound_squared``.

    Raises:
        ParameterError: no draw can be inside, because rounding towards zero already is not.
    """
    if _square(np.trunc(steps)) > bound_squared:
        raise ParameterError(f"norm={np.linalg.norm(steps):g} steps can't be rounded to within sqrt({bound_squared})")
    while True:
        uniform = (words(len(steps), rng=rng) >> np.uint64(11)) * 2.0**-53
        rounded = np.floor(steps + uniform)
        if _square(rounded) <= bound_squared:
            return rounded.astype(np.int64)


def _square(whole: NDArray[np.float64]) -> int:
    """Return the exact squared norm of whole numbers, 2^60 where it is that or more."""
    if float(np.square(whole).sum()) >= MAX_SQUARE:
        return MAX_SQUARE
    integers = whole.astype(np.int64)
    return int(integers @ integers)
