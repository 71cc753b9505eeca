"""CKKS encryption of real vectors for sums alone, through TenSEAL (Microsoft SEAL), with one secret key.

A sum needs no level: the modulus has one prime of 60 bits for the numbers and one special prime of 36 bits, which lowers the
error of a public-key encryption to its rounding. 96 bits at degree 4096 are within the standard's 109 for 128-bit security; a
smaller degree means a smaller error, and so less noise to hide it. Ciphertexts are 2 x 4096 words for 2048 numbers: 32 bytes
a number.

What must hold: whoever has the key decrypts only sums that it computed itself and releases nothing without the noise of
:mod:`securefl.crypto.flooding`. RLWE decryption is not safe against chosen ciphertexts: encryptors are semi-honest here.
TenSEAL has no threshold keys: the key lies with one party.

References: [CKKS17] Cheon, Kim, Kim, Song: Homomorphic encryption for arithmetic of approximate numbers, Asiacrypt 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tenseal
from numpy.typing import NDArray
from tenseal import sealapi

from securefl.crypto.seal import REFUSALS, Ring
from securefl.errors import DecodeError, ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class CkksParams:
    """Ring degree and primes; the last prime is the special one, which carries no number.

    Raises:
        ParameterError: the degree is not in the standard's table, or the modulus is too long for 128-bit security.
    """

    degree: int = 4096
    prime_bits: tuple[int, ...] = (60, 36)

    def __post_init__(self) -> None:
        Ring(int(sealapi.SCHEME_TYPE.CKKS), self.degree, self.prime_bits)

    @property
    def ring(self) -> Ring:
        """The ring that contexts and ciphertexts are checked against."""
        return Ring(int(sealapi.SCHEME_TYPE.CKKS), self.degree, self.prime_bits)

    @property
    def slots(self) -> int:
        """Numbers in a ciphertext."""
        return self.degree // 2


class CkksPublic:
    """The public key in its context: encrypts, reads and adds."""

    __slots__ = ("_context", "params")

    def __init__(self, context: Any, params: CkksParams) -> None:
        self._context, self.params = context, params

    def encode(self) -> bytes:
        """Return context and public key in TenSEAL's own format, without secret or evaluation keys."""
        return self.params.ring.encode(self._context)

    @classmethod
    def decode(cls, content: bytes, params: CkksParams) -> CkksPublic:
        """Return the public key in ``content``, checked to have exactly ``params``.

        Raises:
            DecodeError: it is too long, can't be read, has other parameters, or holds a secret key.
        """
        return cls(params.ring.decode(content), params)

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
        ring = self.params.ring
        if len(content) > ring.maximum_size:
            raise DecodeError(f"CKKS ciphertext of {len(content)} bytes must have <= {ring.maximum_size}")
        try:
            vector = tenseal.ckks_vector_from(self._context, content)
            ring.require_fresh(self._context, vector, numbers=self.params.slots, scale=scale)
        except REFUSALS as error:
            raise DecodeError("CKKS ciphertext can't be read") from error
        return vector


class CkksKey:
    """A secret key with its public part. Never printed, never serialised."""

    __slots__ = ("_secret", "public")

    def __init__(self, params: CkksParams) -> None:
        """Make a fresh key pair (about 5 ms at degree 4096)."""
        context = params.ring.make()
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
