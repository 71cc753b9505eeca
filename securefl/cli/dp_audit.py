"""``securefl dp audit``: what the counts of somebody's own audit prove about epsilon."""

from __future__ import annotations

from math import inf, log
from typing import Annotated

import typer

from attacks.epsilon.bounds import Level, clopper_pearson_epsilon
from attacks.epsilon.joint_beta import joint_beta_interval
from attacks.epsilon.ratio_bounds import RATIO_BOUNDS, Rate
from securefl.cli.output import emit_json, emit_table
from securefl.errors import InputError


def audit(
    hits: Annotated[str, typer.Option("--hits", help="Canaries that were in and were called in: K/N.")],
    false_alarms: Annotated[str, typer.Option("--false-alarms", help="Canaries that were out and were called in: K/N.")],
    delta: Annotated[float, typer.Option(help="Of the claim that is tested.")] = 1e-5,
    significance: Annotated[float, typer.Option(help="How often a bound may be wrong.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print for a program.")] = False,
) -> None:
    """Say what the counts of an audit over independent trainings prove about epsilon, and the most that so many could.

    Clopper and Pearson's bound always holds; those of the ratio hold for many counts only and ignore delta. They look at hits
    over false alarms: give misses and right rejections for the other error. The joint beta interval looks at both, and
    depends on a prior: its lower end is above 0 even where there is no leak. All of them ask that the threshold of the
    attack was chosen on other trainings than those that are counted. A small bound is no proof of privacy.

    Example:

      securefl dp audit --hits 480/500 --false-alarms 40/500
    """
    rows = audit_rows(rate(hits), rate(false_alarms), Level(significance=significance, delta=delta))
    if as_json:
        emit_json(rows)
    else:
        emit_table(f"What {hits} hits and {false_alarms} false alarms say of epsilon", rows)


def rate(text: str) -> Rate:
    """Return the counts that ``K/N`` says.

    Raises:
        InputError: it says something else.
    """
    try:
        k, n = (int(part) for part in text.split("/"))
    except ValueError as error:
        raise InputError(f"{text!r} must be K/N, two whole numbers") from error
    if not 0 <= k <= n or n < 1:
        raise InputError(f"{text!r} must be K/N with 0 <= K <= N and N >= 1")
    return k, n


def audit_rows(hits: Rate, false_alarms: Rate, level: Level) -> list[dict[str, object]]:
    """Return a row for each method: the bounds of epsilon, and the most that a perfect attack on so many would show."""
    perfect = (hits[1], hits[1]), (0, false_alarms[1])

    def row(method: str, ends: tuple[float, float | None], most: float, holds: str) -> dict[str, object]:
        return {"method": method, "epsilon at least": ends[0], "epsilon at most": ends[1], "ceiling": most, "holds": holds}

    low, most = (clopper_pearson_epsilon(*counts, level=level) for counts in ((hits, false_alarms), perfect))
    rows = [row("Clopper-Pearson", (low, None), most, "always")]
    for name, bound in RATIO_BOUNDS.items():
        ratios = [bound(*counts, significance=level.significance) for counts in ((hits, false_alarms), perfect)]
        low, most = (max(0.0, log(ratio)) if ratio else 0.0 for ratio in ratios)
        rows.append(row(name, (low, None), most, "for many counts, at delta 0"))
    low, high = joint_beta_interval(hits, false_alarms, level=level)
    most = joint_beta_interval(*perfect, level=level)[0]
    return [*rows, row("joint beta", (low, high if high < inf else None), most, "under Jeffreys priors")]
