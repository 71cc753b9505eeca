"""How much noise a decrypted CKKS sum needs before it leaves its decryptor, and what precision is then left.

A decrypted CKKS vector is the message plus an error that is linear in the secret key, so that raw decryptions give the key
away [LM21]. Gaussian noise on every released number hides the error: the released distribution and the one without the
error differ by ``KL = |error|^2 / (2 std^2)``. The rule of [LMSS22] for ``q`` releases and ``k`` bits of statistical security,
``KL <= 2^(-k-7) / q``, gives ``std = 8 * sqrt(q) * 2^(k/2) * |error|``. A release is a whole vector: ``|error|`` is the
Euclidean norm over all its ciphertexts. With ``k = 40`` the total variation distance over all releases of a key is at most
2^-24 by Pinsker's inequality, whatever the adversary's test.

The error's norm is bounded for honestly made ciphertexts. NOT covered: a dishonest encryptor who sends a ciphertext with a
larger error, and the pseudo-random generator of the homomorphic library itself. The noise is a rounded Gaussian in double
precision, truncated at 8.6 standard deviations (probability under 2^-53 a number): rounding to whole quantiser steps
removes the low-order bits, whose pattern would give the sum away [Mir12].

References: [LM21] Li, Micciancio: On the security of homomorphic encryption on approximate numbers, Eurocrypt 2021.
[LMSS22] Li, Micciancio, Schultz, Sorrell: Securing approximate homomorphic encryption using differential privacy, Crypto 2022.
[Mir12] Mironov: On significance of the least significant bits for differential privacy, CCS 2012.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.errors import CapacityError, ParameterError
from securefl.types import Rng

TRUNCATION = math.sqrt(2 * 53 * math.log(2))
"""No draw of :func:`gaussian` is larger than this many standard deviations: the smallest uniform is 2^-53."""

ERROR_STDS = 10.0
"""Encryption errors are bounded at ten standard deviations: passed with probability under 2^-75 a number."""

_SLOT_EXCESS = 36.0
"""How far |s|^2 at one slot is above ``degree`` at most: it is distributed exponentially around 2/3 of it, e^-54 is 2^-77."""


def gaussian(size: int, std: float, *, rng: Rng) -> NDArray[np.float64]:
    """Return ``size`` normal draws with mean 0, shape (size,), by Box and Muller's method on 53-bit uniforms."""
    pairs = (size + 1) // 2
    words = np.frombuffer(rng.bytes(16 * pairs), "<u8") >> np.uint64(11)
    uniform = (words.astype(np.float64) + 1.0) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[:pairs])) * std
    angle = 2.0 * np.pi * uniform[pairs:]
    return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:size]


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPrecision:
    """Scale, flooding and error of a CKKS sum, all in units of the summed integers ("steps").

    Attributes:
        degree: of the ring; a ciphertext carries degree / 2 numbers.
        modulus_bits: of the ciphertext modulus while numbers are in it.
        clients: summands.
        limit: the largest absolute value of a coordinate of the sum.
        ciphertexts: in one vector.
        releases: vectors released under one key.
        statistical_bits: k in the module's formula.
    """

    degree: int
    modulus_bits: int
    clients: int
    limit: int
    ciphertexts: int
    releases: int
    statistical_bits: int

    def __post_init__(self) -> None:
        if min(self.clients, self.limit, self.ciphertexts, self.releases) < 1:
            raise ParameterError("clients, limit, ciphertexts and releases must all be >= 1")
        if not 20 <= self.statistical_bits <= 128:
            raise ParameterError(f"statistical_bits={self.statistical_bits} must be in 20..128")
        if self.scale < 1.0 or self.error_bound > self.limit:
            raise CapacityError(
                f"a modulus of {self.modulus_bits} bits leaves no precision: error {self.error_bound:.3g} of {self.limit} steps"
            )

    @property
    def scale(self) -> float:
        """The largest power of two at which the sum stays under half the modulus: as high as the modulus allows.

        A polynomial's coefficients are at most its largest slot, so ``limit * scale < modulus / 2`` suffices; the encryption
        error is far below ``scale``, the room between ``limit`` and the next power of two.
        """
        return 2.0 ** (self.modulus_bits - 1 - self.limit.bit_length())

    @property
    def error_std(self) -> float:
        """Standard deviation of a coefficient's error in the sum, at most, times the scale.

        A public-key encryption at the top level is divided by the special prime, which leaves the rounding error
        t0 + t1 s with t uniform in [-1/2, 1/2] and |s|^2 <= degree for a ternary key.
        """
        return math.sqrt(self.clients * (1 + self.degree) / 12)

    @property
    def flooding_std(self) -> float:
        """Standard deviation of the noise on every released number, in steps."""
        norm = self.error_std * math.sqrt(self.degree * self.ciphertexts)
        # The canonical embedding stretches coefficients by sqrt(degree / 2) onto real and imaginary parts of the slots; the
        # real ones alone are released, with half of the error's energy. That |s|^2 is 2/3 of its bound leaves room for chance.
        stretched = norm * math.sqrt(self.degree / 2) * math.sqrt(0.5)
        return 8 * math.sqrt(self.releases) * 2 ** (self.statistical_bits / 2) * stretched / self.scale

    @property
    def encryption_bound(self) -> float:
        """The most that a slot's real part is wrong by encryption, in steps: t0 + t1 s at the slot with the largest secret."""
        return ERROR_STDS * self.error_std * math.sqrt(self.degree / 2 * _SLOT_EXCESS) / self.scale

    @property
    def error_bound(self) -> float:
        """The most that a released number differs from the exact sum: noise, encryption, encoding and final rounding."""
        # Half a unit in each of ``degree`` coefficients, all with the sign of their root's real part at worst.
        encoding = self.clients * self.degree / 2 / self.scale
        arithmetic = (self.clients + 1) * self.limit * 2.0**-45
        return TRUNCATION * self.flooding_std + self.encryption_bound + encoding + arithmetic + 0.5

    @property
    def distance_bits(self) -> float:
        """Minus the base-2 logarithm of the total variation distance over all releases of a key (Pinsker)."""
        return (self.statistical_bits + 8) / 2
