"""Both ends of a partner's line, taken apart: strangers, late and made-up frames, and what must not be said on it."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from stand_ins import CountingRng
from test_process_engine import MODEL, made_setup

from securefl.crypto.signature import verify_signature
from securefl.errors import InputError
from securefl.federation.participation import Decision
from securefl.federation.process.frames import (
    CHALLENGE_SIZE,
    Frame,
    Kind,
    encode_opened,
    greeting,
    receive_frame,
    send_frame,
)
from securefl.federation.process.partner import Member
from securefl.federation.process.relay import MAX_STRANGERS, Capture, Relay, ignore
from securefl.federation.process.site import JOURNAL_FILE, LEDGER_FILE, NewSite, Site, create_site, open_site
from securefl.secagg.base import ClientState, Continue, Finished, OpenedSum, RoundContext
from securefl.secagg.codec import u32
from securefl.secagg.masking.protocol import MaskingSetup
from securefl.secagg.rounds import encode_input
from securefl.types import ClientId, FloatVector, SystemRng

MODEL_HASH = hashlib.sha256(MODEL).digest()
EVERYBODY = frozenset(map(ClientId, (1, 2, 3)))
_lines: list[socket.socket] = []
_threads: list[threading.Thread] = []
_greeted: list[ClientId] = []


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    yield
    for line in _lines:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
    while _threads:
        _threads.pop().join(30)
    while _lines:
        _lines.pop().close()


class Played(NamedTuple):
    """A partner's end in this process; the test holds the operator's end of the line, and its keys' owners."""

    site: Site
    line: socket.socket
    setup: MaskingSetup


def made_member(tmp_path: Path, *, weight: int = 1, update: FloatVector | None = None) -> Played:
    """Start partner 1 of three as a thread."""
    setup = made_setup(3)
    new = NewSite(
        me=ClientId(1), run_id=setup.run_id, signed=setup.signed, identity=setup.parties[ClientId(1)].identity, weight=weight,
        updates={1: np.full(5, 0.25) if update is None else update},
    )  # fmt: skip
    create_site(tmp_path / "site", new)
    site = open_site(tmp_path / "site")
    line, other = socket.socketpair()
    _lines.extend((line, other))
    line.settimeout(30)

    def serve() -> None:
        with suppress(OSError):
            Member(site, other, rng=CountingRng()).serve()

    _threads.append(threading.Thread(target=serve, daemon=True))
    _threads[-1].start()
    send_frame(line, Frame(Kind.HELLO, bytes(CHALLENGE_SIZE)))
    hello = receive_frame(line)
    assert hello is not None
    verify_signature(site.identity.verify_key, greeting(site.run_id, site.roster.hash, bytes(CHALLENGE_SIZE)), hello.body[2:])
    return Played(site, line, setup)


def test_a_site_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    setup = made_setup(3)
    new = NewSite(
        me=ClientId(1), run_id=setup.run_id, signed=setup.signed, identity=setup.parties[ClientId(1)].identity, weight=1,
        updates={1: np.zeros(5)},
    )  # fmt: skip
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can't write"):
        create_site(tmp_path / "file" / "site", new)


def test_a_partner_whose_ledger_is_gone_takes_no_part(tmp_path: Path) -> None:
    """Deleting it looks like the way out of a refusal; the others rely on what it tells them of earlier sums."""
    site = made_member(tmp_path).site
    site.journal.begin(1)
    site.ledger.admit(MODEL_HASH, EVERYBODY, round=1)
    site.journal.answer(1, bytes(32))
    site.journal.begin(2)
    assert open_site(site.folder).ledger.exposure().openings == 1
    (site.folder / LEDGER_FILE).unlink()
    with pytest.raises(InputError, match="would help to expose others"):
        open_site(site.folder)


@pytest.mark.parametrize("name", [JOURNAL_FILE, LEDGER_FILE])
def test_a_memory_that_lies_elsewhere_and_is_not_there_is_no_new_one(tmp_path: Path, name: str) -> None:
    """A link into a volume that is not mounted, say."""
    site = made_member(tmp_path).site
    (site.folder / name).symlink_to(tmp_path / "not mounted" / name)
    with pytest.raises(InputError, match="can't be read"):
        open_site(site.folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"rubbish"])
def test_an_update_that_is_no_array_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    played = made_member(tmp_path)
    path = played.site.folder / "inputs" / "round-1.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match="update"):
        played.site.update(1)


def said(played: Played, kind: Kind, body: bytes) -> tuple[Kind, bytes]:
    """Send a frame to the partner, and return what it answers without the round in front."""
    send_frame(played.line, Frame(kind, body))
    answer = receive_frame(played.line)
    assert answer is not None
    return answer.kind, answer.body[4:]


