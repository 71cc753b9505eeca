"""BFV encryption of integer vectors modulo a plaintext prime, for exact sums, through TenSEAL, with one secret key.

A sum needs no multiplication, so nearly the whole ciphertext modulus may be plaintext: with a 54-bit modulus and a prime of 34
bits a signed 32-bit sum fits one ciphertext slot, 15 bytes a number (CKKS 32). Longer sums are split over two primes of 31
bits by the Chinese remainder theorem. Decryption is exact, so nothing about the key leaks from honestly made ciphertexts.

NOT protected: RLWE decryption is not safe against chosen ciphertexts: a malformed ciphertext can make decryption wrong in a way
that depends on the key, so encryptors are semi-honest here. TenSEAL has no threshold keys: the key lies with one party.

References: [FV12] Fan, Vercauteren: Somewhat practical fully homomorphic encryption, ePrint 2012/144.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tenseal
from numpy.typing import NDArray
from tenseal import sealapi

from securefl.crypto.seal import REFUSALS, Ring
from securefl.errors import CapacityError, DecodeError, ParameterError

ONE_PRIME = (17179754497,)
"""A prime under 2^34 that is 1 modulo 8192: carries sums under 2^33."""

TWO_PRIMES = (2147377153, 2147352577)
"""Primes under 2^31 that are 1 modulo 8192: carry sums under 2^60 together, and their products fit 64 bits."""

ERROR_STDS = 10.0
"""Encryption errors are bounded at ten standard deviations: passed with probability under 2^-75 a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BfvParams:
    """Ring degree, primes (the last one special) and the plaintext primes that a sum is split over.

    Raises:
        ParameterError: under 128-bit security, or a plaintext prime does not divide the slots apart (1 modulo 2 * degree).
    """

    degree: int = 4096
    prime_bits: tuple[int, ...] = (54, 36)
    plain_primes: tuple[int, ...] = ONE_PRIME

    def __post_init__(self) -> None:
        for prime in self.plain_primes:
            if prime % (2 * self.degree) != 1:
                raise ParameterError(f"plaintext prime {prime} must be 1 modulo {2 * self.degree}")
        if not self.rings:
            raise ParameterError("plain_primes=() must name at least one prime")

    @classmethod
    def for_sum(cls, limit: int, clients: int) -> BfvParams:
        """Return the parameters that carry sums of ``clients`` with absolute values up to ``limit``.

        Raises:
            CapacityError: ``limit`` is 2^60 or more, or the errors of so many clients could make decryption wrong.
        """
        for primes in (ONE_PRIME, TWO_PRIMES):
            params = cls(plain_primes=primes)
            if 2 * limit < math.prod(primes):
                params.require_correct(clients)
                return params
        raise CapacityError(f"limit={limit} must be < {math.prod(TWO_PRIMES) // 2}")

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The ring of each plaintext prime."""
        scheme = int(sealapi.SCHEME_TYPE.BFV)
        return tuple(Ring(scheme, self.degree, self.prime_bits, prime) for prime in self.plain_primes)

    def require_correct(self, clients: int) -> None:
        """Check that the sum of ``clients`` fresh encryptions decrypts exactly.

        Raises:
            CapacityError: the errors together could pass half of modulus / plaintext prime.
        """
        # Rounding of t0 + t1 s by the special prime (see flooding.py), and 1/2 for rounding the scaled plaintext.
        error = ERROR_STDS * math.sqrt(clients * (1 + self.degree) / 12) + clients
        room = 2.0 ** (sum(self.prime_bits[:-1]) - 1) / 2 / max(self.plain_primes)
        if error >= room:
            raise CapacityError(f"clients={clients}: errors of {error:.0f} must be < {room:.0f}")


class BfvPublic:
    """The public keys in their contexts, one for each plaintext prime: encrypts, reads and adds."""

    __slots__ = ("_contexts", "params")

    def __init__(self, contexts: Sequence[Any], params: BfvParams) -> None:
        self._contexts, self.params = tuple(contexts), params

    def encode(self) -> bytes:
        """Return contexts and public keys in TenSEAL's own format, each with its length (4 bytes) in front."""
        parts = [ring.encode(context) for ring, context in zip(self.params.rings, self._contexts, strict=True)]
        return b"".join(len(part).to_bytes(4, "little") + part for part in parts)

    @classmethod
    def decode(cls, content: bytes, params: BfvParams) -> BfvPublic:
        """Return the public keys in ``content``, checked to have exactly ``params``.

        Raises:
            DecodeError: they can't be read, have other parameters, hold a secret key, or are not one for each prime.
        """
        contexts, at = [], 0
        for ring in params.rings:
            size = int.from_bytes(content[at : at + 4], "little")
            contexts.append(ring.decode(content[at + 4 : at + 4 + size]))
            at += 4 + size
        if at != len(content):
            raise DecodeError(f"BFV contexts of {len(content)} bytes must have {at}")
        return cls(contexts, params)

    def encrypt(self, values: NDArray[np.int64]) -> list[bytes]:
        """Return the serialised encryptions of ``values``, shape (degree,), one for each plaintext prime."""
        if values.shape != (self.params.degree,):
            raise ParameterError(f"values of shape {values.shape} must have shape ({self.params.degree},)")
        return [
            # TenSEAL makes an array of a list first: an array of its own spares a fifth of the time.
            tenseal.bfv_vector(context, _centred(values, prime)).serialize()
            for context, prime in zip(self._contexts, self.params.plain_primes, strict=True)
        ]

    def read(self, content: bytes, *, residue: int) -> Any:
        """Return the ciphertext in ``content`` for plaintext prime number ``residue``, checked to be a fresh one.

        Raises:
            DecodeError: too long, unreadable, of other parameters or another length, or not of two polynomials.
        """
        ring = self.params.rings[residue]
        if len(content) > ring.maximum_size:
            raise DecodeError(f"BFV ciphertext of {len(content)} bytes must have <= {ring.maximum_size}")
        try:
            vector = tenseal.bfv_vector_from(self._contexts[residue], content)
            ring.require_fresh(self._contexts[residue], vector, numbers=self.params.degree, scale=1.0)
        except REFUSALS as error:
            raise DecodeError("BFV ciphertext can't be read") from error
        return vector


