"""Encryption of integer vectors under a joint key, partial decryption by t of n holders of its shares, and decoding.

BFV in the coefficients, for sums alone: with a public reference element a and the joint key b = e - a s, an encryption of m is
(b u + e1 + Delta m, a u + e2) with a fresh ternary u. Holder j of the share s_j answers lambda_j s_j c1 + E_j: Lagrange's
coefficient is multiplied in before the smudging noise E_j, which is therefore not amplified. The sum of t answers and c0 is
Delta m plus small noise; the fraction of q that it is, in 64-bit fixed point, has the sum in its highest bits.

What must hold: an answer leaves its holder only under a mask that cancels in the sum of the t answers. *Without* it, whoever
has shares outside the answering set learns kappa_j v + E_j modulo q for public fractions kappa_j, and with that the exact
noise v of the summed ciphertexts modulo their common denominator (8064 for seven of ten;
attacks/conformance/rlwe_toy_hint.py): smudging hides v in the sum of the answers, not in each of them. Ciphertexts must be
honestly made: decryption is not safe against chosen ones.

Elements are worked on a few at a time, so that scratch stays in the second-level cache. Not constant in time.

References: [FV12] Fan, Vercauteren: Somewhat practical fully homomorphic encryption. [MTBH21] Mouchet and others: Multiparty
homomorphic encryption from ring-learning-with-errors. [MBH23] Mouchet, Bertrand, Hubaux: An efficient threshold access
structure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.rlwe.budget import CANARIES, NoiseBudget
from securefl.crypto.rlwe.encoding import decode_elements, element_size, encode_elements
from securefl.crypto.rlwe.product import Multiplier, ShortMultiplier, canonical, multiply, reduce_centred
from securefl.crypto.rlwe.ring import Residues, Ring
from securefl.crypto.rlwe.samplers import centred_binomial, expand_uniform, smudging, ternary
from securefl.crypto.rlwe.transform import transform
from securefl.errors import DecodeError
from securefl.types import Rng, Secret

CHUNK = 4
"""Elements worked on at a time."""

_FRACTION_BITS = 64


class Half(IntEnum):
    """The two elements of a ciphertext: the message's, and the one that the key is multiplied with."""

    MESSAGE = 0
    KEYED = 1


def reference_element(ring: Ring, binder: bytes) -> Residues:
    """Return the common reference element a that ``binder`` names, shape (primes, N): nobody chose it."""
    elements = expand_uniform(Secret(hashlib.sha256(b"securefl rlwe reference" + binder).digest()), ring, 1)
    return elements.reshape(elements.shape[1:])


@dataclass(frozen=True, slots=True)
class KeyPart:
    """One holder's contribution to the joint key: a ternary secret and its public part b_i = e_i - a s_i."""

    secret: Residues = field(repr=False)
    public: Residues = field(repr=False)


def generate_part(reference: Residues, ring: Ring, *, rng: Rng) -> KeyPart:
    """Return a fresh contribution under the reference element, residues of shape (primes, N)."""
    secret = ring.reduce(ternary(1, ring.degree, rng=rng).astype(np.int64))
    public = ring.reduce(centred_binomial(1, ring.degree, rng=rng).astype(np.int64))
    ring.subtract(public, multiply(secret, reference, ring))
    return KeyPart(secret, public)


def chunks(count: int) -> Iterator[slice]:
    """Yield slices of at most :data:`CHUNK` elements."""
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


class Encryptor:
    """The joint public key, ready to encrypt."""

    __slots__ = ("_factors", "_key", "budget")

    def __init__(self, public: Residues, reference: Residues, budget: NoiseBudget) -> None:
        """Transform both elements of the key, shape (primes, N), once."""
        ring = budget.ring
        self.budget = budget
        self._key = tuple(ShortMultiplier(element, ring) for element in (public, reference))
        self._factors = np.array([budget.scale % prime for prime in ring.primes], np.int64)[:, None]

    def encrypt(self, plain: NDArray[np.int64], *, rng: Rng) -> bytes:
        """Return the ciphertexts of rows of coefficients, shape (count, N): their message halves and keyed halves in turn.

        Pre-condition: every coefficient is in the range whose sum the budget covers.
        """
        ring = self.budget.ring
        size = element_size(ring)
        out = np.empty((len(plain), 2 * size), np.uint8)
        for part in chunks(len(plain)):
            count = part.stop - part.start
            short = transform(ternary(count, ring.degree, rng=rng).astype(np.float64)[:, None])
            for half, key in zip(Half, self._key, strict=True):
                product = key.times(short)
                product += centred_binomial(count, ring.degree, rng=rng)[:, None]
                reduce_centred(product, ring)
                element = canonical(product, ring)
                if half is Half.MESSAGE:
                    ring.add(element, self._scaled(plain[part]))
                out[part, half * size : (half + 1) * size] = encode_elements(element, ring)
        return out.tobytes()

    def _scaled(self, plain: NDArray[np.int64]) -> Residues:
        reduced = self.budget.ring.reduce(plain[:, None])
        return self.budget.ring.reduce(reduced.astype(np.int64) * self._factors)


