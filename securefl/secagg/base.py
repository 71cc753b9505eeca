"""The interface that every aggregation protocol implements: pure state machines, bytes in and bytes out.

A protocol step returns the next state with what to send, or the result, or raises; there are no sockets, no clock and no
global randomness here, so the same objects run in-process, over an engine, under an adversarial network and under the
attacks (after the VDAF reference code, vdaf.py). Every engine is an untrusted relay.

A :class:`Scheme` is one round of one protocol, bound to a :class:`RoundContext`. A :class:`Session` is what lasts for a
run: keys, roster, and the scheme of each round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from securefl.errors import ParameterError
from securefl.types import ClientId, RingVector, Rng

S = TypeVar("S", covariant=True)
M = TypeVar("M", covariant=True)
R = TypeVar("R", covariant=True)


@dataclass(frozen=True, slots=True)
class Continue(Generic[S, M]):
    """The party goes on: its next ``state``, and what it sends now (bytes, or bytes for each client)."""

    state: S
    outbound: M


@dataclass(frozen=True, slots=True)
class Finished(Generic[R]):
    """The party is done with the round."""

    result: R


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContext:
    """What every key, signature and tag of a round is bound to.

    ``run_id``, ``roster_hash`` and ``model_hash`` are 32 bytes each; ``round`` counts from 1 and only grows (0 is the set-up).
    """

    run_id: bytes
    round: int
    roster_hash: bytes
    model_hash: bytes

    def __post_init__(self) -> None:
        sizes = tuple(map(len, (self.run_id, self.roster_hash, self.model_hash)))
        if set(sizes) != {32} or not 0 <= self.round < 1 << 32:
            raise ParameterError(f"round={self.round} must be in 0..2^32-1, hashes of {sizes} bytes must have 32")


@dataclass(frozen=True, slots=True)
class OpenedSum:
    """What a round opens: the sum of the survivors' vectors, in quantiser steps.

    ``total`` has shape (d,): int64 for exact schemes, float64 for approximate ones (CKKS). ``error_bound`` is the most
    that a coordinate can differ from the exact integer sum, in steps: 0.0 for exact schemes. ``tags`` are the opened linear
    tags of a verifiable sum, which clients check it against. ``refused`` says why parties' answers were left out.
    """

    total: NDArray[np.int64] | NDArray[np.float64]
    survivors: frozenset[ClientId]
    error_bound: float = 0.0
    tags: tuple[int, ...] = ()
    refused: Mapping[ClientId, str] = field(default_factory=dict)


ClientStep: TypeAlias = "Continue[ClientState, bytes] | Finished[None]"
ServerStep: TypeAlias = "Continue[ServerState, Mapping[ClientId, bytes]] | Finished[OpenedSum]"


class ClientState(Protocol):
    """A client that waits for the operator's next message."""

    def next(self, inbound: bytes) -> ClientStep:
        """Take the operator's message and give the next step.

        Raises:
            ProtocolAbort: the message breaks a rule that this client enforces by itself.
            DecodeError: the message is not canonical.
        """
        ...


@runtime_checkable
class ChecksSum(Protocol):
    """A client state that can check what the operator says it opened, beside taking its messages."""

    def verify_sum(self, opened: OpenedSum) -> None:
        """Check the opened sum against its tags.

        Raises:
            ProtocolAbort: BAD_TAG, it is not the sum of what the survivors put in.
        """
        ...


class ServerState(Protocol):
    """An operator that waits for the clients' messages of one phase; a client that is missing has dropped out."""

    def next(self, inbound: Mapping[ClientId, bytes]) -> ServerStep:
        """Take the messages of one phase and give the next step, or the opened sum.

        Raises:
            ProtocolAbort: too few clients are left, or a message breaks a rule.
        """
        ...


DECRYPTOR_BASE = 1000
"""Decryptors have party numbers of their own: decryptor i (from 1) is party ``DECRYPTOR_BASE + i``."""


class Scheme(Protocol):
    """One round of a protocol. ``wire_id`` (``b"masking/1"``) goes into every message header and every tag.

    ``phases`` names the messages that a client sends, in order (``("advertise_keys", "share_keys", ...)``): a dropout is
    stated as the phase before whose message the client went silent.
    """

    wire_id: ClassVar[bytes]
    phases: ClassVar[tuple[str, ...]]

    def client(self, me: ClientId, update: RingVector, *, rng: Rng) -> Continue[ClientState, bytes]:
        """Return the first state of client ``me`` with its first message; ``update`` has shape (d,)."""
        ...

    def server(self, cohort: frozenset[ClientId]) -> ServerState:
        """Return the operator's first state for ``cohort``."""
        ...

    def decryptors(self, *, rng: Rng) -> Mapping[ClientId, ClientState]:
        """Return the waiting decryptors by party number; empty for schemes without any."""
        ...


class Setup(Protocol):
    """What lasts for a run: the roster and every party's keys, held in one process by simulations and tests.

    A deployment builds each party's side apart; here they are together so that a whole run fits in one process.
    """

    name: ClassVar[str]

    @property
    def setup_seconds(self) -> float:
        """CPU seconds that the set-up took, once a run."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know before the run, one line each."""
        ...

    @property
    def run_id(self) -> bytes:
        """The run that every message is bound to, 32 bytes."""
        ...

    @property
    def roster_hash(self) -> bytes:
        """SHA-256 of the signed roster, 32 bytes."""
        ...

    def round(self, context: RoundContext) -> Scheme:
        """Return the scheme of one round."""
        ...
