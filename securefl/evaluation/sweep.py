"""A sweep: one parameter of a config moves at a time, and leak and performance are compared step by step.

Each value of each parameter is a run of its own for every seed, with everything else as the config says; interactions of two
parameters are not looked at. Performance is compared pairwise: the same tasks, test compounds and seeds. Its intervals redraw
tasks and seeds. A leak is a count of compounds; its counts are pooled over seeds, and its intervals (Clopper and Pearson 1934;
Newcombe 1998, method 10, for differences) treat compounds that were drawn under two seeds as independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import binomtest

from securefl.chem.dataset import Dataset
from securefl.config import RunConfig, parse_config
from securefl.errors import InputError
from securefl.evaluation.bootstrap import over_tasks_and_seeds
from securefl.evaluation.comparison import BOOTSTRAP_SEED, Contest
from securefl.evaluation.task_scores import Predictions, main_metric
from securefl.evidence import OptionRecord, SweepPointRecord, SweepRecord
from securefl.measures import IntervalRecord
from securefl.recipes import Privacy, Recipe, Unit, needed_arm, recipe_of

LEAST_SEEDS = 3
GUARD, PARTNERS, EPSILON = "guard.k", "guard.partners", "dp.epsilon"
REENCODED = ("data.bits", "data.radius")
"""What of the data may move: fingerprints are made anew from the same structures, everything else stays paired."""


@dataclass(frozen=True, slots=True)
class Vary:
    """A parameter, ``section.key`` of the config, and the values that it takes, in the order of its steps."""

    parameter: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one parameter: the arm and the config that it gives."""

    parameter: str
    value: str
    arm: str
    config: RunConfig

    def with_seed(self, seed: int) -> RunConfig:
        """Return the config for one seed of weights, batches and attacks."""
        return self.config.model_copy(
            update={
                "federation": self.config.federation.model_copy(update={"seeds": (seed,)}),
                "attacks": self.config.attacks.model_copy(update={"seed": seed}),
            }
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What a point gave: a prediction of every cell for each seed, and for each leak how many of how many."""

    predictions: Sequence[Predictions]
    leaks: Mapping[str, tuple[int, int]]


def parse_vary(text: str) -> Vary:
    """Return what ``section.key=value,value,...`` says.

    Raises:
        InputError: it says something else, or has fewer than two values.

    >>> parse_vary("guard.k=0,2,3")
    Vary(parameter='guard.k', values=('0', '2', '3'))
    """
    parameter, _, values = text.partition("=")
    found = tuple(value.strip() for value in values.split(","))
    if parameter.count(".") != 1 or not all(found) or len(set(found)) < 2:
        raise InputError(f"--vary {text!r} must be section.key=value,value,... with two different values at least")
    if parameter.startswith("data.") and parameter not in REENCODED:
        raise InputError(f"--vary {parameter}: of the data only {' and '.join(REENCODED)} can move, not what is compared")
    return Vary(parameter.strip(), found)


def points(base: RunConfig, arm: str, varies: Sequence[Vary]) -> tuple[Point, ...]:
    """Return every point of the sweep, parameter by parameter, in the order of the steps.

    Raises:
        InputError: a value is outside the config's bounds, or the arm is a reference.
    """
    recipe = recipe_of(arm)
    if recipe is None:
        raise InputError(f"arm {arm!r} trains without a protocol: a sweep needs a federated one")
    return tuple(_point(base, recipe, vary.parameter, value) for vary in varies for value in vary.values)


def _point(base: RunConfig, recipe: Recipe, parameter: str, value: str) -> Point:
    if parameter == GUARD:
        recipe = replace(recipe, guarded=value != "0")
    elif parameter == PARTNERS:
        recipe = replace(recipe, guarded=True)
    elif parameter == EPSILON:
        recipe = replace(recipe, privacy=Privacy(Unit.RECORD, _number(parameter, value)))
    content: dict[str, Any] = base.model_dump(mode="json")
    if parameter != EPSILON and not (parameter == GUARD and value == "0"):
        section, key = parameter.split(".")
        if key not in content.get(section, {}):
            raise InputError(f"--vary {parameter}: the config has no such key")
        content[section][key] = _value(value)
    needed = needed_arm(recipe.arm)
    content["arms"] = [*([needed] if needed else []), recipe.arm]
    return Point(parameter, value, recipe.arm, parse_config(content, source=f"--vary {parameter}={value}"))


def _number(parameter: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError as error:
        raise InputError(f"--vary {parameter}: {value!r} is no number") from error
    if not number > 0:
        raise InputError(f"--vary {parameter}: {value} must be > 0")
    return number


def _value(text: str) -> int | float | str:
    """Return a number where ``text`` is one: the config's own types check the rest."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def sweep_record(
    dataset: Dataset, measured: Sequence[tuple[Point, Measured]], *, leaks: Sequence[str]
) -> SweepRecord:
    """Return the points and the steps between neighbours of each parameter.

    Args:
        dataset: whose cells, folds and tasks all points share.
        leaks: the names under which :class:`Measured` holds them.
    """
    found = list(measured)
    return SweepRecord(
        leak=" and ".join(leaks),
        performance=main_metric(dataset).name,
        points=tuple(_point_record(dataset, point, values, leak) for point, values in found for leak in leaks),
        options=tuple(
            _option_record(dataset, before, after, leak)
            for before, after in pairwise(found)
            if before[0].parameter == after[0].parameter
            for leak in leaks
        ),
    )


