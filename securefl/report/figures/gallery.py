"""Which pictures a report has: those that its records carry, each with what it shows in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from securefl.records import ReportRecord
from securefl.report.figures.canvas import Picture, StyleBook, picture
from securefl.report.figures.cost import cost_bars
from securefl.report.figures.curves import learning_curves
from securefl.report.figures.forest import performance_forest, privacy_forest
from securefl.report.figures.tradeoff import points, trade_off
from securefl.report.numbers import decimal, figure, key, title
from securefl.report.verdicts import Judged, options
from securefl.report.words import words

Panel = tuple[str, str, tuple[Judged, ...]]


def panels(judged: Sequence[Judged], asset: str, choice: Collection[str]) -> tuple[Panel, ...]:
    """Return, for each view, the attack on an asset that is gravest for an arm of ``choice``, with its results on every arm.

    For membership the true positive rate at a low false positive rate has a panel of its own, since an average over all
    compounds hides the few that are exposed.
    """
    found = []
    for view in words().views:
        here = [j for j in judged if j.attack.asset == asset and j.attack.view == view and j.attack.value is not None]
        pointed = [j for j in here if key(j.attack.metric or "").startswith("tpr")]
        found += [_panel(family, choice) for family in (pointed, [j for j in here if j not in pointed]) if family]
    return tuple(found)


def _panel(family: Sequence[Judged], choice: Collection[str]) -> Panel:
    """Return the gravest attack of a family, and the same attack on every arm."""
    first = max(
        [j for j in family if j.attack.arm in choice] or family, key=lambda j: (j.gravity, j.attack.release == "exposed")
    ).attack
    chosen = (first.name, first.release, first.metric, first.member_of)
    same = [j for j in family if (j.attack.name, j.attack.release, j.attack.metric, j.attack.member_of) == chosen]
    whose = f", of the {first.member_of}" if first.member_of else ""
    return f"{first.view}  {title(first.name)}", f"{title(first.metric or '')}{whose}, {first.release}", tuple(same)


def _told(members: Sequence[Judged]) -> str:
    return "; ".join(
        f"{j.attack.arm} {figure(j.attack.metric, j.attack.value, counted=j.attack.k is not None)}" for j in members
    )


def _privacy(report: ReportRecord, judged: Sequence[Judged], book: StyleBook) -> dict[str, Picture]:
    drawn = {}
    for asset, name in words().assets.items():
        found = panels(judged, asset, options(report.arms))
        if found:
            attacked = {j.attack.arm for _, _, members in found for j in members}
            rows = [arm.name for arm in report.arms if arm.name in attacked]
            alt = f"{name}. " + ". ".join(f"{head}, {below}: {_told(members)}" for head, below, members in found)
            heading = "The gravest attack in each view, with 95 % interval, chance (dotted) and limit (red)"
            drawn[asset] = picture(f"privacy-{asset}", heading, alt, book, partial(privacy_forest, rows, found))
    return drawn


def gallery(report: ReportRecord, judged: Sequence[Judged], book: StyleBook) -> dict[str, Picture]:
    """Return the report's pictures by name; one whose data the records lack is not there."""
    arms = report.arms
    aggregated = [arm for arm in arms if arm.scheme is not None]
    drawn = _privacy(report, judged, book)
    means = "; ".join(f"{a.name} {decimal(a.performance.mean)}" for a in arms)
    metric = title(arms[0].performance.metric)
    drawn["performance"] = picture(
        "performance", "Performance by arm", f"Mean {metric} with 95 % intervals: {means}.", book,
        partial(performance_forest, arms),
    )  # fmt: skip
    learnt = [arm for arm in arms if len(arm.performance.curve) > 1 and arm.warm_start is None]
    if learnt:
        ends = "; ".join(f"{a.name} {decimal(a.performance.curve[-1])}" for a in learnt)
        drawn["curves"] = picture(
            "curves", "Learning curves", f"Validation {metric} after the last round: {ends}.", book,
            partial(learning_curves, learnt),
        )  # fmt: skip
    if any(arm.cost.client_seconds > 0 for arm in aggregated):
        spent = "; ".join(
            f"{a.name} {a.cost.client_seconds:.3g} s, {decimal(a.cost.bytes_up_per_parameter, 1)} bytes" for a in aggregated
        )
        drawn["cost"] = picture(
            "cost", "Cost of a round", f"CPU seconds of one partner and bytes for each parameter: {spent}.", book,
            partial(cost_bars, aggregated),
        )  # fmt: skip
    shown = points(arms, judged)
    if shown:
        where = "; ".join(
            f"{p.arm.name} {decimal(p.arm.performance.mean)} at {decimal(p.worst.used)} of the limit" for p in shown
        )
        drawn["trade-off"] = picture(
            "trade-off", "Performance against leak",
            f"{metric} and the largest share of the appetite that an attack takes: {where}.",
            book, partial(trade_off, shown),
        )  # fmt: skip
    return drawn
