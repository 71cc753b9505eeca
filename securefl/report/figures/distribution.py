"""Distributions of the differences by task: how many tasks gain, how many lose, and by how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from matplotlib.figure import Figure

from securefl.measures import EcdfRecord, ReleasedMetricRecord
from securefl.records import ArmRecord
from securefl.report.figures.canvas import WIDE, arm_color, blank, color, hover, label, pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """``share[i]`` of an arm's ``n`` tasks have a difference of at most ``x[i]``; ``binned`` ones know it at edges alone."""

    arm: str
    metric: str
    n: int
    x: tuple[float, ...]
    share: tuple[float, ...]
    binned: bool


def distributions(arms: Sequence[ArmRecord]) -> tuple[Distribution, ...]:
    """Return the distribution of each arm's differences from standalone, of the report's metric where it has one.

    The full steps where the edition has them; else the histogram that came out of secure aggregation.
    """
    return tuple(found for arm in arms for found in list(_of(arm))[:1])


def _of(arm: ArmRecord) -> Iterator[Distribution]:
    for metric in arm.evaluation.metrics if arm.evaluation else ():
        for steps in metric.ecdf:
            if steps.of == "delta" and steps.over == "assays":
                yield _exact(arm.name, metric.name, steps)
    for released in arm.consortium.metrics if arm.consortium else ():
        if released.released and released.of == "delta" and any(released.counts):
            yield _binned(arm.name, released)


def _exact(arm: str, metric: str, steps: EcdfRecord) -> Distribution:
    return Distribution(arm=arm, metric=metric, n=steps.n, x=steps.x, share=steps.share, binned=False)


def _binned(arm: str, released: ReleasedMetricRecord) -> Distribution:
    total = sum(released.counts)
    share = (0.0, *(count / total for count in accumulate(released.counts)))
    return Distribution(arm=arm, metric=released.metric, n=total, x=released.edges, share=share, binned=True)


def distribution(shown: Sequence[Distribution], width: int) -> Figure:
    """Return the distributions as steps, with the line of no difference: what lies right of it has gained."""
    wide = width == WIDE
    drawing = blank(width, 340 if wide else 300)
    axes = pixels(drawing, 52 if wide else 42, 26, 200 if wide else 104, 46)
    reach = max(abs(x) for one in shown for x in _middle(one)) or 1.0
    axes.axvline(0, color=color("muted"), linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    for one in shown:
        tint = arm_color(one.arm)
        style = "default" if one.binned else "steps-post"
        (line,) = axes.plot(one.x, one.share, color=tint, linewidth=1.8, drawstyle=style, zorder=3)
        line.set_gid(hover(f"{one.arm}: {one.metric} of {one.n} tasks"))
    for place, one in enumerate(shown):
        axes.text(1.02, 0.97 - 0.065 * place, label(one.arm, 20 if wide else 13), transform=axes.transAxes, va="center",
                  fontsize=11.5, color=arm_color(one.arm))  # fmt: skip
    axes.set_xlim(-1.05 * reach, 1.05 * reach)
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y", color=color("line"), linewidth=0.6, alpha=0.6)
    axes.set_xlabel("difference from standalone (right of the line is better)", fontsize=11 if wide else 10)
    axes.set_title(f"share of tasks, {label(shown[0].metric, 40)}", loc="left", fontsize=11, color=color("muted"))
    return drawing


def _middle(one: Distribution) -> list[float]:
    """Return where the middle 80 % of the tasks lie: one task far out would press all others together."""
    inside = [x for x, share in zip(one.x, one.share, strict=True) if 0.1 <= share <= 0.9]
    return inside or list(one.x)
