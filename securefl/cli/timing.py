"""How long each part of the main job took and how much memory it held: ``timing.json``, which the report states."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from securefl.records import ReportRecord, TimingRecord, read_record, write_record
from securefl.report import Terms, build

TIMING_FILE = "timing.json"


def peak_rss_mb() -> float:
    """Return the largest resident memory of this process or of one of its children so far, in MB (10^6 bytes).

    On Linux an arm's meter resets this process's part of it (:class:`securefl.evaluation.cost.Meter`).
    """
    kibibytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kibibytes * 1024 / 1e6


@contextmanager
def timed(out: Path, stage: str) -> Iterator[None]:
    """Add the wall time of the block to ``stage`` in the run's timing record, also when it ends early."""
    begin = time.monotonic()
    try:
        yield
    finally:
        path = out / TIMING_FILE
        before = read_record(TimingRecord, path) if path.exists() else TimingRecord(wall_seconds={}, peak_rss_mb=0.0)
        seconds = dict(before.wall_seconds)
        seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - begin
        write_record(TimingRecord(wall_seconds=seconds, peak_rss_mb=max(before.peak_rss_mb, peak_rss_mb())), path)


def write_report(out: Path, terms: Terms) -> ReportRecord:
    """Build the report twice where it was never timed, so that it states the time of its own making; once otherwise.

    A report that is built again from the same records so has the same bytes.
    """
    path = out / TIMING_FILE
    if not path.exists() or "report" not in read_record(TimingRecord, path).wall_seconds:
        with timed(out, "report"):
            build(out, terms)
    return build(out, terms)
