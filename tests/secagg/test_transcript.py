"""Transcripts: an honest run replays clean, and every kind of tampering or rule-breaking is found without secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from masking_world import MODEL, HashRng, World, make_setup

from securefl.errors import InputError, VerificationError
from securefl.secagg import run_round, schemes
from securefl.secagg.base import RoundContext
from securefl.secagg.journal import MemoryJournal
from securefl.secagg.ledger import Ledger
from securefl.secagg.masking import MaskingSetup, set_up_static
from securefl.secagg.masking.messages import Phase
from securefl.secagg.masking.static import Ratchet
from securefl.secagg.replay import transcript_head, verify_transcript
from securefl.secagg.rounds import OPERATOR, Message
from securefl.secagg.transcript import TranscriptWriter, _genesis, _link
from securefl.types import ClientId, SystemRng

pytestmark = pytest.mark.transcript
LENGTH = 20_000  # above the size at which a masked input is kept detached


def write(path: Path, setup: MaskingSetup, rounds: int = 2) -> None:
    updates = {ClientId(i): np.full(LENGTH, i / 20) for i in range(1, 6)}
    with TranscriptWriter(path, transcript_head(setup)) as writer:
        for round in range(1, rounds + 1):
            result = run_round(
                setup, updates, weights=dict.fromkeys(updates, 1), round=round, model_hash=bytes([round]) * 32, rng=SystemRng(),
                quantizer=setup.signed.roster.quantizer, dropouts={ClientId(4): "masked_input"} if round == 2 else {},
            )  # fmt: skip
            writer.add_round(round, model_hash=bytes([round]) * 32, messages=result.transcript)


def test_an_honest_run_replays_clean(tmp_path: Path) -> None:
    path, setup = tmp_path / "run.jsonl", make_setup()
    write(path, setup)
    report = verify_transcript(path, roster_hash=setup.roster_hash)
    assert report.signed
    assert report.violations == ()
    assert [r.survivors for r in report.rounds] == [frozenset({1, 2, 3, 4, 5}), frozenset({1, 2, 3, 5})]
    assert report.rounds[1].dropped == {4: "masked_input"}
    assert report.rounds[0].sent[ClientId(1)] == tuple(phase.name.lower() for phase in Phase)
    assert path.stat().st_size < 200_000  # five vectors of 80,000 bytes a round are not in it
    assert verify_transcript(path, last_hash=report.last_hash).last_hash == report.last_hash


def test_a_transcript_holds_no_secret_of_any_party(tmp_path: Path) -> None:
    path, setup = tmp_path / "run.jsonl", make_setup()
    write(path, setup, rounds=1)
    text = path.read_text()
    for party in setup.parties.values():
        assert party.identity.seed().expose().hex() not in text


@pytest.mark.parametrize("change", ["edit", "remove", "swap", "append"])
def test_a_changed_line_breaks_the_chain(tmp_path: Path, change: str) -> None:
    path = tmp_path / "run.jsonl"
    write(path, make_setup(), rounds=1)
    lines = path.read_text().splitlines()
    if change == "edit":
        lines[5] = lines[5].replace('"sender":', '"sender":1', 1)
    elif change == "remove":
        del lines[7]
    elif change == "swap":
        lines[3], lines[4] = lines[4], lines[3]
    else:
        lines.append(lines[-1])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(VerificationError, match="chain breaks at line"):
        verify_transcript(path)


def test_a_cut_end_shows_against_the_published_hash(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, make_setup(), rounds=1)
    last = verify_transcript(path).last_hash
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    verify_transcript(path)
    with pytest.raises(VerificationError, match="chain ends at"):
        verify_transcript(path, last_hash=last)


def test_another_roster_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, make_setup(), rounds=1)
    with pytest.raises(VerificationError, match="not the trusted one"):
        verify_transcript(path, roster_hash=make_setup(6).roster_hash)


def test_a_roster_with_a_missing_signature_is_not_trusted(tmp_path: Path) -> None:
    setup = make_setup()
    signatures = {c: s for c, s in setup.signed.signatures.items() if c != 3}
    path = tmp_path / "run.jsonl"
    write(path, replace(setup, signed=replace(setup.signed, signatures=signatures)), rounds=1)
    with pytest.raises(VerificationError, match=r"lacks signatures of \[3\]"):
        verify_transcript(path)


def messages_of(world: World) -> list[Message]:
    """The messages of an honestly played world, in wire order."""
    out: list[Message] = []
    for phase in Phase:
        name = phase.name.lower()
        for client, sent in world.sent[phase].items():
            if phase in world.asked:
                out.append(Message(OPERATOR, client, name, world.asked[phase]))
            out.append(Message(client, OPERATOR, name, sent))
    return sorted(out, key=lambda m: Phase[m.phase.upper()])


def swap_phases(messages: list[Message], world: World) -> list[Message]:
    index = next(i for i, m in enumerate(messages) if m.phase == "share_keys" and m.sender == 2)
    return messages[:index] + messages[index + 1 :]


def show_another_list(messages: list[Message], world: World) -> list[Message]:
    index = next(i for i, m in enumerate(messages) if m.phase == "masked_input" and m.receiver == 2)
    other = world.bundle(Phase.MASKED_INPUT, senders=[1, 2, 3, 4])
    return [*messages[:index], replace(messages[index], data=other), *messages[index + 1 :]]


def relay_to_too_few(messages: list[Message], world: World) -> list[Message]:
    other = world.bundle(Phase.UNMASK, senders=[1, 2, 3])
    return [replace(m, data=other) if m.sender == OPERATOR and m.phase == "unmask" else m for m in messages]


def flip_a_signature(messages: list[Message], world: World) -> list[Message]:
    index = next(i for i, m in enumerate(messages) if m.phase == "consistency" and m.sender == 2)
    data = bytearray(messages[index].data)
    data[250] ^= 1
    return [*messages[:index], replace(messages[index], data=bytes(data)), *messages[index + 1 :]]


@pytest.mark.parametrize(
    ("change", "party", "what"),
    [
        (swap_phases, 2, "does not follow its previous envelope"),
        (show_another_list, None, "were shown different messages"),
        (relay_to_too_few, None, "with 3 clients, required 4"),
        (flip_a_signature, 2, "signature does not verify"),
    ],
)
def test_a_broken_rule_is_named(
    tmp_path: Path, change: Callable[[list[Message], World], list[Message]], party: int | None, what: str
) -> None:
    world = World().up_to(Phase.UNMASK)
    path = tmp_path / "run.jsonl"
    honest = messages_of(world)
    for messages, broken in ((honest, False), (change(honest, world), True)):
        with TranscriptWriter(path, transcript_head(world.setup)) as writer:
            writer.add_round(1, model_hash=MODEL, messages=messages)
        found = verify_transcript(path).violations
        assert any(v.party == party and what in v.what for v in found) is broken, found
        assert bool(found) is broken


@pytest.mark.parametrize("model", [MODEL, b"n" * 32], ids=["same inputs", "other inputs"])
def test_sums_over_the_same_inputs_that_show_one_partner_are_named(
    tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parties whose ledgers were taken out; the control is another model."""
    setup = make_setup()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "require", lambda self, lineage, survivors, *, round: None)
        patch.setattr(Ledger, "told", lambda self, lineage, survivors: ())
        worlds = [
            World(setup=setup, round=1).up_to(Phase.UNMASK),
            World(setup=setup, round=2, absent=[3], model_hash=model).up_to(Phase.UNMASK),
        ]
    with TranscriptWriter(tmp_path / "run.jsonl", transcript_head(setup)) as writer:
        for world in worlds:
            writer.add_round(world.context.round, model_hash=world.context.model_hash, messages=messages_of(world))
    found = verify_transcript(tmp_path / "run.jsonl").violations
    assert [(v.round, v.party) for v in found] == ([(2, None)] if model == MODEL else [])
    assert all("partner 3" in v.what for v in found)


