"""HKDF-SHA256 (RFC 5869): independent keys from one secret, each for the domain tag that it is derived under."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from securefl.types import Secret

KEY_SIZE = 32
_SALT = b"securefl hkdf salt, version 1"


def derive(secret: Secret, info: bytes) -> Secret:
    """Return the 32-byte key that ``secret`` gives for the domain tag ``info``.

    Formal guarantee: keys under different tags are independent if the secret is a uniform key or a Diffie-Hellman value
    and HKDF is modelled as a random oracle. Reference: RFC 5869.
    """
    return Secret(HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=_SALT, info=info).derive(secret.expose()))
