"""Reads a run's records, applies the appetite and the prices, and writes an edition's JSON, page and pictures beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from securefl.errors import InputError
from securefl.evidence import EditionRecord, InputRecord, ProtocolRecord, SweepRecord
from securefl.files import write_to_disk
from securefl.records import (
    AppetiteRecord,
    ArmRecord,
    AuditRecord,
    ReportRecord,
    RunRecord,
    TimingRecord,
    read_record,
    write_record,
)
from securefl.report.appetite import Appetite, load_appetite
from securefl.report.conformance import protocol_record
from securefl.report.editions import CONSORTIUM, redacted, stem
from securefl.report.grid import load_grid
from securefl.report.html import Document, document
from securefl.report.inputs import SWEEP_FILE, input_record, run_inputs
from securefl.report.json_schema import verify_report
from securefl.report.prices import estimates, load_prices
from securefl.report.recommendation import recommend
from securefl.report.sections import cleared
from securefl.report.verdicts import RULE, verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Whatever a report depends on beside the run's folder; the same run and terms give the same bytes.

    ``as_of`` is the day that the report is of: without one it has no expiry and opens no gate. Where no file is named, the
    appetite and the prices that ship with securefl are applied, and no grid of costs that were measured elsewhere is shown.
    """

    appetite: Path | None = None
    prices: Path | None = None
    grid: Path | None = None
    as_of: date | None = None
    edition: EditionRecord = CONSORTIUM

    @property
    def outside(self) -> dict[str, Path]:
        """The files that are named, by kind: a report lists them as ``KIND:NAME`` among its inputs."""
        named = {"policy": self.appetite, "prices": self.prices, "grid": self.grid}
        return {kind: path for kind, path in named.items() if path is not None}


SHIPPED = Terms()
"""The appetite and prices that ship with securefl, no date, the consortium's edition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A report before it is written: the record, its files' common beginning, and the page with its pictures."""

    report: ReportRecord
    stem: str
    document: Document


def _arms(run: Path, order: Sequence[str]) -> dict[Path, ArmRecord]:
    """Return the finished arms by their folders, in the order of the config."""
    found = {path.parent: read_record(ArmRecord, path) for path in sorted(run.glob("arms/*/record.json"))}
    if not found:
        raise InputError(f"{run} has no finished arm (arms/*/record.json): nothing to report")
    rank = {name: position for position, name in enumerate(order)}
    return dict(sorted(found.items(), key=lambda item: (rank.get(item[1].name, len(rank)), item[1].name)))


def _audits(run: Path, arms: Sequence[ArmRecord]) -> AuditRecord:
    """Return the audits of all arms as one, in the order of the arms; a control that is for all of them stands there once."""
    rank = {arm.name: position for position, arm in enumerate(arms)}
    audits = [read_record(AuditRecord, path) for path in sorted(run.glob("attacks/*.json"))]
    attacks = [attack for audit in audits for attack in audit.attacks]
    seen = {control.model_dump_json(): control for audit in audits for control in audit.controls}
    played = [one for audit in audits for one in audit.conformance]
    return AuditRecord(
        conformance=tuple(sorted(played, key=lambda one: rank.get(one.arm, len(rank)))),
        attacks=tuple(sorted(attacks, key=lambda a: rank.get(a.arm, len(rank)))),
        controls=tuple(sorted(seen.values(), key=lambda c: rank.get(c.arm or "", -1))),
    )


def _timing(run: Path, arms: Sequence[ArmRecord]) -> TimingRecord:
    """Return the run's own timing, or the arms' where it wrote none; the peak is of both: each arm resets the process's."""
    path, peak = run / "timing.json", max(arm.cost.peak_rss_mb for arm in arms)
    if path.exists():
        own = read_record(TimingRecord, path)
        return own.model_copy(update={"peak_rss_mb": max(own.peak_rss_mb, peak)})
    return TimingRecord(wall_seconds={"arms": sum(arm.cost.wall_seconds for arm in arms)}, peak_rss_mb=peak)


