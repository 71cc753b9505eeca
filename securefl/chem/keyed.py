"""Keyed hashes: the bit order, the folds, and draws that every partner repeats on its own.

Partners share one 32-byte key and never compare structures: each computes HMAC-SHA256 of its own scaffolds and InChIKeys
and gets the same fold as everybody else who has that compound ([Simm+21] does the same with scaffold networks), but for
tautomers (:mod:`securefl.chem.folds`).

What this hides: an operator without the key can't say which fingerprint bit a coordinate of the first layer is, nor the
fold of a structure that it suspects. What it does NOT hide: anything from the partners, who all hold the key, nor from
whoever colludes with one of them. The public demo derives its key from a public seed (:func:`public_key`) and so hides
nothing from anybody.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from securefl.errors import ParameterError
from securefl.types import Secret

KEY_SIZE = 32


class Usage(Enum):
    """What a derived key is for; each use has its own, so that no draw tells anything about another."""

    BITS = b"securefl/chem/1/bits"
    FOLD = b"securefl/chem/1/fold"
    AUDIT = b"securefl/chem/1/audit"
    CLUSTER = b"securefl/chem/1/cluster"
    SPLIT = b"securefl/chem/1/split"
    CHECK = b"securefl/chem/1/check"


def public_key(seed: int) -> Secret:
    """Return the key of a public demo: anybody can derive it from ``seed``, so it protects nothing."""
    return Secret(hashlib.sha256(b"securefl/chem/1/public demo key, protects nothing/%d" % seed).digest())


def derive(key: Secret, usage: Usage) -> bytes:
    """Return the 32-byte key for one usage.

    Raises:
        ParameterError: ``key`` is not 32 bytes.
    """
    if len(key) != KEY_SIZE:
        raise ParameterError(f"key has {len(key)} bytes, must be {KEY_SIZE}")
    return hmac.digest(key.expose(), usage.value, "sha256")


def uniform(derived: bytes, text: str) -> float:
    """Return the keyed hash of ``text`` as a number in [0, 1), 53 bits of it."""
    return (int.from_bytes(hmac.digest(derived, text.encode(), "sha256")[:8], "big") >> 11) / (1 << 53)


def bit_order(key: Secret, bits: int) -> NDArray[np.int32]:
    """Return the secret order of the fingerprint's bits: bit i of RDKit is column ``order[i]``; int32, shape (bits,).

    The order sorts HMAC-SHA256(key, i), as MELLODDY-TUNER does. It hides the meaning of a coordinate from an operator
    without the key, and nothing from partners.
    """
    derived = derive(key, Usage.BITS)
    hashes = [hmac.digest(derived, i.to_bytes(4, "big"), "sha256") for i in range(bits)]
    order = np.empty(bits, dtype=np.int32)
    order[np.array(sorted(range(bits), key=hashes.__getitem__))] = np.arange(bits, dtype=np.int32)
    return order


def key_check(key: Secret) -> str:
    """Return a one-way fingerprint of ``key``, hex: tells a resumed preparation that the key is the same."""
    return derive(key, Usage.CHECK)[:16].hex()
