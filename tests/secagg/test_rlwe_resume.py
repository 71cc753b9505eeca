"""Decryptors that are killed and started again from what lies on disk: sealed shares, the journal, the kept messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rlwe_world import CLIENTS, DECRYPTORS, OTHER_SET, RUN, SET, World, aborts, make_setup, make_world, sum_of
from stand_ins import CountingRng

from securefl.errors import AbortReason, InputError, VerificationError
from securefl.files import write_durably
from securefl.secagg.base import ClientState
from securefl.secagg.rlwe_sum.decryption_journal import FolderDecryptionJournal, Kept
from securefl.secagg.rlwe_sum.key import load_key, save_key
from securefl.secagg.rlwe_sum.messages import Asks, Attempt, encode_bundle
from securefl.types import ClientId, Secret

SEALING = Secret(b"k" * 32)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A round whose keys are on disk, its decryptors started from there."""
    made = make_world(make_setup())
    for member, key in made.scheme.keys.items():
        ring = made.scheme.cipher.budget.ring
        save_key(key, tmp_path / f"{member}.key", ring=ring, binding=RUN, sealing=SEALING, rng=CountingRng(member))
    restart(made, tmp_path)
    return made


def restart(world: World, folder: Path) -> None:
    """Kill every decryptor, and start it again from what lies on disk alone."""
    world.waiting = {member: started(world, folder, member) for member in DECRYPTORS}


def started(world: World, folder: Path, member: ClientId) -> ClientState:
    key = load_key(folder / f"{member}.key", ring=world.scheme.cipher.budget.ring, binding=RUN, sealing=SEALING)
    journal = FolderDecryptionJournal(folder / str(member), run_id=RUN)
    scheme = replace(world.scheme, keys={member: key}, journals={member: journal})
    return scheme.decryptors(rng=CountingRng(int(member)))[member]


def asks(kind: Asks, bundle: bytes) -> bytes:
    return bytes((kind,)) + bundle


def test_killed_between_key_generation_and_decryption_and_resumed_at_every_step(world: World, tmp_path: Path) -> None:
    request = world.request()
    bundle = world.agree(request)
    restart(world, tmp_path)  # killed after agreeing: the same agreements again
    assert world.agree(request) == bundle
    answers = {member: world.ask(member, asks(Asks.ANSWER, bundle)) for member in SET}
    restart(world, tmp_path)  # killed after answering: the same answers, byte for byte, no fresh noise
    assert world.agree(request) == bundle
    assert {member: world.ask(member, asks(Asks.ANSWER, bundle)) for member in SET} == answers
    restart(world, tmp_path)
    assert world.run().total.tolist() == sum_of(CLIENTS)
    assert FolderDecryptionJournal(tmp_path / str(DECRYPTORS[0]), run_id=RUN).answered == 1


def test_a_restarted_decryptor_still_refuses_another_sum_or_set(world: World, tmp_path: Path) -> None:
    uploads = world.uploads()
    world.agree(world.request(uploads))
    restart(world, tmp_path)
    fewer = world.request({me: uploads[me] for me in CLIENTS[:4]})
    aborts(AbortReason.SECOND_UNMASKING, lambda: world.ask(DECRYPTORS[0], fewer))
    other = world.request(members=SET - {DECRYPTORS[3]} | {DECRYPTORS[4]})
    aborts(AbortReason.SECOND_SET, lambda: world.ask(DECRYPTORS[0], other))


def test_a_second_attempt_survives_a_crash_after_its_agreement(world: World, tmp_path: Path) -> None:
    request = world.request(members=OTHER_SET, attempt=2)
    bundle = world.agree(request, OTHER_SET)
    restart(world, tmp_path)
    assert world.agree(request, OTHER_SET) == bundle
    shown = encode_bundle({member: world.ask(member, asks(Asks.ANSWER, bundle)) for member in OTHER_SET})
    answers = {member: world.ask(member, asks(Asks.ANSWER_WITH_ZEROS, shown)) for member in OTHER_SET}
    restart(world, tmp_path)
    assert world.agree(request, OTHER_SET) == bundle
    assert encode_bundle({member: world.ask(member, asks(Asks.ANSWER, bundle)) for member in OTHER_SET}) == shown
    assert {member: world.ask(member, asks(Asks.ANSWER_WITH_ZEROS, shown)) for member in OTHER_SET} == answers


