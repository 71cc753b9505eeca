"""Raw CKKS decryptions give the key away: key recovery on a toy of the scheme [LM21], with and without our noise.

A decrypted CKKS vector is message plus error, ``m' = b + a s`` in the ring. Who sees ``m'`` exactly, and the ciphertext, solves
a linear system for ``s``. Release hides the error under noise of the size that :mod:`securefl.crypto.flooding` computes, and
rounds; the same attack then solves for a wrong key. The toy has degree 64 and one prime, and protects nothing by itself.

Reference: [LM21] Li, Micciancio: On the security of homomorphic encryption on approximate numbers, Eurocrypt 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attacks.conformance.lab import Deviation, Lab, Outcome
from securefl.crypto.flooding import SumPrecision, gaussian
from securefl.types import Rng

DEGREE = 64
PRIME = (1 << 61) - 1
LIMIT = 1 << 20
"""Largest value that a slot carries, in steps."""
Words = NDArray[np.object_]
Release = Callable[[NDArray[np.complex128], Rng], NDArray[np.complex128]]

PRECISION = SumPrecision(
    degree=DEGREE, modulus_bits=61, clients=1, limit=LIMIT, ciphertexts=1, releases=1, statistical_bits=40
)


def _embedding() -> NDArray[np.complex128]:
    """Return the matrix that evaluates a polynomial at the odd powers of a root of unity, shape (DEGREE, DEGREE)."""
    points = np.exp(1j * np.pi * (2 * np.arange(DEGREE) + 1) / DEGREE)
    return np.asarray(points[:, None] ** np.arange(DEGREE)[None, :])


EMBEDDING = _embedding()


def _uniform(size: int, bound: int, rng: Rng) -> Words:
    return np.array([int.from_bytes(rng.bytes(16), "little") % bound for _ in range(size)], dtype=object)


def negacyclic(poly: Words) -> Words:
    """Return the matrix of the multiplication by ``poly`` modulo x^n + 1, shape (n, n)."""
    n = len(poly)
    return np.array([[poly[i - j] if i >= j else -poly[n + i - j] for j in range(n)] for i in range(n)], dtype=object)


@dataclass(frozen=True, slots=True)
class ToyCkks:
    """A secret-key CKKS of degree 64; ``secret`` is ternary."""

    secret: Words = field(repr=False)

    @classmethod
    def make(cls, rng: Rng) -> ToyCkks:
        """Return a fresh key."""
        return cls(_uniform(DEGREE, 3, rng) - 1)

    def encrypt(self, values: NDArray[np.float64], rng: Rng) -> tuple[Words, Words]:
        """Return (b, a) with b = m + e - a s for real ``values``, shape (DEGREE / 2,)."""
        both = np.concatenate([values, values[::-1]])
        coefficients = np.linalg.solve(EMBEDDING, both.astype(np.complex128)).real
        message = np.array([round(c * PRECISION.scale) for c in coefficients], dtype=object)
        mask, error = _uniform(DEGREE, PRIME, rng), _uniform(DEGREE, 9, rng) - 4
        return (message + error - negacyclic(mask) @ self.secret) % PRIME, mask

    def decrypt(self, ciphertext: tuple[Words, Words]) -> NDArray[np.complex128]:
        """Return the raw slots, the error of encryption in them."""
        b, a = ciphertext
        raw = (b + negacyclic(a) @ self.secret) % PRIME
        centred = np.array([float(c - PRIME if c > PRIME // 2 else c) for c in raw])
        return np.asarray(EMBEDDING @ centred / PRECISION.scale)


def flooded(values: NDArray[np.complex128], rng: Rng) -> NDArray[np.complex128]:
    """Return what a decryptor of ours releases: real parts under Gaussian noise, rounded to whole steps."""
    noise = gaussian(DEGREE // 2, PRECISION.flooding_std, rng=rng)
    real = np.rint(values[: DEGREE // 2].real + noise)
    return np.concatenate([real, real[::-1]]).astype(np.complex128)


def solve_modulo(matrix: Words, right: Words, prime: int) -> Words | None:
    """Return x with ``matrix x = right`` modulo ``prime`` by elimination, ``None`` if the matrix is singular."""
    rows = np.concatenate([matrix % prime, (right % prime)[:, None]], axis=1)
    size = len(rows)
    for column in range(size):
        pivot = next((i for i in range(column, size) if rows[i, column]), None)
        if pivot is None:
            return None
        rows[[column, pivot]] = rows[[pivot, column]]
        rows[column] = rows[column] * pow(int(rows[column, column]), -1, prime) % prime
        others = np.flatnonzero(np.arange(size) != column)
        rows[others] = (rows[others] - rows[others, column][:, None] * rows[column][None, :]) % prime
    return np.asarray(rows[:, -1])


def recovered_key(ciphertext: tuple[Words, Words], released: NDArray[np.complex128]) -> Words | None:
    """Return the key that explains ``released`` as the exact decryption of ``ciphertext``."""
    b, a = ciphertext
    coefficients = np.linalg.solve(EMBEDDING, released).real
    message = np.array([round(c * PRECISION.scale) for c in coefficients], dtype=object)
    found = solve_modulo(negacyclic(a), message - b, PRIME)
    return None if found is None else np.where(found > PRIME // 2, found - PRIME, found)


def key_recovery(lab: Lab, release: Release = flooded) -> Outcome:
    """Encrypt known values, see what is released for them, and solve for the key."""
    key = ToyCkks.make(lab.rng)
    values = np.random.default_rng(1).integers(-1000, 1001, DEGREE // 2).astype(np.float64)
    ciphertext = key.encrypt(values, lab.rng)
    found = recovered_key(ciphertext, release(key.decrypt(ciphertext), lab.rng))
    if found is not None and np.array_equal(found, key.secret):
        return Outcome("succeeded", f"recovered all {DEGREE} coefficients of the key from one released vector")
    right = 0 if found is None else int((found == key.secret).sum())
    return Outcome("failed", f"{right} of {DEGREE} coefficients of the toy key are right")


RAW = Deviation(
    name="raw_ckks_decryption",
    view="V5",
    against=("ckks",),
    run=key_recovery,
    broken="tests/attacks/test_conformance_sums.py::test_raw_decryptions_give_the_key_away",
)
