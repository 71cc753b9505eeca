"""Which pictures a report has: those that its records carry, each with what it shows in words."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from securefl.evidence import SweepRecord
from securefl.records import ArmRecord, ReportRecord
from securefl.report.figures.canvas import Picture, StyleBook, picture
from securefl.report.figures.cost import cost_bars
from securefl.report.figures.curves import learning_curves
from securefl.report.figures.distribution import distribution, distributions
from securefl.report.figures.forest import performance_forest, privacy_forest
from securefl.report.figures.gains import gain_pictures
from securefl.report.figures.levels import Level, level_picture
from securefl.report.figures.moves import moves, step_name
from securefl.report.figures.rates import rates
from securefl.report.figures.tradeoff import points, trade_off
from securefl.report.numbers import attack_title, decimal, figure, key, leak_title, setting, signed, title
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """A report's pictures by name, and for each that could not be drawn the reason."""

    pictures: Mapping[str, Picture]
    missing: Mapping[str, str]


def gallery(report: ReportRecord, judged: Sequence[Judged], book: StyleBook) -> Gallery:
    """Return the report's pictures; one whose data the records lack is listed with its reason."""
    drawn = _privacy(report, judged, book) | _arms(report, book) | _trade_off(report, judged, book)
    drawn |= _rates(report, book) | _moves(report, book) | _support(report, book) | _epsilon(report, book) | _ecdf(report, book)
    drawn |= gain_pictures(report, book)
    missing = {name: _REASONS.get(name, _NOT_ATTACKED) for name in words().pictures if name not in drawn}
    return Gallery(pictures=drawn, missing=missing)


_NOT_ATTACKED = "no attack on this asset ran"
_REASONS = {
    "curves": "no arm has a validation score of more than one round",
    "cost": "no arm of this run aggregates with a protocol",
    "trade-off": "no attack with a limit ran, so leak has no scale",
    "roc": "no attack's record holds a whole curve",
    "moves": "no sweep over settings is part of this run",
    "support": "no sweep over the support threshold is part of this run",
    "epsilon": "fewer than two arms with different epsilon ran, and no sweep over it",
    "ecdf": "no arm's record holds a distribution of its differences by task",
    "similarity": "no arm's record holds differences by similarity",
    "few-data": "no arm's record holds differences by the size of tasks",
}


def _arms(report: ReportRecord, book: StyleBook) -> dict[str, Picture]:
    arms = report.arms
    aggregated = [arm for arm in arms if arm.scheme is not None]
    means = "; ".join(f"{a.name} {decimal(a.performance.mean)}" for a in arms)
    metric = title(arms[0].performance.metric)
    drawn = {
        "performance": picture(
            "performance", words().pictures["performance"], f"Mean {metric} with 95 % intervals: {means}.", book,
            partial(performance_forest, arms),
        )
    }  # fmt: skip
    learnt = [arm for arm in arms if len(arm.performance.curve) > 1 and arm.warm_start is None]
    if learnt:
        ends = "; ".join(f"{a.name} {decimal(a.performance.curve[-1])}" for a in learnt)
        drawn["curves"] = picture(
            "curves", words().pictures["curves"], f"Validation {metric} after the last round: {ends}.", book,
            partial(learning_curves, learnt),
        )  # fmt: skip
    if any(arm.cost.client_seconds > 0 for arm in aggregated):
        spent = "; ".join(
            f"{a.name} {a.cost.client_seconds:.3g} s, {decimal(a.cost.bytes_up_per_parameter, 1)} bytes" for a in aggregated
        )
        drawn["cost"] = picture(
            "cost", words().pictures["cost"], f"CPU seconds of one partner and bytes for each parameter: {spent}.", book,
            partial(cost_bars, aggregated),
        )  # fmt: skip
    return drawn


def _trade_off(report: ReportRecord, judged: Sequence[Judged], book: StyleBook) -> dict[str, Picture]:
    shown = points(report.arms, judged)
    if not shown:
        return {}
    metric = title(report.arms[0].performance.metric)
    where = "; ".join(f"{p.arm.name} {decimal(p.arm.performance.mean)} at {decimal(p.worst.used)} of the limit" for p in shown)
    alt = f"{metric} and the largest share of the appetite that an attack takes: {where}."
    return {"trade-off": picture("trade-off", words().pictures["trade-off"], alt, book, partial(trade_off, shown))}


