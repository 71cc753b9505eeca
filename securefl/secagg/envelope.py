"""The signed envelope that carries every client message, so that the relay in the middle need not be trusted.

Layout, little-endian: version (1), protocol (prefixed), phase (1), sender (2), round (4), run (32), roster hash (32), model
hash (32), previous (32), view (32), payload size (8), payload hash (32), signature (64), payload. The signature covers all
before it, under a domain tag. ``previous`` is the hash of the sender's own previous envelope in the round (a chain over all
senders is unknowable to parallel senders); ``view`` is the hash of the operator's message that this one answers, so that two
clients who were shown different things find out at the next step. An envelope without its payload is *detached*: it still
proves what was sent.

Not protected: who talks when, and how much. A partner's stolen key signs like the partner.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO

from securefl.crypto.domain import Usage, tag
from securefl.crypto.signature import SIGNATURE_SIZE, SigningKey, verify_signature
from securefl.errors import AbortReason, DecodeError, InvalidSignature, ProtocolAbort, VerificationError
from securefl.secagg.base import RoundContext
from securefl.secagg.codec import HASH_SIZE, Reader, prefixed, u8, u16, u32, u64
from securefl.types import ClientId

VERSION = 1
_HEAD = struct.Struct("<BHI32s32s32s32s32sQ32s64s")
"""The head behind version and protocol name, as :func:`_fields` writes it, with the signature."""

NO_VIEW = bytes(HASH_SIZE)
"""The view of a client's first message of a round: it answers nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What one party needs to write and check the envelopes of a round: the protocol, the context, everyone's key."""

    wire_id: bytes
    context: RoundContext
    keys: Mapping[ClientId, bytes] = field(repr=False)

    def genesis(self, sender: ClientId) -> bytes:
        """Return what the first envelope of ``sender`` in this round names as its previous one."""
        fields = (self.context.run_id, u32(self.context.round), u16(sender))
        return hashlib.sha256(tag(self.wire_id, Usage.GENESIS, *fields)).digest()

    def abort(self, reason: AbortReason, party: ClientId | None = None, detail: str = "") -> ProtocolAbort:
        """Return the abort of this round for ``reason``."""
        return ProtocolAbort(reason, round=self.context.round, party=party, detail=detail)

    @contextmanager
    def decoding(self, party: ClientId | None = None) -> Iterator[None]:
        """Turn a decoding error inside the block into an abort for MALFORMED."""
        try:
            yield
        except DecodeError as error:
            raise self.abort(AbortReason.MALFORMED, party, str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A verified envelope. ``head`` are the bytes before the payload; ``digest`` is their hash, the sender's chain."""

    sender: ClientId
    phase: int
    previous: bytes
    view: bytes
    payload_size: int
    payload_hash: bytes
    head: bytes = field(repr=False)
    payload: memoryview | None = field(repr=False, default=None)

    @property
    def digest(self) -> bytes:
        """The hash that the sender's next envelope names as its previous one."""
        return hashlib.sha256(self.head).digest()

    @property
    def content(self) -> memoryview:
        """The payload, nothing of a detached envelope."""
        return memoryview(b"") if self.payload is None else self.payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """What a sender fills in for one envelope."""

    phase: int
    sender: ClientId
    previous: bytes
    view: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A written envelope: the whole ``message`` and its ``head`` (the envelope without the payload)."""

    message: bytes = field(repr=False)
    head: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The hash that the sender's next envelope names as its previous one."""
        return hashlib.sha256(self.head).digest()


def seal(channel: Channel, slip: Slip, payload: Iterable[bytes | memoryview], *, key: SigningKey) -> Sealed:
    """Return the signed envelope of ``slip`` around the parts of ``payload``.

    The parts are hashed and written as they come, while they are in the cache; the buffer becomes the message without
    another copy.
    """
    size = head_size(channel.wire_id)
    buffer, digest = BytesIO(), hashlib.sha256()
    buffer.write(bytes(size))
    for part in payload:
        digest.update(part)
        buffer.write(part)
    fields = _fields(channel, slip, buffer.tell() - size, digest.digest())
    head = fields + key.sign(tag(channel.wire_id, Usage.ENVELOPE, fields))
    buffer.seek(0)
    buffer.write(head)
    return Sealed(buffer.getvalue(), head)


def head_size(wire_id: bytes) -> int:
    """Return the size of an envelope without its payload: 276 bytes and the protocol's name."""
    return 1 + 4 + len(wire_id) + 1 + 2 + 4 + 5 * HASH_SIZE + 8 + HASH_SIZE + SIGNATURE_SIZE


def open_envelope(channel: Channel, message: bytes | memoryview, phase: int, *, detached: bool = False) -> Envelope:
    """Return the verified envelope in ``message``.

    Args:
        phase: the phase that it must be of.
        detached: the payload was left out; what it hashes to is still signed.

    Raises:
        ProtocolAbort: MALFORMED, WRONG_ROUND, WRONG_ROSTER, WRONG_MODEL, UNKNOWN_PARTY or BAD_SIGNATURE, naming the sender.
    """
    with channel.decoding():
        reader = Reader(message)
        envelope = _read(channel, reader, phase)
        if detached:
            reader.finish()
            return envelope
        payload = reader.view(envelope.payload_size)
        reader.finish()
    if hashlib.sha256(payload).digest() != envelope.payload_hash:
        raise InvalidSignature(round=channel.context.round, party=envelope.sender, detail="payload is not what was signed")
    return replace(envelope, payload=payload)


def _read(channel: Channel, reader: Reader, phase: int) -> Envelope:
    """Read the head, check everything that it is bound to, then its signature."""
    context = channel.context
    size = head_size(channel.wire_id)
    head = reader.take(size)
    start = u8(VERSION) + prefixed(channel.wire_id)
    if not head.startswith(start):
        raise DecodeError(f"not an envelope of {channel.wire_id.decode()}, version {VERSION}")
    found_phase, number, round, run_id, roster_hash, model_hash, *rest = _HEAD.unpack_from(head, len(start))
    previous, view, payload_size, payload_hash, signature = rest
    sender = ClientId(number)
    if sender not in channel.keys:
        raise channel.abort(AbortReason.UNKNOWN_PARTY, sender)
    if (run_id, round, found_phase) != (context.run_id, context.round, phase):
        detail = f"round {round}, phase {found_phase}, wanted round {context.round}, phase {phase}"
        raise channel.abort(AbortReason.WRONG_ROUND, sender, detail)
    if roster_hash != context.roster_hash:
        raise channel.abort(AbortReason.WRONG_ROSTER, sender)
    if model_hash != context.model_hash:
        raise channel.abort(AbortReason.WRONG_MODEL, sender)
    try:
        verify_signature(channel.keys[sender], tag(channel.wire_id, Usage.ENVELOPE, head[:-SIGNATURE_SIZE]), signature)
    except VerificationError as error:
        raise InvalidSignature(round=context.round, party=sender) from error
    return Envelope(
        sender=sender, phase=phase, previous=previous, view=view, payload_size=payload_size, payload_hash=payload_hash,
        head=head,
    )  # fmt: skip


def _fields(channel: Channel, slip: Slip, payload_size: int, payload_hash: bytes) -> bytes:
    context = channel.context
    return b"".join(
        (
            u8(VERSION),
            prefixed(channel.wire_id),
            u8(slip.phase),
            u16(slip.sender),
            u32(context.round),
            context.run_id,
            context.roster_hash,
            context.model_hash,
            slip.previous,
            slip.view,
            u64(payload_size),
            payload_hash,
        )
    )
