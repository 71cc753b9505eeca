"""Something against the level of a setting: leak against the support threshold, utility against epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from securefl.report.figures.canvas import (
    WIDE,
    Picture,
    StyleBook,
    arm_color,
    arm_marker,
    blank,
    color,
    hover,
    label,
    picture,
    pixels,
)
from securefl.report.numbers import decimal
from securefl.report.words import words

NARROW_LEGEND = 3
"""Names side by side under a narrow picture."""


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
    names = list(dict.fromkeys(level.name for level in shown))
    arms = list(dict.fromkeys(level.arm for level in shown))
    under = 0 if wide else 18 * math.ceil(len(arms) / NARROW_LEGEND)
    drawing = blank(width, 320 if wide else 280 + under)
    axes = pixels(drawing, 62 if wide else 50, 26, 190 if wide else 24, 46 + under)
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
        else:
            row, column = divmod(place, NARROW_LEGEND)
            where = (12 + column * (width - 12) / NARROW_LEGEND, under - 18 * row)
            axes.annotate(label(arm, 16), where, xycoords="figure pixels", color=tint, fontsize=10.5, va="top")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(range(len(names)))
    axes.set_xticklabels([label(name, 14) for name in names], fontsize=None if wide else 9.5)
    if min(level.value for level in shown) < 0 < max(level.value for level in shown):
        axes.axhline(0, color=color("muted"), linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    axes.grid(axis="y", color=color("line"), linewidth=0.6, alpha=0.6)
    axes.set_xlabel(x_title, fontsize=11)
    axes.set_title(label(y_title, 90 if wide else 44), loc="left", fontsize=11, color=color("muted"))
    return drawing


def level_picture(name: str, shown: Sequence[Level], x_title: str, y_title: str, book: StyleBook) -> Picture:
    """Return the picture of that name with every level in its words."""
    told = "; ".join(f"{level.arm} {level.name}: {decimal(level.value, 3)}" for level in shown)
    alt = f"{y_title} against {x_title}: {told}."
    return picture(name, words().pictures[name], alt, book, partial(levels, shown, x_title, y_title))
