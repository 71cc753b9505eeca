"""A hash commitment to a uniform secret: binding by collision resistance, hiding because the secret has full entropy.

It hides nothing about a secret that could be guessed; it is for 32-byte seeds only.
"""

from __future__ import annotations

import hashlib
import hmac

from securefl.errors import VerificationError
from securefl.types import Secret

COMMITMENT_SIZE = 32


def commit(secret: Secret, info: bytes) -> bytes:
    """Return the commitment to ``secret`` under the domain tag ``info``, 32 bytes."""
    return hashlib.sha256(info + secret.expose()).digest()


def verify_commitment(commitment: bytes, secret: Secret, info: bytes) -> None:
    """Check that ``secret`` is what ``commitment`` was made of.

    Raises:
        VerificationError: it is not.
    """
    if not hmac.compare_digest(commit(secret, info), commitment):
        raise VerificationError("secret does not match its commitment")
