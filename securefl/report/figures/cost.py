"""Cost by arm: seconds of one partner and of the operator, and bytes for each parameter, as bars on a common list of arms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from securefl.records import ArmRecord
from securefl.report.figures.canvas import WIDE, arm_color, blank, color, label, pixels
from securefl.report.numbers import decimal, seconds

ROW = 24
_PANELS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("client_seconds", "CPU time of one partner, a round", seconds),
    ("server_seconds", "CPU time of the operator, a round", seconds),
    ("bytes_up_per_parameter", "bytes sent for each parameter", lambda value: decimal(value, 1)),
)


def _panel(axes: Axes, arms: Sequence[ArmRecord], panel: int, named: bool) -> None:
    name, title, text = _PANELS[panel]
    values = [float(getattr(arm.cost, name)) for arm in arms]
    positive = [value for value in values if value > 0]
    if not positive:
        axes.set_axis_off()
        return
    # bars on a log scale have no natural start: a decade under the smallest, so that lengths order but don't measure
    floor = min(positive) / 4
    for y, (arm, value) in enumerate(zip(arms, values, strict=True)):
        end = max(value, floor)
        axes.barh(y, end - floor, left=floor, height=0.62, color=arm_color(arm.name))
        axes.text(end * 1.12, y, text(value), va="center", fontsize=11.5)
        if named:
            axes.text(-0.03, y, label(arm.name, 18), transform=axes.get_yaxis_transform(), ha="right", va="center")
    axes.set_xscale("log")
    axes.set_xlim(floor, max(positive) * (max(positive) / floor) ** 0.32)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.minorticks_off()
    axes.spines["bottom"].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11.5, color=color("muted"))


def cost_bars(arms: Sequence[ArmRecord], width: int) -> Figure:
    """Return three panels of bars on log scales, beside each other on a desk and under each other on a telephone."""
    wide = width == WIDE
    tall = 34 + ROW * len(arms)
    drawing = blank(width, tall + 8 if wide else 3 * tall)
    for panel in range(len(_PANELS)):
        if wide:
            left = 130 + panel * 292
            axes = pixels(drawing, left, 30, width - left - 272, 6)
        else:
            axes = pixels(drawing, 106, 28 + panel * tall, 6, (2 - panel) * tall + 6)
        _panel(axes, arms, panel, named=panel == 0 or not wide)
    return drawing
