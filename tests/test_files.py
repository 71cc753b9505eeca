"""Files that hold what is private: whole or not at all, for their owner alone, and one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from securefl.errors import InputError
from securefl.files import alone, parse_json, write_durably, write_to_disk


def test_a_file_that_waits_under_the_temporary_name_lends_neither_its_mode_nor_its_target(tmp_path: Path) -> None:
    """In a folder that others can write to, somebody may have laid an open file or a link there."""
    left = tmp_path / "identity.key.partial"
    left.touch()
    left.chmod(0o666)
    write_durably(tmp_path / "identity.key", b"secret")
    assert (tmp_path / "identity.key").stat().st_mode & 0o777 == 0o600
    elsewhere = tmp_path / "elsewhere"
    left.symlink_to(elsewhere)
    write_durably(tmp_path / "identity.key", b"another secret")
    assert not elsewhere.exists()
    assert (tmp_path / "identity.key").read_bytes() == b"another secret"


def test_a_path_through_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (write_durably, write_to_disk):
        with pytest.raises(InputError, match="can't write"):
            write(tmp_path / "file" / "key", b"")


def test_the_folder_is_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that is not on disk is undone by a power cut: a round whose noise has left would be drawn again."""
    synced: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_to_disk(tmp_path / "state.json", b"{}")
    assert synced == [(tmp_path / "state.json").stat().st_ino, tmp_path.stat().st_ino]


def test_a_folder_belongs_to_one_process_until_it_ends(tmp_path: Path) -> None:
    code = f"import pathlib, sys; from securefl.files import alone\nwith alone(pathlib.Path({str(tmp_path)!r})): pass"
    other = [sys.executable, "-c", code]
    with alone(tmp_path):
        held = subprocess.run(other, capture_output=True, check=False)
        assert b"in use by another process" in held.stderr
    assert subprocess.run(other, check=False).returncode == 0
    with pytest.raises(InputError, match="can't open"), alone(tmp_path / "absent"):
        pass


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": {"b": 1, "b": 1}}', "[NaN]", "-Infinity", "[" * 100_000, "{", b"\xff"]
)
def test_json_that_two_readers_could_read_differently_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_other_json_is_read_as_json_reads_it() -> None:
    assert parse_json('{"a": [1, 2.5, null, true, "x"], "b": {"a": 1}}') == {"a": [1, 2.5, None, True, "x"], "b": {"a": 1}}
