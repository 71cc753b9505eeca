"""Partners as processes of their own: the right sum, kills at any moment, and nothing on the wire but what is allowed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.crypto.signature import SigningKey
from securefl.errors import DecodeError, InputError, ProtocolAbort, VerificationError
from securefl.federation.participation import Decision, Departure
from securefl.federation.process.frames import (
    HEADER_SIZE,
    MAX_BODY_SIZE,
    Frame,
    Kind,
    read_header,
)
from securefl.federation.process.launch import consortium, site_folder
from securefl.federation.process.partner import serve
from securefl.federation.process.relay import Capture, ignore
from securefl.federation.process.site import KEY_FILE, PARTICIPATION_FILE, NewSite, create_site, open_site
from securefl.quantize import Quantizer
from securefl.secagg.keyfile import save_key
from securefl.secagg.masking.protocol import MaskingSetup, set_up
from securefl.types import ClientId, FloatVector, Secret

DIM = 1000
MODEL = b"the public model"


def made_setup(n: int) -> MaskingSetup:
    quantizer = Quantizer.for_sum(n, clip=1.0)
    clients = [ClientId(i + 1) for i in range(n)]
    return set_up(clients, quantizer=quantizer, run_id=bytes(32), rng=CountingRng())


def made_updates(n: int, rounds: int) -> dict[ClientId, dict[int, FloatVector]]:
    generator = np.random.default_rng(7)
    return {
        ClientId(i + 1): {r + 1: generator.uniform(-0.5, 0.5, DIM) for r in range(rounds)} for i in range(n)
    }


def expected(setup: MaskingSetup, updates: dict[ClientId, dict[int, FloatVector]], who: set[ClientId], round: int) -> list[int]:
    quantizer = setup.signed.roster.quantizer
    total = sum(quantizer.quantize(updates[c][round]).steps.astype(np.int64) * int(c) for c in who)
    return [*np.asarray(total).tolist(), sum(who)]


def weights(n: int) -> dict[ClientId, int]:
    return {ClientId(i + 1): i + 1 for i in range(n)}


def run_rounds(n: int, rounds: int, sites: Path, capture: Capture = ignore) -> None:
    setup, updates = made_setup(n), made_updates(n, rounds)
    with consortium(setup, sites, updates=updates, weights=weights(n), deadline_s=60 + 4 * n, capture=capture) as partners:
        for round in range(1, rounds + 1):
            opened = partners.run_round(round, MODEL)
            assert opened.survivors == setup.signed.roster.clients
            assert opened.total.tolist() == expected(setup, updates, set(opened.survivors), round)


def test_two_rounds_give_the_exact_sums(tmp_path: Path) -> None:
    seen: Counter[tuple[str, Kind]] = Counter()
    sizes: dict[tuple[str, Kind], set[int]] = {}

    def capture(direction: str, partner: ClientId, kind: Kind, size: int) -> None:
        seen[direction, kind] += 1
        sizes.setdefault((direction, kind), set()).add(size)

    run_rounds(4, 2, tmp_path / "sites", capture)
    # Five protocol messages a round go up and four come down; nothing else is ever sent but greeting, begin, result, end.
    assert seen == {
        ("up", Kind.HELLO): 4,
        ("down", Kind.BEGIN): 8,
        ("up", Kind.PROTOCOL): 4 * 2 * 5,
        ("down", Kind.PROTOCOL): 4 * 2 * 4,
        ("down", Kind.RESULT): 8,
        ("down", Kind.END): 4,
    }
    assert sizes["down", Kind.RESULT] == {2 + 4 * 2 + 1 + 8 * (DIM + 1)}
    # One size a phase: what a message holds does not show in its length.
    assert len(sizes["up", Kind.PROTOCOL]) == 5


def test_the_opened_sum_is_kept_and_the_key_is_private(tmp_path: Path) -> None:
    run_rounds(3, 1, tmp_path / "sites")
    folder = site_folder(tmp_path / "sites", ClientId(2))
    assert (folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert len(np.fromfile(folder / "opened" / "round-1.int64", "<i8")) == DIM + 1


def test_a_killed_partner_is_a_dropout_and_comes_back_in_the_next_round(tmp_path: Path) -> None:
    setup, updates = made_setup(5), made_updates(5, 2)
    with consortium(setup, tmp_path / "sites", updates=updates, weights=weights(5), deadline_s=60) as partners:
        partners.kill(ClientId(3))
        opened = partners.run_round(1, MODEL)
        assert opened.survivors == {1, 2, 4, 5}
        assert opened.total.tolist() == expected(setup, updates, set(opened.survivors), 1)
        partners.start(ClientId(3))
        partners.relay.wait_for(setup.signed.roster.clients, 60)
        # A new model: with the old one every ledger would refuse what shows partner 3's update by difference.
        opened = partners.run_round(2, MODEL + b" of the next round")
        assert opened.survivors == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("message", [1, 2, 3, 4, 5])
def test_killed_after_each_message(tmp_path: Path, message: int) -> None:
    """Partner 2 is killed when its n-th protocol message has arrived: the right sum of whoever is left."""
    setup, updates = made_setup(5), made_updates(5, 1)
    count = 0

    def capture(direction: str, partner: ClientId, kind: Kind, size: int) -> None:
        nonlocal count
        if (direction, partner, kind) == ("up", 2, Kind.PROTOCOL):
            count += 1
            if count == message:
                partners.kill(ClientId(2))

    with consortium(
        setup, tmp_path / "sites", updates=updates, weights=weights(5), deadline_s=60, capture=capture
    ) as partners:
        opened = partners.run_round(1, MODEL)
    # From its third message on, the masked input, its update is in the sum.
    assert opened.survivors == ({1, 2, 3, 4, 5} if message >= 3 else {1, 3, 4, 5})
    assert opened.total.tolist() == expected(setup, updates, set(opened.survivors), 1)


def test_a_round_is_never_run_twice(tmp_path: Path) -> None:
    setup, updates = made_setup(3), made_updates(3, 1)
    with consortium(setup, tmp_path / "sites", updates=updates, weights=weights(3), deadline_s=60) as partners:
        partners.run_round(1, MODEL)
        with pytest.raises(ProtocolAbort, match="too few"):
            partners.run_round(1, MODEL)
        assert {client for client, _ in partners.relay.aborts} == {1, 2, 3}
        assert all("round number was used before" in why for _, why in partners.relay.aborts)


def test_too_many_kills_stop_the_round(tmp_path: Path) -> None:
    setup, updates = made_setup(4), made_updates(4, 1)
    with consortium(setup, tmp_path / "sites", updates=updates, weights=weights(4), deadline_s=60) as partners:
        partners.kill(ClientId(1))
        partners.kill(ClientId(2))
        with pytest.raises(ProtocolAbort, match="too few"):
            partners.run_round(1, MODEL)


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 50])
def test_many_partners(tmp_path: Path, n: int) -> None:
    run_rounds(n, 1, tmp_path / "sites")


@pytest.mark.parametrize(
    "decision", [Decision.STOP, *(pytest.param(one, marks=pytest.mark.slow) for one in (Decision.ABSENT, Decision.WITHDRAW))]
)
def test_a_partner_leaves_and_the_rounds_go_on(tmp_path: Path, decision: Decision) -> None:
    setup, updates = made_setup(5), made_updates(5, 3)
    everybody = set(setup.signed.roster.clients)
    others = everybody - {ClientId(3)}
    with consortium(setup, tmp_path / "sites", updates=updates, weights=weights(5), deadline_s=60) as partners:
        assert partners.run_round(1, MODEL).survivors == everybody
        # The owner of site 3 decides while its process runs.
        open_site(site_folder(tmp_path / "sites", ClientId(3))).decide(2, decision)
        opened = partners.run_round(2, MODEL + b" 2")
        assert opened.survivors == others
        assert opened.total.tolist() == expected(setup, updates, others, 2)
        assert partners.run_round(3, MODEL + b" 3").survivors == (everybody if decision is Decision.ABSENT else others)
        assert partners.relay.departures == [Departure(2, 2, decision)]


def test_a_veto_stops_the_round_for_everybody(tmp_path: Path) -> None:
    setup, updates = made_setup(3), made_updates(3, 1)
    with consortium(setup, tmp_path / "sites", updates=updates, weights=weights(3), deadline_s=60) as partners:
        open_site(site_folder(tmp_path / "sites", ClientId(2))).decide(1, Decision.VETO)
        with pytest.raises(ProtocolAbort, match="party 2: a partner vetoed the round"):
            partners.run_round(1, MODEL)
    assert not list((tmp_path / "sites").rglob("opened/*"))


def test_a_decision_that_is_none_keeps_the_partner_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    setup, updates = made_setup(5), made_updates(5, 1)
    with consortium(setup, tmp_path / "sites", updates=updates, weights=weights(5), deadline_s=60) as partners:
        path = site_folder(tmp_path / "sites", ClientId(4)) / PARTICIPATION_FILE
        path.write_text('{"round": 1, "decision": "perhaps"}', encoding="utf-8")
        assert partners.run_round(1, MODEL).survivors == {1, 2, 3, 5}
        # The owner reads what is wrong in the folder; the operator does not.
        assert partners.relay.aborts == [(4, "the partner can't take part")]
    assert "'perhaps' is not a valid Decision" in capfd.readouterr().err
    with pytest.raises(DecodeError, match="must be one byte under 5"):
        Decision.decode(b"\x05")


def test_a_site_with_another_key_is_refused(tmp_path: Path) -> None:
    run_rounds(3, 1, tmp_path / "sites")
    folder = site_folder(tmp_path / "sites", ClientId(1))
    other = SigningKey(Secret(bytes(range(100, 132))))
    save_key(other, folder / KEY_FILE, rng=CountingRng())
    with pytest.raises(VerificationError, match="another key for client 1"):
        open_site(folder)


def test_a_second_process_is_not_let_into_the_folder(tmp_path: Path) -> None:
    """It would have a journal and a ledger of its own in memory, and begin a round that the first has begun."""
    setup, updates = made_setup(3), made_updates(3, 1)
    with consortium(setup, tmp_path / "sites", updates=updates, weights=weights(3), deadline_s=60) as partners:
        with pytest.raises(InputError, match="in use by another process"):
            serve(site_folder(tmp_path / "sites", ClientId(2)), partners.relay.port)
        assert partners.run_round(1, MODEL).survivors == {1, 2, 3}


def test_nobody_else_may_look_into_a_site(tmp_path: Path) -> None:
    setup, updates = made_setup(3), made_updates(3, 1)
    new = NewSite(
        me=ClientId(1), run_id=setup.run_id, signed=setup.signed, identity=setup.parties[ClientId(1)].identity, weight=1,
        updates=updates[ClientId(1)],
    )  # fmt: skip
    create_site(tmp_path / "site", new)
    assert (tmp_path / "site").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "header", [b"\x00" + bytes(8), b"\x63" + bytes(8), bytes([Kind.PROTOCOL]) + (MAX_BODY_SIZE + 1).to_bytes(8, "little")]
)
def test_a_strange_frame_is_refused_before_its_body(header: bytes) -> None:
    with pytest.raises(DecodeError):
        read_header(header)


def test_a_frame_is_read_back() -> None:
    encoded = Frame(Kind.PROTOCOL, b"body").encode()
    assert read_header(encoded[:HEADER_SIZE]) == (Kind.PROTOCOL, 4)
    assert repr(Frame(Kind.PROTOCOL, b"secret")) == f"Frame(kind={Kind.PROTOCOL!r})"


def test_a_partners_process_loads_no_torch() -> None:
    """Fifty processes fit on a machine because none of them loads what only training needs."""
    code = "import sys, securefl.federation.process.partner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