def _transcripts(run: Path, arms: Mapping[Path, ArmRecord], ran: RunRecord) -> tuple[ProtocolRecord, ...]:
    """Return what the transcript of each arm's first seed shows, where the arm kept one."""
    return tuple(
        protocol_record(run, path.relative_to(run).as_posix(), arm, ran.config)
        for folder, arm in arms.items()
        for path in sorted(folder.glob("seed-*/transcript.jsonl"))
    )


def assemble(run: Path, terms: Terms = SHIPPED) -> tuple[ReportRecord, Appetite]:
    """Return what is known of the run in a folder, measured against the appetite, for the terms' edition; writes nothing.

    Raises:
        InputError: a record, the appetite, the prices or the grid are missing or can't be read.
        VerificationError: the chain of a transcript does not hold.
    """
    appetite, prices = load_appetite(terms.appetite), load_prices(terms.prices)
    ran = read_record(RunRecord, run / "run.json")
    folders = _arms(run, [str(name) for name in ran.config.get("arms", ())])
    arms = tuple(folders.values())
    audit = _audits(run, arms)
    timing = _timing(run, arms)
    of_views, of_arms = verdicts(arms, audit, appetite)
    sweep = run / SWEEP_FILE
    report = ReportRecord(
        toolkit=ran.toolkit,
        config=ran.config,
        config_sha256=ran.config_sha256,
        data=ran.data,
        partners=ran.partners,
        arms=arms,
        attacks=audit.attacks,
        controls=audit.controls,
        conformance=audit.conformance,
        verdicts=of_views,
        arm_verdicts=of_arms,
        appetite=_stated(appetite),
        wall_seconds=timing.wall_seconds,
        peak_rss_mb=timing.peak_rss_mb,
        as_of=terms.as_of.isoformat() if terms.as_of else None,
        expires=(terms.as_of + timedelta(days=appetite.valid_days)).isoformat() if terms.as_of else None,
        inputs=run_inputs(run) + _outside(terms),
        protocols=_transcripts(run, folders, ran),
        sweep=read_record(SweepRecord, sweep) if sweep.exists() else None,
        prices=prices,
        estimates=estimates(arms, ran.data, len(ran.partners), prices),
        grid=load_grid(terms.grid, prices),
    )
    report = report.model_copy(update={"recommendation": recommend(arms, cleared(report))})
    return redacted(report, terms.edition), appetite


def _stated(appetite: Appetite) -> AppetiteRecord:
    return AppetiteRecord(
        title=appetite.title,
        statement=appetite.statement,
        sha256=appetite.sha256,
        rule=RULE,
        limits=appetite.as_tables(),
        valid_days=appetite.valid_days,
    )


def _outside(terms: Terms) -> tuple[InputRecord, ...]:
    """Return the inputs that lie outside of the run's folder; shipped ones are named by the code's version."""
    return tuple(input_record(path, f"{kind}:{path.name}") for kind, path in terms.outside.items())


def render(run: Path, terms: Terms = SHIPPED) -> Rendered:
    """Return the report of a run; writes nothing.

    Raises:
        InputError, VerificationError: as for :func:`assemble`; or the report does not fit its own schema.
    """
    report, appetite = assemble(run, terms)
    verify_report(report.model_dump(mode="json"))
    names = tuple(partner.name for partner in report.partners)
    return Rendered(report=report, stem=stem(terms.edition, names), document=document(report, appetite))


def build(run: Path, terms: Terms = SHIPPED) -> ReportRecord:
    """Write ``report.json``, ``report.html`` and ``report-figures`` into a run's folder and return the report.

    A pure function of the run's files and the terms: the same input gives the same bytes, whatever the day. Other editions
    have their own names (:func:`securefl.report.editions.stem`).

    Args:
        run: folder with ``run.json``, ``arms/*/record.json`` and ``attacks/*.json``.
        terms: appetite, prices, grid, day and edition.

    Raises:
        InputError: a record or the appetite can't be read, or a file can't be written.
        VerificationError: a transcript's chain does not hold, or the report does not fit its own schema; nothing was written.
    """
    rendered = render(run, terms)
    write_record(rendered.report, run / f"{rendered.stem}.json")
    for name, drawing in rendered.document.figures.items():
        write_to_disk(run / f"{rendered.stem}-figures" / f"{name}.svg", drawing.encode())
    write_to_disk(run / f"{rendered.stem}.html", rendered.document.html.encode())
    return rendered.report
