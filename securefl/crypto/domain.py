"""Domain separation: every derived key, hash and signature names what it is for and all that it is bound to.

Two calls with different protocol, usage or fields never hash the same bytes, because every field has its length in front.
"""

from __future__ import annotations

from enum import IntEnum

VERSION = 1


class Usage(IntEnum):
    """What a tag is for; numbers are never reused."""

    ENVELOPE = 1
    ROSTER = 2
    SEED_COMMITMENT = 3
    SELF_MASK = 4
    PAIR_MASK = 5
    SHARE_SEAL = 6
    RATCHET = 7
    GENESIS = 8
    SUM_TAG_KEY = 9
    GRAPH_COMMITMENT = 10
    GRAPH = 11
    KEY_FILE = 12
    TRANSCRIPT = 13
    STATIC_KEY = 14
    FINGERPRINT = 15
    SECOND_SIGNATURE = 17
    EXPANSION = 18
    METRIC = 19
    GREETING = 20
    PLAINTEXT_PROOF = 21


def tag(wire_id: bytes, usage: Usage, *fields: bytes) -> bytes:
    """Return the bytes that separate this protocol, usage and ``fields`` from every other.

    >>> tag(b"masking/1", Usage.PAIR_MASK, b"a", b"b") == tag(b"masking/1", Usage.PAIR_MASK, b"ab", b"")
    False
    """
    head = b"securefl" + VERSION.to_bytes(1, "little") + usage.to_bytes(2, "little")
    return head + b"".join(len(field).to_bytes(4, "little") + field for field in (wire_id, *fields))
