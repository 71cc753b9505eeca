"""The trade-off: performance against leak, one point for each arm, on the scale of the reader's own appetite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from securefl.records import ArmRecord
from securefl.report.figures.canvas import WIDE, arm_color, arm_marker, blank, color, hover, label, pixels
from securefl.report.figures.curves import spread
from securefl.report.numbers import title
from securefl.report.verdicts import Judged, told


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An arm's performance, and the attack that takes most of the appetite there (``None``: none could be measured)."""

    arm: ArmRecord
    worst: Judged


def points(arms: Sequence[ArmRecord], judged: Sequence[Judged]) -> tuple[Point, ...]:
    """Return one point for each arm on which an attack with a limit ran."""
    found = []
    for arm in arms:
        here = [j for j in judged if j.attack.arm == arm.name and j.used is not None]
        if here:
            found.append(Point(arm=arm, worst=max(here, key=lambda j: (j.used or 0.0, j.attack.view))))
    return tuple(found)


def _stretched(used: float) -> float:
    """Return a place on the axis: linear up to the limit, logarithmic beyond, so that both sides can be read."""
    return max(used, -0.15) if used <= 1 else 1 + math.log2(used) / 2


def _frame(axes: Axes, shown: Sequence[Point], wide: bool) -> float:
    """Draw the zones and scales and return the right end of the axis."""
    reach = max([_stretched(p.worst.used_high or p.worst.used or 0.0) for p in shown] + [2.0])
    axes.axvspan(-0.3, 1, color=color("wash"), zorder=0)
    axes.axvline(1, color=color("fail"), linewidth=1.4, zorder=1)
    ticks = [0.0, 1.0] + [float(2**power) for power in range(1, 12, 1 if wide else 2) if _stretched(2.0**power) <= reach + 0.2]
    axes.set_xticks([_stretched(tick) for tick in ticks])
    axes.set_xticklabels(["chance", "limit"] + [f"{tick:.0f}×" for tick in ticks[2:]])
    axes.set_xlim(-0.2, reach + 0.35)
    axes.grid(axis="y", color=color("line"), linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(
        "leak: largest share of the appetite that an attack takes" if wide else "leak, as a share of the appetite", fontsize=11
    )
    axes.set_title(
        f"{label(title(shown[0].arm.performance.metric))} on the test fold (up is better)",
        loc="left",
        fontsize=11,
        color=color("muted"),
    )
    top = axes.get_xaxis_transform()
    axes.text(
        0.97, 0.02, "within the appetite " if wide else "within ", transform=top, ha="right", color=color("pass"), fontsize=11
    )
    axes.text(1.03, 0.02, " above a limit", transform=top, ha="left", color=color("fail"), fontsize=11)
    return reach + 0.35


def front(shown: Sequence[Point]) -> list[Point]:
    """Return the options that no other option beats in both leak and performance, from the safest on."""
    best: list[Point] = []
    choice = [point for point in shown if point.arm.scheme is not None and not point.arm.forbidden]
    for point in sorted(choice, key=lambda p: (p.worst.used or 0.0, -p.arm.performance.mean)):
        if not best or point.arm.performance.mean > best[-1].arm.performance.mean:
            best.append(point)
    return best


def _front(axes: Axes, shown: Sequence[Point]) -> None:
    places = [(_stretched(p.worst.used or 0.0), p.arm.performance.mean) for p in front(shown)]
    if len(places) > 1:
        x, y = zip(*places, strict=True)
        axes.step(x, y, where="post", color=color("muted"), linewidth=1.2, linestyle=(0, (5, 3)), zorder=2)


def trade_off(shown: Sequence[Point], width: int) -> Figure:
    """Return performance (up is better) against the largest share of the appetite that an attack takes (left is better)."""
    wide = width == WIDE
    drawing = blank(width, 440 if wide else 360)
    axes = pixels(drawing, 52 if wide else 40, 26, 330 if wide else 92, 46)
    for point in shown:
        seen, worst = point.arm.performance, point.worst
        x, tint = _stretched(worst.used or 0.0), arm_color(point.arm.name)
        low, high = worst.used_low, worst.used_high
        if low is not None and high is not None:
            axes.plot([_stretched(low), _stretched(high)], [seen.mean, seen.mean], color=tint, linewidth=1.4, alpha=0.75)
        axes.plot([x, x], [seen.ci_low, seen.ci_high], color=tint, linewidth=1.4, alpha=0.75)
        face = color("surface") if point.arm.forbidden else tint
        (dot,) = axes.plot([x], [seen.mean], color=tint, markersize=10, markerfacecolor=face, zorder=4)
        dot.set_marker(arm_marker(point.arm.name))
        dot.set_gid(hover(f"{point.arm.name}: {told(worst)}"))
    _front(axes, shown)
    end = _frame(axes, shown, wide)
    low_y, high_y = axes.get_ylim()
    axes.set_ylim(low_y - 0.1 * (high_y - low_y), high_y)
    gap = (high_y - low_y) * 1.1 * 16 / (drawing.get_size_inches()[1] * 72 - 72)
    # names stand in a column at the right, each tied to its point: arms of one protocol family fall on the same spot
    for y, point in zip(spread([p.arm.performance.mean for p in shown], gap), shown, strict=True):
        x = _stretched(point.worst.used or 0.0)
        tint, attack = arm_color(point.arm.name), point.worst.attack
        axes.plot(
            [x, end, end + 0.04],
            [point.arm.performance.mean, y, y],
            color=tint,
            linewidth=0.8,
            alpha=0.55,
            clip_on=False,
            zorder=2,
        )
        axes.text(end + 0.07, y, label(point.arm.name, 18 if wide else 13), va="center", fontsize=11.5)
        if wide:
            axes.annotate(label(f"{attack.view} {title(attack.name)}", 32), (end + 0.07, y), (106, 0), va="center", fontsize=11,
                          textcoords="offset pixels", color=color("muted"), annotation_clip=False)  # fmt: skip
    return drawing
