"""The operator's process: it relays, adds, and waits no longer than a deadline for anybody.

One thread and non-blocking sockets. A connection counts once a partner on the roster has signed a challenge over it: a stranger
can neither take a partner's place nor veto or leave in its name. A partner that closes, sends what is no frame, or stays silent
past the deadline has dropped out of the phase; the protocol decides whether the round can go on without it.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from securefl.crypto.signature import SIGNATURE_SIZE, verify_signature
from securefl.errors import AbortReason, DecodeError, ProtocolAbort, VerificationError
from securefl.federation.participation import LASTING, Decision, Departure
from securefl.federation.process.frames import (
    CHALLENGE_SIZE,
    HEADER_SIZE,
    READ_SIZE,
    Frame,
    Kind,
    encode_opened,
    greeting,
    read_header,
    reason_bytes,
)
from securefl.federation.process.partner import LOOPBACK
from securefl.secagg.base import Finished, OpenedSum, ServerState
from securefl.secagg.codec import Reader, u32
from securefl.secagg.roster import Roster
from securefl.secagg.rounds import OPERATOR
from securefl.types import ClientId, Rng

MAX_STRANGERS = 64
"""Connections, beside one for each partner, that may wait for their greeting: the oldest has to go before all are taken."""

Capture = Callable[[str, ClientId, Kind, int], None]
"""Called as ``capture(direction, partner, kind, size)`` for every frame: what a tap on the wire can count."""


def ignore(direction: str, partner: ClientId, kind: Kind, size: int) -> None:
    """Count nothing."""


@dataclass(slots=True)
class _Line:
    """A partner's connection with what came so far and what still has to go out."""

    connection: socket.socket
    challenge: bytes
    partner: ClientId = OPERATOR
    incoming: bytearray = field(default_factory=bytearray)
    outgoing: bytearray = field(default_factory=bytearray)