def body_size(budget: NoiseBudget, count: int) -> int:
    """Return the bytes of ``count`` ciphertexts."""
    return 2 * count * element_size(budget.ring)


def read_half(body: bytes | memoryview, half: Half, part: slice, ring: Ring) -> Residues:
    """Return one half of the ciphertexts ``part`` in ``body``, shape (count, primes, N).

    Raises:
        DecodeError: they are not there, or a residue is not canonical.
    """
    size = element_size(ring)
    wanted = memoryview(body)[2 * size * part.start : 2 * size * part.stop]
    count = part.stop - part.start
    if len(wanted) != 2 * size * count:
        raise DecodeError(f"ciphertexts of {len(body)} bytes end before element {part.stop}")
    rows = np.frombuffer(wanted, np.uint8).reshape(count, 2, size)[:, half]
    return decode_elements(rows.tobytes(), ring, count)


class PartialDecryptor:
    """One holder's share of the key for one set of decryptors: Lagrange's coefficient is in it."""

    __slots__ = ("_budget", "_share")

    def __init__(self, share: Residues, factors: tuple[int, ...], budget: NoiseBudget) -> None:
        """Multiply ``share``, shape (primes, N), by ``factors``, one for each prime, and transform it."""
        self._budget = budget
        self._share = Multiplier(budget.ring.scale(share, factors), budget.ring)

    def answer(self, keyed: Residues, *, rng: Rng) -> Residues:
        """Return lambda s_j c1 + E_j for summed keyed halves, shape (count, primes, N), with fresh smudging: still unmasked."""
        ring = self._budget.ring
        total = canonical(self._share.times(keyed), ring)
        ring.add(total, smudging(ring, len(keyed), self._budget.smudging_bits, rng=rng))
        return total


def decode_total(total: Residues, budget: NoiseBudget) -> NDArray[np.int64]:
    """Return the sums in scale * sum + noise, shape (count, N): message halves plus all answers.

    Raises:
        DecodeError: a residue is outside the noise bound, a sum outside its range, or a canary is not zero.
    """
    plain, residue = split_total(total, budget)
    limit = (budget.noise_bound << _FRACTION_BITS) // budget.ring.modulus + len(budget.ring.primes) + 1
    if int(np.abs(residue).max()) > limit:
        raise DecodeError("a residue is outside the noise bound: a share is wrong, or a ciphertext was malformed")
    if int(np.abs(plain).max()) > budget.limit or plain[:, -CANARIES:].any():
        raise DecodeError(f"a sum is not in [-{budget.limit}, {budget.limit}], or a canary is not zero")
    return plain


def split_total(total: Residues, budget: NoiseBudget) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the nearest sums and what is left, in units of q / 2^64, nothing checked: what the operator can see."""
    shift = np.uint64(_FRACTION_BITS - budget.plain_bits)
    half = np.uint64(1) << (shift - np.uint64(1))
    rounded = fraction(total, budget.ring) + half
    plain = rounded.view(np.int64) >> shift.astype(np.int64)
    return plain, (rounded & ((np.uint64(1) << shift) - np.uint64(1))).view(np.int64) - int(half)


def fraction(total: Residues, ring: Ring) -> NDArray[np.uint64]:
    """Return total / q modulo 1 in 64-bit fixed point, shape (count, N), at most one unit a prime too small.

    total / q = sum over the primes of [total (q / p)^-1 mod p] / p modulo 1, each term by two steps of long division.
    """
    out = np.zeros((total.shape[0], total.shape[2]), np.uint64)
    step = np.uint64(32)
    inverses = tuple(pow(ring.modulus // prime, -1, prime) for prime in ring.primes)
    scaled = ring.scale(total, inverses)
    for row, prime in enumerate(ring.primes):
        divisor = np.uint64(prime)
        first = scaled[:, row].astype(np.uint64) << step
        high = first // divisor
        second = (first - high * divisor) << step
        out += (high << step) + second // divisor
    return out
