"""Learning curves: the validation metric after each round, every line named at its end."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from securefl.records import ArmRecord
from securefl.report.figures.canvas import WIDE, arm_color, blank, color, label, pixels
from securefl.report.numbers import title


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Return positions as near as possible to the wanted ones, in their order, that are at least ``gap`` apart.

    >>> spread([1.0, 1.0, 5.0], 1.0)
    [0.5, 1.5, 5.0]
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    # isotonic regression of wanted - rank * gap: neighbours that would overlap pool into a block at their mean
    blocks: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        total, size = wanted[index] - rank * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / size:
            earlier = blocks.pop()
            total, size = total + earlier[0], size + earlier[1]
        blocks.append((total, size))
    levels = [total / size for total, size in blocks for _ in range(size)]
    placed = [0.0] * len(wanted)
    for rank, (index, level) in enumerate(zip(order, levels, strict=True)):
        placed[index] = level + rank * gap
    return placed


def learning_curves(arms: Sequence[ArmRecord], width: int) -> Figure:
    """Return the validation curve of arms that have one of two rounds or more; a ring marks the round that was kept."""
    wide = width == WIDE
    drawing = blank(width, 360 if wide else 300)
    axes = pixels(drawing, 52 if wide else 40, 14, 190 if wide else 104, 42)
    ends = []
    for arm in arms:
        curve = arm.performance.curve
        rounds = range(1, len(curve) + 1)
        style = (0, (4, 3)) if arm.forbidden or arm.scheme is None else "solid"
        axes.plot(rounds, curve, color=arm_color(arm.name), linewidth=2, linestyle=style, zorder=3)
        best = arm.performance.best_round
        if best is not None and 1 <= best <= len(curve):
            axes.plot([best], [curve[best - 1]], marker="o", markersize=6, color=arm_color(arm.name),
                      markerfacecolor=color("surface"), zorder=4)  # fmt: skip
        ends.append((len(curve), curve[-1], arm.name))
    low, high = axes.get_ylim()
    gap = (high - low) * 16 / (drawing.get_size_inches()[1] * 72 - 56)
    last = max(len(arm.performance.curve) for arm in arms)
    for y, (step, value, name) in zip(spread([value for _, value, _ in ends], gap), ends, strict=True):
        axes.plot(
            [step, last * 1.02, last * 1.035], [value, y, y], color=arm_color(name), linewidth=0.8, alpha=0.7, clip_on=False
        )
        axes.text(last * 1.045, y, label(name, 18 if wide else 14), va="center", fontsize=11.5)
    axes.set_xlim(1, last)
    axes.grid(axis="y", color=color("line"), linewidth=0.6, alpha=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round", fontsize=11)
    axes.set_title(
        f"{label(title(arms[0].performance.metric))} on the validation fold", loc="left", fontsize=11, color=color("muted")
    )
    return drawing