def test_the_answer_is_on_disk_before_it_leaves(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when the answer is to be kept: nothing leaves the decryptor."""
    bundle = world.agree(world.request())

    def full(self: FolderDecryptionJournal, round: int, attempt: int, kind: Kept, message: bytes) -> None:
        raise InputError("can't write: no space left on device")

    monkeypatch.setattr(FolderDecryptionJournal, "keep", full)
    with pytest.raises(InputError, match="no space left"):
        world.ask(DECRYPTORS[0], asks(Asks.ANSWER, bundle))
    assert not list((tmp_path / str(DECRYPTORS[0])).glob("*answer*"))


def test_an_answer_is_counted_before_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the two must not let an answer out that the ledger of smudging does not have."""
    journal = FolderDecryptionJournal(tmp_path, run_id=RUN)
    journal.agree(1, b"a" * 32, Attempt(1, SET), attempts=3)

    def crash(path: Path, content: bytes) -> None:
        write_durably(path, content)
        raise KeyboardInterrupt

    monkeypatch.setattr("securefl.secagg.rlwe_sum.decryption_journal.write_durably", crash)
    with pytest.raises(KeyboardInterrupt):
        journal.keep(1, 1, Kept.ANSWER, b"answer")
    again = FolderDecryptionJournal(tmp_path, run_id=RUN)
    assert again.answered == 1
    assert again.kept(1, 1, Kept.ANSWER) is None


def test_an_agreement_that_a_full_disk_refused_is_written_at_the_next_try(tmp_path: Path) -> None:
    journal, attempt = FolderDecryptionJournal(tmp_path / "mine", run_id=RUN), Attempt(1, SET)
    (tmp_path / "mine").rmdir()
    with pytest.raises(InputError):
        journal.agree(1, b"a" * 32, attempt, attempts=3)
    (tmp_path / "mine").mkdir()
    journal.agree(1, b"a" * 32, attempt, attempts=3)
    again = FolderDecryptionJournal(tmp_path / "mine", run_id=RUN)
    aborts(AbortReason.SECOND_UNMASKING, lambda: again.agree(1, b"b" * 32, attempt, attempts=3))


@pytest.mark.parametrize("content", ['{"answered": 0, "answered": 3}', "[" * 100_000], ids=["a key twice", "nested"])
def test_a_journal_that_readers_could_read_in_two_ways_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "decryptions.json").write_text(content)
    with pytest.raises(InputError, match=r"can't be read: (?!'run_id')"):
        FolderDecryptionJournal(tmp_path, run_id=RUN)


def test_a_new_round_drops_the_kept_messages_of_the_last(tmp_path: Path) -> None:
    journal = FolderDecryptionJournal(tmp_path, run_id=RUN)
    attempt = Attempt(1, SET)
    journal.agree(1, b"a" * 32, attempt, attempts=3)
    journal.keep(1, 1, Kept.ANSWER, b"answer")
    assert journal.kept(1, 1, Kept.ANSWER) == b"answer"
    journal.agree(2, b"b" * 32, attempt, attempts=3)
    assert journal.kept(1, 1, Kept.ANSWER) is None
    assert journal.answered == FolderDecryptionJournal(tmp_path, run_id=RUN).answered == 1


def test_a_journal_of_another_run_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    FolderDecryptionJournal(tmp_path, run_id=RUN).agree(1, b"a" * 32, Attempt(1, SET), attempts=3)
    with pytest.raises(InputError, match="belongs to run"):
        FolderDecryptionJournal(tmp_path, run_id=b"x" * 32)
    for content in ("{", "[]", '{"run_id": "00", "answered": 0, "sets": [], "round": 1, "request": ""}'):
        (tmp_path / "decryptions.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match="can't be read"):
            FolderDecryptionJournal(tmp_path, run_id=RUN)


def test_a_share_lies_sealed(world: World, tmp_path: Path) -> None:
    member = DECRYPTORS[0]
    path, ring = tmp_path / f"{member}.key", world.scheme.cipher.budget.ring
    key = world.scheme.keys[member]
    assert path.stat().st_mode & 0o077 == 0
    plain = key.encode(ring).expose()
    assert plain[-64:] not in path.read_bytes()
    back = load_key(path, ring=ring, binding=RUN, sealing=SEALING)
    assert back.encode(ring) == key.encode(ring)
    for binding, sealing in ((b"x" * 32, SEALING), (RUN, Secret(b"x" * 32))):
        with pytest.raises(VerificationError, match="wrong secret"):
            load_key(path, ring=ring, binding=binding, sealing=sealing)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VerificationError, match="wrong secret"):
        load_key(path, ring=ring, binding=RUN, sealing=SEALING)
    with pytest.raises(InputError, match="No such file"):
        load_key(tmp_path / "none.key", ring=ring, binding=RUN, sealing=SEALING)
    assert "share" not in repr(key)
