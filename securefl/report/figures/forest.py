"""Forest plots: one row for each arm, the estimate as a point, its 95 % interval as a line, figures written beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from securefl.records import ArmRecord
from securefl.report.figures.canvas import WIDE, arm_color, arm_marker, blank, color, hover, label, pixels
from securefl.report.numbers import decimal, figure, outcome, percent, signed, tick, title
from securefl.report.verdicts import Finding, Judged

ROW = 26
"""Height of a row in pixels."""
MOST_BESIDE = 4
"""Panels in a line on a desk; more stand under each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its interval; ``told`` is shown when somebody points at it, ``hollow`` marks what is no option."""

    value: float
    low: float | None
    high: float | None
    told: str
    hollow: bool = False


def _draw_row(axes: Axes, y: float, arm: str, seen: Estimate) -> None:
    tint = arm_color(arm)
    if seen.low is not None and seen.high is not None:
        axes.plot([seen.low, seen.high], [y, y], color=tint, linewidth=2.2, zorder=3)
    face = color("surface") if seen.hollow else tint
    (dot,) = axes.plot([seen.value], [y], marker=arm_marker(arm), color=tint, markersize=8, markerfacecolor=face, zorder=4)
    dot.set_gid(hover(seen.told))


def _frame(axes: Axes, rows: int) -> None:
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=3)
    axes.grid(axis="x", color=color("line"), linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)


def performance_forest(arms: Sequence[ArmRecord], width: int) -> Figure:
    """Return performance by arm, with the standalone and pooled arms as the lines to beat and to reach."""
    wide = width == WIDE
    drawing = blank(width, 84 + ROW * len(arms))
    axes = pixels(drawing, 130 if wide else 104, 34, 330 if wide else 96, 46)
    inside = axes.get_yaxis_transform()
    heads = (
        (("mean (95 %)", 1.03), ("vs alone", 1.33), ("tasks better", 1.47)) if wide else (("mean", 1.06), ("vs alone", 1.38))
    )
    for head, place in heads:
        axes.text(place, -1.05, head, transform=inside, fontsize=11, color=color("muted"), va="center")
    for y, arm in enumerate(arms):
        seen = arm.performance
        span = f"{decimal(seen.mean)} ({decimal(seen.ci_low)} to {decimal(seen.ci_high)})"
        estimate = Estimate(
            value=seen.mean, low=seen.ci_low, high=seen.ci_high, told=f"{arm.name}: {span}", hollow=arm.forbidden
        )
        _draw_row(axes, y, arm.name, estimate)
        axes.text(-0.03, y, label(arm.name, 18), transform=inside, ha="right", va="center")
        told = (span if wide else decimal(seen.mean), signed(seen.delta_vs_standalone), percent(seen.tasks_better))
        for text, (_, place) in zip(told, heads, strict=False):
            axes.text(place, y, text, transform=inside, va="center", fontsize=11.5)
    _frame(axes, len(arms))
    bars = sorted((arm.performance.mean, arm.name) for arm in arms if arm.name in ("standalone", "pooled"))
    for (value, name), side in zip(bars, ("right", "left"), strict=False):
        axes.axvline(value, color=color("muted"), linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        if wide:
            axes.annotate(name, (value, -1.05), (-4 if side == "right" else 4, 0), textcoords="offset pixels", ha=side,
                          va="center", fontsize=11, color=color("muted"), annotation_clip=False)  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(6 if wide else 4))
    axes.set_xlabel(f"{label(title(arms[0].performance.metric))} on the test fold, mean over tasks", fontsize=11, labelpad=8)
    return drawing


def privacy_forest(arms: Sequence[str], panels: Sequence[tuple[str, str, Sequence[Judged]]], width: int) -> Figure:
    """Return what attacks got: a panel for each view, arms as rows, chance dotted, the limit as a line.

    Panels stand beside each other on a desk, so that one row is one arm in every view, and under each other on a telephone.

    Args:
        arms: the rows, from the top.
        panels: heading, second line and results of each panel.
        width: of the drawing, in pixels.
    """
    wide = width == WIDE
    tall = ROW * len(arms) + 84
    beside = min(len(panels), MOST_BESIDE) if wide else 1
    lines = -(-len(panels) // beside)
    drawing = blank(width, tall * lines)
    each = min((WIDE - 130) / beside, 620)
    for number, (heading, below, members) in enumerate(panels):
        line, place = divmod(number, beside)
        above, under = line * tall, (lines - 1 - line) * tall
        if wide:
            left = 130 + place * each
            axes = pixels(drawing, left, above + 52, WIDE - left - each + 78, under + 32)
        else:
            axes = pixels(drawing, 104, above + 50, 62, under + 34)
        _panel(axes, arms, members, named=place == 0)
        # one scale for one metric, so that panels can be compared by eye
        axes.set_xlim(*_reach([j for _, _, more in panels for j in more if j.attack.metric == members[0].attack.metric]))
        start = 0 if wide else -104 / (width - 166)
        room = (each - 16) / 6.6 if wide else 50
        axes.annotate(label(heading, int(room)), (start, 1), (0, 32), xycoords="axes fraction", textcoords="offset pixels",
                      fontweight="bold", fontsize=12)  # fmt: skip
        axes.annotate(label(below, int(room)), (start, 1), (0, 15), xycoords="axes fraction", textcoords="offset pixels",
                      fontsize=11, color=color("muted"))  # fmt: skip
    return drawing


def _reach(members: Sequence[Judged]) -> tuple[float, float]:
    """Return the ends of a panel's axis: from zero (from below one half for an AUC) to beyond all that it shows."""
    shown = [v for j in members for v in (j.attack.value, j.attack.ci_high, j.limit, j.attack.chance) if v is not None]
    lows = [v for j in members for v in (j.attack.value, j.attack.ci_low) if v is not None]
    low = min(0.45, *lows) if "auc" in (members[0].attack.metric or "").lower() else 0.0
    high = max(shown)
    step = (high - low) * 0.04
    return low - step, min(high + 2 * step, 1 + step)


def _panel(axes: Axes, arms: Sequence[str], members: Sequence[Judged], named: bool) -> None:
    """Draw one attack on every arm, with the chance level and the limit of each result."""
    inside = axes.get_yaxis_transform()
    results = {judged.attack.arm: judged for judged in members}
    for y, arm in enumerate(arms):
        if named:
            axes.text(-0.04, y, label(arm, 18), transform=inside, ha="right", va="center")
        judged = results.get(arm)
        if judged is None:
            axes.text(1.04, y, "not run", transform=inside, va="center", fontsize=11, color=color("muted"))
            continue
        attack = judged.attack
        for value, tint, style in ((attack.chance, "muted", (0, (1, 1.5))), (judged.limit, "fail", "solid")):
            if value is not None:
                axes.plot([value, value], [y - 0.5, y + 0.5], color=color(tint), linewidth=1.4, linestyle=style, zorder=2)
        told = f"{arm}: {outcome(attack)}"
        _draw_row(axes, y, arm, Estimate(value=attack.value or 0.0, low=attack.ci_low, high=attack.ci_high, told=told))
        above = judged.finding is Finding.ABOVE
        axes.text(1.04, y, figure(attack.metric, attack.value, counted=attack.k is not None), transform=inside, va="center",
                  fontsize=11.5, fontweight="bold" if above else "normal", color=color("fail" if above else "ink"))  # fmt: skip
    _frame(axes, len(arms))
    first = members[0].attack
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: tick(first.metric, value, counted=first.k is not None))
