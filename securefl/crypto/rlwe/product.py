"""A fixed ring element times many others: residues times short polynomials, and residues times residues.

Sums are taken in double precision on integers below 2^53, where they are exact: reduction modulo a prime is
x - p * rint(x / p). A short factor (a ternary polynomial) meets whole residues; two long factors are each cut into two
digits of half a residue's length, so that the transform stays within its proven error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.rlwe.ring import Residues, Ring
from securefl.crypto.rlwe.transform import Spectrum, invert, require_exact, transform

_DIGIT_BITS = 16
"""Half of the longest prime."""

_DIGIT_LIMIT = 1 << (_DIGIT_BITS - 1)


def reduce_centred(values: NDArray[np.float64], ring: Ring) -> None:
    """Bring integers, shape (..., primes, N), below half their prime in place. Pre-condition: they are below 2^52."""
    column = ring.column.astype(np.float64)
    quotient = np.multiply(values, 1.0 / column)
    np.rint(quotient, out=quotient)
    np.multiply(quotient, column, out=quotient)
    np.subtract(values, quotient, out=values)


def centred(element: Residues, ring: Ring) -> NDArray[np.float64]:
    """Return the residues between -p/2 and p/2."""
    column = ring.column
    signed = element.astype(np.float64)
    np.subtract(signed, column, out=signed, where=element > column // 2)
    return signed


def canonical(values: NDArray[np.float64], ring: Ring) -> Residues:
    """Return residues in 0..p-1 of integers that are above -p and below p."""
    signed = values.astype(np.int32)
    # A negative number is a large unsigned one; adding its prime brings it back.
    unsigned = signed.view(np.uint32)
    residues: Residues = np.minimum(unsigned, unsigned + ring.column)
    return residues


class ShortMultiplier:
    """A fixed element that is multiplied by polynomials with coefficients in {-1, 0, 1}."""

    __slots__ = ("_ring", "_spectrum")

    def __init__(self, element: Residues, ring: Ring) -> None:
        """Transform ``element``, shape (primes, N), once.

        Raises:
            ParameterError: the primes are too long for an exact product.
        """
        require_exact(ring.degree, max(ring.primes) / 2, 1.0)
        self._ring = ring
        self._spectrum = transform(centred(element, ring))

    def times(self, short: Spectrum) -> NDArray[np.float64]:
        """Return the products with the polynomials of spectrum ``short``, shape (count, 1, N / 2): integers, not reduced.

        They are at most N * p / 2, below 2^43, shape (count, primes, N).
        """
        return invert(self._spectrum * short)


class Multiplier:
    """A fixed element that is multiplied by arbitrary elements: a share of the key."""

    __slots__ = ("_high", "_low", "_ring")

    def __init__(self, element: Residues, ring: Ring) -> None:
        """Transform the two digits of ``element``, shape (primes, N), once.

        Raises:
            ParameterError: the primes are too long for an exact product.
        """
        high_limit = max(ring.primes) / 2**_DIGIT_BITS + 1
        require_exact(ring.degree, _DIGIT_LIMIT, _DIGIT_LIMIT)
        require_exact(ring.degree, 2 * _DIGIT_LIMIT, high_limit)  # two products of a low and a high digit
        self._ring = ring
        low, high = _digits(element)
        self._low, self._high = transform(low), transform(high)

    def times(self, elements: Residues) -> NDArray[np.float64]:
        """Return the products with ``elements``, shape (count, primes, N): integers between -p/2 and p/2."""
        low, high = _digits(elements)
        low_spectrum, high_spectrum = transform(low), transform(high)
        total = self._reduced(high_spectrum * self._high)
        total *= 1 << _DIGIT_BITS
        total += self._reduced(high_spectrum * self._low + low_spectrum * self._high)
        reduce_centred(total, self._ring)
        total *= 1 << _DIGIT_BITS
        total += self._reduced(low_spectrum * self._low)
        reduce_centred(total, self._ring)
        return total

    def _reduced(self, spectrum: Spectrum) -> NDArray[np.float64]:
        product = invert(spectrum)
        reduce_centred(product, self._ring)
        return product


def _digits(elements: Residues) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return low and high digit: residue = low + 2^16 high, low in [-2^15, 2^15), high in 0..2^15."""
    lifted = elements + np.uint32(_DIGIT_LIMIT)
    low = (lifted & np.uint32((1 << _DIGIT_BITS) - 1)).astype(np.float64)
    low -= _DIGIT_LIMIT
    return low, (lifted >> np.uint32(_DIGIT_BITS)).astype(np.float64)


def multiply(left: Residues, right: Residues, ring: Ring) -> Residues:
    """Return the product of two elements, shape (primes, N)."""
    return canonical(Multiplier(left, ring).times(right[None])[0], ring)
