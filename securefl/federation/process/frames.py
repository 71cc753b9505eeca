"""What may cross the socket: a kind from a short list, a size with a limit, and the bytes.

Frame layout, little-endian: kind (1), size (8), body. A frame of another kind or over the limit is refused before its body
is read, so that a stranger can't make a party take memory.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from enum import IntEnum

from securefl.errors import DecodeError

HEADER_SIZE = 9
MAX_BODY_SIZE = 1 << 31
READ_SIZE = 1 << 20


class Kind(IntEnum):
    """The only kinds of frame there are; the comment says who sends it and what it holds."""

    HELLO = 1  # partner: its number (2 bytes); routes messages, proves nothing
    BEGIN = 2  # operator: the round (4 bytes) and the public model
    PROTOCOL = 3  # both: a message of the aggregation protocol
    RESULT = 4  # operator: the opened sum, int64 words
    ABORT = 5  # both: why the sender stops the round, one line of text
    END = 6  # operator: no more rounds
    LEAVE = 7  # partner: it takes no part in the round, and why (1 byte)


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
    if size > MAX_BODY_SIZE:
        raise DecodeError(f"frame body of {size} bytes must be <= {MAX_BODY_SIZE}")
    return kind, size


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
