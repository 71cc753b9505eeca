"""Shamir's sharing of ring elements, coefficient by coefficient and prime by prime, and the check that a dealer dealt one.

Any ``threshold`` shares give the element; fewer are uniform, whatever the element is. The check: for a public random vector
rho, every holder publishes B(x_j) + sum rho_m F(x_j)_m modulo each prime, where B is a uniform polynomial of degree threshold
- 1 that the dealer dealt beside the shares. Dealt shares that lie on no polynomial of that degree pass a repetition with
probability 1 / p, so that three repetitions leave less than 2^-60; the published values are points of a uniform polynomial
and say nothing about the share. Rho must be unpredictable when the dealer deals.

NOT shown by the check: that the shared element is the one in a public key. Reference: Shamir 1979.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from securefl.crypto.rlwe.ring import Residues, Ring
from securefl.crypto.rlwe.samplers import expand_uniform, fresh_key
from securefl.errors import ParameterError, VerificationError
from securefl.types import Rng

SOUNDNESS_BITS = 60


def repetitions(ring: Ring) -> int:
    """Return how often the check is repeated, so that it is wrong with probability at most 2^-60 modulo any prime."""
    return -(-SOUNDNESS_BITS // (min(ring.prime_bits) - 1))


def deal(secret: Residues, ring: Ring, *, threshold: int, points: Sequence[int], rng: Rng) -> dict[int, Residues]:
    """Return a share of ``secret``, shape (primes, size) with size <= N, for each of ``points``.

    Raises:
        ParameterError: the threshold or a point is outside its bound.
    """
    if not 1 <= threshold <= len(points):
        raise ParameterError(f"threshold={threshold} must be in 1..{len(points)}")
    if len(set(points)) != len(points) or not all(0 < point < min(ring.primes) for point in points):
        raise ParameterError("share points must be distinct, above 0 and below every prime")
    coefficients = expand_uniform(fresh_key(rng), ring, threshold - 1)[:, :, : secret.shape[-1]]
    return {point: _evaluate(secret, coefficients, point, ring) for point in points}


def _evaluate(secret: Residues, coefficients: Residues, point: int, ring: Ring) -> Residues:
    value = np.zeros(secret.shape, np.uint32)
    for coefficient in (*coefficients[::-1], secret):
        value = ring.reduce(value.astype(np.int64) * point + coefficient)
    return value


def weights_at_zero(points: tuple[int, ...], primes: tuple[int, ...]) -> Mapping[int, tuple[int, ...]]:
    """Return Lagrange's coefficient at zero of each point, modulo each prime."""
    return _weights(points, primes, 0)


@lru_cache(maxsize=1024)
def _weights(points: tuple[int, ...], primes: tuple[int, ...], at: int) -> Mapping[int, tuple[int, ...]]:
    return {point: tuple(_weight(point, points, prime, at) for prime in primes) for point in points}


def _weight(point: int, points: Sequence[int], prime: int, at: int) -> int:
    numerator = denominator = 1
    for other in points:
        if other != point:
            numerator = numerator * (at - other) % prime
            denominator = denominator * (point - other) % prime
    return numerator * pow(denominator, -1, prime) % prime


def combine(shares: Mapping[int, Residues], ring: Ring) -> Residues:
    """Return the element whose shares, as many as its threshold, are given by their points."""
    weights = weights_at_zero(tuple(sorted(shares)), ring.primes)
    total = np.zeros_like(next(iter(shares.values())))
    for point, share in shares.items():
        ring.add(total, ring.scale(share, weights[point]))
    return total


def check_values(share: Residues, blinding: Residues, challenge: Residues, ring: Ring) -> Residues:
    """Return what a holder publishes about its share, shape (primes, repetitions).

    Args:
        share: shape (primes, N).
        blinding: the holder's share of the blinding values, shape (primes, repetitions).
        challenge: public random elements, shape (repetitions, primes, N).
    """
    wide = challenge.astype(np.int64) * share.astype(np.int64)
    sums = ring.reduce(wide).astype(np.int64).sum(axis=-1)
    return ring.reduce(sums.T + blinding)


def verify_degree(values: Mapping[int, Residues], threshold: int, ring: Ring) -> None:
    """Check that published values, by point, lie on polynomials of degree ``threshold`` - 1.

    Raises:
        VerificationError: they do not.
    """
    points = sorted(values)
    base = tuple(points[:threshold])
    known = np.stack([values[point] for point in base]).astype(np.int64)
    for point in points[threshold:]:
        weights = _weights(base, ring.primes, point)
        factors = np.array([weights[one] for one in base], np.int64)[:, :, None]
        expected = ring.reduce(ring.reduce(known * factors).sum(axis=0, dtype=np.int64))
        if not np.array_equal(expected, values[point]):
            raise VerificationError(f"dealt shares do not lie on a polynomial of degree {threshold - 1} (point {point})")
