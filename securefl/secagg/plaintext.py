"""The sum in clear: the yardstick that every other scheme is compared with, and the attacks' positive control.

It protects NOTHING: the operator sees every client's vector with its weight, and messages are not signed. Messages are
bound to the round, so that a replay from another round is refused as it is by the schemes that protect.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from securefl.errors import AbortReason, ParameterError, ProtocolAbort, TooFewClients
from securefl.quantize import Quantizer
from securefl.secagg.base import ClientState, Continue, Finished, OpenedSum, RoundContext, ServerState
from securefl.secagg.codec import HASH_SIZE, Reader, context_digest, u16
from securefl.types import ClientId, RingVector, Rng

WIRE_ID = b"plaintext/1"


@dataclass(frozen=True, slots=True)
class Sent:
    """A client that has sent its vector and waits for nothing."""

    message: bytes = field(repr=False)

    def next(self, inbound: bytes) -> Finished[None]:
        """End the round: the operator owes the client no message."""
        return Finished(None)


@dataclass(frozen=True, slots=True)
class Collecting:
    """The operator, waiting for the vectors of ``cohort``."""

    context: RoundContext
    cohort: frozenset[ClientId]
    quantizer: Quantizer

    def next(self, inbound: Mapping[ClientId, bytes]) -> Finished[OpenedSum]:
        """Sum the vectors that came.

        Raises:
            ProtocolAbort: nobody, a stranger, or a message of another round.
            DecodeError: a message is truncated.
        """
        if not inbound:
            raise TooFewClients(round=self.context.round, have=0, need=1)
        total: RingVector | None = None
        for sender, message in inbound.items():
            if sender not in self.cohort:
                raise ProtocolAbort(AbortReason.UNKNOWN_PARTY, round=self.context.round, party=sender)
            vector = _decode(message, sender, self.context, self.quantizer)
            if total is None:
                total = vector.copy()
            elif len(vector) != len(total):
                raise ProtocolAbort(AbortReason.MALFORMED, round=self.context.round, party=sender, detail="length differs")
            else:
                np.add(total, vector, out=total)
        if total is None:  # pragma: no cover - inbound is not empty here; this tells the type checker so
            raise TooFewClients(round=self.context.round, have=0, need=1)
        return Finished(OpenedSum(self.quantizer.decode(total), frozenset(inbound)))


@dataclass(frozen=True, slots=True)
class Plaintext:
    """One round of the sum in clear."""

    context: RoundContext
    quantizer: Quantizer
    wire_id: ClassVar[bytes] = WIRE_ID
    phases: ClassVar[tuple[str, ...]] = ("input",)

    def client(self, me: ClientId, update: RingVector, *, rng: Rng) -> Continue[ClientState, bytes]:
        """Send ``update`` as it is."""
        message = b"".join((context_digest(WIRE_ID, self.context), u16(me), update.data))
        return Continue(Sent(message), message)

    def server(self, cohort: frozenset[ClientId]) -> ServerState:
        """Wait for the vectors of ``cohort``."""
        return Collecting(self.context, cohort, self.quantizer)

    def decryptors(self, *, rng: Rng) -> Mapping[ClientId, ClientState]:
        """There are none."""
        return {}


@dataclass(frozen=True, slots=True)
class PlaintextSetup:
    """A run in clear: nothing to set up."""

    quantizer: Quantizer
    run_id: bytes
    roster_hash: bytes
    setup_seconds: float
    warnings: tuple[str, ...] = ("the operator sees every update in clear",)
    name: ClassVar[str] = "plaintext"

    def round(self, context: RoundContext) -> Plaintext:
        """Return the scheme of one round."""
        return Plaintext(context, self.quantizer)


def set_up(
    clients: Sequence[ClientId], *, quantizer: Quantizer, run_id: bytes, rng: Rng, options: object | None = None
) -> PlaintextSetup:
    """Return a run in clear for ``clients``; it takes no options.

    Raises:
        ParameterError: options were given.
        CapacityError: the sum of all clients could wrap.
    """
    started = time.process_time()
    if options is not None:
        raise ParameterError(f"plaintext takes no options, not {type(options).__name__}")
    quantizer.require_capacity(len(clients))
    roster_hash = hashlib.sha256(b"securefl plaintext roster" + b"".join(u16(c) for c in sorted(clients))).digest()
    return PlaintextSetup(quantizer, run_id, roster_hash, time.process_time() - started)


def _decode(message: bytes, sender: ClientId, context: RoundContext, quantizer: Quantizer) -> RingVector:
    reader = Reader(message)
    if reader.take(HASH_SIZE) != context_digest(WIRE_ID, context):
        raise ProtocolAbort(AbortReason.WRONG_ROUND, round=context.round, party=sender)
    if reader.u16() != sender:
        raise ProtocolAbort(AbortReason.MALFORMED, round=context.round, party=sender, detail="names another sender")
    words, odd = divmod(len(message) - HASH_SIZE - 2, quantizer.dtype.itemsize)
    if odd or not words:
        raise ProtocolAbort(AbortReason.MALFORMED, round=context.round, party=sender, detail=f"{odd} bytes left over")
    return reader.vector(words, quantizer.dtype)
