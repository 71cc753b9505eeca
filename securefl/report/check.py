"""A report against another appetite: the same results, judged anew, for a pipeline that only needs a yes or a no."""

from __future__ import annotations

from securefl.errors import InputError
from securefl.records import AuditRecord, ReportRecord, VerdictRecord
from securefl.report.appetite import Appetite
from securefl.report.verdicts import verdicts


def check(report: ReportRecord, appetite: Appetite, *, arm: str | None = None) -> tuple[VerdictRecord, ...]:
    """Return the verdict of every view under ``appetite``: of one arm, or of the worst option where none is named.

    Raises:
        InputError: the report has no such arm.
    """
    audit = AuditRecord(attacks=report.attacks, controls=report.controls, conformance=report.conformance)
    of_views, of_arms = verdicts(report.arms, audit, appetite)
    if arm is None:
        return of_views
    found = tuple(verdict for verdict in of_arms if verdict.arm == arm)
    if not found:
        raise InputError(f"arm {arm!r} is not in the report: {', '.join(one.name for one in report.arms)}")
    return found
