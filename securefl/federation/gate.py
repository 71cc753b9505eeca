"""The gate to private data: a client lets a run begin only under a signed audit that passed for this very configuration.

A favourable audit is the prerequisite for exposing private data. Each client decides by itself, from its own configuration,
the roster that it signed and the report's envelope: nobody else's word counts. Refused is whatever is not clearly allowed:
another configuration, a report that has expired or has no date, a signer who is not on the roster's list of auditors, an arm
whose verdict is fail, inconclusive or not tested in any view.

Not protected: an auditor who signs what it did not check; a changed client program; a clock that is put back; another file
under a path that the configuration names (``dp.start``); data that are private although the configuration doesn't say so, and
their ledgers, which begin at nothing wherever the partner begins them. The audit was made on other data, whose hash the report
names: that those stand for the private ones is the auditor's judgement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from securefl.config import RunConfig, audit_sha256
from securefl.crypto import dsse
from securefl.errors import DecodeError, InputError, MissingExtraError, VerificationError
from securefl.evidence import ClearanceRecord
from securefl.files import parse_json
from securefl.recipes import recipe_of
from securefl.records import View
from securefl.secagg.roster import SignedRoster

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:securefl:report:1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PASS = "pass"  # noqa: S105  (a verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a client holds against the gate: the roster that it signed, a report's envelope if it has one, and the day."""

    signed: SignedRoster
    envelope: bytes | None = field(repr=False)
    today: date


def require_clearance(config: RunConfig, audit: Audit | None) -> None:
    """Return if ``config`` may run: its data are not private, or the audit clears it.

    Raises:
        VerificationError: it may not; the message is the first reason.
    """
    if not config.data.private:
        return
    if audit is None:
        raise VerificationError("private data: no roster and no signed report were given")
    for reason in refusals(config, audit):
        raise VerificationError(f"private data: {reason}")


def refusals(config: RunConfig, audit: Audit) -> Iterator[str]:
    """Yield every reason for which ``config`` may not run on private data; none if it may."""
    try:
        audit.signed.verify()
        if audit.envelope is None:
            yield "there is no signed report"
            return
        verified = dsse.verify(audit.envelope)
        clearance = read_clearance(verified)
    except (VerificationError, DecodeError, MissingExtraError) as error:
        yield str(error)
        return
    yield from _of_signer(verified, audit.signed)
    yield from _of_time(clearance, audit.today)
    yield from _of_config(config, clearance)


def read_clearance(verified: dsse.Verified) -> ClearanceRecord:
    """Return the predicate of a report's statement.

    Raises:
        DecodeError: the payload is no such statement.
    """
    try:
        statement = parse_json(verified.payload)
        kinds = (verified.payload_type, statement["_type"], statement["predicateType"])
        if kinds != (PAYLOAD_TYPE, STATEMENT_TYPE, PREDICATE_TYPE):
            raise DecodeError(f"the envelope holds {kinds}, not the statement of a report")
        return ClearanceRecord.model_validate(statement["predicate"])
    except ValidationError as error:
        raise DecodeError(f"the statement is not that of a report: {error.errors()[0]['msg']}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DecodeError(f"the envelope holds no statement: {type(error).__name__}") from error


def read_envelope(path: Path) -> bytes:
    """Return the bytes of a report's envelope.

    Raises:
        InputError: the file can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"report {path}: {error.strerror}") from error


def _of_signer(verified: dsse.Verified, signed: SignedRoster) -> Iterator[str]:
    auditors = signed.roster.auditors
    if not auditors:
        yield "the roster lists no auditor"
    elif not any(verified.signed_by(auditor.verify_key, auditor.second_key) for auditor in auditors):
        names = ", ".join(auditor.name for auditor in auditors)
        yield f"the report is not signed by an auditor of the roster ({names}) with every key that it lists"


def _of_time(clearance: ClearanceRecord, today: date) -> Iterator[str]:
    if clearance.as_of is None or clearance.expires is None:
        yield "the report has no date and no expiry"
        return
    try:
        first, last = date.fromisoformat(clearance.as_of), date.fromisoformat(clearance.expires)
    except ValueError:
        yield f"the report's dates {clearance.as_of!r} and {clearance.expires!r} are none"
        return
    if today > last:
        yield f"the report expired on {last}, today is {today}"
    if today < first:
        yield f"the report is of {first}, today is {today}"


def _of_config(config: RunConfig, clearance: ClearanceRecord) -> Iterator[str]:
    wanted = audit_sha256(config.model_dump(mode="json"))
    if clearance.audit_sha256 != wanted:
        yield f"the audited configuration is {clearance.audit_sha256[:12]}, this one is {wanted[:12]}"
    for arm in config.arms:
        if arm == "pooled":
            yield "the arm 'pooled' pools private data"
        elif recipe_of(arm) is not None:
            yield from _of_arm(arm, clearance.verdicts.get(arm, {}))


def _of_arm(arm: str, verdicts: dict[str, str]) -> Iterator[str]:
    if not verdicts:
        yield f"the arm {arm!r} was not audited"
        return
    for view in get_args(View):
        found = verdicts.get(view, "not tested")
        if found != PASS:
            yield f"the verdict on {arm!r} in view {view} is {found}, must be {PASS}"
