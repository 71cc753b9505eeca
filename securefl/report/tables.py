"""The report's tables: records in, rows of text out. A figure's text is made here once, for the page and for print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from securefl.records import ArmRecord, AttackRecord, ControlRecord, ReportRecord
from securefl.report.numbers import DASH, count, decimal, figure, interval, percent, seconds, signed, small, title
from securefl.report.verdicts import Finding, Judged
from securefl.report.words import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell: its text, a second line, what it is sorted by, a class of the style sheet and a badge."""

    text: str
    note: str = ""
    order: float | None = None
    kind: str = ""
    badge: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with a caption; ``heads`` that begin with ``#`` stand over figures."""

    name: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = True


def text(value: object, note: str = "", *, badge: str = "", kind: str = "") -> Cell:
    """Return a cell of words."""
    return Cell(text=str(value) if value not in (None, "") else DASH, note=note, badge=badge, kind=kind)


def number(value: float | None, shown: str, note: str = "", *, kind: str = "") -> Cell:
    """Return a cell of a figure, sorted by its value."""
    return Cell(text=shown, note=note, order=value, kind=kind)


def arm_cell(arm: ArmRecord) -> Cell:
    """Return an arm's name with what a reader must know of it at once."""
    marks = ["pools private data: forbidden"] if arm.forbidden else []
    marks += ["not federated: comparison"] if arm.scheme is None and not arm.forbidden else []
    return text(arm.name, "; ".join(marks))


def performance_table(arms: Iterable[ArmRecord]) -> Table:
    """Return performance by arm with intervals over compounds, by cluster."""
    rows = []
    for arm in arms:
        seen = arm.performance
        span = f"{decimal(seen.ci_low, 3)}\u00a0to\u00a0{decimal(seen.ci_high, 3)}"
        delta = (
            f"{signed(seen.delta_ci_low, 3)}\u00a0to\u00a0{signed(seen.delta_ci_high, 3)}"
            if seen.delta_ci_low is not None
            else ""
        )
        rows.append((
            arm_cell(arm),
            number(seen.mean, decimal(seen.mean, 3), span),
            number(seen.delta_vs_standalone, signed(seen.delta_vs_standalone, 3), delta),
            number(seen.tasks_better, percent(seen.tasks_better)),
            number(seen.n_tasks, count(seen.n_tasks), f"{count(seen.n_compounds)}\u00a0compounds"),
            number(arm.rounds, count(arm.rounds) if arm.rounds else DASH, f"best {seen.best_round}" if seen.best_round else ""),
            number(arm.parameters, count(arm.parameters) if arm.parameters else DASH),
            text(", ".join(map(str, arm.seeds))),
            text(arm.warm_start or "none"),
        ))  # fmt: skip
    heads = ("Arm", "#Mean", "#Against standalone", "#Tasks better", "#Partner-tasks", "#Rounds", "#Parameters", "Seeds",
             "Warm start")  # fmt: skip
    return Table(name="performance", caption="Performance on the test fold, with 95 % intervals", heads=heads, rows=tuple(rows))


def cost_table(arms: Iterable[ArmRecord]) -> Table:
    """Return what each aggregating arm costs in a round, and how exact its sum was."""
    rows = []
    for arm in arms:
        cost = arm.cost
        error, bound = arm.max_abs_aggregate_error, arm.quantization_bound
        inside = error is None or bound is None or error <= bound
        kept = "" if error is None else ("inside the bound" if inside else "outside the bound")
        rows.append((
            arm_cell(arm),
            number(cost.setup_seconds, seconds(cost.setup_seconds)),
            number(cost.client_seconds, seconds(cost.client_seconds)),
            number(cost.server_seconds, seconds(cost.server_seconds)),
            number(cost.decryptor_seconds, seconds(cost.decryptor_seconds) if cost.decryptor_seconds else "no decryptor",
                   f"{seconds(cost.key_seconds)} for the key" if cost.decryptor_seconds and cost.key_seconds else ""),
            number(cost.bytes_up_per_parameter, decimal(cost.bytes_up_per_parameter)),
            number(cost.bytes_down_per_parameter, decimal(cost.bytes_down_per_parameter)),
            number(error, small(error), kept, kind="" if inside or arm.clipped else "alarm"),
            number(bound, small(bound)),
            number(arm.clipped, count(arm.clipped)),
            number(cost.wall_seconds, seconds(cost.wall_seconds), f"peak {count(cost.peak_rss_mb)} MB"),
        ))  # fmt: skip
    heads = ("Arm", "#Set-up", "#One partner", "#Operator", "#All decryptors", "#Bytes up", "#Bytes down", "#Largest error",
             "#Bound", "#Clipped", "#Whole arm")  # fmt: skip
    caption = "Cost of a round: CPU seconds, bytes for each parameter on the wire, and the error of the opened sum"
    return Table(name="cost", caption=caption, heads=heads, rows=tuple(rows))


def controls_table(controls: Iterable[ControlRecord]) -> Table:
    """Return every control, those that did not hold first."""
    rows = [
        (
            text(title(control.name), ", ".join(control.views) or "all views"),
            text(control.arm or "all"),
            text("held" if control.held else "did not hold", badge="pass" if control.held else "fail"),
            number(
                control.value,
                figure(control.metric, control.value),
                f"{title(control.metric)}; {interval(control.metric, control.ci_low, control.ci_high)}",
            ),
            text(control.expected),
            text(control.because),
        )
        for control in sorted(controls, key=lambda control: control.held)
    ]
    heads = ("Control", "Arm", "Outcome", "#Measured", "Expected", "Why")
    return Table(name="controls", caption="Controls on which the verdicts rest", heads=heads, rows=tuple(rows))