class Relay:
    """The operator's end of every connection, on a loopback port of its own."""

    def __init__(self, roster: Roster, *, run_id: bytes, deadline_s: float, rng: Rng, capture: Capture = ignore) -> None:
        """Listen; ``deadline_s`` is how long a phase waits for those who have not answered."""
        self._roster, self._run_id, self._rng = roster, run_id, rng
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.aborts: list[tuple[ClientId, str]] = []
        self.departures: list[Departure] = []
        self._deadline_s = deadline_s
        self._capture = capture
        self._lines: dict[ClientId, _Line] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    @property
    def present(self) -> frozenset[ClientId]:
        """The partners that are connected."""
        return frozenset(self._lines)

    def wait_for(self, partners: frozenset[ClientId], seconds: float) -> frozenset[ClientId]:
        """Return those of ``partners`` that are connected after at most ``seconds``."""
        end = time.monotonic() + seconds
        while not partners <= self.present and time.monotonic() < end:
            self._exchange(end, {})
        return self.present & partners

    def run_round(self, round: int, model: bytes, server: ServerState, cohort: frozenset[ClientId]) -> OpenedSum:
        """Run one round with the connected partners of ``cohort`` and tell them the opened sum.

        Raises:
            ProtocolAbort: the protocol stops the round; every partner is told.
        """
        try:
            return self._run(round, model, server, cohort)
        except ProtocolAbort as error:
            self._send({client: Frame(Kind.ABORT, reason_bytes(error)) for client in self.present})
            raise

    def _run(self, round: int, model: bytes, state: ServerState, cohort: frozenset[ClientId]) -> OpenedSum:
        gone = {ClientId(one.partner + 1) for one in self.departures if one.decision in LASTING}
        # Who has not taken what it was sent in an earlier round is sent no more: it would pile up here.
        self._drain()
        asked = frozenset(client for client in (cohort & self.present) - gone if not self._lines[client].outgoing)
        self._send({client: Frame(Kind.BEGIN, u32(round) + model) for client in asked})
        while True:
            step = state.next(self._collect(asked, round))
            if isinstance(step, Finished):
                result = Frame(Kind.RESULT, encode_opened(step.result))
                self._send({client: result for client in step.result.survivors & self.present})
                return step.result
            state = step.state
            self._send({client: Frame(Kind.PROTOCOL, message) for client, message in step.outbound.items()})
            asked = frozenset(step.outbound)

    def _collect(self, asked: frozenset[ClientId], round: int) -> Mapping[ClientId, bytes]:
        """Return what those who were asked answer, until all have answered, are gone, or the deadline is past.

        Raises:
            ProtocolAbort: one of them vetoes the round.
        """
        answers: dict[ClientId, bytes] = {}
        refused: set[ClientId] = set()
        end = time.monotonic() + self._deadline_s
        while (asked & self.present) - set(answers) - refused and time.monotonic() < end:
            frames: dict[ClientId, list[Frame]] = {}
            self._exchange(end, frames)
            for client, arrived in frames.items():
                for frame in arrived:
                    number, body = _said_in_round(frame)
                    if number != round:
                        continue  # late: it is of a round that went on without this partner
                    if frame.kind is Kind.PROTOCOL and client in asked:
                        answers.setdefault(client, body)
                    elif frame.kind is Kind.ABORT:
                        refused.add(client)
                    elif frame.kind is Kind.LEAVE:
                        self._let_go(client, round, body)
                        refused.add(client)
        return answers

    def _let_go(self, client: ClientId, round: int, body: bytes) -> None:
        try:
            decision = Decision.decode(body)
        except DecodeError as error:
            self.aborts.append((client, str(error)))
            return
        if decision is Decision.TAKE_PART:
            return
        self.departures.append(Departure(round, client - 1, decision))
        if decision is Decision.VETO:
            raise ProtocolAbort(AbortReason.VETOED, round=round, party=client)

    def close(self) -> None:
        """Tell everybody that the run is over, and hang up."""
        self._send(dict.fromkeys(self.present, Frame(Kind.END, b"")))
        self._drain()
        self._selector.unregister(self._listener)
        self._listener.close()
        for key in list(self._selector.get_map().values()):
            self._drop(key.data)
        self._selector.close()

    def _drain(self) -> None:
        """Wait until everybody has taken what it was sent, or the deadline is past; what they say meanwhile is of no round."""
        end = time.monotonic() + self._deadline_s
        while any(line.outgoing for line in self._lines.values()) and time.monotonic() < end:
            self._exchange(end, {})

    def _send(self, frames: Mapping[ClientId, Frame]) -> None:
        for client, frame in frames.items():
            line = self._lines.get(client)
            if line is None:
                continue
            self._capture("down", client, frame.kind, len(frame.body))
            line.outgoing += frame.encode()
            self._selector.modify(line.connection, selectors.EVENT_READ | selectors.EVENT_WRITE, line)

    def _exchange(self, end: float, frames: dict[ClientId, list[Frame]]) -> None:
        """Wait for the sockets once; append complete frames to ``frames``."""
        for key, events in self._selector.select(max(0.0, min(end - time.monotonic(), 0.5))):
            if key.fileobj is self._listener:
                self._accept()
                continue
            line: _Line = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    self._write(line)
                if events & selectors.EVENT_READ:
                    for frame in self._read(line):
                        frames.setdefault(line.partner, []).append(frame)
            except (OSError, DecodeError, VerificationError):
                # A broken line is a dropout; whether the round survives it is the protocol's decision.
                self._drop(line)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # whoever it was has gone again, or there is no room for one more
        lines = [key.data for key in self._selector.get_map().values() if isinstance(key.data, _Line)]
        waiting = [line for line in lines if line.partner == OPERATOR]
        if len(waiting) >= len(self._roster.keys) + MAX_STRANGERS:
            self._drop(waiting[0])
        connection.setblocking(False)
        line = _Line(connection, self._rng.bytes(CHALLENGE_SIZE))
        line.outgoing += Frame(Kind.HELLO, line.challenge).encode()
        self._selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, line)

    def _write(self, line: _Line) -> None:
        sent = line.connection.send(memoryview(line.outgoing)[:READ_SIZE].tobytes())
        del line.outgoing[:sent]
        if not line.outgoing:
            self._selector.modify(line.connection, selectors.EVENT_READ, line)

    def _read(self, line: _Line) -> Iterable[Frame]:
        part = line.connection.recv(READ_SIZE)
        if not part:
            raise DecodeError("the partner has hung up")
        line.incoming += part
        while (frame := _take_frame(line.incoming, greeted=line.partner != OPERATOR)) is not None:
            if line.partner == OPERATOR:
                self._greet(line, frame)
                continue
            self._capture("up", line.partner, frame.kind, len(frame.body))
            if frame.kind is Kind.ABORT:
                self.aborts.append((line.partner, _said_in_round(frame)[1].decode(errors="replace")))
            yield frame

    def _greet(self, line: _Line, frame: Frame) -> None:
        """Take the line for the partner whose signature over the challenge verifies; its newest line is the one that counts."""
        reader = Reader(frame.body)
        partner, signature = ClientId(reader.u16()), reader.take(SIGNATURE_SIZE)
        reader.finish()
        if partner not in self._roster.keys:
            raise DecodeError(f"partner {partner} is not on the roster")
        verify_signature(self._roster.keys[partner], greeting(self._run_id, self._roster.hash, line.challenge), signature)
        if partner in self._lines:
            self._drop(self._lines[partner])
        line.partner = partner
        self._lines[partner] = line
        self._capture("up", partner, frame.kind, len(frame.body))

    def _drop(self, line: _Line) -> None:
        if line.connection.fileno() < 0:
            return  # hung up already, for the partner's newer line
        self._selector.unregister(line.connection)
        line.connection.close()
        if self._lines.get(line.partner) is line:
            del self._lines[line.partner]


def _said_in_round(frame: Frame) -> tuple[int, bytes]:
    """Return the round that a partner's frame names, and what it says; -1 for a frame that is not a partner's to send."""
    if frame.kind not in (Kind.PROTOCOL, Kind.ABORT, Kind.LEAVE) or len(frame.body) < 4:
        return -1, b""
    return int.from_bytes(frame.body[:4], "little"), frame.body[4:]


def _take_frame(incoming: bytearray, *, greeted: bool) -> Frame | None:
    """Remove and return the first whole frame of ``incoming``, if there is one; before the greeting nothing else may come."""
    if len(incoming) < HEADER_SIZE:
        return None
    kind, size = read_header(bytes(incoming[:HEADER_SIZE]))
    if greeted == (kind is Kind.HELLO):
        raise DecodeError(f"frame is {kind.name}: the first one must be HELLO, and no other")
    if len(incoming) < HEADER_SIZE + size:
        return None
    body = bytes(incoming[HEADER_SIZE : HEADER_SIZE + size])
    del incoming[: HEADER_SIZE + size]
    return Frame(kind, body)
