"""X25519 key agreement (RFC 7748) with keys from an injected generator.

The public keys are not authenticated here: whoever relays them can replace them unless they are signed.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from securefl.errors import VerificationError
from securefl.types import Rng, Secret

PUBLIC_SIZE = 32
SECRET_SIZE = 32


def generate_secret(*, rng: Rng) -> Secret:
    """Return a fresh private key, 32 bytes (clamped by the library when it is used)."""
    return Secret(rng.bytes(SECRET_SIZE))


def public_key(secret: Secret) -> bytes:
    """Return the public key of ``secret``, 32 bytes."""
    return X25519PrivateKey.from_private_bytes(secret.expose()).public_key().public_bytes_raw()


def exchange(secret: Secret, public: bytes) -> Secret:
    """Return the shared Diffie-Hellman value, 32 bytes: to be hashed with both public keys before it is used.

    Raises:
        VerificationError: ``public`` is not 32 bytes or is a point of low order (the shared value would be zero).
    """
    try:
        peer = X25519PublicKey.from_public_bytes(public)
        return Secret(X25519PrivateKey.from_private_bytes(secret.expose()).exchange(peer))
    except ValueError as error:
        raise VerificationError("public key is not a usable X25519 point") from error
