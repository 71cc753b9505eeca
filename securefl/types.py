"""Types that every package shares: parties, ring vectors, the secure generator, secrets.

numpy's and torch's generators are for data and weights alone. Whatever must be unpredictable (keys, masks, shares,
nonces, privacy noise) comes from an :class:`Rng` that the caller passes in; only the composition root makes a
:class:`SystemRng`.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import NewType, NoReturn, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

ClientId = NewType("ClientId", int)
"""A partner's number on the roster, from 1 to n: also the point at which its Shamir shares are evaluated."""

RingVector: TypeAlias = NDArray[np.uint32] | NDArray[np.uint64]
"""Shape (d,), little-endian words of Z_2^32 or Z_2^64; signed values are two's complement."""

FloatVector: TypeAlias = NDArray[np.float64] | NDArray[np.float32]
"""Shape (d,), a flat model update."""


Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)`` by long work; the command line draws a bar from it."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing: the progress of a caller that wants none."""


class Rng(Protocol):
    """A cryptographically secure source of bytes."""

    def bytes(self, size: int) -> bytes:
        """Return ``size`` fresh bytes, uniform and independent of all earlier ones."""
        ...


class SystemRng:
    """The operating system's generator. Only the composition root (cli, federation) creates one."""

    def bytes(self, size: int) -> bytes:
        """Return ``size`` bytes of ``os.urandom``."""
        return os.urandom(size)


class Secret:
    """Bytes that must not be printed, compared in variable time, or pickled; :meth:`expose` is the only way out.

    Python cannot wipe memory: dropping the last reference frees it, and nothing more is promised.

    >>> Secret(bytes(32))
    Secret(32 bytes)
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def expose(self) -> bytes:
        """Return the bytes themselves."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> NoReturn:
        raise TypeError("a Secret can't be hashed")

    def __format__(self, spec: str) -> NoReturn:
        raise TypeError("a Secret can't be formatted: expose() it where it is used")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret can't be pickled")