_BADGES: dict[Finding, tuple[str, str]] = {
    Finding.WITHIN: ("pass", "within"),
    Finding.ABOVE: ("fail", "above"),
    Finding.UNDECIDED: ("inconclusive", "undecided"),
    Finding.UNLIMITED: ("inconclusive", "no limit"),
    Finding.UNDERMINED: ("inconclusive", "control failed"),
}


def _setting(attack: AttackRecord) -> str:
    """Return what an attack ran on and found beside its metric; figures of one partner are for that partner's edition."""
    parts = [
        f"{attack.bits:,} bits" if attack.bits else "",
        f"{attack.compounds:,} compounds" if attack.compounds else "",
        attack.optimiser or "",
        f"{attack.coordinates} coordinates" if attack.coordinates else "",
        f"member of the {attack.member_of}" if attack.member_of else "",
        *(f"{title(name)} {small(value)}" for name, value in attack.detail.items() if "partner" not in name),
        attack.reason,
    ]
    return ", ".join(part for part in parts if part)


def results_table(judged: Sequence[Judged], asset: str) -> Table:
    """Return every result on one asset, the gravest first."""
    rows = []
    for one in judged:
        attack = one.attack
        if attack.asset != asset:
            continue
        counted = attack.k is not None
        badge, word = _BADGES[one.finding]
        shown = f"{count(attack.k)} of {count(attack.n)}" if counted else (f"n = {count(attack.n)}" if attack.n else DASH)
        floor = attack.min_certifiable_fpr
        rows.append((
            text(title(attack.name), _setting(attack)),
            text(attack.view),
            text(attack.arm),
            text(attack.release),
            text(word, badge=badge),
            number(attack.value, figure(attack.metric, attack.value, counted=counted), title(attack.metric or "")),
            number(attack.n, shown, f"lowest certifiable FPR {percent(floor)}" if floor is not None else ""),
            number(attack.ci_low, interval(attack.metric, attack.ci_low, attack.ci_high, counted=counted)),
            number(attack.chance, figure(attack.metric, attack.chance, counted=counted)),
            number(one.limit, figure(attack.metric, one.limit, counted=counted)),
        ))  # fmt: skip
    heads = ("Attack", "View", "Arm", "Release", "Finding", "#Result", "#Sample", "#95 % interval", "#Chance", "#Limit")
    return Table(name=f"results-{asset}", caption=words().assets[asset], heads=heads, rows=tuple(rows))


_STATUS = {"not_run": "not run", "refused": "refused", "run": "nothing to score"}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def not_run_table(attacks: Iterable[AttackRecord]) -> Table:
    """Return what was not run, was refused or left nothing to score: a row for each reason, with all that it holds for."""
    grouped: dict[tuple[str, str], list[AttackRecord]] = {}
    for attack in attacks:
        if attack.status != "run" or attack.metric is None:
            why = re.sub(rf"(?<![\w+-]){re.escape(attack.arm)}(?![\w+-])", "this arm", attack.reason)
            grouped.setdefault((why or "no reason was recorded", attack.status), []).append(attack)
    rows = [
        (
            text(why, kind="plain"),
            text(_STATUS[status], badge="refused" if status == "refused" else "not-tested"),
            text(_listed(title(attack.name) for attack in of)),
            text(_listed(sorted(attack.view for attack in of))),
            text(_listed(f"{attack.arm} ({attack.release})" for attack in of)),
        )
        for (why, status), of in grouped.items()
    ]
    heads = ("Why", "Status", "Attacks", "Views", "Arms (releases)")
    return Table(
        name="not-run",
        caption="Attacks that were not run, that a party refused, or that left nothing to score",
        heads=heads,
        rows=tuple(rows),
    )


def partners_table(report: ReportRecord) -> Table:
    """Return the size of each partner."""
    rows = [
        (
            text(partner.name),
            number(partner.compounds, count(partner.compounds)),
            number(partner.tasks, count(partner.tasks)),
            number(partner.activities, count(partner.activities)),
        )
        for partner in report.partners
    ]
    heads = ("Partner", "#Compounds", "#Tasks", "#Activities")
    return Table(name="partners", caption="Partners, by size only", heads=heads, rows=tuple(rows))


def _flat(prefix: str, value: object) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    elif isinstance(value, list | tuple):
        yield prefix, ", ".join(map(str, value))
    else:
        yield prefix, str(value)


def config_table(report: ReportRecord) -> Table:
    """Return the whole configuration, one setting a row."""
    rows = tuple((text(name), text(value)) for name, value in _flat("", report.config))
    return Table(name="config", caption="Configuration", heads=("Setting", "Value"), rows=rows, sortable=False)


def limits_table(report: ReportRecord) -> Table:
    """Return the appetite that the verdicts were measured against, line by line."""
    stated = report.appetite.limits if report.appetite else {}
    rows = []
    for view, attacks in stated.items():
        for attack, metrics in attacks.items():
            for name, value in metrics.items():
                metric = name.removeprefix("max_").removesuffix("_above_chance")
                beyond = "above chance" if name.endswith("_above_chance") else ""
                rows.append(
                    (text(view), text(title(attack)), text(title(metric), beyond), number(value, figure(metric, value)))
                )
    heads = ("View", "Attack", "Metric", "#At most")
    return Table(name="limits", caption="The appetite, line by line", heads=heads, rows=tuple(rows))
