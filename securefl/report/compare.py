"""What changed between two audits, with intervals, and where a difference is noise.

The interval of a difference is put together from the two results' own 95 % intervals by the method of variance estimates
recovery (Zou, Donner 2008), as if the two audits were independent. Two audits of the same data share their compounds, so the
true interval is rather narrower: what is called noise here may be a change, what is called a change is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from securefl.records import AttackRecord, ReportRecord
from securefl.report.numbers import title

Meaning = Literal["noise", "up", "down", "changed", "only before", "only after", "no interval"]
Span = tuple[float, float, float]
"""A value with the ends of its interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs: ``before`` and ``after`` as text or figure, the difference with its interval, its meaning."""

    kind: str
    what: str
    before: str | float | None
    after: str | float | None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    meaning: Meaning = "changed"


def compare(before: ReportRecord, after: ReportRecord) -> tuple[Difference, ...]:
    """Return what changed from ``before`` to ``after``: terms, verdicts, performance, attacks, cost, in this order."""
    return (
        *_texts("terms", _terms(before), _terms(after)),
        *_texts("verdict", _verdicts(before), _verdicts(after)),
        *_figures("performance", _performance(before), _performance(after)),
        *_figures("attack", _attacks(before.attacks), _attacks(after.attacks)),
        *_costs(before, after),
    )


def difference(before: Span, after: Span) -> Span:
    """Return after - before with its 95 % interval.

    >>> tuple(round(v, 3) for v in difference((0.5, 0.4, 0.6), (0.5, 0.4, 0.6)))
    (0.0, -0.141, 0.141)
    """
    (b, b_low, b_high), (a, a_low, a_high) = before, after
    delta = a - b
    return delta, delta - math.hypot(a - a_low, b_high - b), delta + math.hypot(a_high - a, b - b_low)


def _terms(report: ReportRecord) -> dict[str, str]:
    appetite = report.appetite.sha256[:12] if report.appetite else "none"
    return {
        "configuration": report.config_sha256[:12],
        "data": report.data.sha256[:12],
        "code": report.toolkit.commit[:12] or "unknown",
        "appetite": appetite,
        "edition": report.edition.kind,
        "recommended setting": (report.recommendation.arm if report.recommendation else None) or "none",
    }


def _verdicts(report: ReportRecord) -> dict[str, str]:
    return {f"{v.arm} in view {v.view}": v.verdict for v in report.arm_verdicts}


def _performance(report: ReportRecord) -> dict[str, Span]:
    seen = {f"{arm.name}, {arm.performance.metric}": arm.performance for arm in report.arms}
    return {name: (one.mean, one.ci_low, one.ci_high) for name, one in seen.items()}


def _attacks(attacks: Iterable[AttackRecord]) -> dict[str, Span]:
    found = {}
    for a in attacks:
        if a.status != "run" or a.value is None:
            continue
        parts = (a.arm, a.view, title(a.name), a.release, title(a.metric or ""), a.member_of or "", a.coordinates or "")
        low, high = a.ci_low, a.ci_high
        found[", ".join(part for part in parts if part)] = (a.value, math.nan, math.nan) if low is None or high is None else (
            a.value, low, high
        )  # fmt: skip
    return found


def _texts(kind: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield Difference(
                kind=kind, what=name, before=before.get(name), after=after.get(name), meaning=_presence(name, before, after)
            )


def _presence(name: str, before: Mapping[str, object], after: Mapping[str, object]) -> Meaning:
    if name not in before:
        return "only after"
    return "changed" if name in after else "only before"


def _figures(kind: str, before: Mapping[str, Span], after: Mapping[str, Span]) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            yield Difference(kind=kind, what=name, before=old[0] if old else None, after=new[0] if new else None,
                             meaning=_presence(name, before, after))  # fmt: skip
        elif old != new and not (math.isnan(old[1]) and math.isnan(new[1]) and old[0] == new[0]):
            yield _figure(kind, name, old, new)


def _figure(kind: str, name: str, old: Span, new: Span) -> Difference:
    delta, low, high = difference(old, new)
    if math.isnan(low) or math.isnan(high):
        return Difference(kind=kind, what=name, before=old[0], after=new[0], delta=delta, meaning="no interval")
    meaning: Meaning = "noise" if low <= 0 <= high else "up" if delta > 0 else "down"
    return Difference(kind=kind, what=name, before=old[0], after=new[0], delta=delta, low=low, high=high, meaning=meaning)


def _costs(before: ReportRecord, after: ReportRecord) -> Iterator[Difference]:
    """Yield what a round costs a partner where the bytes changed: they are exact. Seconds vary with the machine."""
    old = {arm.name: arm.cost.bytes_up_per_parameter for arm in before.arms if arm.scheme is not None}
    new = {arm.name: arm.cost.bytes_up_per_parameter for arm in after.arms if arm.scheme is not None}
    for name in old:
        if name in new and not math.isclose(old[name], new[name], rel_tol=1e-3):
            yield Difference(kind="cost", what=f"{name}, bytes up for each parameter", before=old[name], after=new[name],
                             delta=new[name] - old[name], meaning="up" if new[name] > old[name] else "down")  # fmt: skip