@pytest.mark.parametrize(("weight", "update"), [(100_000, None), (1, np.array([0.1, np.nan, 0.3]))])
def test_what_is_wrong_at_home_is_not_told_to_the_operator(tmp_path: Path, weight: int, update: FloatVector | None) -> None:
    """A weight is a number of records, and which coordinate is not finite is a fact of the update."""
    played = made_member(tmp_path, weight=weight, update=update)
    assert said(played, Kind.BEGIN, u32(1) + MODEL) == (Kind.ABORT, b"the partner can't take part")
    assert said(played, Kind.BEGIN, u32(9) + MODEL) == (Kind.ABORT, b"the partner can't take part")  # no file of that round


def play_round(played: Played) -> OpenedSum:
    """Play the operator and the two other partners of a round, and return what it opens."""
    setup, total = played.setup, 3
    context = RoundContext(
        run_id=setup.run_id, round=1, roster_hash=setup.roster_hash, model_hash=hashlib.sha256(MODEL).digest()
    )
    scheme = setup.round(context)
    vector, _ = encode_input(np.full(5, 0.5), 1, setup.signed.roster.quantizer, ClientId(2))
    states: dict[ClientId, ClientState] = {}
    answers: dict[ClientId, bytes] = {ClientId(1): said(played, Kind.BEGIN, u32(1) + MODEL)[1]}
    for client in (ClientId(2), ClientId(3)):
        step = scheme.client(client, vector, rng=SystemRng())
        states[client], answers[client] = step.state, step.outbound
    server = scheme.server(frozenset(map(ClientId, range(1, total + 1))))
    while True:
        opened = server.next(answers)
        if isinstance(opened, Finished):
            return opened.result
        server, answers = opened.state, {ClientId(1): said(played, Kind.PROTOCOL, opened.outbound[ClientId(1)])[1]}
        for client, state in states.items():
            answered = state.next(opened.outbound[client])
            assert isinstance(answered, Continue)
            states[client], answers[client] = answered.state, answered.outbound


def test_a_partner_keeps_the_sum_that_it_helped_to_open_and_no_other(tmp_path: Path) -> None:
    played = made_member(tmp_path)
    kept = played.site.folder / "opened" / "round-1.int64"
    early = encode_opened(OpenedSum(np.zeros(6, np.int64), frozenset(map(ClientId, (1, 2, 3)))))
    assert b"did not unmask" in said(played, Kind.RESULT, early)[1]
    opened = play_round(played)
    send_frame(played.line, Frame(Kind.RESULT, encode_opened(opened)))
    assert b"did not unmask" in said(played, Kind.RESULT, encode_opened(opened))[1]  # once
    assert np.fromfile(kept, "<i8").tolist() == opened.total.tolist()
    assert not (played.site.folder / "opened" / "round-0.int64").exists()


@pytest.mark.parametrize("change", ["survivors", "length", "odd bytes"])
def test_a_made_up_result_is_not_kept(tmp_path: Path, change: str) -> None:
    played = made_member(tmp_path)
    opened = play_round(played)
    body = encode_opened(
        replace(opened, survivors=frozenset(map(ClientId, (1, 2)))) if change == "survivors"
        else replace(opened, total=np.append(opened.total, 0)) if change == "length" else opened
    )  # fmt: skip
    assert said(played, Kind.RESULT, body[:-1] if change == "odd bytes" else body)[0] is Kind.ABORT
    assert not (played.site.folder / "opened").exists()


def made_relay(setup: MaskingSetup, deadline_s: float = 20, capture: Capture = ignore) -> Relay:
    def noted(direction: str, partner: ClientId, kind: Kind, size: int) -> None:
        capture(direction, partner, kind, size)
        if (direction, kind) == ("up", Kind.HELLO):
            _greeted.append(partner)

    return Relay(setup.signed.roster, run_id=setup.run_id, deadline_s=deadline_s, rng=SystemRng(), capture=noted)


def connected(relay: Relay) -> tuple[socket.socket, bytes]:
    """A line to the relay, with its challenge."""
    line = socket.create_connection(("127.0.0.1", relay.port))
    _lines.append(line)
    line.settimeout(0.05)
    while True:
        relay.wait_for(EVERYBODY, 0.02)
        try:
            frame = receive_frame(line)
        except TimeoutError:
            continue
        assert frame is not None
        return line, frame.body


def greet(relay: Relay, setup: MaskingSetup, client: int, *, signer: int | None = None) -> socket.socket:
    line, challenge = connected(relay)
    key = setup.parties[ClientId(signer or client)].identity
    body = client.to_bytes(2, "little") + key.sign(greeting(setup.run_id, setup.roster_hash, challenge))
    send_frame(line, Frame(Kind.HELLO, body))
    known, until = len(_greeted), time.monotonic() + (0.3 if signer else 20)
    while len(_greeted) == known and time.monotonic() < until:
        relay.wait_for(EVERYBODY, 0.05)
    return line