def _rates(report: ReportRecord, book: StyleBook) -> dict[str, Picture]:
    curves = [attack for attack in report.attacks if attack.roc]
    if not curves:
        return {}
    # the strongest attack of each arm: one curve an arm can still be told apart
    best = {a.arm: max((b for b in curves if b.arm == a.arm), key=lambda b: b.value or 0.0) for a in curves}
    told = "; ".join(f"{arm} {title(a.name)}, AUC {figure('auc', a.value)}" for arm, a in best.items())
    alt = f"True against false positive rate of the strongest attack on each arm: {told}."
    return {"roc": picture("roc", words().pictures["roc"], alt, book, partial(rates, tuple(best.values())))}


def _support(report: ReportRecord, book: StyleBook) -> dict[str, Picture]:
    sweep = report.sweep
    found = [p for p in sweep.points if "guard" in p.parameter and p.leak is not None] if sweep else []
    if sweep is None or len({p.value for p in found}) < 2:
        return {}
    shown = [
        Level(name=p.value, arm=attack_title(p.leak_name) or p.arm, value=p.leak.mean, low=p.leak.low, high=p.leak.high)
        for p in found
        if p.leak is not None
    ]
    what = "share of compounds" if any(p.leak_name for p in found) else title(sweep.leak) or "leak"
    return {"support": level_picture("support", shown, "support threshold k (0: no guard)", what, book)}


def _epsilon(report: ReportRecord, book: StyleBook) -> dict[str, Picture]:
    """Return utility against epsilon: over the run's arms, or over a sweep's points where fewer than two arms are private."""
    private = sorted((arm for arm in report.arms if arm.dp is not None), key=_budget)
    shown = [
        Level(
            name=f"\u03b5 = {_spent(arm)}", arm=f"{arm.dp.unit} level", value=arm.performance.mean,
            low=arm.performance.ci_low, high=arm.performance.ci_high,
        )
        for arm in private
        if arm.dp is not None
    ]  # fmt: skip
    metric = title(report.arms[0].performance.metric)
    if len({level.name for level in shown}) < 2 and report.sweep is not None:
        shown, metric = _swept_epsilon(report.sweep), title(report.sweep.performance) or metric
    if len({level.name for level in shown}) < 2:
        return {}
    return {"epsilon": level_picture("epsilon", shown, "epsilon (smaller is more private)", f"{metric} on the test fold", book)}


def _budget(arm: ArmRecord) -> float:
    return math.inf if arm.dp is None or arm.dp.epsilon is None else arm.dp.epsilon


def _spent(arm: ArmRecord) -> str:
    return decimal(_budget(arm)) if math.isfinite(_budget(arm)) else "\u221e"


def _swept_epsilon(sweep: SweepRecord) -> list[Level]:
    levels = {
        p.value: Level(
            name=f"\u03b5 = {setting(p.value)}", arm=f"sweep, {p.n} seeds", value=p.performance.mean,
            low=p.performance.low, high=p.performance.high,
        )
        for p in sweep.points
        if p.parameter == "dp.epsilon" and p.performance is not None
    }  # fmt: skip
    return list(levels.values())


def _moves(report: ReportRecord, book: StyleBook) -> dict[str, Picture]:
    sweep = report.sweep
    if sweep is None or not sweep.options:
        return {}
    told = "; ".join(
        f"{step_name(o)}: {title(sweep.performance) or 'performance'} {signed(o.delta_performance, 3)}, "
        f"{leak_title(o.leak or sweep.leak) or 'leak'} {signed(o.delta_leak, 3)}"
        for o in sweep.options
    )
    alt = f"Change of performance and leak with each step of the sweep: {told}."
    drawn = partial(moves, sweep.options, sweep.performance)
    return {"moves": picture("moves", words().pictures["moves"], alt, book, drawn)}


def _ecdf(report: ReportRecord, book: StyleBook) -> dict[str, Picture]:
    shown = distributions(report.arms)
    if not shown:
        return {}
    told = "; ".join(f"{one.arm} over {one.n} tasks" for one in shown)
    alt = f"Share of tasks whose {shown[0].metric} differs from standalone by at most so much: {told}."
    return {"ecdf": picture("ecdf", words().pictures["ecdf"], alt, book, partial(distribution, shown))}
