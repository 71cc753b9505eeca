"""Exact discrete Laplace draws, the proposals of the other discrete samplers ([CKS20] algorithm 2, vectorised).

P(x) is proportional to exp(-|x| / t) for an integer scale t. Every decision is an exact one (:mod:`securefl.dp.exact_coin`).

Canonne, Kamath, Steinke 2020, https://arxiv.org/abs/2004.00010.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import partial
from itertools import count

import numpy as np
from numpy.typing import NDArray

from securefl.dp.exact_coin import GUARD_DIGITS, LazyUniform, coins, words
from securefl.errors import ParameterError
from securefl.types import Rng

MAX_SCALE = 1 << 40
"""A draw stays below 64 scales but for a chance of e^-64; 2^46 is an exact double and far from the end of int64."""
CHUNK_LEN = 1 << 15
"""Proposals at a time: all passes stay in the second-level cache."""
_COIN_ERROR = 2.0**-48
_LOG_ERROR = 2.0**-36


def laplace_proposals(scale: int, size: int, *, rng: Rng) -> NDArray[np.int64]:
    """Return at most ``size`` exact discrete Laplace draws, int64: each of ``size`` proposals is kept with probability ~0.63.

    Raises:
        ParameterError: ``scale`` is outside 1..2^40.
    """
    if not 1 <= scale <= MAX_SCALE:
        raise ParameterError(f"scale={scale} must be in 1..2^40")
    drawn = words(3 * size, rng=rng).reshape(3, size)
    residue, fair = residues(drawn[0], scale)

    def exact(i: int, digits: int) -> Decimal:
        with localcontext() as context:
            context.prec = digits + GUARD_DIGITS
            return Decimal(int(residue[i])) / scale

    kept = fair & coins(residue / scale, exact, error=_COIN_ERROR, rng=rng)
    magnitude = residue + scale * _geometric(drawn[1], rng=rng)
    negative = (drawn[2] & np.uint64(1)).astype(np.bool_)
    # Zero has one sign only.
    kept &= ~(negative & (magnitude == 0))
    signed: NDArray[np.int64] = np.where(negative, -magnitude, magnitude)[kept]
    return signed


def residues(drawn: NDArray[np.uint64], scale: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return words modulo ``scale``, int64, and which of them may be used: each residue comes from equally many words."""
    # A word of the last, incomplete run of residues would favour small ones.
    last = (1 << 64) // scale * scale - 1
    return (drawn % np.uint64(scale)).astype(np.int64), drawn <= np.uint64(last)


def _geometric(drawn: NDArray[np.uint64], *, rng: Rng) -> NDArray[np.int64]:
    """Return V with P(V >= k) = exp(-k): how many of e^-1, e^-2, ... a uniform number is under."""
    logs = -np.log(np.maximum(drawn * 2.0**-64, 2.0**-64))
    found: NDArray[np.int64] = np.floor(logs).astype(np.int64)
    close = np.abs(logs - np.rint(logs)) <= _LOG_ERROR
    # Near zero the relative error of a 64-bit number is no longer small.
    for i in np.flatnonzero(close | (drawn < np.uint64(1 << 40))).tolist():
        found[i] = _successes(LazyUniform(int(drawn[i]), rng=rng))
    return found


def _successes(uniform: LazyUniform) -> int:
    """Return how many of e^-1, e^-2, ... the number is under."""
    return next(k for k in count() if not uniform.below_exp(partial(_constant, Decimal(k + 1))))


def _constant(value: Decimal, digits: int) -> Decimal:
    """Return ``value``, which is exact at any number of digits."""
    return value


def accepted(size: int, draw: Callable[[int], NDArray[np.int64]], *, rate: float) -> NDArray[np.int64]:
    """Return ``size`` independent draws, int64, of a rejection sampler.

    Args:
        draw: returns what is accepted of so many proposals.
        rate: about how many of the proposals are; only the speed depends on it.
    """
    out = np.empty(size, dtype=np.int64)
    have = 0
    while have < size:
        found = draw(min(CHUNK_LEN, int((size - have) / rate * 1.05) + 16))[: size - have]
        out[have : have + len(found)] = found
        have += len(found)
    return out