def test_nobody_takes_a_partners_place_or_leaves_in_its_name() -> None:
    setup = made_setup(3)
    relay = made_relay(setup)
    forged = greet(relay, setup, 2, signer=3)
    assert relay.present == frozenset()
    assert receive_or_closed(forged) is None
    greet(relay, setup, 2)
    assert relay.present == {2}
    relay.close()


@pytest.mark.parametrize("number", [0, 77])
def test_a_stranger_is_no_partner_and_cannot_stop_the_operator(number: int) -> None:
    """Number 0 was taken for a line that nobody had greeted on: it could greet again, and closing it raised KeyError."""
    setup = made_setup(3)
    relay = made_relay(setup)
    line, _ = connected(relay)
    send_frame(line, Frame(Kind.HELLO, number.to_bytes(2, "little") + bytes(64)))
    relay.wait_for(EVERYBODY, 0.2)
    assert relay.present == frozenset()
    relay.close()


def test_strangers_that_say_nothing_do_not_keep_the_partners_out() -> None:
    """Each connection takes a descriptor: whoever opened enough of them left none for a partner."""
    setup = made_setup(3)
    relay = made_relay(setup)
    first, *_ = [connected(relay)[0] for _ in range(MAX_STRANGERS + 4)]
    assert first.recv(1) == b""  # hung up; an open line would time out
    greet(relay, setup, 2)
    assert relay.present == {2}
    relay.close()


def receive_or_closed(line: socket.socket) -> Frame | None:
    try:
        return receive_frame(line)
    except OSError:
        return None


@pytest.mark.parametrize("header", [
    bytes([Kind.PROTOCOL]) + (1 << 30).to_bytes(8, "little"), bytes([Kind.HELLO]) + (1 << 30).to_bytes(8, "little"),
])  # fmt: skip
def test_a_stranger_cannot_make_the_operator_take_memory(header: bytes) -> None:
    relay = made_relay(made_setup(3))
    line, _ = connected(relay)
    line.sendall(header)
    relay.wait_for(EVERYBODY, 0.2)
    assert receive_or_closed(line) is None  # hung up before a byte of the body
    relay.close()


def test_a_partners_newer_line_takes_the_place_of_its_older_one() -> None:
    """A partner that was killed and started again must not wait until the relay has noticed."""
    setup = made_setup(3)
    relay = made_relay(setup)
    first = greet(relay, setup, 1)
    second = greet(relay, setup, 1)
    assert relay.present == {1}
    assert receive_or_closed(first) is None
    relay.close()
    answer = receive_frame(second)
    assert answer is not None
    assert answer.kind is Kind.END


class Waiting:
    """An operator's state that notes what it is given."""

    def __init__(self) -> None:
        self.given: dict[ClientId, bytes] = {}

    def next(self, inbound: Mapping[ClientId, bytes]) -> Finished[OpenedSum]:
        self.given = dict(inbound)
        return Finished(OpenedSum(np.zeros(1, np.int64), frozenset(inbound)))


def test_what_comes_too_late_does_not_count_for_the_next_round() -> None:
    """A slow partner's answer to round 1 would break round 2, its answer to that one round 3, and so on."""
    setup = made_setup(3)
    relay, state = made_relay(setup, deadline_s=1.0), Waiting()
    line = greet(relay, setup, 1)
    for late in (
        Frame(Kind.PROTOCOL, u32(1) + b"late"), Frame(Kind.LEAVE, u32(1) + Decision.WITHDRAW.encode()),
        Frame(Kind.ABORT, u32(1) + b"why"), Frame(Kind.PROTOCOL, u32(2) + b"in time"), Frame(Kind.BEGIN, b""),
    ):  # fmt: skip
        send_frame(line, late)
    relay.run_round(2, MODEL, state, frozenset({ClientId(1)}))
    assert state.given == {ClientId(1): b"in time"}
    assert relay.departures == []
    assert relay.aborts == [(1, "why")]
    relay.close()


def test_a_partner_that_does_not_read_is_sent_one_round_and_no_more() -> None:
    """What it does not take waits in the operator's memory: a model and a bundle for every round."""
    setup, begun = made_setup(3), []

    def capture(direction: str, partner: ClientId, kind: Kind, size: int) -> None:
        if kind is Kind.BEGIN:
            begun.append(partner)

    relay = made_relay(setup, 0.2, capture)
    greet(relay, setup, 1)
    for round in (1, 2, 3):
        relay.run_round(round, bytes(1 << 24), Waiting(), frozenset({ClientId(1)}))
    assert begun == [1]
    relay.close()
