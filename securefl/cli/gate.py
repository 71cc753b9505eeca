"""``securefl gate``: says whether private data may be run, and why not. It explains; the refusing is done by every client."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from securefl.cli.output import emit_json
from securefl.config import audit_sha256, load_config
from securefl.errors import InputError, VerificationError
from securefl.federation.gate import Audit, read_envelope, refusals
from securefl.secagg.roster import load_roster


def gate(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The config that is to run on private data.")],
    roster: Annotated[Path, typer.Option("--roster", help="The signed roster; its auditors count.")],
    report: Annotated[Path | None, typer.Option("--report", help="A report's envelope (report.intoto.json).")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="The day to ask about (YYYY-MM-DD); today if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print for a program.")] = False,
) -> None:
    """Explain whether the gate to private data is open for a config; ends with 5 if it is not.

    Example:

      securefl gate run.toml --roster roster.json --report runs/audit/report.intoto.json
    """
    config = load_config(config_file)
    audit = Audit(
        signed=load_roster(roster), envelope=None if report is None else read_envelope(report), today=day(as_of)
    )
    reasons = list(refusals(config, audit))
    if as_json:
        wanted = audit_sha256(config.model_dump(mode="json"))
        emit_json({"open": not reasons, "private": config.data.private, "audit_sha256": wanted, "reasons": reasons})
    for reason in reasons if not as_json else ():
        typer.echo(f"closed: {reason}")
    if reasons:
        raise VerificationError(f"the gate is closed for {len(reasons)} reason{'s' if len(reasons) > 1 else ''}")
    if not as_json:
        typer.echo("open: every arm passed in every view, for this configuration, signed by an auditor of the roster")
    if not config.data.private and not as_json:
        typer.echo("note: the config does not say [data] private = true, so no client asks")


def day(text: str | None) -> date:
    """Return the day that ``text`` names, today (UTC) where there is none.

    Raises:
        InputError: it is no date.
    """
    try:
        return datetime.now(UTC).date() if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"date {text!r} must be YYYY-MM-DD") from error


def find_audit(roster: Path | None, report: Path | None) -> Audit | None:
    """Return what a run holds against the gate: nothing without a roster.

    Raises:
        InputError: a file can't be read.
    """
    if roster is None:
        return None
    return Audit(signed=load_roster(roster), envelope=None if report is None else read_envelope(report), today=day(None))
