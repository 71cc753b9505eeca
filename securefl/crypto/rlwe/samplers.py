"""Exact samplers: uniform residues, ternary secrets, centred binomial errors, and the smudging noise of a decryptor.

Every sampler expands a fresh 32-byte seed of the injected generator with AES-256 in counter mode and is exact given uniform
bits: no float, no table of a continuous distribution, nothing rounded. Rejection depends on public randomness alone or on
bits that are thrown away.

- *uniform*: a word cut to the prime's length is rejected unless it is below the prime; the primes lie just below powers of
  two.
- *ternary*: a byte below 243 = 3^5 gives five digits in {-1, 0, 1}.
- *centred binomial*: the ones among 21 bits minus those among 21 others: variance 10.5, standard deviation 3.24.
- *smudging*: the sum of four integers that are uniform on [0, 2^k), shifted to [-2^(k+1), 2^(k+1) - 4].

The smudging noise has to hide a shift. For the density f of four uniforms on [0, 1] the Fisher information is I = integral of
f'^2 / f: f = x^3 / 6 on [0, 1] gives 3/4 for either end, and the middle is done numerically, together I = 3.1158. For the
integer noise P on the scale M = 2^k the squared Hellinger distance to its shift by one is H(1)^2 = 1/2 sum (sqrt P(j) - sqrt
P(j-1))^2 <= 1/2 sum (P(j) - P(j-1))^2 / (P(j) + P(j-1)), which is I / (8 M^2) up to a relative 3/M^2 (a test computes it
exactly for small M). sqrt is a metric there, so H(v) <= |v| H(1); squared distances of independent coordinates add; and the
total variation distance is at most sqrt(2) H. A shift by a vector v is therefore visible with advantage at most

    sqrt(I) / 2 * |v| / M = 0.883 |v| / 2^k     (|v|: Euclidean norm over all coordinates),

which is why the norm counts and not the number of coordinates. Uniform noise would need a union bound instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import KEY_SIZE, derive
from securefl.crypto.keystream import Cipher, keystream
from securefl.crypto.rlwe.ring import Residues, Ring
from securefl.types import Rng, Secret

BINOMIAL_BITS = 21
ERROR_VARIANCE = BINOMIAL_BITS / 2
TERNARY_VARIANCE = 2 / 3
SMUDGING_FISHER = 3.1158
"""Rounded up: of the sum of four uniforms on [0, 1]."""
SMUDGING_LOW_BITS = 32

_WORDS32 = np.dtype("<u4")
_WORDS64 = np.dtype("<u8")
_DIGITS_EACH = 5
_BYTE_LIMIT = 3**_DIGITS_EACH
_TERNARY_TABLE = (np.arange(_BYTE_LIMIT)[:, None] // 3 ** np.arange(_DIGITS_EACH) % 3 - 1).astype(np.int8)


def fresh_key(rng: Rng) -> Secret:
    """Return a seed for one expansion."""
    return Secret(rng.bytes(KEY_SIZE))


def expand_uniform(key: Secret, ring: Ring, count: int) -> Residues:
    """Return uniform elements, shape (count, primes, N): the same for everyone who has ``key``.

    Pre-condition: ``key`` is used for this call alone.
    """
    streams = _streams(key)
    masks = np.array([(1 << bits) - 1 for bits in ring.prime_bits], np.uint32)[:, None]
    shape = (count, len(ring.primes), ring.degree)
    words = _words32(next(streams), int(np.prod(shape))).reshape(shape) & masks
    wrong = np.flatnonzero(words >= ring.column)
    flat = words.reshape(-1)
    row = wrong // ring.degree % len(ring.primes)
    while len(wrong):
        flat[wrong] = _words32(next(streams), len(wrong)) & masks[row, 0]
        still = flat[wrong] >= ring.column[row, 0]
        wrong, row = wrong[still], row[still]
    return words


def uniform(ring: Ring, count: int, *, rng: Rng) -> Residues:
    """Return fresh uniform elements, shape (count, primes, N)."""
    return expand_uniform(fresh_key(rng), ring, count)


def ternary(count: int, degree: int, *, rng: Rng) -> NDArray[np.int8]:
    """Return polynomials with coefficients uniform on {-1, 0, 1}, shape (count, degree)."""
    wanted = count * degree
    parts: list[NDArray[np.int8]] = []
    have = 0
    while have < wanted:
        # One byte in twenty is rejected: a little more than what is missing nearly always suffices at once.
        size = (wanted - have) // _DIGITS_EACH * 20 // 18 // 4 + 16
        drawn = _words32(fresh_key(rng), size).view(np.uint8)
        digits = _TERNARY_TABLE[drawn[drawn < _BYTE_LIMIT]].reshape(-1)
        parts.append(digits)
        have += len(digits)
    return np.concatenate(parts)[:wanted].reshape(count, degree)


def centred_binomial(count: int, degree: int, *, rng: Rng) -> NDArray[np.int8]:
    """Return polynomials with centred binomial coefficients, shape (count, degree), each in [-21, 21]."""
    words = _words64(fresh_key(rng), count * degree)
    mask = np.uint64((1 << BINOMIAL_BITS) - 1)
    ones = np.bitwise_count(words & mask).view(np.int8)
    minus = np.bitwise_count(words >> np.uint64(BINOMIAL_BITS) & mask).view(np.int8)
    errors: NDArray[np.int8] = np.subtract(ones, minus).reshape(count, degree)
    return errors


def smudging(ring: Ring, count: int, bits: int, *, rng: Rng) -> Residues:
    """Return the residues of smudging noise, shape (count, primes, N): four uniforms of ``bits`` bits, 33 to 80.

    The noise does not fit 64 bits where ``bits`` is above 62: it is kept as high * 2^32 + low.
    """
    high, low = smudging_words(count * ring.degree, bits, rng=rng)
    shape = (count, 1, ring.degree)
    reduced = ring.reduce(high.reshape(shape)).astype(np.int64)
    factor = np.array([(1 << SMUDGING_LOW_BITS) % prime for prime in ring.primes], np.int64)[:, None]
    return ring.reduce(reduced * factor + low.reshape(shape))


def smudging_words(size: int, bits: int, *, rng: Rng) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return smudging noise as (high, low), shape (size,) each: the noise is high * 2^32 + low."""
    high_bits = bits - SMUDGING_LOW_BITS
    high = np.full(size, -(2 << high_bits), np.int64)
    low = np.zeros(size, np.int64)
    for _ in range(4):
        high += (_words64(fresh_key(rng), size) >> np.uint64(64 - high_bits)).view(np.int64)
        low += _words32(fresh_key(rng), size)
    return high, low


def _streams(key: Secret) -> Iterator[Secret]:
    """Yield a key for every pass of a rejection: the first pass nearly always leaves something to draw again."""
    number = 0
    while True:
        yield derive(key, tag(b"rlwe", Usage.EXPANSION, number.to_bytes(4, "little")))
        number += 1


def _words32(key: Secret, size: int) -> NDArray[np.uint32]:
    return keystream(key, size, _WORDS32, cipher=Cipher.AES_256).astype(np.uint32, copy=False)


def _words64(key: Secret, size: int) -> NDArray[np.uint64]:
    return keystream(key, size, _WORDS64, cipher=Cipher.AES_256).astype(np.uint64, copy=False)
