"""Threshold decryption of Paillier ciphertexts: t of n shares open, fewer learn nothing; a wrong share names its sender.

A *trusted dealer* makes the modulus from safe primes, deals shares of the decryption exponent and forgets everything; that it
really erases its memory is an assumption. A partial decryption is one full-length power for each ciphertext (about 50 ms at
3072 bits): it dominates the cost. One proof covers a whole vector: the partials are combined with random 128-bit exponents,
and equality of two discrete logarithms is shown for the combination (Fiat-Shamir in the random-oracle model).

Guarantees: against at most t - 1 static, malicious share holders, under decisional composite residuosity, nothing but the
plaintexts of ciphertexts that t holders answer for. A wrong partial is accepted with probability at most about 2^-127.
NOT protected: a dishonest dealer, adaptive corruption, timing.

References: [DJ01] Damgard, Jurik: A generalisation, a simplification and some applications of Paillier's probabilistic
public-key system, PKC 2001, section 4.1. [Sho00] Shoup: Practical threshold signatures. [BGR98] Bellare, Garay, Rabin: Fast
batch verification for modular exponentiation and digital signatures.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from securefl.crypto.fixed_base import gmp
from securefl.crypto.paillier import PublicKey, encode_ciphertexts, import_key, uniform_unit
from securefl.crypto.powers import CHALLENGE_SIZE, batch_exponents, powers, product_of_powers
from securefl.errors import DecodeError, ParameterError, VerificationError
from securefl.types import Rng

_SLACK_BITS = 8 * CHALLENGE_SIZE + 128
"""How much longer the proof's mask is than what it hides: a challenge, and 128 bits of statistical distance."""

_SIEVE = tuple(n for n in range(3, 2000) if all(n % k for k in range(2, math.isqrt(n) + 1)))


@dataclass(frozen=True)
class ThresholdKey:
    """The public side: modulus, numbers of parties and threshold, and what proofs are checked with.

    ``base`` generates the squares modulo n^2; ``verifiers[i]`` is ``base^(parties! * share_i)``.
    """

    public: PublicKey
    parties: int
    threshold: int
    base: Any = field(repr=False)
    verifiers: Mapping[int, Any] = field(repr=False)

    @cached_property
    def delta(self) -> int:
        """parties!, which clears the denominators of interpolation."""
        return math.factorial(self.parties)

    @property
    def response_size(self) -> int:
        """Bytes of a proof's response."""
        return (2 * self.public.bits + self.delta.bit_length() + _SLACK_BITS) // 8 + 2

    def encode(self) -> bytes:
        """Return everything public as bytes, for the hash that all parties sign."""
        size = self.public.ciphertext_size
        numbers = (self.base, *(self.verifiers[index] for index in sorted(self.verifiers)))
        head = self.parties.to_bytes(2, "big") + self.threshold.to_bytes(2, "big")
        return self.public.encode() + head + b"".join(int(number).to_bytes(size, "big") for number in numbers)


@dataclass(frozen=True, slots=True)
class KeyShare:
    """Party ``index``'s share of the decryption exponent."""

    index: int
    value: int = field(repr=False)


