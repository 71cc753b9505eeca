"""A partner's process: ``python -m securefl.federation.process.partner SITE PORT``.

It takes part in the rounds that the operator begins, by the rules that its own folder holds: its roster, its journal, its
run. Whatever breaks a rule makes it stop the round and say why; it then waits for the next round. A partner that was killed
and started again is a dropout of the round that it left, because its journal knows that round.
"""

from __future__ import annotations

import hashlib
import socket
import sys
from pathlib import Path

from securefl.errors import DecodeError, SecureFLError
from securefl.federation.participation import Decision
from securefl.federation.process.frames import Frame, Kind, receive_frame, send_frame
from securefl.federation.process.site import Site, open_site
from securefl.secagg.base import ClientState, Finished, RoundContext
from securefl.secagg.codec import Reader, u16
from securefl.secagg.masking.protocol import PairwiseMasking, Party
from securefl.secagg.rounds import encode_input
from securefl.types import Rng, SystemRng

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 60.0


class Member:
    """The partner's end of the connection: at most one round at a time."""

    def __init__(self, site: Site, connection: socket.socket, *, rng: Rng) -> None:
        self._site, self._connection, self._rng = site, connection, rng
        self._round = 0
        self._state: ClientState | None = None

    def serve(self) -> None:
        """Take part until the operator ends the run or is gone."""
        send_frame(self._connection, Frame(Kind.HELLO, u16(self._site.me)))
        while (frame := receive_frame(self._connection)) is not None and frame.kind is not Kind.END:
            try:
                self._answer(frame)
            except SecureFLError as error:
                self._state = None
                send_frame(self._connection, Frame(Kind.ABORT, str(error).encode()))

    def _answer(self, frame: Frame) -> None:
        if frame.kind is Kind.BEGIN:
            self._begin(frame.body)
        elif frame.kind is Kind.PROTOCOL:
            self._step(frame.body)
        elif frame.kind is Kind.RESULT:
            self._site.keep_opened(self._round, frame.body)
        elif frame.kind is Kind.ABORT:
            self._state = None
        else:
            raise DecodeError(f"frame {frame.kind.name} is not for a partner")

    def _begin(self, body: bytes) -> None:
        reader = Reader(body)
        self._round = reader.u32()
        decision = self._site.decision(self._round)
        if decision is not Decision.TAKE_PART:
            self._state = None
            send_frame(self._connection, Frame(Kind.LEAVE, decision.encode()))
            return
        # The partner hashes the model that it was shown: two partners who were shown different ones can't agree on a key.
        model_hash = hashlib.sha256(reader.view(len(body) - 4)).digest()
        site = self._site
        context = RoundContext(run_id=site.run_id, round=self._round, roster_hash=site.roster.hash, model_hash=model_hash)
        scheme = PairwiseMasking(context, site.roster, {site.me: Party(site.identity, site.journal, site.ledger)})
        vector, _ = encode_input(site.update(self._round), site.weight, site.roster.quantizer, site.me)
        step = scheme.client(site.me, vector, rng=self._rng)
        self._state = step.state
        send_frame(self._connection, Frame(Kind.PROTOCOL, step.outbound))

    def _step(self, message: bytes) -> None:
        if self._state is None:
            return
        step = self._state.next(message)
        if isinstance(step, Finished):
            self._state = None
            return
        self._state = step.state
        send_frame(self._connection, Frame(Kind.PROTOCOL, step.outbound))


def serve(folder: Path, port: int) -> None:
    """Take part in the rounds of the operator on the loopback ``port`` with the site in ``folder``."""
    site = open_site(folder)
    with socket.create_connection((LOOPBACK, port), timeout=CONNECT_SECONDS) as connection:
        connection.settimeout(None)
        Member(site, connection, rng=SystemRng()).serve()


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]), int(sys.argv[2]))
    except SecureFLError as error:
        sys.stderr.write(f"partner: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"partner: the operator is gone: {error.strerror}\n")
        sys.exit(3)
