"""AES-256-GCM for one message under one key: the key is derived for this message alone, so the nonce is constant.

A second message under the same key would break it; callers derive the key from sender, recipient, run and round. GCM does not
commit to its key, so nothing may rest on a ciphertext opening under one key only.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from securefl.errors import VerificationError
from securefl.types import Secret

OVERHEAD_SIZE = 16
_NONCE = bytes(12)


def encrypt_once(key: Secret, message: Secret, associated: bytes) -> bytes:
    """Return the ciphertext of ``message``, 16 bytes longer. Pre-condition: ``key`` is used for this call alone."""
    return AESGCM(key.expose()).encrypt(_NONCE, message.expose(), associated)


def decrypt_once(key: Secret, ciphertext: bytes, associated: bytes) -> Secret:
    """Return the message in ``ciphertext``.

    Raises:
        VerificationError: key, ciphertext or associated data are not those of the encryption.
    """
    try:
        return Secret(AESGCM(key.expose()).decrypt(_NONCE, ciphertext, associated))
    except (InvalidTag, ValueError) as error:
        raise VerificationError(f"ciphertext of {len(ciphertext)} bytes does not verify") from error
