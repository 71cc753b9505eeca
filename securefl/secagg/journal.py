"""What a client must remember across restarts: the last round that it began, and the one unmasking request it answered.

The journal is written before anything is sent. A crash between write and send therefore skips the round: it never reuses a
mask. A client that lost its round state counts as dropped; it can't begin the same round again. Round numbers grow in bounded
steps: whoever speaks for the operator once can't end the run by the last number that there is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from securefl.errors import AbortReason, InputError, ProtocolAbort
from securefl.files import parse_json, write_durably

MAX_SKIP = 10_000
"""Rounds that a client may skip at once, for having been away."""


class Journal(Protocol):
    """A client's memory of one run."""

    def begin(self, round: int) -> None:
        """Record that ``round`` begins.

        Raises:
            ProtocolAbort: ROUND_REUSED, the round is not above the last one, or skips too many.
        """
        ...

    def answer(self, round: int, request: bytes) -> None:
        """Record that the unmasking request with hash ``request`` is answered in ``round``.

        Raises:
            ProtocolAbort: SECOND_UNMASKING, a different request was answered in this round; or ROUND_REUSED, the round is
                not the one that was begun.
        """
        ...


class MemoryJournal:
    """A journal for simulations: it does not survive the process."""

    def __init__(self) -> None:
        self._round = 0
        self._request: bytes | None = None

    def begin(self, round: int) -> None:
        """Record that ``round`` begins."""
        _require_growth(self._round, round)
        self._round, self._request = round, None

    def answer(self, round: int, request: bytes) -> None:
        """Record the one unmasking request of ``round``."""
        _require_single(self._round, self._request, round, request)
        self._request = request


class FileJournal:
    """A journal in a JSON file, replaced atomically and synced to disk before each call returns."""

    def __init__(self, path: Path, *, run_id: bytes) -> None:
        """Open or create the journal of ``run_id`` at ``path``.

        Raises:
            InputError: the file can't be read, is no journal, or belongs to another run.
        """
        self._path = path
        self._run_id = run_id.hex()
        self._round = 0
        self._request: bytes | None = None
        self.opened = False
        """Whether it ever answered a request: there is a sum then that a ledger must know of."""
        if os.path.lexists(path):  # a link that leads nowhere is a journal that can't be read, not a new one
            self._load()

    def begin(self, round: int) -> None:
        """Record that ``round`` begins."""
        _require_growth(self._round, round)
        self._store(round, None, opened=self.opened)

    def answer(self, round: int, request: bytes) -> None:
        """Record the one unmasking request of ``round``."""
        _require_single(self._round, self._request, round, request)
        self._store(round, request, opened=True)

    def _load(self) -> None:
        try:
            content = parse_json(self._path.read_text(encoding="utf-8"))
            run_id, self._round = str(content["run_id"]), int(content["round"])
            request = content["request"]
            self._request = None if request is None else bytes.fromhex(request)
            self.opened = bool(content["opened"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"journal {self._path} can't be read: {error}") from error
        if run_id != self._run_id:
            raise InputError(f"journal {self._path} belongs to run {run_id[:16]}, not {self._run_id[:16]}")

    def _store(self, round: int, request: bytes | None, *, opened: bool) -> None:
        answered = None if request is None else request.hex()
        content = {"run_id": self._run_id, "round": round, "request": answered, "opened": opened}
        write_durably(self._path, json.dumps(content).encode())
        self._round, self._request, self.opened = round, request, opened


def _require_growth(last: int, round: int) -> None:
    if not last < round <= last + MAX_SKIP:
        detail = f"round={round} must be in {last + 1}..{last + MAX_SKIP}"
        raise ProtocolAbort(AbortReason.ROUND_REUSED, round=round, detail=detail)


def _require_single(begun: int, answered: bytes | None, round: int, request: bytes) -> None:
    if round != begun:
        raise ProtocolAbort(AbortReason.ROUND_REUSED, round=round, detail=f"the round begun last is {begun}")
    if answered is not None and answered != request:
        raise ProtocolAbort(AbortReason.SECOND_UNMASKING, round=round)