class BfvKey:
    """Secret keys, one for each plaintext prime, with their public part. Never printed, never serialised."""

    __slots__ = ("_secrets", "public")

    def __init__(self, params: BfvParams) -> None:
        """Make fresh key pairs (about 5 ms each at degree 4096)."""
        contexts = [ring.make() for ring in params.rings]
        self._secrets = tuple(context.secret_key() for context in contexts)
        for context in contexts:
            context.make_context_public()
        self.public = BfvPublic(contexts, params)

    def __repr__(self) -> str:
        return f"BfvKey({self.public.params})"

    def __reduce__(self) -> str:
        raise TypeError("a BfvKey can't be pickled")

    def decrypt(self, vectors: Sequence[Any]) -> NDArray[np.int64]:
        """Return the integers of the ciphertexts of all plaintext primes, shape (degree,), signed."""
        residues = [
            np.asarray(vector.decrypt(secret), dtype=np.int64) % prime
            for vector, secret, prime in zip(vectors, self._secrets, self.public.params.plain_primes, strict=True)
        ]
        return _recombined(residues, self.public.params.plain_primes)


def _centred(values: NDArray[np.int64], prime: int) -> NDArray[np.int64]:
    """``values`` modulo ``prime``, in (-prime/2, prime/2)."""
    residues: NDArray[np.int64] = (values + prime // 2) % prime - prime // 2
    return residues


def _recombined(residues: Sequence[NDArray[np.int64]], primes: Sequence[int]) -> NDArray[np.int64]:
    """The signed integers with these residues: for two primes by Garner's formula, whose products stay under 2^62."""
    if len(primes) == 1:
        return _centred(residues[0], primes[0])
    first, second = primes
    inverse = pow(first, -1, second)
    total: NDArray[np.int64] = residues[0] + first * ((residues[1] - residues[0]) % second * inverse % second)
    return np.where(total > first * second // 2, total - first * second, total)
