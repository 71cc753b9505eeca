"""Coins that fall true with probability exp(-x) exactly, many at a time, from a secure generator.

A coin compares a uniform number with exp(-x). Floating point does it wherever its own error can't change the answer; where
the two are closer than that, which happens about once in 2^28 coins, the comparison is made with as many decimal digits and
fresh random bits as it takes. So floats decide the speed, never the distribution: this is what noise whose low bits may be
looked at needs (Mironov 2012). Correctness rests on each caller's stated bound of its floating-point error, on numpy's exp
being right to a few units in the last place, and on :mod:`decimal`, whose exp and ln are correctly rounded.

Not protected: how long a call takes depends on what was drawn (Jin et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.keystream import Cipher, keystream
from securefl.errors import ParameterError
from securefl.types import Rng, Secret

KEY_SIZE = 32
GUARD_DIGITS = 30
"""Digits beyond those asked for: magnitudes up to 10^25 lose none of them."""
_U64 = np.dtype("<u8")

Exponent: TypeAlias = Callable[[int, int], Decimal]
"""``exponent(i, digits)``: the exact x of coin ``i``, within 10^-digits."""


def words(size: int, *, rng: Rng) -> NDArray[np.uint64]:
    """Return ``size`` uniform words of 64 bits: an AES-256 keystream under a fresh key of ``rng``."""
    return keystream(Secret(rng.bytes(KEY_SIZE)), size, _U64, cipher=Cipher.AES_256).astype(np.uint64, copy=False)


class LazyUniform:
    """A uniform number of [0, 1): its first 64 bits are given, more are drawn when a comparison needs them."""

    __slots__ = ("_bits", "_rng", "_value")

    def __init__(self, word: int, *, rng: Rng) -> None:
        self._value, self._bits, self._rng = word, 64, rng

    def below_exp(self, exponent: Callable[[int], Decimal]) -> bool:
        """Return whether it is under exp(-x); ``exponent(digits)`` gives x >= 0 within 10^-digits."""
        digits = 40
        while True:
            x = exponent(digits)
            # exp(-x) is irrational for every other rational x, so that the loop ends with probability 1.
            if x == 0:
                return True
            with localcontext() as context:
                context.prec = digits + GUARD_DIGITS
                edge, unit = (-x).exp(), Decimal(1 << self._bits)
                low, high = Decimal(self._value) / unit, Decimal(self._value + 1) / unit
            slack = Decimal(10) ** (1 - digits)
            if high <= edge - slack:
                return True
            if low >= edge + slack:
                return False
            self._value = self._value << 64 | int.from_bytes(self._rng.bytes(8), "little")
            self._bits, digits = self._bits + 64, digits + 20


def coins(exponents: NDArray[np.float64], exact: Exponent, *, error: float, rng: Rng) -> NDArray[np.bool_]:
    """Return independent coins, shape (n,), each true with probability exp(-x).

    Args:
        exponents: x >= 0 in floating point, shape (n,); infinity is a coin that is never true.
        exact: the same x to any number of digits.
        error: the most that exp(-exponents) may differ from the true probability, rounding of the exponential included.

    Raises:
        ParameterError: ``error`` is under 2^-50, which floating point can't promise.
    """
    if not 2.0**-50 <= error < 1:
        raise ParameterError(f"error={error} must be in [2^-50, 1)")
    drawn = words(len(exponents), rng=rng)
    gap = drawn * 2.0**-64 - np.exp(-exponents)
    fallen: NDArray[np.bool_] = gap < 0
    # Turning a word into a double may move it by 2^-53, which the factor covers.
    for i in np.flatnonzero(np.abs(gap) <= 1.25 * error).tolist():
        if np.isfinite(exponents[i]):
            fallen[i] = LazyUniform(int(drawn[i]), rng=rng).below_exp(partial(exact, i))
    return fallen