def test_a_round_number_that_does_not_grow_is_named(tmp_path: Path) -> None:
    world = World().up_to(Phase.UNMASK)
    with TranscriptWriter(tmp_path / "run.jsonl", transcript_head(world.setup)) as writer:
        for _ in range(2):
            writer.add_round(1, model_hash=MODEL, messages=messages_of(world))
    assert any("round=1 must be > 1" in v.what for v in verify_transcript(tmp_path / "run.jsonl").violations)


def test_a_byte_identical_retry_breaks_no_rule(tmp_path: Path) -> None:
    world = World().up_to(Phase.UNMASK)
    messages = messages_of(world)
    repeated = [m for message in messages for m in ([message, message] if message.sender == 3 else [message])]
    with TranscriptWriter(tmp_path / "run.jsonl", transcript_head(world.setup)) as writer:
        writer.add_round(1, model_hash=MODEL, messages=repeated)
    assert verify_transcript(tmp_path / "run.jsonl").violations == ()


@pytest.mark.parametrize("content", ["", "{}\n", "[1]\n", "[" * 100_000, '{"chain": "00", "kind": "run"}\n', "\xff"])
def test_rubbish_is_no_transcript(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises((InputError, VerificationError)):
        verify_transcript(path)


def test_a_failed_run_leaves_no_transcript(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with pytest.raises(RuntimeError, match="power"), TranscriptWriter(path, transcript_head(make_setup())):
        raise RuntimeError("power cut")
    assert list(tmp_path.iterdir()) == []


def test_a_scheme_without_envelopes_is_chained_but_not_signed(tmp_path: Path) -> None:
    quantizer = make_setup().signed.roster.quantizer
    setup = schemes()["plaintext"]([ClientId(1), ClientId(2)], quantizer=quantizer, run_id=bytes(32), rng=HashRng("p"))
    updates = {ClientId(1): np.zeros(4), ClientId(2): np.ones(4)}
    result = run_round(setup, updates, weights={ClientId(1): 1, ClientId(2): 1}, round=1, model_hash=MODEL,
                       rng=SystemRng(), quantizer=quantizer)  # fmt: skip
    with TranscriptWriter(tmp_path / "run.jsonl", transcript_head(setup)) as writer:
        writer.add_round(1, model_hash=MODEL, messages=result.transcript)
    report = verify_transcript(tmp_path / "run.jsonl")
    assert not report.signed
    assert report.rounds[0].survivors == frozenset({1, 2})


def test_static_masking_replays_too_and_a_forged_input_is_named(tmp_path: Path) -> None:
    clients = [ClientId(i) for i in range(1, 5)]
    setup = set_up_static(clients, quantizer=make_setup().signed.roster.quantizer, run_id=bytes(32), rng=HashRng("static"))
    updates = {client: np.full(LENGTH, 0.1) for client in clients}
    result = run_round(setup, updates, weights=dict.fromkeys(clients, 1), round=1, model_hash=MODEL, rng=SystemRng(),
                       quantizer=setup.signed.roster.quantizer)  # fmt: skip
    honest = list(result.transcript)
    flipped = bytearray(honest[1].data)
    flipped[250] ^= 1
    second = setup.round(RoundContext(run_id=bytes(32), round=1, roster_hash=setup.roster_hash, model_hash=MODEL))
    set_back = replace(setup.parties[ClientId(1)], journal=MemoryJournal(), ratchet=Ratchet({}))
    other = replace(second, parties={ClientId(1): set_back})
    again = other.client(ClientId(1), np.zeros(LENGTH, "<u4"), rng=HashRng("x")).outbound
    cases = {
        "": honest,
        "signature": [honest[0], replace(honest[1], data=bytes(flipped)), *honest[2:]],
        "two different inputs": [*honest, replace(honest[0], sender=ClientId(1), data=again)],
    }
    for what, messages in cases.items():
        with TranscriptWriter(tmp_path / "run.jsonl", transcript_head(setup)) as writer:
            writer.add_round(1, model_hash=MODEL, messages=messages)
        report = verify_transcript(tmp_path / "run.jsonl")
        assert report.signed
        assert [what in violation.what for violation in report.violations] == ([True] if what else [])


def test_every_line_is_json_with_its_chain(tmp_path: Path) -> None:
    write(tmp_path / "run.jsonl", make_setup(), rounds=1)
    entries: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [entry["sequence"] for entry in entries] == list(range(len(entries)))
    assert entries[0]["kind"] == "run"


def rewritten(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the entries of a transcript and chain them anew, as whoever wrote it can."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    change(entries)
    chain, lines = _genesis(), []
    for entry in entries:
        entry.pop("chain", None)
        chain = _link(chain, entry)
        lines.append(json.dumps({**entry, "chain": chain.hex()}))
    path.write_text("\n".join(lines) + "\n")


def strip_the_roster(entries: list[dict[str, Any]]) -> None:
    entries[0]["signed_roster"] = None


def rename_the_protocol(entries: list[dict[str, Any]]) -> None:
    entries[0]["wire_id"] = "masking/2"


def become_plaintext(entries: list[dict[str, Any]]) -> None:
    entries[0].update(signed_roster=None, wire_id="plaintext/1")


@pytest.mark.parametrize("change", [strip_the_roster, rename_the_protocol, become_plaintext])
def test_a_transcript_cannot_be_relabelled_as_one_without_signatures(
    tmp_path: Path, change: Callable[[list[dict[str, Any]]], None]
) -> None:
    """The operator writes the first line too: without its roster no signature would be looked at."""
    path, setup = tmp_path / "run.jsonl", make_setup()
    write(path, setup, rounds=1)
    rewritten(path, lambda entries: None)
    verify_transcript(path, roster_hash=setup.roster_hash)
    rewritten(path, change)
    with pytest.raises(VerificationError, match=r"signed roster|not signed"):
        verify_transcript(path, roster_hash=setup.roster_hash)


def enlarge(phase: str, sender: int) -> Callable[[list[dict[str, Any]]], None]:
    """Say that a message was longer than what is kept of it: its hash can't be checked then."""

    def change(entries: list[dict[str, Any]]) -> None:
        found = next(e for e in entries if e.get("phase") == phase and e["sender"] == sender)
        found.update(size=found["size"] + 1, sha256="00" * 32)
        if sender:
            found["data"] = base64.b64encode(base64.b64decode(found["data"])[:285]).decode()

    return change


@pytest.mark.parametrize(
    ("phase", "sender"), [("consistency", 2), ("unmask", 1), ("unmask", OPERATOR), ("masked_input", OPERATOR)]
)
def test_a_message_cannot_be_kept_without_what_it_said(tmp_path: Path, phase: str, sender: int) -> None:
    """Under a hash of its choice the operator could show an auditor another list than the clients were sent."""
    path = tmp_path / "run.jsonl"
    write(path, make_setup(), rounds=1)
    rewritten(path, enlarge(phase, sender))
    found = verify_transcript(path).violations
    assert any("without its content" in violation.what for violation in found), found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("round", 1 << 32), ("round", -1), ("round", 1.0), ("sender", 70_000), ("size", True), ("size", 3),
        ("phase", 5), ("kind", "note"),
        ("phase", "\x1b[2K"),
    ],
)  # fmt: skip
def test_a_number_outside_its_field_is_no_entry(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "run.jsonl"
    write(path, make_setup(), rounds=1)
    first = 2 if field == "kind" else 1  # the first message, or the line of the round
    rewritten(path, lambda entries: next(e for e in entries[first:] if field in e).update({field: value}))
    with pytest.raises(InputError, match="transcript"):
        verify_transcript(path)


def test_nothing_may_stand_before_the_first_round(tmp_path: Path) -> None:
    """What stands there belongs to no round, and no check would look at it."""
    path = tmp_path / "run.jsonl"
    write(path, make_setup(), rounds=1)

    def put_before(entries: list[dict[str, Any]]) -> None:
        entries.insert(1, dict(entries[2]))
        for number, entry in enumerate(entries):
            entry["sequence"] = number

    rewritten(path, put_before)
    with pytest.raises(InputError, match="does not open a round"):
        verify_transcript(path)
