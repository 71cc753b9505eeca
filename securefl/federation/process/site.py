"""A partner's data folder: its identity, the roster that it signed, its journal, its inputs, and what the round opened.

The folder is its owner's alone (0700); ``identity.key``, ``journal.json`` and ``ledger.json`` (0600) never leave it;
``inputs`` hold ``round-N.npy`` with the partner's update and ``weight.json`` with its weight. Where
``config.json`` says that the data are private, the folder opens only with a report that passes :mod:`securefl.federation.gate`.
``participation.json`` is how the owner leaves, read before every round: ``{"round": 3, "decision": "stop"}`` says so from
round 3 on (``absent``: in that round alone).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from numpy.lib.format import read_array, write_array
from numpy.typing import NDArray

from securefl.config import RunConfig, parse_config
from securefl.crypto.signature import SigningKey
from securefl.errors import InputError, VerificationError
from securefl.federation.gate import Audit, require_clearance
from securefl.federation.participation import Decision
from securefl.files import parse_json, write_durably, write_to_disk, writing, written_whole
from securefl.secagg.journal import FileJournal
from securefl.secagg.keyfile import load_key, save_key
from securefl.secagg.ledger import Ledger
from securefl.secagg.roster import Roster, SignedRoster, load_roster, save_roster
from securefl.types import ClientId, FloatVector, SystemRng

CONFIG_FILE, REPORT_FILE = "config.json", "report.intoto.json"
RUN_FILE, KEY_FILE, ROSTER_FILE, JOURNAL_FILE = "run.json", "identity.key", "roster.json", "journal.json"
LEDGER_FILE, PARTICIPATION_FILE = "ledger.json", "participation.json"


@dataclass(frozen=True, slots=True)
class Site:
    """A partner's side of a run, as its own folder holds it."""

    folder: Path
    me: ClientId
    run_id: bytes
    weight: int
    roster: Roster
    identity: SigningKey = field(repr=False)
    journal: FileJournal = field(repr=False)
    ledger: Ledger = field(repr=False)

    def update(self, round: int) -> NDArray[np.float64]:
        """Return this partner's update of ``round``, float64, shape (d,).

        Raises:
            InputError: there is none, or it is no vector.
        """
        path = self.folder / "inputs" / f"round-{round}.npy"
        try:
            with path.open("rb") as handle:
                update = read_array(handle, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"update {path}: {error}") from error
        if update.ndim != 1 or update.dtype.kind not in "fiu":
            raise InputError(f"update {path} has dtype {update.dtype}, shape {update.shape}, must be numbers of shape (d,)")
        return np.asarray(update, dtype=np.float64)

    def decision(self, round: int) -> Decision:
        """Return what the owner has decided for ``round``, as the file says now: it may change between rounds.

        Raises:
            InputError: the file is no decision. The partner then takes no part.
        """
        path = self.folder / PARTICIPATION_FILE
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
            since, decision = int(content["round"]), Decision(content["decision"])
        except FileNotFoundError:
            return Decision.TAKE_PART
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"decision {path}: {error}") from error
        applies = round == since if decision is Decision.ABSENT else round >= since
        return decision if applies else Decision.TAKE_PART

    def decide(self, round: int, decision: Decision) -> None:
        """Write the owner's decision from ``round`` on."""
        content = {"round": round, "decision": decision.value}
        write_durably(self.folder / PARTICIPATION_FILE, json.dumps(content).encode())

    def keep_opened(self, round: int, opened: bytes) -> None:
        """Write the sum that ``round`` opened (int64 words)."""
        write_to_disk(self.folder / "opened" / f"round-{round}.int64", opened)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSite:
    """What :func:`create_site` writes."""

    me: ClientId
    run_id: bytes
    signed: SignedRoster
    identity: SigningKey = field(repr=False)
    weight: int
    updates: Mapping[int, FloatVector] = field(repr=False)
    config: RunConfig | None = None
    report: bytes | None = field(default=None, repr=False)


def create_site(folder: Path, new: NewSite) -> None:
    """Write a partner's folder.

    Raises:
        InputError: it can't be written, or there is one already.
    """
    if folder.exists():
        raise InputError(f"site {folder} exists already")
    # Its updates are what the protocol hides: nobody else on the machine may look into the folder.
    with writing(folder):
        folder.mkdir(parents=True, mode=0o700)
        (folder / "inputs").mkdir()
    save_key(new.identity, folder / KEY_FILE, rng=SystemRng())
    save_roster(new.signed, folder / ROSTER_FILE)
    for round, update in new.updates.items():
        path = folder / "inputs" / f"round-{round}.npy"
        with written_whole(path) as handle, writing(path):
            write_array(handle, np.asarray(update), allow_pickle=False)
    content = {"run_id": new.run_id.hex(), "client": int(new.me), "weight": new.weight}
    if new.config is not None:
        write_durably(folder / CONFIG_FILE, new.config.model_dump_json().encode())
    if new.report is not None:
        write_durably(folder / REPORT_FILE, new.report)
    write_durably(folder / RUN_FILE, json.dumps(content).encode())


def open_site(folder: Path, *, today: date | None = None) -> Site:
    """Return the partner's side in ``folder``; every signature on its roster is verified.

    Raises:
        InputError: a file is missing or broken.
        VerificationError: the roster lacks a signature, or lists another key for this partner; or the data are private and no
            report clears them today.
    """
    try:
        content = parse_json((folder / RUN_FILE).read_text(encoding="utf-8"))
        me, run_id, weight = ClientId(int(content["client"])), bytes.fromhex(content["run_id"]), int(content["weight"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"site {folder}: {error}") from error
    identity = load_key(folder / KEY_FILE)
    signed = load_roster(folder / ROSTER_FILE)
    signed.verify()
    if signed.roster.keys.get(me) != identity.verify_key:
        raise VerificationError(f"site {folder}: the roster lists another key for client {me}")
    _pass_gate(folder, signed, today or datetime.now(UTC).date())
    journal = FileJournal(folder / JOURNAL_FILE, run_id=run_id)
    if journal.opened and not (folder / LEDGER_FILE).exists():
        raise InputError(f"site {folder}: {LEDGER_FILE} is missing: without it this partner would help to expose others")
    roster = signed.roster
    ledger = Ledger(roster.clients, roster.policy, rule=roster.exposure, path=folder / LEDGER_FILE)
    return Site(folder, me, run_id, weight, roster, identity, journal, ledger)


def _pass_gate(folder: Path, signed: SignedRoster, today: date) -> None:
    """Return if the site's own configuration may run today; a site without one is of a public simulation."""
    path, report = folder / CONFIG_FILE, folder / REPORT_FILE
    if not path.exists():
        return
    try:
        config = parse_config(parse_json(path.read_text(encoding="utf-8")), source=str(path))
        envelope = report.read_bytes() if report.exists() else None
    except (OSError, ValueError) as error:
        raise InputError(f"site {folder}: {error}") from error
    require_clearance(config, Audit(signed=signed, envelope=envelope, today=today))
