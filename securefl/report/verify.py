"""Checks a report offline, one line for each item: signatures, files, inputs, transcripts, ledgers; with ``rerun`` the figures.

Whoever has the folder (or the auditor's crate) needs nothing else, but to know whose key may sign: an Ed25519 fingerprint is
printed, and compared where a trusted key is given. A copy without its inputs (a consortium's crate) is checked as far as it
goes, and what was not checked is said.

What it does not show: that the records are true. Nobody can tell from a record whether the attack behind it was made well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from securefl.crypto import dsse
from securefl.crypto.signature import fingerprint
from securefl.dp.ledger import read_ledger
from securefl.errors import InputError, SecureFLError, VerificationError
from securefl.federation.gate import read_clearance
from securefl.records import ReportRecord, encoded, read_record
from securefl.report.assemble import Terms, render
from securefl.report.attestation import ENVELOPE_SUFFIX, clearance, report_files
from securefl.report.editions import is_stem
from securefl.report.inputs import OUTPUT_STEM, input_record, run_inputs
from securefl.report.intervals import wrong_intervals
from securefl.report.json_schema import verify_report
from securefl.secagg.replay import verify_transcript

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a verification."""

    status: Status
    what: str
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a verification is given beside the folder.

    ``signers`` are the keys that may sign (Ed25519, and the SHA-256 of the ML-DSA-65 key or nothing); ``outside`` says where
    the policy (``policy``), the price list (``prices``) and the grid (``grid``) lie, where they are no part of the folder.
    """

    signers: tuple[tuple[bytes, bytes], ...] = ()
    outside: Mapping[str, Path] = field(default_factory=dict)
    rerun: bool = False


def verify(folder: Path, stem: str, scope: Scope) -> tuple[Item, ...]:
    """Return what held of the edition ``stem`` in ``folder``, item by item; nothing is raised for what did not hold."""
    path = folder / f"{stem}.json"
    try:
        report = read_record(ReportRecord, path)
    except InputError as error:
        return (Item("failed", path.name, f"{error}: nothing else of this edition can be checked"),)
    return (
        *_canonical(path, report),
        *_signature(folder, stem, report, scope),
        *_inputs(folder, report, scope.outside),
        *_transcripts(folder, report),
        *_ledgers(folder, report),
        *(_again(folder, stem, report, scope.outside) if scope.rerun else ()),
    )


def editions_in(folder: Path) -> tuple[str, ...]:
    """Return how the files of each edition in ``folder`` begin, also of one that has lost some of its files."""
    begun = {path.name.split(".", 1)[0] for path in folder.glob(f"{OUTPUT_STEM}*.*") if path.is_file()}
    return tuple(sorted(name for name in begun if is_stem(name)))


def _canonical(path: Path, report: ReportRecord) -> Iterator[Item]:
    try:
        verify_report(report.model_dump(mode="json"))
    except VerificationError as error:
        yield Item("failed", path.name, str(error))
        return
    same = path.read_bytes() == encoded(report)
    told = "fits its schema, in canonical form" if same else "is not in canonical form"
    yield Item("ok" if same else "failed", path.name, told)


def _signature(folder: Path, stem: str, report: ReportRecord, scope: Scope) -> Iterator[Item]:
    envelope = folder / f"{stem}{ENVELOPE_SUFFIX}"
    if not envelope.exists():
        # Whoever names a signer wants a signature; without one, an unsigned report is what it is.
        told = "there is none: the report is not signed, so nothing but --rerun looks at its page"
        yield Item("failed" if scope.signers else "skipped", envelope.name, told)
        return
    try:
        verified = dsse.verify(envelope.read_bytes())
        signed = read_clearance(verified)
    except SecureFLError as error:
        yield Item("failed", envelope.name, str(error))
        return
    yield _signer(envelope.name, verified, scope)
    second = verified.signers[dsse.ML_DSA]
    told = f"verifies, key {_short(second)}" if second else "there is none"
    yield Item("ok" if second else "skipped", "ML-DSA-65 signature", told)
    agrees = signed == clearance(report)
    told = "agrees with the report" if agrees else "says something else than the report"
    yield Item("ok" if agrees else "failed", "statement", told)
    yield from _subjects(folder, stem, json.loads(verified.payload)["subject"])


def _signer(name: str, verified: dsse.Verified, scope: Scope) -> Item:
    keys = [bytes.fromhex(key) for key in sorted(verified.signers[dsse.ED25519])]
    who = ", ".join(fingerprint(key) for key in keys)
    if not scope.signers:
        return Item("ok", name, f"Ed25519 verifies, key {who}: compare it out of band")
    trusted = any(verified.signed_by(key, second) for key, second in scope.signers)
    return Item("ok" if trusted else "failed", name, f"Ed25519 verifies, key {who}, {'' if trusted else 'not '}trusted")


def _short(keys: frozenset[str]) -> str:
    return ", ".join(key[:16] for key in sorted(keys))


def _subjects(folder: Path, stem: str, subjects: list[Mapping[str, object]]) -> Iterator[Item]:
    there = report_files(folder, stem)
    named = {str(s["name"]): s["digest"] for s in subjects}
    for name, digest in named.items():
        if name not in there:
            yield Item("failed", name, "is missing")
            continue
        same = {"sha256": hashlib.sha256(there[name]).hexdigest()} == digest
        yield Item("ok" if same else "failed", name, "as signed" if same else "was changed after it was signed")
    for name in sorted(set(there) - set(named)):
        yield Item("failed", name, "is not among the signed files")


def _inputs(folder: Path, report: ReportRecord, outside: Mapping[str, Path]) -> Iterator[Item]:
    if not (folder / "run.json").exists():
        yield Item("skipped", "inputs", f"{len(report.inputs)} hashes are stated, the files are not here")
        return
    changed = 0
    for stated in report.inputs:
        path = _place(folder, stated.name, outside)
        if path is None:
            yield Item("skipped", stated.name, "lies outside of the folder: name it to check it")
        elif not path.exists():
            changed += 1
            yield Item("failed", stated.name, "is missing")
        elif input_record(path, stated.name) != stated:
            changed += 1
            yield Item("failed", stated.name, "was changed: its SHA-256 is another one")
    for name in sorted({found.name for found in run_inputs(folder)} - {stated.name for stated in report.inputs}):
        changed += 1
        yield Item("failed", name, "was added since the report was made")
    if not changed:
        yield Item("ok", "inputs", f"{len(report.inputs)} by SHA-256")


def _place(folder: Path, name: str, outside: Mapping[str, Path]) -> Path | None:
    """Return where an input lies: in the folder, in a crate's ``policy/`` or ``prices/``, or where the caller says."""
    kind, colon, rest = name.partition(":")
    if not colon:
        return folder / name
    inside = folder / kind / rest
    return outside.get(kind, inside if inside.exists() else None)


