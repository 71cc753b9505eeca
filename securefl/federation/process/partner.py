"""A partner's process: ``python -m securefl.federation.process.partner SITE PORT``.

It takes part in the rounds that the operator begins, by the rules that its own folder holds: its roster, its journal, its
run. Whatever breaks a rule makes it stop the round and say why; it then waits for the next round. A partner that was killed
and started again is a dropout of the round that it left, because its journal knows that round. One process at a time has the
folder: two would each have a journal and a ledger of their own.

What went wrong at home (a file, a value, a weight) is written to standard error for the owner; the operator is told no more
than that the partner takes no part.
"""

from __future__ import annotations

import hashlib
import socket
import sys
from pathlib import Path

from securefl.errors import DecodeError, ProtocolAbort, SecureFLError
from securefl.federation.participation import Decision
from securefl.federation.process.frames import (
    CHALLENGE_SIZE,
    Frame,
    Kind,
    decode_opened,
    greeting,
    reason_bytes,
    receive_frame,
    send_frame,
)
from securefl.federation.process.site import Site, open_site
from securefl.files import alone
from securefl.secagg.base import ChecksSum, ClientState, Finished, RoundContext
from securefl.secagg.codec import Reader, u16, u32
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
        self._greet()
        while (frame := receive_frame(self._connection)) is not None and frame.kind is not Kind.END:
            try:
                self._answer(frame)
            except SecureFLError as error:
                self._state = None
                sys.stderr.write(f"partner {self._site.me}, round {self._round}: {error}\n")
                self._say(Kind.ABORT, reason_bytes(_for_the_operator(error)))

    def _greet(self) -> None:
        """Sign the operator's challenge: nobody else can take this partner's place, or leave in its name."""
        frame, site = receive_frame(self._connection), self._site
        if frame is None or frame.kind is not Kind.HELLO or len(frame.body) != CHALLENGE_SIZE:
            raise DecodeError(f"the operator's first frame must be a challenge of {CHALLENGE_SIZE} bytes")
        signature = site.identity.sign(greeting(site.run_id, site.roster.hash, frame.body))
        send_frame(self._connection, Frame(Kind.HELLO, u16(site.me) + signature))

    def _say(self, kind: Kind, body: bytes) -> None:
        send_frame(self._connection, Frame(kind, u32(self._round) + body))

    def _answer(self, frame: Frame) -> None:
        if frame.kind is Kind.BEGIN:
            self._begin(frame.body)
        elif frame.kind is Kind.PROTOCOL:
            self._step(frame.body)
        elif frame.kind is Kind.RESULT:
            self._keep(frame.body)
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
            self._say(Kind.LEAVE, decision.encode())
            return
        # The partner hashes the model that it was shown: two partners who were shown different ones can't agree on a key.
        model_hash = hashlib.sha256(reader.view(len(body) - 4)).digest()
        site = self._site
        context = RoundContext(run_id=site.run_id, round=self._round, roster_hash=site.roster.hash, model_hash=model_hash)
        scheme = PairwiseMasking(context, site.roster, {site.me: Party(site.identity, site.journal, site.ledger)})
        vector, _ = encode_input(site.update(self._round), site.weight, site.roster.quantizer, site.me)
        step = scheme.client(site.me, vector, rng=self._rng)
        self._state = step.state
        self._say(Kind.PROTOCOL, step.outbound)

    def _step(self, message: bytes) -> None:
        if self._state is None:
            return
        step = self._state.next(message)
        if isinstance(step, Finished):
            self._state = None
            return
        self._state = step.state
        self._say(Kind.PROTOCOL, step.outbound)


    def _keep(self, body: bytes) -> None:
        """Keep what the operator says that the round opened, once, if it is what this partner helped to open."""
        state, self._state = self._state, None
        if not isinstance(state, ChecksSum):
            raise DecodeError("a result of a round that this partner did not unmask")
        opened = decode_opened(body)
        state.verify_sum(opened)
        self._site.keep_opened(self._round, opened.total.tobytes())


def _for_the_operator(error: SecureFLError) -> SecureFLError:
    """Return what the operator may read of ``error``: its own and the protocol's faults, nothing of files and values here."""
    return error if isinstance(error, ProtocolAbort | DecodeError) else SecureFLError("the partner can't take part")


def serve(folder: Path, port: int) -> None:
    """Take part in the rounds of the operator on the loopback ``port`` with the site in ``folder``."""
    with alone(folder):
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
