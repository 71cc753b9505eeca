"""The messages among decryptors: bundles, agreements, encryptions of zero; key generation has its own in ``keygen``.

A *bundle* is what the operator relays: one signed envelope of every named sender, ascending, the same bytes for everybody. It
is not signed; each reader checks every envelope in it, that all of them answer the same message (``view``), and that each
follows its sender's previous one. Sizes are in SPEC.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from securefl.errors import AbortReason
from securefl.secagg.codec import HASH_SIZE, Reader, party_list, read_party_list, u8, u16, u64
from securefl.secagg.envelope import Channel, Envelope, open_envelope
from securefl.types import ClientId

AGREE, ZERO = 4, 5
"""Phases of a decryptor's envelopes before its answer; 1 to 3 are those of every committed sum."""


class Asks(IntEnum):
    """What the operator's message to a decryptor is, its first byte."""

    OPEN = 1
    ANSWER = 2
    ANSWER_WITH_ZEROS = 3


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which decryptors open a sum: exactly ``threshold`` of them, in attempt ``number`` from 1 (0: none yet)."""

    number: int = 0
    members: frozenset[ClientId] = frozenset()

    def encode(self) -> bytes:
        """Return number and members."""
        return u8(self.number) + party_list(self.members)


def read_attempt(reader: Reader) -> Attempt:
    """Return the attempt at the front of ``reader``; raises DecodeError."""
    return Attempt(reader.u8(), read_party_list(reader))


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a decryptor signs before anybody answers; ``zero`` commits to its encryption of zero, empty in the first attempt."""

    attempt: Attempt
    zero: bytes

    def encode(self) -> bytes:
        """Return attempt and commitment."""
        return self.attempt.encode() + self.zero


def read_agreement(payload: memoryview | None) -> Agreement:
    """Return the agreement in ``payload``; raises DecodeError."""
    reader = Reader(payload or b"")
    attempt = read_attempt(reader)
    agreement = Agreement(attempt, reader.take(HASH_SIZE if attempt.number > 1 else 0))
    reader.finish()
    return agreement


def zero_hash(key_hash: bytes, sender: ClientId, body: bytes | memoryview) -> bytes:
    """Return the commitment of ``sender`` to the encryption of zero ``body``, 32 bytes."""
    digest = hashlib.sha256(b"securefl rlwe zero" + key_hash + u16(sender))
    digest.update(body)
    return digest.digest()


def encode_bundle(envelopes: Mapping[ClientId, bytes]) -> bytes:
    """Return the envelopes of one phase as the operator relays them."""
    parts = [u16(len(envelopes))]
    for sender in sorted(envelopes):
        parts += [u64(len(envelopes[sender])), envelopes[sender]]
    return b"".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the envelopes of a bundle must be: one of each sender, that follows ``previous`` and answers ``view``."""

    phase: int
    previous: Mapping[ClientId, bytes]
    view: bytes


def read_bundle(channel: Channel, content: bytes | memoryview, expected: Expected) -> dict[ClientId, Envelope]:
    """Return the verified envelopes of a bundle by sender.

    Raises:
        ProtocolAbort: MALFORMED, UNKNOWN_PARTY, TOO_FEW_CLIENTS, INCONSISTENT_VIEW, BROKEN_CHAIN, or what
            :func:`~securefl.secagg.envelope.open_envelope` finds.
    """
    found: dict[ClientId, Envelope] = {}
    with channel.decoding():
        reader = Reader(content)
        for _ in range(reader.u16()):
            envelope = open_envelope(channel, reader.view(reader.u64()), expected.phase)
            if found and envelope.sender <= max(found):
                raise channel.abort(AbortReason.DUPLICATE_PARTY, envelope.sender, "senders must be in ascending order")
            found[envelope.sender] = envelope
        reader.finish()
    for sender, envelope in found.items():
        if sender not in expected.previous:
            raise channel.abort(AbortReason.UNKNOWN_PARTY, sender, "is not asked")
        if envelope.view != expected.view:
            raise channel.abort(AbortReason.INCONSISTENT_VIEW, sender)
        if envelope.previous != expected.previous[sender]:
            raise channel.abort(AbortReason.BROKEN_CHAIN, sender)
    missing = sorted(set(expected.previous) - set(found))
    if missing:
        raise channel.abort(AbortReason.TOO_FEW_CLIENTS, missing[0], "its message is missing")
    return found
