"""A federated training that was killed goes on: its state on disk, written between local training and the round's sum.

Each state is whole: what a round is about to put into the sum is kept before anything leaves a partner. Whoever goes on sends
the same updates again, so nothing is released twice: a private round's noise is drawn once, and what the ledger was charged for
is what leaves. (A sum may be opened twice, of the same inputs under fresh masks: the same value, as long as the same partners
survive. Where they don't, the two differ by one partner's input with its own share of noise alone. And a folder that somebody
puts back to an earlier state trains its rounds again, under other noise and unpaid.) Without noise every later
state follows from an earlier one, so not every round is written: writing takes a tenth of the time at most, and a long round is
always kept. Exact protocols then end with the very bits of a run that nobody interrupted; ckks has an error of its own.

Where what lies: a partner's heads, moments, generators and its update of the round in *its own* folder; the operator's public
trunks, and what the auditor of a simulation collects, in the run's. ``state.json`` is written last and has the SHA-256 of every
file. Keys, masks and shares are never written: a resumed run makes new ones and a new transcript, of the rounds from there on.
The hashes tell damage, not forgery. Noise that a trusted aggregator adds to the sum is not kept: such an arm begins again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from securefl.errors import InputError, VerificationError
from securefl.files import write_bytes
from securefl.learning.train_state import Arrays

FORMAT = "securefl-resume/1"
STATE_FILE = "state.json"
SHARE = 0.1
"""Of the time that may go into writing states, where no noise makes every round worth keeping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run before the sum of ``round``: public and collected arrays, each partner's own, and JSON ``facts``."""

    round: int
    shared: Arrays = field(repr=False)
    partners: dict[int, Arrays] = field(repr=False)
    facts: dict[str, Any]


class Keeper:
    """Keeps the snapshots of one training in ``folder``, partner ``k``'s part in ``own[k]``, all inside ``folder.parent``."""

    def __init__(self, folder: Path, own: Sequence[Path], *, identity: str, share: float = SHARE) -> None:
        """Look whether a training of the same ``identity`` was begun there.

        Raises:
            InputError: its state can't be read.
            VerificationError: a file of it is missing or differs from its hash.
        """
        self._folder, self._own, self._identity, self._share = folder, own, identity, share
        self._next = 0.0
        content = self._content()
        self.begun = content is not None
        """Whether the training was begun: its price is on the ledgers, and nothing but the snapshot's round has left."""
        self.saved: Snapshot | None = self._read(content) if content and content["round"] else None

    def begin(self) -> None:
        """Note that the training begins: what it costs was paid.

        Raises:
            InputError: the note can't be written.
        """
        self._write(0, {}, {})

    def due(self) -> bool:
        """Return whether the time since the last snapshot is worth another."""
        return time.monotonic() >= self._next

    def save(self, snapshot: Snapshot) -> None:
        """Write ``snapshot``; the one before stays until this one is complete.

        Raises:
            InputError: a file can't be written.
        """
        started = time.monotonic()
        name = f"round-{snapshot.round}.safetensors"
        parts = [(self._folder / name, snapshot.shared)]
        parts += [(self._own[number] / name, arrays) for number, arrays in snapshot.partners.items()]
        files = {}
        for path, arrays in parts:
            data = save_tensors(dict(arrays))
            write_bytes(path, data)
            files[str(path)] = hashlib.sha256(data).hexdigest()
        self._write(snapshot.round, snapshot.facts, files)
        for folder in (self._folder, *self._own):
            for old in folder.glob("round-*.safetensors"):
                if old.name != name:
                    old.unlink()
        now = time.monotonic()
        self._next = now + (now - started) / self._share

    def remove(self) -> None:
        """Take everything away: the training has its result."""
        for folder in (self._folder, *self._own):
            shutil.rmtree(folder, ignore_errors=True)

    def _write(self, round: int, facts: dict[str, Any], files: dict[str, str]) -> None:
        names = {str(Path(path).relative_to(self._folder.parent)): digest for path, digest in files.items()}
        content = {"format": FORMAT, "identity": self._identity, "round": round, "facts": facts, "files": names}
        write_bytes(self._folder / STATE_FILE, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())

    def _content(self) -> dict[str, Any] | None:
        path = self._folder / STATE_FILE
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content["format"], content["identity"]) != (FORMAT, self._identity):
                return None
            return {"round": int(content["round"]), "facts": dict(content["facts"]), "files": dict(content["files"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} can't be read: remove {self._folder} to train again from the beginning") from error

    def _read(self, content: dict[str, Any]) -> Snapshot:
        found = {path: self._checked(self._folder.parent / path, digest) for path, digest in content["files"].items()}
        by_folder = {(self._folder.parent / path).parent: arrays for path, arrays in found.items()}
        if self._folder not in by_folder:
            raise VerificationError(f"{self._folder / STATE_FILE} lists no shared state: remove {self._folder} to train again")
        return Snapshot(
            round=content["round"],
            shared=by_folder[self._folder],
            partners={number: by_folder[own] for number, own in enumerate(self._own) if own in by_folder},
            facts=content["facts"],
        )

    def _checked(self, path: Path, digest: str) -> Arrays:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise VerificationError(f"state {path} is missing: remove {self._folder} to train again") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise VerificationError(f"state {path} differs from its SHA-256: remove {self._folder} to train again")
        return dict(load_tensors(data))
