"""Forest plots: one row for each arm, the estimate as a point, its 95 % interval as a line, figures written beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from securefl.records import ArmRecord
from securefl.report.figures.canvas import WIDE, arm_color, arm_marker, blank, color, label, pixels
from securefl.report.numbers import decimal, figure, percent, signed
from securefl.report.verdicts import Finding, Judged

ROW = 26
"""Height of a row in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a forest plot; ``columns`` are written at its right."""

    arm: str
    value: float
    low: float | None
    high: float | None
    columns: tuple[str, ...]
    muted: bool = False
    struck: bool = False


def _draw_row(axes: Axes, y: float, row: Row) -> None:
    tint = color("muted") if row.muted else arm_color(row.arm)
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [y, y], color=tint, linewidth=2.2, zorder=3)
    face = color("surface") if row.muted else tint
    axes.plot([row.value], [y], marker=arm_marker(row.arm), color=tint, markersize=8, markerfacecolor=face, zorder=4)


def _write_row(axes: Axes, y: float, row: Row, places: Sequence[float]) -> None:
    inside = axes.get_yaxis_transform()
    weight = "bold" if row.struck else "normal"
    axes.text(-0.02, y, label(row.arm, 18), transform=inside, ha="right", va="center")
    for place, text in zip(places, row.columns, strict=False):
        tint = color("fail") if row.struck else color("ink")
        axes.text(place, y, text, transform=inside, ha="left", va="center", color=tint, fontweight=weight, fontsize=11.5)


def _frame(axes: Axes, rows: int, ticks: Callable[[float], str] | None = None) -> None:
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=3)
    axes.grid(axis="x", color=color("line"), linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)
    if ticks is not None:
        axes.xaxis.set_major_formatter(lambda value, _: ticks(value))


def performance_forest(arms: Sequence[ArmRecord], width: int) -> Figure:
    """Return performance by arm, with the standalone and pooled arms as the lines to beat and to reach."""
    wide = width == WIDE
    drawing = blank(width, 76 + ROW * len(arms))
    axes = pixels(drawing, 130 if wide else 104, 34, 330 if wide else 92, 38)
    for y, arm in enumerate(arms):
        seen = arm.performance
        columns = (f"{decimal(seen.mean)} ({decimal(seen.ci_low)}–{decimal(seen.ci_high)})", signed(seen.delta_vs_standalone),
                   percent(seen.tasks_better))  # fmt: skip
        row = Row(arm=arm.name, value=seen.mean, low=seen.ci_low, high=seen.ci_high, muted=arm.forbidden,
                  columns=columns if wide else (decimal(seen.mean), signed(seen.delta_vs_standalone)))  # fmt: skip
        _draw_row(axes, y, row)
        _write_row(axes, y, row, (1.03, 1.28, 1.44) if wide else (1.05, 1.32))
    _frame(axes, len(arms))
    heads = ("mean (95 %)", "vs alone", "tasks better") if wide else ("mean", "vs alone")
    for place, text in zip((1.03, 1.28, 1.44) if wide else (1.05, 1.32), heads, strict=True):
        axes.text(place, -1.05, text, transform=axes.get_yaxis_transform(), fontsize=11, color=color("muted"), va="center")
    for arm in arms:
        if arm.name in ("standalone", "pooled"):
            axes.axvline(arm.performance.mean, color=color("muted"), linewidth=1, linestyle=(0, (3, 3)), zorder=1)
            axes.text(arm.performance.mean, -1.05, arm.name, ha="center", va="center", fontsize=11, color=color("muted"))
    axes.set_xlabel(f"{label(arms[0].performance.metric)} on the test fold, mean over partner-tasks", fontsize=11)
    return drawing


def privacy_forest(groups: Sequence[tuple[str, Sequence[Judged]]], width: int) -> Figure:
    """Return what attacks got, a block for each view and attack: arms as rows, chance dotted, the limit as a line."""
    wide = width == WIDE
    lines = sum(len(rows) + 1.2 for _, rows in groups)
    drawing = blank(width, int(40 + ROW * lines))
    axes = pixels(drawing, 130 if wide else 104, 6, 250 if wide else 84, 34)
    y = 0.0
    for heading, members in groups:
        axes.text(0.0 if wide else -0.55, y, heading, transform=axes.get_yaxis_transform(), fontsize=12 if wide else 11,
                  fontweight="bold", va="center")  # fmt: skip
        _block(axes, y + 1, members, wide)
        y += len(members) + 1.2
    _frame(axes, 1, percent)
    axes.set_ylim(y - 0.7, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1] if wide else [0, 0.5, 1])
    axes.set_xlabel("what the attack got (value and 95 % interval)" if wide else "what the attack got", fontsize=11)
    return drawing


def _block(axes: Axes, top: float, members: Sequence[Judged], wide: bool) -> None:
    """Draw one attack on every arm, with its chance level and its limit."""
    for step, judged in enumerate(members):
        attack = judged.attack
        counted = attack.k is not None
        text = figure(attack.metric, attack.value, counted=counted)
        more = f"{attack.k} of {attack.n}" if counted and wide else ""
        row = Row(arm=attack.arm, value=attack.value or 0.0, low=attack.ci_low, high=attack.ci_high,
                  struck=judged.finding is Finding.ABOVE, columns=(text, more))  # fmt: skip
        _draw_row(axes, top + step, row)
        _write_row(axes, top + step, row, (1.03, 1.16))
    bottom = top + len(members) - 0.5
    first = members[0]
    for value, tint, style in ((first.attack.chance, "muted", (0, (1, 2))), (first.limit, "fail", "solid")):
        if value is not None:
            axes.plot([value, value], [top - 0.5, bottom], color=color(tint), linewidth=1.4, linestyle=style, zorder=2)
