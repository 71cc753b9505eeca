"""``securefl transcript``: what an auditor replays offline, without any secret."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securefl.cli.output import emit_json, emit_table
from securefl.errors import InputError, VerificationError
from securefl.secagg.replay import RoundReport, TranscriptReport, verify_transcript

app = typer.Typer(help="Verify the transcript of a run.", no_args_is_help=True)


@app.callback()
def transcript() -> None:
    """Verify the transcript of a run."""


@app.command("verify")
def verify(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A run's transcript.jsonl.")],
    roster_hash: Annotated[str | None, typer.Option("--roster-hash", help="The roster that you trust (hex).")] = None,
    last_hash: Annotated[str | None, typer.Option("--last-hash", help="The published end of the chain (hex).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print for a program.")] = False,
) -> None:
    """Replay a transcript: who sent what when, who dropped out, and whether any rule was broken (exit 5 if so).

    Example:

      securefl transcript verify runs/demo/arms/masking/seed-0/transcript.jsonl
    """
    report = verify_transcript(path, roster_hash=from_hex(roster_hash), last_hash=from_hex(last_hash))
    if as_json:
        emit_json(content(report))
    else:
        emit_table(f"{report.wire_id}, roster {report.roster_hash.hex()[:16]}", [row(r) for r in report.rounds])
        typer.echo(f"chain ends at {report.last_hash.hex()}")
        if not report.signed:
            typer.echo("messages of this protocol are not signed: only the chain was checked")
    if report.violations:
        first = report.violations[0]
        who = "the operator" if first.party is None else f"partner {first.party}"
        raise VerificationError(f"{len(report.violations)} broken rules; first: round {first.round}, {who}: {first.what}")


def from_hex(text: str | None) -> bytes | None:
    """Return the hash that ``text`` spells."""
    try:
        return None if text is None else bytes.fromhex(text)
    except ValueError as error:
        raise InputError(f"hash {text!r} is not hexadecimal") from error


def row(report: RoundReport) -> dict[str, object]:
    """Return one round in a line."""
    dropped = ", ".join(f"{client} before {phase}" for client, phase in sorted(report.dropped.items()))
    return {
        "round": report.round,
        "senders": len(report.sent),
        "survivors": len(report.survivors),
        "dropped": dropped or "none",
        "messages": report.messages,
        "bytes": report.size,
    }


def content(report: TranscriptReport) -> dict[str, object]:
    """Return the whole report as JSON."""
    return {
        "protocol": report.wire_id,
        "run_id": report.run_id.hex(),
        "roster_hash": report.roster_hash.hex(),
        "signed": report.signed,
        "last_hash": report.last_hash.hex(),
        "rounds": [
            {**row(r), "sent": {str(client): list(phases) for client, phases in sorted(r.sent.items())}} for r in report.rounds
        ],
        "violations": [{"round": v.round, "party": v.party, "what": v.what} for v in report.violations],
    }
