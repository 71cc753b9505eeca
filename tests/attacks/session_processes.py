"""What is left of a command that was ended: the processes of its session."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def of_session(session: int) -> list[int]:
    """The processes of a session that are still there."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def awaited(done: Callable[[], bool], seconds: float) -> bool:
    """Whether something came true before so many seconds were over."""
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.1)
    return done()
