"""What the CKKS and BFV arms share of TenSEAL (Microsoft SEAL): parameter security, contexts and ciphertexts from outside.

Bytes are bounded before they are parsed, and what was parsed must have exactly the parameters that the parties agreed on.
Encryption randomness comes from SEAL's own generator (Blake2xb seeded by the operating system), not from an injected one.

References: [HES18] Homomorphic Encryption Standard, November 2018, table 1 (ternary secret, classical attacks).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tenseal
from tenseal import sealapi

from securefl.errors import DecodeError, ParameterError

SECURE_MODULUS_BITS = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
"""Longest modulus in bits for 128-bit security by ring degree ([HES18], table 1: uniform ternary secret, classical)."""

REFUSALS = (RuntimeError, ValueError, TypeError, MemoryError, IndexError)
"""What the C++ library throws at bytes that it can't read."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A scheme's ring: ``scheme`` is TenSEAL's number of it, ``plain_modulus`` 0 where there is none (CKKS).

    The last of ``prime_bits`` is the special prime, which carries no number.

    Raises:
        ParameterError: the degree is not in the standard's table, a prime is outside 20..60 bits, or the modulus is too long.
    """

    scheme: int
    degree: int
    prime_bits: tuple[int, ...]
    plain_modulus: int = 0

    def __post_init__(self) -> None:
        if self.degree not in SECURE_MODULUS_BITS:
            raise ParameterError(f"degree={self.degree} must be one of {sorted(SECURE_MODULUS_BITS)}")
        if len(self.prime_bits) < 2 or not all(20 <= bits <= 60 for bits in self.prime_bits):
            raise ParameterError(f"prime_bits={self.prime_bits} must be two or more primes of 20 to 60 bits")
        allowed, bits = SECURE_MODULUS_BITS[self.degree], sum(self.prime_bits)
        if bits > allowed:
            raise ParameterError(f"a modulus of {bits} bits must be <= {allowed} at degree {self.degree} for 128-bit security")

    @property
    def modulus_bits(self) -> int:
        """Bits of the modulus that carries numbers."""
        return sum(self.prime_bits[:-1])

    @property
    def maximum_size(self) -> int:
        """Bytes that no serialised ciphertext of two polynomials passes; longer ones are not parsed."""
        return 2 * self.degree * 8 * (len(self.prime_bits) - 1) + 4096

    def make(self) -> Any:
        """Return a fresh context of this ring, with its secret key (about 5 ms at degree 4096)."""
        primes = list(self.prime_bits)
        if self.plain_modulus:
            return tenseal.context(
                tenseal.SCHEME_TYPE.BFV, self.degree, self.plain_modulus, coeff_mod_bit_sizes=primes, n_threads=1
            )
        return tenseal.context(tenseal.SCHEME_TYPE.CKKS, self.degree, coeff_mod_bit_sizes=primes, n_threads=1)

    def encode(self, context: Any) -> bytes:
        """Return context and public key in TenSEAL's own format, without secret or evaluation keys."""
        content: bytes = context.serialize(
            save_public_key=True, save_secret_key=False, save_galois_keys=False, save_relin_keys=False
        )
        return content

    def decode(self, content: bytes) -> Any:
        """Return the public context in ``content``, checked to be of exactly this ring.

        Raises:
            DecodeError: it is too long, can't be read, has other parameters, or holds a secret key.
        """
        if len(content) > 2 * self.maximum_size * len(self.prime_bits):
            raise DecodeError(f"context of {len(content)} bytes is too long")
        _require_same_frame(_Frame.of(content), _frame_of(self))
        try:
            context = tenseal.context_from(content, n_threads=1)
            parms = context.seal_context().data.key_context_data().parms()
            bits = tuple(prime.bit_count() for prime in parms.coeff_modulus())
            found = (int(parms.scheme()), parms.poly_modulus_degree(), bits, parms.plain_modulus().value())
            keyed = context.has_public_key()
        except REFUSALS as error:
            raise DecodeError("context can't be read") from error
        if found != (self.scheme, self.degree, self.prime_bits, self.plain_modulus) or not keyed:
            raise DecodeError(f"context with parameters {found} must be {self}")
        if context.is_private():
            raise DecodeError("context holds a secret key")
        return context

    def require_fresh(self, context: Any, vector: Any, *, numbers: int, scale: float) -> None:
        """Check that ``vector`` is one ciphertext of two polynomials at the top level, for exactly this ring.

        Raises:
            DecodeError: it is not, or it is transparent (hides nothing).
        """
        seal, parts = context.seal_context().data, vector.ciphertext()
        if vector.size() != numbers or len(parts) != 1:
            raise DecodeError(f"ciphertext holds {vector.size()} numbers in {len(parts)} parts, must be {numbers} in one")
        ciphertext, in_ntt = parts[0], self.scheme == int(sealapi.SCHEME_TYPE.CKKS)
        if ciphertext.size() != 2 or ciphertext.scale != scale or ciphertext.is_ntt_form() != in_ntt:
            raise DecodeError(f"ciphertext must be two polynomials in the scheme's own form at scale {scale:g}")
        if ciphertext.parms_id() != seal.first_parms_id() or not sealapi.is_valid_for(ciphertext, seal):
            raise DecodeError("ciphertext is not at the top level of these parameters")
        if ciphertext.is_transparent():
            raise DecodeError("ciphertext is transparent: it hides nothing")


@dataclass(frozen=True, slots=True)
class _Frame:
    """A serialised public context, taken apart: the parameters, the public key's header, and what stands behind the key.

    SEAL ends the whole process at some parameters that it can't read, so its reader must only ever see those of this ring.
    """

    parameters: bytes
    header: bytes
    declared_size: int
    key_size: int
    rest: bytes

    @classmethod
    def of(cls, content: bytes) -> _Frame:
        """Take ``content`` apart (protocol buffers: fields 1 and 2; in field 2 the key as field 1).

        Raises:
            DecodeError: it is not such a message.
        """
        parameters, at = _field(content, 0, b"\x0a")
        inner, end = _field(content, at, b"\x12")
        key, behind = _field(inner, 0, b"\x0a")
        if end != len(content) or len(key) < _HEADER_SIZE:
            raise DecodeError(_WRONG)
        declared = int.from_bytes(key[8:_HEADER_SIZE], "little")
        return cls(parameters, key[:8], declared, len(key), inner[behind:])


_WRONG = "context must be exactly this ring's parameters and a public key, without a secret key"
_HEADER_SIZE = 16
"""SEAL's header: magic, header size, version, compression, reserved, and the size of the whole object in 8 bytes."""


def _field(content: bytes, at: int, tag: bytes) -> tuple[bytes, int]:
    """Return the length-delimited field that begins at ``at`` with ``tag``, and where it ends."""
    if content[at : at + 1] != tag:
        raise DecodeError(_WRONG)
    at, size, shift = at + 1, 0, 0
    while shift < 35:
        if at >= len(content):
            raise DecodeError("context is truncated")
        byte, at = content[at], at + 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if size > len(content) - at:
        raise DecodeError("context is truncated")
    return content[at : at + size], at + size


@lru_cache(maxsize=16)
def _frame_of(ring: Ring) -> _Frame:
    return _Frame.of(ring.encode(ring.make()))


def _require_same_frame(found: _Frame, own: _Frame) -> None:
    """Check that everything but the public key's numbers is what this side would have written."""
    if (found.parameters, found.header, found.rest) != (own.parameters, own.header, own.rest):
        raise DecodeError(_WRONG)
    if found.declared_size != found.key_size:
        raise DecodeError(f"public key declares {found.declared_size} bytes, must be {found.key_size}")
