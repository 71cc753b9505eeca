"""Paillier encryption of integers, with the short-exponent encryption of Damgard, Jurik and Nielsen.

A ciphertext is ``(1 + m n) * h^r mod n^2`` with ``h = (-x^2)^n``; ``r`` is short (320 bits by default), so a fixed-base table
makes encryption about 70 times cheaper than ``r^n`` with a full-length ``r``. The product of ciphertexts decrypts to the sum.

Assumptions: semantic security rests on decisional composite residuosity. The published half-length exponent
(``exponent_bits = bits / 2``) needs nothing more ([DJN10] section 4.2: ``h^r`` is then statistically close to uniform in the
subgroup). A 320-bit exponent needs one assumption more: that ``h^r`` with a short ``r`` can't be told from a uniform power
of ``h`` (short-exponent indistinguishability; the best known attack is the square root of the range, 2^160 steps).

NOT protected: chosen ciphertexts (a holder of the key must decrypt only sums that it computed itself), malformed plaintexts
of a dishonest encryptor, and timing (Python's and GMP's integers are not constant time). A key is as good as who made it:
``h`` comes from the key's maker, who can decrypt anyway.

References: [Pai99] Paillier, Eurocrypt 1999. [DJN10] Damgard, Jurik, Nielsen: A generalization of Paillier's public-key system
with applications to electronic voting, 2010.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from securefl.crypto.fixed_base import FixedBase, gmp
from securefl.crypto.powers import powers
from securefl.errors import DecodeError, ParameterError
from securefl.types import Rng

DEFAULT_BITS = 3072
MINIMUM_BITS = 2048
MAXIMUM_BITS = 8192
EXPONENT_BITS = 320
"""Short exponents of 320 bits: 2^160 steps for the best known attack, above the 2^128 of a 3072-bit modulus."""


@dataclass(frozen=True)
class PublicKey:
    """Modulus ``n`` and generator ``h`` of the masks.

    Raises:
        ParameterError: the modulus is even, too short or long, not of whole bytes, prime or a prime power, or ``h`` no unit.
    """

    n: int
    h: int = field(repr=False)

    def __post_init__(self) -> None:
        bits = self.n.bit_length()
        if not MINIMUM_BITS <= bits <= MAXIMUM_BITS or bits % 8:
            raise ParameterError(f"modulus of {bits} bits must have {MINIMUM_BITS} to {MAXIMUM_BITS} bits, a multiple of 8")
        if self.n % 2 == 0:
            raise ParameterError("the modulus must be odd")
        if gmp().is_prime(self.n) or gmp().is_power(self.n):
            raise ParameterError("the modulus must not be a prime or a perfect power")
        if not 1 < self.h < self.n_squared or gmp().gcd(self.h, self.n) != 1:
            raise ParameterError("the generator of the masks must be a unit modulo n^2 above 1")

    @property
    def bits(self) -> int:
        """Length of the modulus in bits."""
        return self.n.bit_length()

    @cached_property
    def n_squared(self) -> Any:
        """The modulus of the ciphertexts."""
        return gmp().mpz(self.n) ** 2

    @property
    def ciphertext_size(self) -> int:
        """Bytes of an encoded ciphertext."""
        return self.bits // 4

    def encode(self) -> bytes:
        """Return the key as bytes: the bit length (2 bytes), n, h."""
        size = self.bits // 8
        return self.bits.to_bytes(2, "big") + self.n.to_bytes(size, "big") + self.h.to_bytes(2 * size, "big")

    @classmethod
    def decode(cls, content: bytes) -> PublicKey:
        """Return the key in ``content``.

        Raises:
            DecodeError: the bytes are no encoded key of an allowed size.
            ParameterError: the key is not acceptable (see the class).
        """
        bits = int.from_bytes(content[:2], "big")
        if not MINIMUM_BITS <= bits <= MAXIMUM_BITS or bits % 8 or len(content) != 2 + 3 * bits // 8:
            raise DecodeError(f"Paillier key of {len(content)} bytes states {bits} bits")
        middle = 2 + bits // 8
        n = int.from_bytes(content[2:middle], "big")
        if n.bit_length() != bits:
            raise DecodeError(f"Paillier modulus has {n.bit_length()} bits, stated are {bits}")
        return cls(n=n, h=int.from_bytes(content[middle:], "big"))


class PrivateKey:
    """The primes of a modulus, with what the Chinese remainder theorem needs. Never printed, never pickled."""

    __slots__ = ("_inverse", "_p", "_q", "public")

    def __init__(self, p: int, q: int, public: PublicKey) -> None:
        """Build the key from its primes.

        Raises:
            ParameterError: the primes do not give ``public``, are equal, not prime, or share a factor with the other's order.
        """
        if p * q != public.n or p == q or not (gmp().is_prime(p) and gmp().is_prime(q)):
            raise ParameterError("p and q must be different primes with p * q = n")
        if gmp().gcd(public.n, (p - 1) * (q - 1)) != 1:
            raise ParameterError("n must be coprime to (p - 1) * (q - 1)")
        self.public = public
        self._inverse = gmp().invert(p, q)
        self._p, self._q = _Half(p, public.n), _Half(q, public.n)

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.bits} bits)"

    def __reduce__(self) -> str:
        raise TypeError("a PrivateKey can't be pickled")

    def decrypt(self, ciphertext: int) -> int:
        """Return the signed plaintext in ``(-n/2, n/2)`` of a unit modulo n^2."""
        return self.decrypt_all([ciphertext])[0]

    def decrypt_all(self, ciphertexts: Sequence[Any]) -> list[int]:
        """Return the signed plaintexts of many ciphertexts, on all cores."""
        plaintexts, half = [], self.public.n // 2
        for low, high in zip(self._p.decrypt(ciphertexts), self._q.decrypt(ciphertexts), strict=True):
            plain = int(low + self._p.prime * ((high - low) * self._inverse % self._q.prime))
            plaintexts.append(plain - self.public.n if plain > half else plain)
        return plaintexts


class _Half:
    """Decryption modulo one prime: half the length of modulus and exponent, so a quarter of the work in all."""

    __slots__ = ("_factor", "_square", "prime")

    def __init__(self, prime: int, n: int) -> None:
        self.prime = gmp().mpz(prime)
        self._square = self.prime**2
        # L((1 + n)^(p-1) mod p^2) = (p - 1) * n / p = -n/p mod p.
        self._factor = gmp().invert(-(n // prime), self.prime)

    def decrypt(self, ciphertexts: Sequence[Any]) -> list[Any]:
        prime, factor = self.prime, self._factor
        return [(power - 1) // prime * factor % prime for power in powers(ciphertexts, prime - 1, self._square)]


def generate_key(bits: int = DEFAULT_BITS, *, rng: Rng) -> PrivateKey:
    """Return a fresh key of ``bits`` bits: two primes that are 3 modulo 4, as [DJN10] asks (under 5 s at 3072 bits).

    Raises:
        ParameterError: ``bits`` is outside its bounds or no multiple of 16.
    """
    require_bits(bits)
    p = _prime(bits // 2, rng=rng)
    q = _prime(bits // 2, rng=rng)
    while q == p or gmp().gcd(p - 1, q - 1) != 2:
        q = _prime(bits // 2, rng=rng)
    return import_key(p, q, rng=rng)


def require_bits(bits: int) -> None:
    """Check the length of a modulus whose primes are still to be found.

    Raises:
        ParameterError: it is outside its bounds or no multiple of 16.
    """
    if not MINIMUM_BITS <= bits <= MAXIMUM_BITS or bits % 16:
        raise ParameterError(f"bits={bits} must be a multiple of 16 from {MINIMUM_BITS} to {MAXIMUM_BITS}")


def import_key(p: int, q: int, *, rng: Rng) -> PrivateKey:
    """Return the key with primes ``p`` and ``q`` (of another library, say) and a fresh generator of the masks.

    Primes that are not both 3 modulo 4 are taken: decryption is the same, but [DJN10]'s proof of the short exponent is for
    the subgroup that such primes have; with others the generator is a random n-th power of a square.
    """
    n = p * q
    square = uniform_unit(n, rng=rng) ** 2
    return PrivateKey(p, q, PublicKey(n=n, h=int(gmp().powmod(-square % n, n, gmp().mpz(n) ** 2))))


def uniform_unit(n: int, *, rng: Rng) -> Any:
    """Return a uniform unit modulo ``n`` as an mpz, by rejection."""
    while True:
        candidate = uniform_below(n, rng=rng)
        if candidate > 1 and gmp().gcd(candidate, n) == 1:
            return candidate


def uniform_below(n: int, *, rng: Rng) -> Any:
    """Return a uniform number in ``[0, n)`` as an mpz, by rejection."""
    size = (n.bit_length() + 7) // 8
    while True:
        candidate = gmp().mpz(int.from_bytes(rng.bytes(size), "big") >> (8 * size - n.bit_length()))
        if candidate < n:
            return candidate


def _prime(bits: int, *, rng: Rng) -> int:
    """A uniform prime of ``bits`` bits with its two top bits set (so that a product of two is full length), 3 modulo 4."""
    while True:
        candidate = int.from_bytes(rng.bytes(bits // 8), "big") | (3 << (bits - 2)) | 3
        if gmp().is_prime(candidate, 40):
            return candidate


class Encryptor:
    """A public key with its fixed-base table: what encrypts many plaintexts."""

    __slots__ = ("_masks", "_modulus", "public")

    def __init__(self, public: PublicKey, *, exponent_bits: int = EXPONENT_BITS) -> None:
        """Compute the table; ``exponent_bits = public.bits // 2`` is the published half-length variant.

        Raises:
            ParameterError: the exponent is shorter than 320 bits, longer than the modulus, or not of whole bytes.
        """
        if not EXPONENT_BITS <= exponent_bits <= max(public.bits, EXPONENT_BITS) or exponent_bits % 8:
            raise ParameterError(f"exponent_bits={exponent_bits} must be a multiple of 8 from {EXPONENT_BITS} to {public.bits}")
        self.public, self._modulus = public, gmp().mpz(public.n)
        self._masks = FixedBase(public.h, int(public.n_squared), exponent_size=exponent_bits // 8)

    @property
    def exponent_size(self) -> int:
        """Bytes of a mask's exponent."""
        return self._masks.exponent_size

    def encrypt(self, plaintexts: Iterable[int], *, rng: Rng) -> list[Any]:
        """Return a ciphertext for each signed plaintext of size under n/2.

        Raises:
            ParameterError: a plaintext is n/2 or more.
        """
        return [self.encrypt_with(plaintext, rng.bytes(self.exponent_size)) for plaintext in plaintexts]

    def encrypt_with(self, plaintext: int, exponent: bytes) -> Any:
        """Return the ciphertext under the mask ``h^exponent``, for whoever must know it: fresh, secret and used once.

        Raises:
            ParameterError: the plaintext is n/2 or more.
        """
        if abs(plaintext) > self.public.n // 2:
            raise ParameterError("the plaintext must be smaller than half the modulus")
        return (1 + plaintext * self._modulus) * self._masks.power(exponent) % self.public.n_squared