def _transcripts(folder: Path, report: ReportRecord) -> Iterator[Item]:
    for shown in report.protocols:
        path = folder / shown.transcript
        if not path.exists():
            yield Item("skipped", shown.transcript, "is not here")
            continue
        try:
            found = verify_transcript(path, last_hash=bytes.fromhex(shown.last_hash))
        except SecureFLError as error:
            yield Item("failed", shown.transcript, str(error))
            continue
        broken = len(found.violations)
        told = f"{len(found.rounds)} rounds, chain ends at {shown.last_hash[:16]}, {broken} broken rules"
        yield Item("failed" if broken else "ok", shown.transcript, told)


def _ledgers(folder: Path, report: ReportRecord) -> Iterator[Item]:
    for stated in report.inputs:
        path = folder / stated.name
        if "ledger" not in stated.name or path.suffix != ".jsonl" or not path.exists():
            continue
        try:
            state = read_ledger(path)
        except SecureFLError as error:
            yield Item("failed", stated.name, str(error))
            continue
        yield Item("ok", stated.name, f"{len(state.releases)} releases, chain ends at {state.last_hash.hex()[:16]}")


def _terms(folder: Path, report: ReportRecord, outside: Mapping[str, Path]) -> Terms:
    """Return the terms under which the report was made.

    Raises:
        InputError: its policy, prices or grid are neither in the folder nor named.
    """
    found = dict(outside)
    for stated in report.inputs:
        kind, colon, _ = stated.name.partition(":")
        if colon:
            place = _place(folder, stated.name, outside)
            if place is None:
                raise InputError(f"{stated.name} is needed to compute the report again")
            found[kind] = place
    as_of = date.fromisoformat(report.as_of) if report.as_of else None
    return Terms(
        appetite=found.get("policy"), prices=found.get("prices"), grid=found.get("grid"), as_of=as_of, edition=report.edition
    )


def _again(folder: Path, stem: str, report: ReportRecord, outside: Mapping[str, Path]) -> Iterator[Item]:
    """Compute again what is cheap: intervals from counts, verdicts, the record and the page; no training, no attack."""
    wrong = wrong_intervals(report.attacks)
    yield Item("failed" if wrong else "ok", "intervals", wrong[0] if wrong else "those of k of n are Clopper-Pearson's")
    if not (folder / "run.json").exists():
        yield Item("skipped", "recomputation", "the inputs are not here")
        return
    try:
        rendered = render(folder, _terms(folder, report, outside))
    except SecureFLError as error:
        yield Item("failed", "recomputation", str(error))
        return
    there = report_files(folder, stem)
    made = {f"{stem}.json": encoded(rendered.report), f"{stem}.html": rendered.document.html.encode()}
    made |= {f"{stem}-figures/{name}.svg": drawn.encode() for name, drawn in rendered.document.figures.items()}
    for name, content in made.items():
        same = there.get(name) == content
        yield Item("ok" if same else "failed", name, "recomputed, same bytes" if same else "recomputed, other bytes")
