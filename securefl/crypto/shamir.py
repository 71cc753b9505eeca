"""Shamir's secret sharing of 32-byte secrets over the prime field of 2^256 + 297 (the first prime above 2^256).

Any ``threshold`` shares give the secret; fewer give nothing, information-theoretically (proofs: Shamir.v). A wrong share is
NOT detected here: callers check the combined secret against a commitment or a public key. Python integers are not constant
in time. Reference: Shamir 1979.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from securefl.errors import DecodeError, ParameterError, VerificationError
from securefl.types import Secret

PRIME = (1 << 256) + 297
SECRET_SIZE = 32
SHARE_SIZE = 33
"""A share is a field element, little-endian; the field is a little larger than the secrets."""

_COEFFICIENT_SIZE = 48
"""Bytes reduced modulo the prime for a coefficient: its bias is below 2^-127."""


def rand_size(threshold: int) -> int:
    """Return how many random bytes :func:`split` needs."""
    return (threshold - 1) * _COEFFICIENT_SIZE


def split(secret: Secret, *, threshold: int, points: Sequence[int], rand: bytes) -> dict[int, Secret]:
    """Return a share for each of ``points``, any ``threshold`` of which give ``secret``.

    Pre-condition: ``len(rand) == rand_size(threshold)``, uniform, used once.

    Raises:
        ParameterError: a size, the threshold or a point is outside its bound.
    """
    if len(secret) != SECRET_SIZE:
        raise ParameterError(f"secret of {len(secret)} bytes must have {SECRET_SIZE}")
    if not 1 <= threshold <= len(points):
        raise ParameterError(f"threshold={threshold} must be in 1..{len(points)}")
    if len(set(points)) != len(points) or not all(0 < point < PRIME for point in points):
        raise ParameterError("share points must be distinct and above 0")
    if len(rand) != rand_size(threshold):
        raise ParameterError(f"rand of {len(rand)} bytes must have {rand_size(threshold)}")
    coefficients = [int.from_bytes(secret.expose(), "little")]
    for start in range(0, len(rand), _COEFFICIENT_SIZE):
        coefficients.append(int.from_bytes(rand[start : start + _COEFFICIENT_SIZE], "little") % PRIME)
    return {point: Secret(_evaluate(coefficients, point).to_bytes(SHARE_SIZE, "little")) for point in points}


def combine(shares: Mapping[int, Secret]) -> Secret:
    """Return the secret whose shares, exactly as many as its threshold, are given by their points.

    Raises:
        VerificationError: the shares do not lie on the polynomial of any 32-byte secret.
    """
    weights = _weights_at_zero(tuple(sorted(shares)))
    value = sum(weight * read_share(shares[point]) for point, weight in weights.items()) % PRIME
    if value >> (8 * SECRET_SIZE):
        raise VerificationError("shares do not give a 32-byte secret")
    return Secret(value.to_bytes(SECRET_SIZE, "little"))


def read_share(share: Secret) -> int:
    """Return the field element that ``share`` encodes.

    Raises:
        DecodeError: it is not canonical.
    """
    value = int.from_bytes(share.expose(), "little")
    if len(share) != SHARE_SIZE or value >= PRIME:
        raise DecodeError(f"share of {len(share)} bytes is not a canonical field element")
    return value


def _evaluate(coefficients: Sequence[int], point: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % PRIME
    return value


@lru_cache(maxsize=256)
def _weights_at_zero(points: tuple[int, ...]) -> Mapping[int, int]:
    """Lagrange's coefficients at zero; public, and the same for every secret that one set of parties opens."""
    weights = {}
    for point in points:
        numerator = denominator = 1
        for other in points:
            if other != point:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - point) % PRIME
        weights[point] = numerator * pow(denominator, -1, PRIME) % PRIME
    return weights
