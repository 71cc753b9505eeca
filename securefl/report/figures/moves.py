"""What each step of a sweep does: the change of performance and of each leak, with 95 % intervals and a line at no change."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from securefl.evidence import OptionRecord
from securefl.report.figures.canvas import WIDE, blank, color, hover, label, pixels
from securefl.report.numbers import leak_title, setting, signed, title

ROW = 26
PERFORMANCE, LEAK = "delta_performance", "delta_leak"


def step_name(option: OptionRecord) -> str:
    """Return how a step is called.

    >>> step_name(OptionRecord(parameter="guard.k", origin="0", target="2", delta_leak=0.0, delta_performance=0.0))
    'guard.k 0 → 2'
    """
    return f"{option.parameter} {setting(option.origin)} → {setting(option.target)}"


def moves(options: Sequence[OptionRecord], performance: str, width: int) -> Figure:
    """Return a panel for performance and one for each leak; rows are the steps, in the order of the sweep."""
    wide = width == WIDE
    steps = list(dict.fromkeys(map(step_name, options)))
    first = {step_name(option): option for option in reversed(options)}
    panels = [("Performance: right is better", title(performance), PERFORMANCE, list(first.values()))]
    for leak in dict.fromkeys(option.leak for option in options):
        members = [option for option in options if option.leak == leak]
        panels.append(("Leak: left is safer", leak_title(leak), LEAK, members))
    tall = ROW * len(steps) + 94
    drawing = blank(width, tall if wide else tall * len(panels))
    each = (WIDE - 150) / len(panels)
    room = int((each - 10) / 6.2) if wide else 52
    for number, (heading, below, name, members) in enumerate(panels):
        if wide:
            left = 150 + number * each
            axes = pixels(drawing, left, 50, WIDE - left - each + 74, 40)
        else:
            axes = pixels(drawing, 120, 50 + number * tall, 58, (len(panels) - 1 - number) * tall + 40)
        _panel(axes, steps, members, name, named=number == 0 or not wide)
        for text, height, weight, tint in ((heading, 28, "bold", "ink"), (label(below, room), 12, "normal", "muted")):
            axes.annotate(text, (0 if wide else -0.72, 1), (0, height), xycoords="axes fraction",
                          textcoords="offset pixels", fontsize=11, fontweight=weight, color=color(tint))  # fmt: skip
    return drawing


def _panel(axes: Axes, steps: Sequence[str], members: Sequence[OptionRecord], name: str, *, named: bool) -> None:
    found = {step_name(option): option for option in members}
    inside = axes.get_yaxis_transform()
    axes.axvline(0, color=color("muted"), linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    for y, step in enumerate(steps):
        if named:
            axes.text(-0.04, y, label(step, 24), transform=inside, ha="right", va="center", fontsize=11)
        option = found[step]
        value, span = float(getattr(option, name)), option.intervals.get(name)
        tint = color(_tint(value, span, name))
        if span is not None:
            axes.plot(list(span), [y, y], color=tint, linewidth=2.2, zorder=3)
        (dot,) = axes.plot([value], [y], marker="o", color=tint, markersize=8, zorder=4)
        told = f" ({signed(span[0], 3)} to {signed(span[1], 3)})" if span is not None else ""
        dot.set_gid(hover(f"{step}: {signed(value, 3)}{told}"))
        axes.text(1.04, y, signed(value, 3), transform=inside, va="center", fontsize=11.5)
    axes.set_ylim(len(steps) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=color("line"), linewidth=0.6, alpha=0.6)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("change, 95 % interval", fontsize=11)


def _tint(value: float, span: tuple[float, float] | None, name: str) -> str:
    """Return the colour of a change: grey where it may be noise, else whether it is for the better."""
    if span is None or span[0] <= 0 <= span[1]:
        return "muted"
    return "pass" if (value > 0) == (name == PERFORMANCE) else "fail"
