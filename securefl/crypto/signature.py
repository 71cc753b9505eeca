"""Ed25519 signatures (RFC 8032): long-term identities of partners.

Verification is libsodium's, which refuses keys of small order and non-canonical signatures and is the faster one here.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from securefl.crypto.domain import Usage, tag
from securefl.errors import VerificationError
from securefl.types import Rng, Secret

SIGNATURE_SIZE = 64
VERIFY_KEY_SIZE = 32
SEED_SIZE = 32


class SigningKey:
    """A partner's private identity key; its repr shows the fingerprint alone."""

    __slots__ = ("_key", "verify_key")

    def __init__(self, seed: Secret) -> None:
        """Load the key from its 32-byte seed."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed.expose())
        self.verify_key = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, *, rng: Rng) -> SigningKey:
        """Return a fresh key."""
        return cls(Secret(rng.bytes(SEED_SIZE)))

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``, 64 bytes; deterministic."""
        return self._key.sign(message)

    def seed(self) -> Secret:
        """Return the 32-byte seed that :meth:`__init__` takes."""
        return Secret(self._key.private_bytes_raw())

    def __repr__(self) -> str:
        return f"SigningKey({fingerprint(self.verify_key)})"


def verify_signature(verify_key: bytes, message: bytes, signature: bytes) -> None:
    """Check that ``signature`` was made over ``message`` by the owner of ``verify_key``.

    Raises:
        VerificationError: it was not, or the key is no key.
    """
    if len(signature) != SIGNATURE_SIZE or len(verify_key) != VERIFY_KEY_SIZE:
        # libsodium reads whole keys and signatures whatever it is given.
        raise VerificationError(f"signature of {len(signature)} bytes or key of {len(verify_key)} bytes is no such thing")
    try:
        crypto_sign_open(signature + message, verify_key)
    except CryptoError as error:
        raise VerificationError(f"signature does not verify under {fingerprint(verify_key)}") from error


def fingerprint(verify_key: bytes) -> str:
    """Return what people compare over the telephone: 128 bits of a hash, in groups of four hex digits."""
    digest = hashlib.sha256(tag(b"", Usage.FINGERPRINT, verify_key)).hexdigest()[:32]
    return "-".join(digest[i : i + 4] for i in range(0, 32, 4))
