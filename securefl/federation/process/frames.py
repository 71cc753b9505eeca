"""What may cross the socket: a kind from a short list, a size with a limit, and the bytes.

Frame layout, little-endian: kind (1), size (8), body. A frame of another kind or over its kind's limit is refused before its
body is read, so that a stranger can't make a party take memory. What a partner says in a round begins with the round (4 bytes):
what comes late does not count for the next one.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from securefl.crypto.domain import Usage, tag
from securefl.crypto.signature import SIGNATURE_SIZE
from securefl.errors import DecodeError, SecureFLError
from securefl.secagg.base import OpenedSum
from securefl.secagg.codec import Reader, party_list, read_party_list, u8, u64

HEADER_SIZE = 9
MAX_BODY_SIZE = 1 << 31
READ_SIZE = 1 << 20


class Kind(IntEnum):
    """The only kinds of frame there are; the comment says who sends it and what it holds."""

    HELLO = 1  # operator: 32 fresh bytes; partner: its number (2 bytes), its signature over them
    BEGIN = 2  # operator: the round (4 bytes) and the public model
    PROTOCOL = 3  # both: a message of the aggregation protocol
    RESULT = 4  # operator: the survivors, the tags (their count in 1 byte), the opened sum in int64 words
    ABORT = 5  # both: why the sender stops the round, one line of text
    END = 6  # operator: no more rounds
    LEAVE = 7  # partner: it takes no part in the round, and why (1 byte)


CHALLENGE_SIZE = 32
REASON_SIZE = 1 << 12
_SMALL_BODIES = {Kind.HELLO: 2 + SIGNATURE_SIZE, Kind.ABORT: 4 + REASON_SIZE, Kind.END: 0, Kind.LEAVE: 5}
"""The largest bodies of the kinds that hold no vector."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; its repr shows kind and size alone."""

    kind: Kind
    body: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the frame's bytes."""
        return self.kind.to_bytes(1, "little") + len(self.body).to_bytes(8, "little") + self.body


def read_header(header: bytes) -> tuple[Kind, int]:
    """Return kind and body size of a frame from its first nine bytes.

    Raises:
        DecodeError: no such kind, or a body over the limit.
    """
    size = int.from_bytes(header[1:HEADER_SIZE], "little")
    try:
        kind = Kind(header[0])
    except ValueError as error:
        raise DecodeError(f"frame kind={header[0]} must be one of {[int(k) for k in Kind]}") from error
    limit = _SMALL_BODIES.get(kind, MAX_BODY_SIZE)
    if size > limit:
        raise DecodeError(f"frame body of {size} bytes must be <= {limit}")
    return kind, size


def reason_bytes(error: SecureFLError) -> bytes:
    """Return what an ABORT says of ``error``, cut to its limit."""
    return str(error).encode()[:REASON_SIZE]


def greeting(run_id: bytes, roster_hash: bytes, challenge: bytes) -> bytes:
    """Return what a partner signs to show the operator who it is: fresh for each connection."""
    return tag(b"process/1", Usage.GREETING, run_id, roster_hash, challenge)


def encode_opened(opened: OpenedSum) -> bytes:
    """Return the body of a RESULT."""
    tags = u8(len(opened.tags)) + b"".join(map(u64, opened.tags))
    return party_list(opened.survivors) + tags + np.asarray(opened.total, dtype="<i8").tobytes()


def decode_opened(body: bytes) -> OpenedSum:
    """Return the opened sum in the body of a RESULT; raises DecodeError."""
    reader = Reader(body)
    survivors = read_party_list(reader)
    tags = tuple(reader.u64() for _ in range(reader.u8()))
    if reader.left % 8:
        raise DecodeError(f"opened sum of {reader.left} bytes must be of whole words")
    return OpenedSum(np.frombuffer(reader.view(reader.left), "<i8"), survivors, tags=tags)


def send_frame(connection: socket.socket, frame: Frame) -> None:
    """Send ``frame``, waiting until all of it is on its way; raises OSError where the other side is gone."""
    connection.sendall(frame.encode())


def receive_frame(connection: socket.socket) -> Frame | None:
    """Return the next frame, or None where the other side has closed.

    Raises:
        DecodeError: it is no frame, or breaks off.
    """
    header = _receive(connection, HEADER_SIZE)
    if not header:
        return None
    if len(header) < HEADER_SIZE:
        raise DecodeError(f"frame header breaks off after {len(header)} bytes")
    kind, size = read_header(header)
    body = _receive(connection, size)
    if len(body) < size:
        raise DecodeError(f"frame body breaks off after {len(body)} of {size} bytes")
    return Frame(kind, body)


def _receive(connection: socket.socket, size: int) -> bytes:
    """Return ``size`` bytes, fewer only where the other side has closed. Memory grows with what really came."""
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(READ_SIZE, size - len(parts)))
        if not part:
            break
        parts += part
    return bytes(parts)
