"""Records are written whole or not at all, and read back only where they are what they should be."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from securefl.errors import InputError
from securefl.records import TimingRecord, VerdictRecord, read_record, write_record

RECORD = TimingRecord(wall_seconds={"arms": 1.5}, peak_rss_mb=12.0)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "timing.json"
    write_record(RECORD, path)
    assert read_record(TimingRecord, path) == RECORD
    assert [p.name for p in path.parent.iterdir()] == ["timing.json"]


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "timing.json"
    write_record(RECORD, path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_record(TimingRecord(wall_seconds={}, peak_rss_mb=0.0), path)
    assert read_record(TimingRecord, path) == RECORD
    assert [p.name for p in tmp_path.iterdir()] == ["timing.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"wall_seconds": {}, "peak_rss_mb": 1, "more": 2}', '{"\xff": 1}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "timing.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="TimingRecord"):
        read_record(TimingRecord, path)


def test_a_verdict_is_one_of_four() -> None:
    with pytest.raises(ValueError, match="verdict"):
        VerdictRecord.model_validate({"view": "V1", "verdict": "fine", "because": "x"})
