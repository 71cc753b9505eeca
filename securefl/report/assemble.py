"""Reads a run's records, applies the appetite, and writes ``report.json`` and ``report.html`` beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from securefl.errors import InputError
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
from securefl.report.html import page
from securefl.report.json_schema import verify_report
from securefl.report.verdicts import RULE, verdicts

JSON_FILE = "report.json"
HTML_FILE = "report.html"


def _arms(run: Path, order: Sequence[str]) -> tuple[ArmRecord, ...]:
    """Return the finished arms, in the order of the config."""
    found = [read_record(ArmRecord, path) for path in sorted(run.glob("arms/*/record.json"))]
    if not found:
        raise InputError(f"{run} has no finished arm (arms/*/record.json): nothing to report")
    rank = {name: position for position, name in enumerate(order)}
    return tuple(sorted(found, key=lambda arm: (rank.get(arm.name, len(rank)), arm.name)))


def _audits(run: Path, arms: Sequence[ArmRecord]) -> AuditRecord:
    """Return the audits of all arms as one, in the order of the arms; a control that is for all of them stands there once."""
    rank = {arm.name: position for position, arm in enumerate(arms)}
    audits = [read_record(AuditRecord, path) for path in sorted(run.glob("attacks/*.json"))]
    attacks = [attack for audit in audits for attack in audit.attacks]
    seen = {control.model_dump_json(): control for audit in audits for control in audit.controls}
    return AuditRecord(
        attacks=tuple(sorted(attacks, key=lambda a: rank.get(a.arm, len(rank)))),
        controls=tuple(sorted(seen.values(), key=lambda c: rank.get(c.arm or "", -1))),
    )


def _timing(run: Path, arms: Sequence[ArmRecord]) -> TimingRecord:
    """Return the run's own timing, or the arms' where it wrote none."""
    path = run / "timing.json"
    if path.exists():
        return read_record(TimingRecord, path)
    wall = {"arms": sum(arm.cost.wall_seconds for arm in arms)}
    return TimingRecord(wall_seconds=wall, peak_rss_mb=max(arm.cost.peak_rss_mb for arm in arms))


def assemble(run: Path, appetite: Appetite) -> ReportRecord:
    """Return the report of the run in a folder, measured against ``appetite``; writes nothing.

    Raises:
        InputError: a record is missing or is not one.
    """
    ran = read_record(RunRecord, run / "run.json")
    arms = _arms(run, [str(name) for name in ran.config.get("arms", ())])
    audit = _audits(run, arms)
    timing = _timing(run, arms)
    of_views, of_arms = verdicts(arms, audit.attacks, audit.controls, appetite)
    return ReportRecord(
        toolkit=ran.toolkit,
        config=ran.config,
        config_sha256=ran.config_sha256,
        data=ran.data,
        partners=ran.partners,
        arms=arms,
        attacks=audit.attacks,
        controls=audit.controls,
        verdicts=of_views,
        arm_verdicts=of_arms,
        appetite=AppetiteRecord(
            title=appetite.title,
            statement=appetite.statement,
            sha256=appetite.sha256,
            rule=RULE,
            limits=appetite.as_tables(),
        ),
        wall_seconds=timing.wall_seconds,
        peak_rss_mb=timing.peak_rss_mb,
    )


def _write(text: str, path: Path) -> None:
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"can't write {path}: {error.strerror}") from error


def build(run: Path, *, appetite: Path | None = None) -> ReportRecord:
    """Write ``report.json`` and ``report.html`` into a run's folder and return the report.

    A pure function of the records and the appetite: the same input gives the same bytes, whatever the day.

    Args:
        run: folder with ``run.json``, ``arms/*/record.json`` and ``attacks/*.json``.
        appetite: the reader's policy; the shipped one where none is given.

    Raises:
        InputError: a record or the appetite can't be read, or a file can't be written.
        VerificationError: the report does not fit its own schema; nothing was written.
    """
    policy = load_appetite(appetite)
    report = assemble(run, policy)
    verify_report(report.model_dump(mode="json"))
    html = page(report, policy)
    write_record(report, run / JSON_FILE)
    _write(html, run / HTML_FILE)
    return report
