"""A run's timing record: stages add up over calls, and memory has the unit of every other record."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from securefl.cli.timing import TIMING_FILE, peak_rss_mb, timed
from securefl.records import TimingRecord, read_record


def test_megabytes_are_a_million_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrusage", lambda who: SimpleNamespace(ru_maxrss=1_000_000))
    assert peak_rss_mb() == 1024.0


def test_a_stage_that_ends_early_is_counted_and_added_to(tmp_path: Path) -> None:
    with pytest.raises(KeyError), timed(tmp_path, "arms"):
        raise KeyError
    first = read_record(TimingRecord, tmp_path / TIMING_FILE).wall_seconds["arms"]
    with timed(tmp_path, "arms"):
        pass
    again = read_record(TimingRecord, tmp_path / TIMING_FILE)
    assert list(again.wall_seconds) == ["arms"]
    assert again.wall_seconds["arms"] > first
    assert again.peak_rss_mb > 10
