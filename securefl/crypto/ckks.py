"""CKKS encryption of real vectors for sums alone, through TenSEAL (Microsoft SEAL), with one secret key.

A sum needs no level: the modulus has one prime of 60 bits for the numbers and one special prime of 36 bits, which lowers the
error of a public-key encryption to its rounding. 96 bits at degree 4096 are within the standard's 109 for 128-bit security; a
smaller degree means a smaller error, and so less noise to hide it. Ciphertexts are 2 x 4096 words for 2048 numbers: 32 bytes
a number.

What must hold: whoever has the key decrypts only sums that it computed itself and releases nothing without the noise of
:mod:`securefl.crypto.flooding`. RLWE decryption is not safe against chosen ciphertexts: encryptors are semi-honest here.
Encryption randomness comes from SEAL's own generator (Blake2xb seeded by the operating system), not from an injected one.
TenSEAL has no threshold keys: the key lies with one party.

References: [CKKS17] Cheon, Kim, Kim, Song: Homomorphic encryption for arithmetic of approximate numbers, Asiacrypt 2017.
[HES18] Homomorphic Encryption Standard, November 2018, table 1 (ternary secret, classical attacks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tenseal
from numpy.typing import NDArray
from tenseal import sealapi

from securefl.errors import DecodeError, ParameterError

SECURE_MODULUS_BITS = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
"""Longest modulus in bits for 128-bit security by ring degree ([HES18], table 1: uniform ternary secret, classical)."""

_REFUSALS = (RuntimeError, ValueError, TypeError, MemoryError, IndexError)
"""What the C++ library throws at bytes that it can't read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CkksParams:
    """Ring degree and primes; the last prime is the special one, which carries no number.

    Raises:
        ParameterError: the degree is not in the standard's table, or the modulus is too long for 128-bit security.
    """

    degree: int = 4096
    prime_bits: tuple[int, ...] = (60, 36)

    def __post_init__(self) -> None:
        require_standard_security(self.degree, self.prime_bits)

    @property
    def slots(self) -> int:
        """Numbers in a ciphertext."""
        return self.degree // 2

    @property
    def modulus_bits(self) -> int:
        """Bits of the modulus that carries numbers."""
        return sum(self.prime_bits[:-1])

    @property
    def maximum_size(self) -> int:
        """Bytes that no serialised ciphertext of two polynomials passes; longer ones are not parsed."""
        return 2 * self.degree * 8 * (len(self.prime_bits) - 1) + 4096


def require_standard_security(degree: int, prime_bits: tuple[int, ...]) -> None:
    """Check degree and modulus (special prime included) against [HES18] for 128 bits.

    Raises:
        ParameterError: the degree is not in the table, a prime is outside 20..60 bits, or the modulus is too long.
    """
    if degree not in SECURE_MODULUS_BITS:
        raise ParameterError(f"degree={degree} must be one of {sorted(SECURE_MODULUS_BITS)}")
    if len(prime_bits) < 2 or not all(20 <= bits <= 60 for bits in prime_bits):
        raise ParameterError(f"prime_bits={prime_bits} must be two or more primes of 20 to 60 bits")
    if sum(prime_bits) > SECURE_MODULUS_BITS[degree]:
        bound = f"<= {SECURE_MODULUS_BITS[degree]} at degree {degree} for 128-bit security"
        raise ParameterError(f"a modulus of {sum(prime_bits)} bits must be {bound}")


