"""What the page says beyond its tables and page one: the matrix of arms and views, the heat map, the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from securefl.records import ArmRecord, AttackRecord, ReportRecord, VerdictRecord
from securefl.report.appetite import VIEWS
from securefl.report.numbers import PERCENT, decimal, figure, outcome, seconds, signed, title
from securefl.report.tables import Cell, Table, number, text
from securefl.report.verdicts import REFERENCE_ARM, Finding, Judged, options


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """A cell of the heat map; ``level`` picks the shade, ``mark`` the finding so that colour is never alone."""

    arm: str
    text: str
    level: str
    mark: str
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatRow:
    """An attack on one release, over all arms."""

    view: str
    attack: str
    release: str
    metric: str
    cells: tuple[HeatCell, ...]


def joined(names: Sequence[str]) -> str:
    """Return names as a sentence lists them.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def cleared(report: ReportRecord) -> tuple[str, ...]:
    """Return the options that pass in every view in which any option was tested: one that escaped a test is not among them."""
    choice = options(report.arms)
    tested = {v.view for v in report.arm_verdicts if v.arm in choice and v.verdict != "not tested"}
    passed = {arm: {v.view for v in report.arm_verdicts if v.arm == arm and v.verdict == "pass"} for arm in choice}
    return tuple(arm for arm in choice if tested and tested <= passed[arm])


def matrix(report: ReportRecord) -> tuple[tuple[ArmRecord, tuple[VerdictRecord, ...]], ...]:
    """Return each arm with its verdict in each view, in the order of the views."""
    found = {(v.arm, v.view): v for v in report.arm_verdicts}
    return tuple((arm, tuple(found[arm.name, view] for view in VIEWS)) for arm in report.arms)


def _level(judged: Judged) -> str:
    """Return a shade: ``c0`` to ``c3`` up to the limit, ``w1`` to ``w3`` beyond it.

    Where a limit is not above chance there is no scale: what is above it is shaded as far beyond.
    """
    used = judged.used
    if used is None:
        return "w3" if judged.finding is Finding.ABOVE else "c0"
    for limit, name in ((0.1, "c0"), (0.4, "c1"), (0.7, "c2"), (1.0, "c3"), (2.0, "w1"), (5.0, "w2")):
        if used <= limit:
            return name
    return "w3"


_MARKS = {
    Finding.WITHIN: "",
    Finding.ABOVE: "above",
    Finding.UNDECIDED: "open", Finding.UNLIMITED: "open", Finding.UNDERMINED: "open",
}  # fmt: skip


def heat_map(report: ReportRecord, judged: Sequence[Judged]) -> tuple[tuple[str, ...], tuple[HeatRow, ...]]:
    """Return the arms that were attacked, and a row for each view, attack, release and metric."""
    by_attack: dict[tuple[str, ...], dict[str, HeatCell]] = {}
    for one in judged:
        attack = one.attack
        whose = f", of the {attack.member_of}" if attack.member_of else ""
        row = (attack.view, title(attack.name), attack.release, title(attack.metric or "") + whose)
        shown = figure(attack.metric, attack.value, counted=attack.k is not None).replace(PERCENT, "%")
        cell = HeatCell(arm=attack.arm, text=shown, level=_level(one), mark=_MARKS[one.finding], told=outcome(attack))
        by_attack.setdefault(row, {}).setdefault(attack.arm, cell)
    arms = tuple(arm.name for arm in report.arms if any(arm.name in cells for cells in by_attack.values()))
    blank = "was not run here"
    rows = tuple(
        HeatRow(
            view=view, attack=attack, release=release, metric=metric,
            cells=tuple(cells.get(arm, HeatCell(arm=arm, text="", level="none", mark="", told=blank)) for arm in arms),
        )
        for (view, attack, release, metric), cells in sorted(by_attack.items(), key=lambda item: _place(item[0]))
    )  # fmt: skip
    return arms, rows


def _place(row: Sequence[str]) -> tuple[int, str, bool, str]:
    """Return where a row of the heat map stands: by view, attack, the worst case first."""
    view, attack, release, metric = row
    return [str(name) for name in VIEWS].index(view), attack, release != "exposed", metric


def _gravest(judged: Sequence[Judged], arm: str, asset: str) -> AttackRecord | None:
    """Return the attack that the verdicts rest on: one above its limit before any other."""
    here = [j for j in judged if j.attack.arm == arm and j.attack.asset == asset]
    return max(here, key=lambda j: (j.gravity, j.attack.value or 0.0)).attack if here else None


def _leak(report: ReportRecord, judged: Sequence[Judged], arm: str, asset: str) -> Cell:
    attack = _gravest(judged, arm, asset)
    if attack is None:
        tried = [a.reason for a in report.attacks if (a.arm, a.asset) == (arm, asset) and a.status != "run" and a.reason]
        return text("", min(tried, key=len, default="not attacked"))
    shown = figure(attack.metric, attack.value, counted=attack.k is not None)
    return number(attack.value, shown, f"{title(attack.metric or '')}, {attack.view}, {attack.release}")


def options_table(report: ReportRecord, judged: Sequence[Judged]) -> Table:
    """Return what each option gives and takes, against plaintext federated where that was run: from records, not prose."""
    arms = {arm.name: arm for arm in report.arms}
    base = arms.get(REFERENCE_ARM)
    rows = []
    for name in options(report.arms):
        arm = arms[name]
        less = arm.performance.mean - base.performance.mean if base is not None else None
        sent = decimal(arm.cost.bytes_up_per_parameter, 1)
        passed = [v.view for v in report.arm_verdicts if v.arm == name and v.verdict == "pass"]
        failed = [v.view for v in report.arm_verdicts if v.arm == name and v.verdict == "fail"]
        rows.append((
            text(name),
            number(less, signed(less, 3), f"{title(arm.performance.metric)} {decimal(arm.performance.mean, 3)}"),
            _leak(report, judged, name, "structure"),
            _leak(report, judged, name, "label"),
            _leak(report, judged, name, "membership"),
            number(arm.cost.client_seconds, seconds(arm.cost.client_seconds), f"{sent} bytes a parameter"),
            text(", ".join(passed) or "no view"),
            text(", ".join(failed) or "no view"),
        ))  # fmt: skip
    heads = (
        "Option",
        "#Performance against plaintext",
        "#Structure",
        "#Label",
        "#Membership",
        "#Cost of a round",
        "Passes",
        "Fails",
    )
    return Table(name="options", caption="What each option gives and takes", heads=heads, rows=tuple(rows))
