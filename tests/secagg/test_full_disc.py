"""The disc is full in the middle of each write that a party rests on: one clear error, and what was there stays."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from masking_world import HashRng, make_setup

from securefl.crypto.signature import SigningKey
from securefl.errors import InputError
from securefl.secagg.journal import FileJournal
from securefl.secagg.keyfile import save_key
from securefl.secagg.ledger import Ledger
from securefl.secagg.replay import transcript_head, verify_transcript
from securefl.secagg.roster import save_roster
from securefl.secagg.rounds import OPERATOR, Message
from securefl.secagg.transcript import TranscriptWriter

SETUP = make_setup(5)
ROSTER = SETUP.signed.roster
KEY = SigningKey.generate(rng=HashRng("key"))


@contextmanager
def full_disc() -> Iterator[None]:
    """No file may grow beyond 16 bytes: the system itself refuses, where the program has not written to the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def transcript(path: Path) -> None:
    with TranscriptWriter(path, transcript_head(SETUP)) as writer:
        message = Message(OPERATOR, min(ROSTER.clients), "share_keys", bytes(10_000))
        writer.add_round(1, model_hash=bytes(32), messages=[message] * 3)


WRITES: dict[str, Callable[[Path], object]] = {
    "journal, a round begins": lambda path: FileJournal(path, run_id=SETUP.run_id).begin(1),
    "ledger": lambda path: Ledger(ROSTER.clients, ROSTER.policy, path=path).admit(bytes(32), ROSTER.clients, round=1),
    "identity key": lambda path: save_key(KEY, path, rng=HashRng("salt")),
    "roster": lambda path: save_roster(SETUP.signed, path),
    "transcript": transcript,
}


@pytest.mark.parametrize("write", WRITES, ids=list(WRITES))
def test_a_full_disc_is_one_clear_error_and_leaves_nothing_behind(tmp_path: Path, write: str) -> None:
    path = tmp_path / "file"
    with full_disc(), pytest.raises(InputError, match=r"can't write .*too large"):
        WRITES[write](path)
    assert not list(tmp_path.iterdir())
    WRITES[write](path)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("write", ["identity key", "roster", "transcript"])
def test_what_was_there_stays(tmp_path: Path, write: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"an earlier one")
    with full_disc(), pytest.raises(InputError):
        WRITES[write](path)
    assert path.read_bytes() == b"an earlier one"


def test_an_answer_that_could_not_be_noted_was_not_given(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal.json", run_id=SETUP.run_id)
    journal.begin(1)
    with full_disc(), pytest.raises(InputError):
        journal.answer(1, b"a" * 32)
    FileJournal(tmp_path / "journal.json", run_id=SETUP.run_id).answer(1, b"b" * 32)


def test_an_error_of_the_run_is_not_taken_for_one_of_its_transcript(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere"), TranscriptWriter(tmp_path / "file", transcript_head(SETUP)):
        raise OSError("elsewhere")
    assert not list(tmp_path.iterdir())


def test_a_link_that_waits_under_a_transcripts_temporary_name_leads_nowhere(tmp_path: Path) -> None:
    """Whoever may write to the folder could have another file overwritten, and pass it off as the transcript."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / "file.partial").symlink_to(precious)
    with TranscriptWriter(tmp_path / "file", transcript_head(SETUP)):
        pass
    assert precious.read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()
    verify_transcript(tmp_path / "file")