class CkksPublic:
    """The public key in its context: encrypts, reads and adds."""

    __slots__ = ("_context", "params")

    def __init__(self, context: Any, params: CkksParams) -> None:
        self._context, self.params = context, params

    def encode(self) -> bytes:
        """Return context and public key in TenSEAL's own format, without secret or evaluation keys."""
        content: bytes = self._context.serialize(
            save_public_key=True, save_secret_key=False, save_galois_keys=False, save_relin_keys=False
        )
        return content

    @classmethod
    def decode(cls, content: bytes, params: CkksParams) -> CkksPublic:
        """Return the public key in ``content``, checked to have exactly ``params``.

        Raises:
            DecodeError: it is too long, can't be read, has other parameters, or holds a secret key.
        """
        if len(content) > 2 * params.maximum_size * len(params.prime_bits):
            raise DecodeError(f"CKKS context of {len(content)} bytes is too long")
        try:
            context = tenseal.context_from(content, n_threads=1)
            found = context.seal_context().data.key_context_data().parms()
            bits = tuple(prime.bit_count() for prime in found.coeff_modulus())
            scheme, degree, keyed = int(found.scheme()), found.poly_modulus_degree(), context.has_public_key()
        except _REFUSALS as error:
            raise DecodeError("CKKS context can't be read") from error
        if scheme != int(sealapi.SCHEME_TYPE.CKKS) or degree != params.degree or bits != params.prime_bits or not keyed:
            raise DecodeError(f"CKKS context of degree {degree} with primes {bits} must be {params}")
        if context.is_private():
            raise DecodeError("CKKS context holds a secret key")
        return cls(context, params)

    def encrypt(self, values: NDArray[np.float64], *, scale: float) -> bytes:
        """Return the serialised encryption of ``values``, shape (params.slots,)."""
        if values.shape != (self.params.slots,):
            raise ParameterError(f"values of shape {values.shape} must have shape ({self.params.slots},)")
        content: bytes = tenseal.ckks_vector(self._context, values, scale=scale).serialize()
        return content

    def read(self, content: bytes, *, scale: float) -> Any:
        """Return the ciphertext in ``content``, checked to be a fresh one under these parameters.

        Raises:
            DecodeError: too long, unreadable, of other parameters, another scale or length, or not of two polynomials.
        """
        if len(content) > self.params.maximum_size:
            raise DecodeError(f"CKKS ciphertext of {len(content)} bytes must have <= {self.params.maximum_size}")
        try:
            vector = tenseal.ckks_vector_from(self._context, content)
            size, parts = vector.size(), vector.ciphertext()
        except _REFUSALS as error:
            raise DecodeError("CKKS ciphertext can't be read") from error
        if size != self.params.slots or len(parts) != 1:
            raise DecodeError(f"CKKS ciphertext holds {size} numbers in {len(parts)} parts, must be {self.params.slots} in one")
        self._require_fresh(parts[0], scale)
        return vector

    def _require_fresh(self, ciphertext: Any, scale: float) -> None:
        seal = self._context.seal_context().data
        if ciphertext.size() != 2 or ciphertext.scale != scale or not ciphertext.is_ntt_form():
            raise DecodeError("CKKS ciphertext must be two polynomials in number-theoretic form at the stated scale")
        if ciphertext.parms_id() != seal.first_parms_id() or not sealapi.is_valid_for(ciphertext, seal):
            raise DecodeError("CKKS ciphertext is not at the top level of these parameters")
        if ciphertext.is_transparent():
            raise DecodeError("CKKS ciphertext is transparent: it hides nothing")


class CkksKey:
    """A secret key with its public part. Never printed, never serialised."""

    __slots__ = ("_secret", "public")

    def __init__(self, params: CkksParams) -> None:
        """Make a fresh key pair (about 5 ms at degree 4096)."""
        context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS, params.degree, coeff_mod_bit_sizes=list(params.prime_bits), n_threads=1
        )
        self._secret = context.secret_key()
        context.make_context_public()
        self.public = CkksPublic(context, params)

    def __repr__(self) -> str:
        return f"CkksKey({self.public.params})"

    def __reduce__(self) -> str:
        raise TypeError("a CkksKey can't be pickled")

    def decrypt(self, vector: Any) -> NDArray[np.float64]:
        """Return the raw numbers of a ciphertext, shape (params.slots,). They leak the key: flood them before release."""
        return np.asarray(vector.decrypt(self._secret), dtype=np.float64)
