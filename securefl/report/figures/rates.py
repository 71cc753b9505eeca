"""ROC curves on log-log scales: what matters about membership happens at false positive rates near zero."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from securefl.records import AttackRecord
from securefl.report.figures.canvas import WIDE, arm_color, blank, color, hover, label, pixels
from securefl.report.figures.curves import spread
from securefl.report.numbers import figure, tick, title

FLOOR = 1e-4


def rates(attacks: Sequence[AttackRecord], width: int) -> Figure:
    """Return one curve for each attack that has one, with its band, the chance line, and nothing below 1 / n non-members."""
    wide = width == WIDE
    drawing = blank(width, 420 if wide else 340)
    axes = pixels(drawing, 62 if wide else 50, 14, 240 if wide else 104, 46)
    floor = max(FLOOR, min(p.fpr for a in attacks for p in a.roc if p.fpr > 0) / 1.5)
    axes.plot([floor, 1], [floor, 1], color=color("muted"), linewidth=1, linestyle=(0, (1, 1.5)), zorder=1)
    ends = []
    for attack in attacks:
        shown = [p for p in attack.roc if p.fpr >= floor and p.fpr >= (attack.min_certifiable_fpr or 0.0)]
        if not shown:
            continue
        tint, x = arm_color(attack.arm), [p.fpr for p in shown]
        low, high = [max(p.low, floor) for p in shown], [max(p.high, floor) for p in shown]
        axes.fill_between(x, low, high, color=tint, alpha=0.16, linewidth=0)
        (line,) = axes.plot(x, [max(p.tpr, floor) for p in shown], color=tint, linewidth=1.8, zorder=3)
        line.set_gid(hover(f"{attack.arm}, {title(attack.name)}: AUC {figure('auc', attack.value)}"))
        ends.append((max(shown[0].tpr, floor), x[0], attack.arm))
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: tick("tpr", value))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlim(floor, 1)
    axes.set_ylim(floor, 1.05)
    axes.grid(color=color("line"), linewidth=0.6, alpha=0.6)
    axes.set_xlabel("false positive rate", fontsize=11)
    axes.set_title("true positive rate", loc="left", fontsize=11, color=color("muted"))
    gap = 16 / (drawing.get_size_inches()[1] * 72 - 60)
    tops = spread([1 - 0.9 * index / max(len(ends), 1) for index in range(len(ends))], gap)
    for y, (_, _, arm) in zip(sorted(tops, reverse=True), sorted(ends, reverse=True), strict=True):
        axes.text(1.03, y, "■", transform=axes.transAxes, color=arm_color(arm), va="center", fontsize=12)
        name, place = (label(arm, 22), 1.07) if wide else (label(arm, 13), 1.11)
        axes.text(place, y, name, transform=axes.transAxes, va="center", fontsize=11.5)
    return drawing
