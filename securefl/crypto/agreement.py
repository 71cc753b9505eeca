"""X25519 key agreement (RFC 7748) with keys from an injected generator.

libsodium does the arithmetic: it takes raw keys, so that no key object has to be built for each use. The public keys are not
authenticated here: whoever relays them can replace them unless they are signed.
"""

from __future__ import annotations

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError

from securefl.errors import DecodeError, VerificationError
from securefl.types import Rng, Secret

PUBLIC_SIZE = 32
SECRET_SIZE = 32
_FIELD = (1 << 255) - 19


def generate_secret(*, rng: Rng) -> Secret:
    """Return a fresh private key, 32 bytes (clamped by the library when it is used)."""
    return Secret(rng.bytes(SECRET_SIZE))


def public_key(secret: Secret) -> bytes:
    """Return the public key of ``secret``, 32 bytes."""
    return crypto_scalarmult_base(secret.expose())


def require_canonical(public: bytes) -> None:
    """Check that ``public`` is the one encoding of its point that RFC 7748 writes: a second one would look like another key.

    Raises:
        DecodeError: it is not 32 bytes, or not below 2^255 - 19.
    """
    if len(public) != PUBLIC_SIZE or int.from_bytes(public, "little") >= _FIELD:
        raise DecodeError(f"public key of {len(public)} bytes is not a canonical X25519 point")


def exchange(secret: Secret, public: bytes) -> Secret:
    """Return the shared Diffie-Hellman value, 32 bytes: to be hashed with both public keys before it is used.

    Raises:
        VerificationError: ``public`` is not 32 bytes or is a point of low order (the shared value would be zero).
    """
    if len(public) != PUBLIC_SIZE:
        # libsodium reads 32 bytes whatever it is given.
        raise VerificationError(f"public key of {len(public)} bytes is not a usable X25519 point")
    try:
        return Secret(crypto_scalarmult(secret.expose(), public))
    except CryptoError as error:
        raise VerificationError("public key is not a usable X25519 point") from error
