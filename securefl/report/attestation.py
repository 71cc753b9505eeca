"""The signed statement about a report: which files, from which inputs, with which verdicts, until when.

An in-toto statement (in-toto attestation framework, v1) in a DSSE envelope beside the report: ``report.intoto.json``. Its
subjects are the report's own files; its predicate is what the gate to private data reads. The report doesn't know its
signature, so it has the same bytes for every signer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from securefl.config import audit_sha256
from securefl.crypto import dsse
from securefl.crypto.signature import SigningKey
from securefl.errors import InputError
from securefl.evidence import ClearanceRecord
from securefl.federation.gate import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE
from securefl.files import write_to_disk
from securefl.records import ReportRecord

ENVELOPE_SUFFIX = ".intoto.json"


def clearance(report: ReportRecord) -> ClearanceRecord:
    """Return what a signature under ``report`` vouches for."""
    verdicts: dict[str, dict[str, str]] = {}
    for verdict in report.arm_verdicts:
        verdicts.setdefault(str(verdict.arm), {})[verdict.view] = verdict.verdict
    return ClearanceRecord(
        audit_sha256=audit_sha256(report.config),
        config_sha256=report.config_sha256,
        data_sha256=report.data.sha256,
        appetite_sha256=report.appetite.sha256 if report.appetite else "",
        commit=report.toolkit.commit,
        edition=report.edition,
        as_of=report.as_of,
        expires=report.expires,
        verdicts=verdicts,
        inputs=report.inputs,
    )


def statement(report: ReportRecord, files: Mapping[str, bytes]) -> bytes:
    """Return the statement about ``files`` (content by name) as canonical JSON: sorted keys, no spaces."""
    subjects = [{"name": name, "digest": {"sha256": hashlib.sha256(files[name]).hexdigest()}} for name in sorted(files)]
    content = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": clearance(report).model_dump(mode="json"),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def report_files(run: Path, stem: str) -> dict[str, bytes]:
    """Return the files of an edition by name, without its envelope and its crate.

    Raises:
        InputError: one can't be read.
    """
    found = [run / f"{stem}{suffix}" for suffix in (".json", ".html", ".pdf", ".cdx.json")]
    found += sorted((run / f"{stem}-figures").glob("*.svg"))
    try:
        return {path.relative_to(run).as_posix(): path.read_bytes() for path in found if path.exists()}
    except OSError as error:
        raise InputError(f"can't read {error.filename}: {error.strerror}") from error


def sign_report(run: Path, stem: str, report: ReportRecord, key: SigningKey) -> Path:
    """Write the envelope of an edition's files beside them and return its path.

    Raises:
        InputError: a file can't be read or written.
    """
    path = run / f"{stem}{ENVELOPE_SUFFIX}"
    write_to_disk(path, dsse.sign(PAYLOAD_TYPE, statement(report, report_files(run, stem)), key))
    return path