def _point_record(dataset: Dataset, point: Point, measured: Measured, leak: str) -> SweepPointRecord:
    contest = Contest(dataset=dataset, arm=measured.predictions, resamples=1)
    scores = contest.with_standalone[main_metric(dataset)].alone
    k, n = measured.leaks[leak]
    interval = binomtest(k, n).proportion_ci(method="exact")
    return SweepPointRecord(
        parameter=point.parameter,
        value=point.value,
        leak=IntervalRecord(mean=k / n, low=float(interval.low), high=float(interval.high)),
        leak_name=leak,
        performance=over_tasks_and_seeds(scores.of_seeds, generator=np.random.default_rng(BOOTSTRAP_SEED)),
        arm=point.arm,
        n=len(measured.predictions),
    )


def _option_record(
    dataset: Dataset, before: tuple[Point, Measured], after: tuple[Point, Measured], leak: str
) -> OptionRecord:
    (origin, old), (target, new) = before, after
    contest = Contest(dataset=dataset, arm=new.predictions, standalone=old.predictions, resamples=1)
    duel = contest.with_standalone[main_metric(dataset)]
    gain = over_tasks_and_seeds(duel.ours.of_seeds - duel.theirs.of_seeds, generator=np.random.default_rng(BOOTSTRAP_SEED))
    delta, low, high = difference(new.leaks[leak], old.leaks[leak])
    return OptionRecord(
        parameter=origin.parameter,
        origin=origin.value,
        target=target.value,
        delta_leak=delta,
        delta_performance=gain.mean,
        intervals={"delta_leak": (low, high), "delta_performance": (gain.low, gain.high)},
        leak=leak,
        arm=target.arm,
        n=len(new.predictions),
    )


def difference(new: tuple[int, int], old: tuple[int, int]) -> tuple[float, float, float]:
    """Return the difference of two proportions (k of n) with Newcombe's hybrid score interval at 95 %.

    >>> [round(x, 4) for x in difference((56, 70), (48, 80))]
    [0.2, 0.0524, 0.3339]
    """
    ends = [binomtest(k, n).proportion_ci(method="wilson") for k, n in (new, old)]
    p, q = new[0] / new[1], old[0] / old[1]
    low = p - q - math.hypot(p - float(ends[0].low), float(ends[1].high) - q)
    high = p - q + math.hypot(float(ends[0].high) - p, q - float(ends[1].low))
    return p - q, low, high