def generate_safe_prime(bits: int, *, rng: Rng) -> int:
    """Return a prime p of ``bits`` bits, its two top bits set, with (p - 1) / 2 prime too (about a minute at 1536 bits)."""
    top = 3 << (bits - 3)
    while True:
        half = int.from_bytes(rng.bytes(bits // 8), "big") >> 1 | top | 1
        # A run of candidates from one random start, sieved for both numbers: a power costs as much as a thousand remainders.
        residues = [half % prime for prime in _SIEVE]
        for step in range(0, 4096, 2):
            if _survives(residues, step) and (half + step).bit_length() == bits - 1 and _is_safe(half + step):
                return 2 * (half + step) + 1


def _survives(residues: Sequence[int], step: int) -> bool:
    for prime, residue in zip(_SIEVE, residues, strict=True):
        remainder = (residue + step) % prime
        if remainder == 0 or remainder == prime // 2:
            return False
    return True


def _is_safe(half: int) -> bool:
    # One quick test of each before the forty rounds of both.
    if not gmp().is_strong_prp(half, 2) or not gmp().is_strong_prp(2 * half + 1, 2):
        return False
    return bool(gmp().is_prime(half, 40) and gmp().is_prime(2 * half + 1, 40))


def deal(p: int, q: int, *, parties: int, threshold: int, rng: Rng) -> tuple[ThresholdKey, dict[int, KeyShare]]:
    """Return the public key and every party's share, by index from 1, for the safe primes ``p`` and ``q``.

    Raises:
        ParameterError: a prime is not safe, or ``2 <= threshold <= parties`` does not hold.
    """
    if not 2 <= threshold <= parties:
        raise ParameterError(f"threshold={threshold} must be in 2..{parties}: one party alone must not decrypt")
    if p == q or not all(gmp().is_prime(x) and gmp().is_prime((x - 1) // 2) for x in (p, q)):
        raise ParameterError("p and q must be different safe primes")
    public = import_key(p, q, rng=rng).public
    order = ((p - 1) // 2) * ((q - 1) // 2)
    modulus = public.n * order
    # d = 0 modulo the order of the squares modulo n, 1 modulo n: c^d = (1 + n)^m for a square c.
    secret = order * int(gmp().invert(order, public.n)) % modulus
    size = modulus.bit_length() // 8 + 17
    coefficients = [secret] + [int.from_bytes(rng.bytes(size), "big") % modulus for _ in range(threshold - 1)]
    shares = {}
    for index in range(1, parties + 1):
        value = sum(coefficient * index**power for power, coefficient in enumerate(coefficients)) % modulus
        shares[index] = KeyShare(index, value)
    base = uniform_unit(int(public.n_squared), rng=rng) ** 2 % public.n_squared
    delta = math.factorial(parties)
    verifiers = {index: gmp().powmod(base, delta * share.value, public.n_squared) for index, share in shares.items()}
    return ThresholdKey(public, parties, threshold, base, verifiers), shares


def partially_decrypt(key: ThresholdKey, share: KeyShare, ciphertexts: Sequence[Any]) -> list[Any]:
    """Return ``c^(2 parties! share)`` for every ciphertext, on all cores."""
    return powers(ciphertexts, 2 * key.delta * share.value, key.public.n_squared)


def prove(key: ThresholdKey, share: KeyShare, ciphertexts: Sequence[Any], partials: Sequence[Any], *, rng: Rng) -> bytes:
    """Return the proof that all ``partials`` are ``share``'s: a challenge and a response."""
    n_squared = key.public.n_squared
    left, _ = _combine_for_proof(key, share.index, ciphertexts, partials)
    mask = int.from_bytes(rng.bytes(key.response_size - 1), "big")
    commitments = gmp().powmod(left, mask, n_squared), gmp().powmod(key.base, mask, n_squared)
    challenge = _challenge(key, share.index, ciphertexts, partials, commitments)
    response = mask + int.from_bytes(challenge, "big") * key.delta * share.value
    return challenge + response.to_bytes(key.response_size, "big")


def verify(key: ThresholdKey, index: int, ciphertexts: Sequence[Any], partials: Sequence[Any], proof: bytes) -> None:
    """Check that ``partials`` are party ``index``'s partial decryptions of ``ciphertexts``.

    Pre-condition: all of them are units modulo n^2 (:func:`~securefl.crypto.paillier.require_units`).

    Raises:
        VerificationError: they are not, or the proof is malformed.
    """
    if index not in key.verifiers or len(partials) != len(ciphertexts) or len(proof) != CHALLENGE_SIZE + key.response_size:
        raise VerificationError(f"partial decryptions of party {index} are malformed")
    n_squared = key.public.n_squared
    challenge, response = proof[:CHALLENGE_SIZE], int.from_bytes(proof[CHALLENGE_SIZE:], "big")
    left, right = _combine_for_proof(key, index, ciphertexts, partials)
    back = -int.from_bytes(challenge, "big")
    commitments = (
        gmp().powmod(left, response, n_squared) * gmp().powmod(right, back, n_squared) % n_squared,
        gmp().powmod(key.base, response, n_squared) * gmp().powmod(key.verifiers[index], back, n_squared) % n_squared,
    )
    if _challenge(key, index, ciphertexts, partials, commitments) != challenge:
        raise VerificationError(f"partial decryptions of party {index} do not verify")


def combine(key: ThresholdKey, partials: Mapping[int, Sequence[Any]]) -> list[int]:
    """Return the signed plaintexts, in (-n/2, n/2), from the verified ``partials`` of ``threshold`` parties by index.

    Raises:
        ParameterError: there are not exactly ``threshold`` parties.
        DecodeError: a combination is no plaintext: ciphertexts and partials do not belong together.
    """
    if len(partials) != key.threshold:
        raise ParameterError(f"partial decryptions of {len(partials)} parties must be of {key.threshold}")
    n, n_squared = key.public.n, key.public.n_squared
    exponents = [(partials[index], 2 * _lagrange(key.delta, index, partials)) for index in sorted(partials)]
    unscale = gmp().invert(4 * key.delta**2, n)
    plaintexts = []
    for position in range(len(exponents[0][0])):
        total = gmp().mpz(1)
        for values, exponent in exponents:
            total = total * gmp().powmod(values[position], exponent, n_squared) % n_squared
        if total % n != 1:
            raise DecodeError("partial decryptions do not combine to a plaintext")
        plain = int((total - 1) // n * unscale % n)
        plaintexts.append(plain - n if plain > n // 2 else plain)
    return plaintexts


def _lagrange(delta: int, index: int, indices: Mapping[int, object]) -> int:
    """``parties!`` times the Lagrange coefficient of ``index`` at 0: an integer ([Sho00])."""
    numerator, denominator = delta, 1
    for other in indices:
        if other != index:
            numerator *= -other
            denominator *= index - other
    return numerator // denominator


def _combine_for_proof(
    key: ThresholdKey, index: int, ciphertexts: Sequence[Any], partials: Sequence[Any]
) -> tuple[Any, Any]:
    """The random combination of all statements: ``right = left^(parties! share)`` exactly when every partial is right.

    Fourth and second powers bring both into the group of squares, whose order has no factor under 2^128.
    """
    n_squared = key.public.n_squared
    seed = _transcript(key, index, ciphertexts, partials)
    exponents = batch_exponents(seed, len(ciphertexts))
    left = product_of_powers(ciphertexts, exponents, n_squared)
    right = product_of_powers(partials, exponents, n_squared)
    return gmp().powmod(left, 4, n_squared), gmp().powmod(right, 2, n_squared)


def _transcript(key: ThresholdKey, index: int, ciphertexts: Sequence[Any], partials: Sequence[Any]) -> bytes:
    """Hash of the whole statement: key, party, ciphertexts, partials."""
    digest = hashlib.sha256(b"securefl threshold paillier" + hashlib.sha256(key.encode()).digest() + index.to_bytes(2, "big"))
    digest.update(len(ciphertexts).to_bytes(4, "big"))
    digest.update(encode_ciphertexts(key.public, ciphertexts))
    digest.update(encode_ciphertexts(key.public, partials))
    return digest.digest()


def _challenge(
    key: ThresholdKey, index: int, ciphertexts: Sequence[Any], partials: Sequence[Any], commitments: Sequence[Any]
) -> bytes:
    seed = _transcript(key, index, ciphertexts, partials)
    return hashlib.sha256(b"challenge" + seed + encode_ciphertexts(key.public, commitments)).digest()[:CHALLENGE_SIZE]
