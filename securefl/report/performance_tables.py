"""Performance beyond the mean: every metric, by similarity to what was trained on, with certainty, and a partner's own."""

from __future__ import annotations

from collections.abc import Sequence

from securefl.measures import IntervalRecord
from securefl.records import ArmRecord, ReportRecord
from securefl.report.numbers import DASH, count, decimal, percent, signed, span
from securefl.report.tables import Cell, Table, number, text


def _interval(value: IntervalRecord | None, *, difference: bool = False) -> Cell:
    if value is None:
        return text("")
    write = signed if difference else decimal
    return number(value.mean, write(value.mean, 3), f"{write(value.low, 3)}\u00a0to\u00a0{write(value.high, 3)}")


def metrics_table(arms: Sequence[ArmRecord]) -> Table:
    """Return every metric of every arm with its differences: positive is better, whatever the metric."""
    rows = tuple(
        (
            text(arm.name),
            text(metric.name, metric.kind),
            _interval(metric.value),
            _interval(metric.delta, difference=True),
            _interval(metric.delta_over_tasks, difference=True),
            _interval(metric.delta_vs_single_task, difference=True),
            _interval(metric.riptop),
            number(metric.n_tasks, count(metric.n_tasks)),
        )
        for arm in arms
        if arm.evaluation is not None
        for metric in arm.evaluation.metrics
    )
    heads = ("Arm", "Metric", "#Value", "#Against standalone", "#The same, over tasks and seeds", "#Against single-task",
             "#Way to perfect", "#Partner-tasks")  # fmt: skip
    return Table(name="metrics", caption="Every metric, with 95 % intervals", heads=heads, rows=rows)


def similarity_table(arms: Sequence[ArmRecord]) -> Table:
    """Return performance by applicability domain: how near the nearest training compound of the same task is."""
    rows = tuple(
        (
            text(arm.name),
            text(f"{decimal(seen.low, 1)} to {decimal(seen.high, 1)}"),
            text(seen.metric, seen.kind),
            _interval(seen.value),
            _interval(seen.delta, difference=True),
            number(seen.n_cells, count(seen.n_cells), f"{count(seen.n_compounds)}\u00a0compounds"),
        )
        for arm in arms
        if arm.evaluation is not None
        for seen in arm.evaluation.similarity
    )
    heads = ("Arm", "Tanimoto to the nearest training compound", "Metric", "#Value", "#Against standalone", "#Results")
    return Table(name="similarity", caption="By applicability domain, with 95 % intervals", heads=heads, rows=rows)


def subgroups_table(arms: Sequence[ArmRecord]) -> Table:
    """Return performance of tasks and of partners with few data beside those with many."""
    rows = tuple(
        (
            text(arm.name),
            text(seen.group),
            number(seen.low, span(seen.low, seen.high)),
            text(seen.metric),
            _interval(seen.value),
            _interval(seen.delta, difference=True),
            number(seen.n_tasks, count(seen.n_tasks)),
        )
        for arm in arms
        if arm.evaluation is not None
        for seen in arm.evaluation.subgroups
    )
    heads = ("Arm", "Group by", "#Values", "Metric", "#Value", "#Against standalone", "#Partner-tasks")
    return Table(name="subgroups", caption="Tasks and partners with few data, with 95 % intervals", heads=heads, rows=rows)


def conformal_table(arms: Sequence[ArmRecord]) -> Table:
    """Return how often a prediction comes with certainty: the gain on compounds that nobody measured."""
    rows = tuple(
        (
            text(arm.name),
            text(seen.on, seen.kind),
            number(seen.error_rate, percent(seen.error_rate)),
            _interval(seen.efficiency),
            _interval(seen.delta, difference=True),
            number(seen.validity, percent(seen.validity) if seen.validity is not None else DASH),
            number(seen.n_pairs, count(seen.n_pairs), f"{count(seen.n_tasks)}\u00a0tasks"),
        )
        for arm in arms
        if arm.evaluation is not None
        for seen in arm.evaluation.conformal
    )
    heads = ("Arm", "Compounds", "#Errors allowed", "#Share with one answer", "#Against standalone", "#Right when checked",
             "#Pairs")  # fmt: skip
    return Table(name="conformal", caption="Certainty of predictions (Mondrian conformal)", heads=heads, rows=rows)


def own_table(report: ReportRecord) -> Table:
    """Return performance by partner, as far as the edition has it: nothing in the consortium's, its own in a partner's."""
    shown = [(arm, name, value) for arm in report.arms for name, value in sorted(arm.performance.per_partner.items())]
    alone = {name: value for arm, name, value in shown if arm.name == "standalone"}
    rows = tuple(
        (
            text(name),
            text(arm.name),
            number(value, decimal(value, 3)),
            _against(value, alone.get(name)),
            number(arm.withheld_bits_per_partner.get(name), count(arm.withheld_bits_per_partner.get(name))),
        )
        for arm, name, value in shown
    )
    heads = ("Partner", "Arm", "#Mean over its tasks", "#Against its standalone", "#Bits withheld")
    return Table(name="own", caption="By partner", heads=heads, rows=rows)


def _against(value: float, alone: float | None) -> Cell:
    return text("") if alone is None else number(value - alone, signed(value - alone, 3))
