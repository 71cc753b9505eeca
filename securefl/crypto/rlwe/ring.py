"""The ring Z_q[x] / (x^N + 1) with q a product of primes of 25 to 31 bits, and the security table that bounds q.

An element is its residues modulo each prime, uint32, shape (primes, N): addition and Shamir's sharing work prime by prime.
The primes are the largest below powers of two, so that a word cut to their length is nearly always a residue; they need no
root of unity, because products are computed by :mod:`securefl.crypto.rlwe.transform`.

Security: RLWE with ternary secrets and errors of standard deviation 3.2 at 128 bits against classical attacks, by the table
of [BCC+24] (edition of ePrint 2024/463, "classical, ternary"), which is a little stricter than the standard of 2018 (106
instead of 109 bits at N = 4096). Its table for quantum attacks allows 80 bits at N = 4096: no quantum algorithm breaks the
problem, but the margin under quantum sieving is below 128 bits.

Reference: [BCC+24] Bossuat and others: Security guidelines for implementing homomorphic encryption, ePrint 2024/463.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl.errors import ParameterError

SECURE_MODULUS_BITS: Mapping[int, int] = MappingProxyType({1024: 26, 2048: 53, 4096: 106, 8192: 214, 16384: 430})
"""The longest modulus for each degree at 128 bits: [BCC+24], classical attacks, ternary secrets."""

MAXIMUM_PRIME_BITS = 31
"""Two residues add in 32 bits."""

_WITNESSES = (2, 3, 5, 7)
"""Miller and Rabin's test with these is exact below 3.2 * 10^9 [Jaeschke 1993]."""

Residues: TypeAlias = NDArray[np.uint32]
"""Ring elements, shape (..., primes, N), each residue below its prime."""


@dataclass(frozen=True)
class Ring:
    """Degree and the primes' lengths. Any degree is a ring; :meth:`require_secure` is what protocols insist on.

    >>> Ring(4096, (26, 26, 26, 26)).primes
    (67108859, 67108837, 67108819, 67108777)
    """

    degree: int
    prime_bits: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.degree < 4 or self.degree & (self.degree - 1):
            raise ParameterError(f"degree={self.degree} must be a power of two >= 4")
        if not self.prime_bits or not all(12 <= bits <= MAXIMUM_PRIME_BITS for bits in self.prime_bits):
            raise ParameterError(f"prime_bits={self.prime_bits} must be in 12..{MAXIMUM_PRIME_BITS}, at least one")

    @cached_property
    def primes(self) -> tuple[int, ...]:
        """The largest primes of the given lengths, each once."""
        found: list[int] = []
        for bits in self.prime_bits:
            found.append(_largest_prime(min([1 << bits, *(p for p in found if p.bit_length() == bits)])))
        return tuple(found)

    @cached_property
    def modulus(self) -> int:
        """q, the product of the primes."""
        return math.prod(self.primes)

    @cached_property
    def column(self) -> NDArray[np.uint32]:
        """The primes, shape (primes, 1): broadcasts over elements."""
        return np.array(self.primes, np.uint32)[:, None]

    def require_secure(self) -> None:
        """Check the length of the modulus against the published table.

        Raises:
            ParameterError: the degree is not in the table, or the modulus is too long for 128-bit security.
        """
        limit = SECURE_MODULUS_BITS.get(self.degree)
        bits = self.modulus.bit_length()
        if limit is None or bits > limit:
            raise ParameterError(f"modulus of {bits} bits at degree={self.degree} must have <= {limit} (ePrint 2024/463)")

    def reduce(self, values: NDArray[np.int64]) -> Residues:
        """Return the residues of integers between -2^62 and 2^62, shape (..., primes, N) or broadcastable: (..., 1, N)."""
        out = np.empty((*values.shape[:-2], len(self.primes), values.shape[-1]), np.uint32)
        for row, prime in enumerate(self.primes):
            # A multiple of the prime lifts everything above zero: numpy divides unsigned words by a scalar with wide
            # instructions, signed ones or remainders one by one.
            lifted = (values[..., row if values.shape[-2] > 1 else 0, :] + prime * ((1 << 62) // prime + 1)).view(np.uint64)
            out[..., row, :] = lifted - lifted // np.uint64(prime) * np.uint64(prime)
        return out

    def add(self, total: Residues, addend: Residues) -> None:
        """Add ``addend`` to ``total`` in place, modulo every prime."""
        np.add(total, addend, out=total)
        # What is still below its prime wraps around when the prime is taken off, and loses the comparison.
        np.minimum(total, total - self.column, out=total)

    def add_all(self, total: Residues, addends: Iterable[Residues]) -> None:
        """Add every one of ``addends`` to ``total`` in place; reduced only when the next could pass 32 bits."""
        room = (1 << 32) // max(self.primes) - 1
        if room < 2:
            for addend in addends:
                self.add(total, addend)
            return
        for number, addend in enumerate(addends, start=1):
            np.add(total, addend, out=total)
            if number % room == 0:
                self._reduce_words(total)
        self._reduce_words(total)

    def _reduce_words(self, total: Residues) -> None:
        for row, prime in enumerate(self.primes):
            words = total[..., row, :]
            words -= words // np.uint32(prime) * np.uint32(prime)

    def subtract(self, total: Residues, amount: Residues) -> None:
        """Subtract ``amount`` from ``total`` in place, modulo every prime."""
        np.subtract(total, amount, out=total)
        np.minimum(total, total + self.column, out=total)

    def scale(self, element: Residues, factors: tuple[int, ...]) -> Residues:
        """Return ``element`` times a constant, given by its residue modulo each prime."""
        wide = element.astype(np.int64) * np.array(factors, np.int64)[:, None]
        return self.reduce(wide)


def zeros(ring: Ring, count: int) -> Residues:
    """Return ``count`` zero elements, shape (count, primes, N)."""
    return np.zeros((count, len(ring.primes), ring.degree), np.uint32)


@lru_cache(maxsize=64)
def _largest_prime(below: int) -> int:
    return next(number for number in range(below - 1, 1, -1) if _is_prime(number))


def _is_prime(number: int) -> bool:
    """Miller and Rabin's test, exact for numbers of at most 31 bits."""
    if number < 11 or number % 2 == 0:
        return number in (2, 3, 5, 7)
    odd = number - 1
    twos = (odd & -odd).bit_length() - 1
    odd >>= twos
    return all(_passes(number, witness, odd, twos) for witness in _WITNESSES)


def _passes(number: int, witness: int, odd: int, twos: int) -> bool:
    power = pow(witness, odd, number)
    return power in (0, 1, number - 1) or any((power := power * power % number) == number - 1 for _ in range(twos - 1))
