"""Ed25519 signatures (RFC 8032): long-term identities of partners."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

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
    try:
        _load(verify_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise VerificationError(f"signature does not verify under {fingerprint(verify_key)}") from error


def fingerprint(verify_key: bytes) -> str:
    """Return what people compare over the telephone: 128 bits of a hash, in groups of four hex digits."""
    digest = hashlib.sha256(tag(b"", Usage.FINGERPRINT, verify_key)).hexdigest()[:32]
    return "-".join(digest[i : i + 4] for i in range(0, 32, 4))


@lru_cache(maxsize=1024)
def _load(verify_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(verify_key)
