"""``securefl report``: build, sign, verify, compare and check reports."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, get_args

import typer

from securefl.cli.gate import day
from securefl.cli.keys import Sealed, passphrase, read_public, read_second
from securefl.cli.output import emit_json, emit_table
from securefl.cli.timing import write_report
from securefl.crypto.signature import SigningKey, fingerprint
from securefl.errors import InputError, VerificationError
from securefl.files import write_to_disk
from securefl.records import ReportRecord, RunRecord, read_record
from securefl.report import Terms
from securefl.report.appetite import load_appetite
from securefl.report.assemble import render
from securefl.report.attestation import sign_report
from securefl.report.check import check as check_report
from securefl.report.compare import compare as compare_reports
from securefl.report.crate import unpack, write_crate
from securefl.report.editions import edition_of, stem
from securefl.report.materials import SUFFIX, bill_of_materials
from securefl.report.pdf import require_weasyprint, write_pdf
from securefl.report.verify import Item, Scope, Status, editions_in
from securefl.report.verify import verify as verify_report
from securefl.secagg.keyfile import load_key
from securefl.secagg.roster import load_roster

app = typer.Typer(help="Build, sign, verify, compare and check reports.", no_args_is_help=True)

INCONCLUSIVE = 6
CRATE = ".zip"

Policy = Annotated[Path | None, typer.Option("--appetite", help="Your organisation's limits (TOML).")]
Prices = Annotated[Path | None, typer.Option("--prices", help="Your price list and scale (TOML).")]
Grid = Annotated[Path | None, typer.Option("--grid", help="Cost of every protocol, measured elsewhere (grid.json).")]
Json = Annotated[bool, typer.Option("--json", help="Print for a program.")]


@app.callback()
def report() -> None:
    """Build, sign, verify, compare and check reports."""


@app.command("build")
def build(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    appetite: Policy = None,
    prices: Prices = None,
    grid: Grid = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="The report's day (YYYY-MM-DD); today if left out.")] = None,
    edition: Annotated[str, typer.Option("--edition", help="consortium, partner or auditor.")] = "consortium",
    partner: Annotated[str | None, typer.Option("--partner", help="Whose own figures the partner's edition adds.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Sign with this private key.")] = None,
    sealed: Sealed = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write a PDF/A too (extra 'pdf').")] = False,
    as_json: Json = False,
) -> None:
    """Write RUN/report.json, .html, pictures, bill of materials and crate from the run's records alone; sign them with --key.

    The same records, appetite, prices, grid, day and edition give the same bytes. Other editions are report-auditor.* and
    report-partner-N.*; each holds only what its reader may know.

    Examples:

      securefl report build runs/ours --appetite appetite.toml

      securefl report build runs/ours --edition auditor --key auditor.key --pdf
    """
    names = tuple(one.name for one in read_record(RunRecord, run / "run.json").partners)
    terms = Terms(
        appetite=appetite, prices=prices, grid=grid, as_of=day(as_of), edition=edition_of(edition, partner, names)
    )
    signer = _signer(key, sealed)
    if pdf:
        # Before anything is written: an old signature and crate would be gone for a PDF that can't be made.
        require_weasyprint()
    record = write_report(run, terms)
    begin = stem(terms.edition, names)
    write_companions(run, begin, record, terms, signer=signer, pdf=pdf)
    if as_json:
        emit_json([verdict.model_dump(mode="json") for verdict in record.verdicts])
        return
    typer.echo(f"The report: {(run / f'{begin}.html').resolve()}")
    if signer is not None:
        typer.echo(f"signed by {fingerprint(signer.verify_key)}, counts until {record.expires}")


def write_companions(
    run: Path, begin: str, record: ReportRecord, terms: Terms, *, signer: SigningKey | None, pdf: bool
) -> None:
    """Write what stands beside a report: PDF, bill of materials, signature, crate; an old signature is taken away."""
    for suffix in (".pdf", ".intoto.json", ".crate.zip"):
        (run / f"{begin}{suffix}").unlink(missing_ok=True)
    if pdf:
        write_to_disk(run / f"{begin}.pdf", write_pdf(render(run, terms).document))
    write_to_disk(run / f"{begin}{SUFFIX}", bill_of_materials(record))
    if signer is not None:
        sign_report(run, begin, record, signer)
    write_crate(run, begin, record, terms)


def _signer(key: Path | None, sealed: bool) -> SigningKey | None:
    if key is None:
        return None
    return load_key(key, passphrase=passphrase(confirm=False) if sealed else None)


@app.command("verify")
def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A run's folder, a report's .json, or a crate (.zip).")],
    trust: Annotated[list[Path] | None, typer.Option("--trust", help="Public key (KEY.pub) that may sign.")] = None,
    roster: Annotated[Path | None, typer.Option("--roster", help="Roster whose auditors may sign.")] = None,
    appetite: Policy = None,
    prices: Prices = None,
    grid: Grid = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Compute again what is cheap: intervals, verdicts, page.")] = False,
    as_json: Json = False,
) -> None:
    """Check signatures, files, inputs, transcripts and ledgers offline, one line for each; ends with 5 if one does not hold.

    Of a folder, every edition that is in it is checked, each under a line with its name.

    Examples:

      securefl report verify runs/ours --trust auditor.key.pub --rerun

      securefl report verify report-auditor.crate.zip --roster roster.json
    """
    outside = Terms(appetite=appetite, prices=prices, grid=grid).outside
    scope = Scope(signers=_trusted(trust or (), roster), outside=outside, rerun=rerun)
    found: dict[str, tuple[Item, ...]] = {}
    with _folder(path) as folder:
        for begin in _stems(folder, path):
            found[begin] = verify_report(folder, begin, scope)
    items = [item for several in found.values() for item in several]
    if as_json:
        emit_json({begin: [asdict(item) for item in several] for begin, several in found.items()})
    else:
        for begin, several in found.items():
            typer.echo(f"{begin}: {told_count(several)}")
            for item in several:
                typer.echo(f"  {item.status:<8}{item.what}: {item.told}")
    failed = [item for item in items if item.status == "failed"]
    if failed:
        raise VerificationError(f"{len(failed)} of {len(items)} items failed; first: {failed[0].what}: {failed[0].told}")


def told_count(items: Sequence[Item]) -> str:
    """Return how many items held, failed and were skipped.

    >>> told_count([Item("ok", "a", ""), Item("ok", "b", ""), Item("skipped", "c", "")])
    '2 ok, 1 skipped'
    """
    counts = Counter(item.status for item in items)
    return ", ".join(f"{counts[status]} {status}" for status in get_args(Status) if counts[status])


def _trusted(public_keys: Sequence[Path], roster: Path | None) -> tuple[tuple[bytes, bytes], ...]:
    listed = [(read_public(path), read_second(path)) for path in public_keys]
    if roster is not None:
        signed = load_roster(roster)
        signed.verify()
        listed += [(auditor.verify_key, auditor.second_key) for auditor in signed.roster.auditors]
    return tuple(listed)


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """Yield the folder of a report; a crate is unpacked for the time of the block."""
    if path.suffix != CRATE:
        yield path if path.is_dir() else path.parent
        return
    with tempfile.TemporaryDirectory() as unpacked:
        unpack(path, Path(unpacked))
        yield Path(unpacked)


def _stems(folder: Path, path: Path) -> tuple[str, ...]:
    """Return the editions to check: the one that was named, or all that are there."""
    if path.suffix == ".json":
        begin = path.name.split(".")[0]
        if begin not in editions_in(folder):
            raise InputError(f"{path} is no report")
        return (begin,)
    found = editions_in(folder)
    if not found:
        raise InputError(f"{path} holds no report (report*.json)")
    return found


@app.command("compare")
def compare(
    before: Annotated[Path, typer.Argument(metavar="R1", help="A report.json, or a run's folder.")],
    after: Annotated[Path, typer.Argument(metavar="R2", help="Another one.")],
    as_json: Json = False,
) -> None:
    """Say what changed between two audits, with 95 % intervals, and where a difference is noise.

    Example:

      securefl report compare runs/march runs/september
    """
    found = compare_reports(read_report(before), read_report(after))
    if as_json:
        emit_json([asdict(one) for one in found])
        return
    if not found:
        typer.echo("nothing that a report states differs")
        return
    rows = [
        {
            "kind": one.kind, "what": one.what, "before": one.before, "after": one.after, "difference": one.delta,
            "95 % interval": "-" if one.low is None else f"{one.low:+.3f} to {one.high:+.3f}", "meaning": one.meaning,
        }
        for one in found
    ]  # fmt: skip
    emit_table("What changed", rows)
    noise = sum(one.meaning == "noise" for one in found)
    typer.echo(f"{len(found)} differences, {noise} of them noise: their interval contains 0")


@app.command("check")
def check(
    path: Annotated[Path, typer.Argument(metavar="R", help="A report.json, or a run's folder.")],
    appetite: Annotated[Path, typer.Option("--appetite", help="The limits to judge by (TOML).")],
    arm: Annotated[str | None, typer.Option("--arm", help="Judge this arm; the worst option of each view if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Judge a report's results by another appetite: ends with 0 if every view passes, 5 if one fails, 6 otherwise.

    Example:

      securefl report check runs/ours --appetite strict.toml --arm dp
    """
    found = check_report(read_report(path), load_appetite(appetite), arm=arm)
    rows = [{"view": v.view, "verdict": v.verdict, "arm": v.arm, "because": v.because} for v in found]
    emit_json(rows) if as_json else emit_table("Verdicts", rows)
    failed = [verdict.view for verdict in found if verdict.verdict == "fail"]
    if failed:
        raise VerificationError(f"the appetite is exceeded in {', '.join(failed)}")
    if any(verdict.verdict != "pass" for verdict in found):
        typer.echo("securefl: no view fails, and not every view passes", err=True)
        raise typer.Exit(INCONCLUSIVE)


def read_report(path: Path) -> ReportRecord:
    """Return the report in a file or in a run's folder.

    Raises:
        InputError: there is none.
    """
    return read_record(ReportRecord, path / "report.json" if path.is_dir() else path)
