"""What a decryptor must remember across restarts: which sum it agreed to open in a round, with whom, and what it sent.

The record is on disk before anything is sent. One sum a round; one set of decryptors an attempt; another attempt needs another
set and a higher number; at most as many attempts as the noise budget counts. Kept messages are sent again byte for byte, so
that a retry draws no fresh noise. ``answered`` counts the answers of a run: the ledger of what smudging was spent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Protocol

from securefl.errors import AbortReason, InputError, ProtocolAbort
from securefl.files import parse_json, write_durably
from securefl.secagg.rlwe_sum.messages import Attempt
from securefl.types import ClientId


class Kept(Enum):
    """A message that is kept for a retry."""

    ZERO = "zero"
    AGREEMENT = "agreement"
    ANSWER = "answer"


class DecryptionJournal(Protocol):
    """A decryptor's memory of one run."""

    @property
    def answered(self) -> int:
        """Answers that were released so far, in all rounds."""
        ...

    def agree(self, round: int, request: bytes, attempt: Attempt, *, attempts: int) -> None:
        """Record that the sum named ``request`` is to be opened by ``attempt``.

        Raises:
            ProtocolAbort: ROUND_REUSED, a later round was begun; SECOND_UNMASKING, another sum was agreed to in this round;
                SECOND_SET, this sum under another set, or an old set again; NO_ATTEMPT_LEFT.
        """
        ...

    def keep(self, round: int, attempt: int, kind: Kept, message: bytes) -> None:
        """Keep ``message`` for a retry; on disk when this returns."""
        ...

    def kept(self, round: int, attempt: int, kind: Kept) -> bytes | None:
        """Return the message that was kept, ``None`` if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was agreed to in the last round: the sum, and the set of each attempt."""

    round: int = 0
    request: bytes = b""
    sets: Mapping[int, frozenset[ClientId]] = field(default_factory=dict)

    def with_attempt(self, round: int, request: bytes, attempt: Attempt, *, attempts: int) -> Agreed:
        """Return the record after one more agreement; raises as :meth:`DecryptionJournal.agree`."""
        if round < self.round:
            raise _abort(AbortReason.ROUND_REUSED, round, f"round={round} must be >= {self.round}")
        if round > self.round:
            return Agreed(round, request).with_attempt(round, request, attempt, attempts=attempts)
        if request != self.request:
            raise _abort(AbortReason.SECOND_UNMASKING, round)
        if not 1 <= attempt.number <= attempts:
            raise _abort(AbortReason.NO_ATTEMPT_LEFT, round, f"attempt={attempt.number} must be in 1..{attempts}")
        if attempt.number in self.sets and self.sets[attempt.number] == attempt.members:
            return self
        if attempt.number <= max(self.sets, default=0) or attempt.members in self.sets.values():
            raise _abort(AbortReason.SECOND_SET, round, f"attempt {attempt.number} by {sorted(attempt.members)}")
        return replace(self, sets={**self.sets, attempt.number: attempt.members})


class MemoryDecryptionJournal:
    """A journal for simulations: it does not survive the process."""

    def __init__(self) -> None:
        self._agreed = Agreed()
        self._messages: dict[tuple[int, int, Kept], bytes] = {}
        self._answered = 0

    @property
    def answered(self) -> int:
        """Answers that were released so far."""
        return self._answered

    def agree(self, round: int, request: bytes, attempt: Attempt, *, attempts: int) -> None:
        """Record an agreement."""
        if round > self._agreed.round:
            self._messages.clear()
        self._agreed = self._agreed.with_attempt(round, request, attempt, attempts=attempts)

    def keep(self, round: int, attempt: int, kind: Kept, message: bytes) -> None:
        """Keep ``message``."""
        self._messages[round, attempt, kind] = message
        self._answered += kind is Kept.ANSWER

    def kept(self, round: int, attempt: int, kind: Kept) -> bytes | None:
        """Return the message that was kept."""
        return self._messages.get((round, attempt, kind))


class FolderDecryptionJournal:
    """A journal in a folder: one JSON file, and the kept messages of the last round beside it."""

    def __init__(self, folder: Path, *, run_id: bytes) -> None:
        """Open or create the journal of ``run_id`` in ``folder``.

        Raises:
            InputError: it can't be read, is no journal, or belongs to another run.
        """
        self._folder, self._run_id = folder, run_id.hex()
        self._agreed, self._answered = Agreed(), 0
        folder.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            self._load()

    @property
    def _path(self) -> Path:
        return self._folder / "decryptions.json"

    @property
    def answered(self) -> int:
        """Answers that were released so far."""
        return self._answered

    def agree(self, round: int, request: bytes, attempt: Attempt, *, attempts: int) -> None:
        """Record an agreement."""
        agreed = self._agreed.with_attempt(round, request, attempt, attempts=attempts)
        if agreed is self._agreed:
            return
        old = self._agreed.round
        self._store(agreed, self._answered)
        if agreed.round > old:
            for path in self._folder.glob(f"{old}-*.bin"):
                path.unlink()

    def keep(self, round: int, attempt: int, kind: Kept, message: bytes) -> None:
        """Keep ``message``; an answer is counted first, so that a crash in between counts one too many, never one too few."""
        if kind is Kept.ANSWER:
            self._store(self._agreed, self._answered + 1)
        write_durably(self._message(round, attempt, kind), message)

    def kept(self, round: int, attempt: int, kind: Kept) -> bytes | None:
        """Return the message that was kept."""
        path = self._message(round, attempt, kind)
        return path.read_bytes() if path.exists() else None

    def _message(self, round: int, attempt: int, kind: Kept) -> Path:
        return self._folder / f"{round}-{attempt}-{kind.value}.bin"

    def _load(self) -> None:
        try:
            content = parse_json(self._path.read_text(encoding="utf-8"))
            run_id, self._answered = str(content["run_id"]), int(content["answered"])
            sets = {int(n): frozenset(ClientId(int(one)) for one in members) for n, members in content["sets"].items()}
            self._agreed = Agreed(int(content["round"]), bytes.fromhex(content["request"]), sets)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"journal {self._path} can't be read: {error}") from error
        if run_id != self._run_id:
            raise InputError(f"journal {self._path} belongs to run {run_id[:16]}, not {self._run_id[:16]}")

    def _store(self, agreed: Agreed, answered: int) -> None:
        """Write the record, then take it for written: what a full disk refused is written at the next try."""
        content = {
            "run_id": self._run_id,
            "round": agreed.round,
            "request": agreed.request.hex(),
            "sets": {str(number): sorted(members) for number, members in agreed.sets.items()},
            "answered": answered,
        }
        write_durably(self._path, json.dumps(content).encode())
        self._agreed, self._answered = agreed, answered


def _abort(reason: AbortReason, round: int, detail: str = "") -> ProtocolAbort:
    return ProtocolAbort(reason, round=round, detail=detail)
