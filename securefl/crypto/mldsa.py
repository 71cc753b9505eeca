"""ML-DSA-65 signatures (FIPS 204) beside Ed25519: a report that is kept for years outlives the curve.

The key is derived from the identity's seed, so that one key file holds both; whoever has the seed has both keys, so the pair is
as strong as the stronger scheme against forgery and no stronger than the file against theft. Signing is hedged (FIPS 204
section 3.4): two signatures of one message differ. Needs a ``cryptography`` that offers ML-DSA (50 does); where it does not,
:data:`AVAILABLE` is false and signing or verifying raises.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature

from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import derive
from securefl.crypto.signature import SigningKey
from securefl.errors import MissingExtraError, VerificationError

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

PUBLIC_KEY_SIZE = 1952
SIGNATURE_SIZE = 3309


class SecondKey:
    """The ML-DSA-65 key that belongs to an identity; its repr shows the public key's hash alone."""

    __slots__ = ("_key", "public_key")

    def __init__(self, identity: SigningKey) -> None:
        """Derive the key from the identity's seed.

        Raises:
            MissingExtraError: the installed ``cryptography`` has no ML-DSA.
        """
        _require()
        seed = derive(identity.seed(), tag(b"", Usage.SECOND_SIGNATURE, identity.verify_key))
        self._key = MLDSA65PrivateKey.from_seed_bytes(seed.expose())
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return a signature of ``message``, 3309 bytes; hedged, so another one each time."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SecondKey({key_hash(self.public_key).hex()[:16]})"


def key_hash(public_key: bytes) -> bytes:
    """Return what a roster lists of a public key: its SHA-256, 32 bytes."""
    return hashlib.sha256(public_key).digest()


def verify_second(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check that ``signature`` was made over ``message`` by the owner of ``public_key``.

    Raises:
        VerificationError: it was not, or the key is no key.
        MissingExtraError: the installed ``cryptography`` has no ML-DSA.
    """
    _require()
    if len(public_key) != PUBLIC_KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        raise VerificationError(
            f"ML-DSA-65 key of {len(public_key)} bytes or signature of {len(signature)} bytes is no such thing"
        )
    try:
        MLDSA65PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise VerificationError(f"ML-DSA-65 signature does not verify under {key_hash(public_key).hex()[:16]}") from error


def _require() -> None:
    if not AVAILABLE:
        raise MissingExtraError("ML-DSA-65 needs a newer cryptography (50 or later)")