def add_ciphertexts(public: PublicKey, vectors: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the ciphertexts of the sums: the products of ``vectors``, all of one length."""
    n_squared, total = public.n_squared, list(vectors[0])
    for vector in vectors[1:]:
        total = [left * right % n_squared for left, right in zip(total, vector, strict=True)]
    return total


def encode_ciphertexts(public: PublicKey, ciphertexts: Iterable[Any]) -> bytes:
    """Return the ciphertexts one after the other, big-endian, ``public.ciphertext_size`` bytes each."""
    size = public.ciphertext_size
    return b"".join(int(ciphertext).to_bytes(size, "big") for ciphertext in ciphertexts)


def decode_ciphertexts(public: PublicKey, content: bytes | memoryview, *, count: int) -> list[Any]:
    """Return the ``count`` ciphertexts of ``content``, every one checked to be in range; :func:`require_units` is apart.

    Raises:
        DecodeError: the length is wrong, or a ciphertext is 0, n^2 or more.
    """
    size, n_squared, mpz = public.ciphertext_size, public.n_squared, gmp().mpz
    if len(content) != count * size:
        raise DecodeError(f"ciphertexts of {len(content)} bytes must have {count} x {size}")
    ciphertexts = [mpz.from_bytes(bytes(content[i : i + size]), "big") for i in range(0, len(content), size)]
    if any(not 0 < ciphertext < n_squared for ciphertext in ciphertexts):
        raise DecodeError("a ciphertext is not in (0, n^2)")
    return ciphertexts


def require_units(public: PublicKey, ciphertexts: Iterable[Any]) -> None:
    """Check that every one of ``ciphertexts`` is a unit modulo n^2, by one gcd of their product.

    A product is a unit exactly when all its factors are, so sums of many clients are checked at the price of one.

    Raises:
        DecodeError: one is not.
    """
    product, n = gmp().mpz(1), public.n
    for ciphertext in ciphertexts:
        product = product * (ciphertext % n) % n
    if gmp().gcd(product, n) != 1:
        raise DecodeError("a ciphertext is not a unit modulo n^2")
