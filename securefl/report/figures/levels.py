"""Something against the level of a setting: leak against the support threshold, utility against epsilon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from securefl.report.figures.canvas import WIDE, arm_color, arm_marker, blank, color, hover, label, pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level on the axis with what was measured there; levels are drawn at equal distances, in the order given."""

    name: str
    arm: str
    value: float
    low: float | None
    high: float | None


def levels(shown: Sequence[Level], x_title: str, y_title: str, width: int) -> Figure:
    """Return a point with its interval for each level; points of one arm are joined."""
    wide = width == WIDE
    drawing = blank(width, 320 if wide else 280)
    axes = pixels(drawing, 62 if wide else 50, 26, 190 if wide else 24, 46)
    names = list(dict.fromkeys(level.name for level in shown))
    arms = list(dict.fromkeys(level.arm for level in shown))
    for place, arm in enumerate(arms):
        # arms of one level stand beside each other, so that their intervals can be told apart
        aside = (place - (len(arms) - 1) / 2) * 0.06
        here = [(names.index(level.name) + aside, level) for level in shown if level.arm == arm]
        tint = arm_color(arm)
        axes.plot([x for x, _ in here], [level.value for _, level in here], color=tint, linewidth=1.2, alpha=0.6, zorder=2)
        for x, level in here:
            if level.low is not None and level.high is not None:
                axes.plot([x, x], [level.low, level.high], color=tint, linewidth=2, zorder=3)
            (dot,) = axes.plot([x], [level.value], marker=arm_marker(arm), color=tint, markersize=8, zorder=4)
            dot.set_gid(hover(f"{arm}, {level.name}: {level.value:.3g}"))
        if wide:
            axes.annotate(
                label(arm, 24), (1.03, 1 - 0.09 * place), xycoords="axes fraction", color=tint, fontsize=11.5, va="top"
            )
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(range(len(names)))
    axes.set_xticklabels([label(name, 14) for name in names])
    axes.grid(axis="y", color=color("line"), linewidth=0.6, alpha=0.6)
    axes.set_xlabel(x_title, fontsize=11)
    axes.set_title(label(y_title, 90 if wide else 44), loc="left", fontsize=11, color=color("muted"))
    return drawing
