"""Reading and writing of protocol messages: fixed-size or length-prefixed fields, little-endian, every byte consumed.

A decoder takes exactly the bytes that the encoder writes: a message that is shorter, longer or not canonical is a
:class:`~securefl.errors.DecodeError`. Nothing is authenticated here.
"""

from __future__ import annotations

import hashlib
import itertools

import numpy as np

from securefl.errors import DecodeError
from securefl.secagg.base import RoundContext
from securefl.types import ClientId, RingVector

HASH_SIZE = 32


def u8(value: int) -> bytes:
    """Return ``value`` as one byte."""
    return value.to_bytes(1, "little")


def u16(value: int) -> bytes:
    """Return ``value`` as two bytes."""
    return value.to_bytes(2, "little")


def u32(value: int) -> bytes:
    """Return ``value`` as four bytes."""
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    """Return ``value`` as eight bytes."""
    return value.to_bytes(8, "little")


def prefixed(field: bytes) -> bytes:
    """Return ``field`` after its length in four bytes."""
    return u32(len(field)) + field


class Reader:
    """Takes fields from the front of ``data``; :meth:`finish` refuses bytes left over. Fields are not copied twice."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    def view(self, size: int) -> memoryview:
        """Return the next ``size`` bytes without a copy.

        Raises:
            DecodeError: fewer bytes are left.
        """
        left = len(self._data) - self._at
        if not 0 <= size <= left:
            raise DecodeError(f"message is truncated: {size} bytes wanted, {left} left")
        self._at += size
        return self._data[self._at - size : self._at]

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        return bytes(self.view(size))

    def u8(self) -> int:
        """Return the next byte."""
        return self.view(1)[0]

    def u16(self) -> int:
        """Return the next two bytes as a number."""
        return int.from_bytes(self.view(2), "little")

    def u32(self) -> int:
        """Return the next four bytes as a number."""
        return int.from_bytes(self.view(4), "little")

    def u64(self) -> int:
        """Return the next eight bytes as a number."""
        return int.from_bytes(self.view(8), "little")

    def prefixed(self) -> bytes:
        """Return the next field that has its length in front."""
        return self.take(self.u32())

    def vector(self, length: int, dtype: np.dtype[np.uint32] | np.dtype[np.uint64]) -> RingVector:
        """Return the next ``length`` ring words as a read-only view on the message, shape (length,)."""
        field = self.view(length * dtype.itemsize)
        return np.frombuffer(field, "<u4") if dtype.itemsize == 4 else np.frombuffer(field, "<u8")

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            DecodeError: bytes are left over.
        """
        if self.left:
            raise DecodeError(f"message has {self.left} bytes left over")


def context_digest(wire_id: bytes, context: RoundContext) -> bytes:
    """Return a hash of all that a round is bound to, 32 bytes."""
    fields = (wire_id, context.run_id, u32(context.round), context.roster_hash, context.model_hash)
    return hashlib.sha256(b"securefl round" + b"".join(prefixed(field) for field in fields)).digest()


def party_list(parties: frozenset[ClientId]) -> bytes:
    """Return the parties in ascending order, their number in front."""
    return u16(len(parties)) + b"".join(u16(party) for party in sorted(parties))


def read_party_list(reader: Reader) -> frozenset[ClientId]:
    """Return the parties of a list that :func:`party_list` wrote.

    Raises:
        DecodeError: the list is not strictly ascending.
    """
    parties = [ClientId(reader.u16()) for _ in range(reader.u16())]
    if any(left >= right for left, right in itertools.pairwise(parties)):
        raise DecodeError("party list is not strictly ascending")
    return frozenset(parties)
