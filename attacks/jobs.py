"""From views to records: each job is handed to the pool as soon as its view is built, and scored when its claims are back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from attacks.interface import AdversaryView, Attack
from attacks.isolation.pool import Answer, Pool
from attacks.score import Score
from securefl.errors import ParameterError
from securefl.records import AttackRecord, View
from securefl.types import Progress, silent

ALIKE = 0.9
"""Of its number: a sample that is worth more than this is as good as independent."""
Wanted = Callable[[str, View], bool]
"""Whether an attack of this name from this view was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A view, the attacks to run on it, and the truth that their claims are compared with.

    ``about`` are the fields that all its records share (arm, release and the like); ``notes`` what a reader has to know.
    """

    view: AdversaryView
    attacks: tuple[Attack[Any], ...]
    truth: object = field(repr=False)
    about: Mapping[str, object]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an attack that is not one of this view's.

        Raises:
            ParameterError: it can't be run from there.
        """
        for attack in self.attacks:
            if self.view.view not in attack.views:
                raise ParameterError(f"{attack.name} runs from {', '.join(attack.views)}, view is {self.view.view}")


def not_run(
    attacks: Sequence[Attack[Any]], wanted: Wanted, views: Sequence[View], *, reason: str, about: Mapping[str, object]
) -> list[AttackRecord]:
    """Return records that say why the wanted ``attacks`` were not run from ``views``."""
    return [
        AttackRecord.model_validate(
            {**about, "name": attack.name, "view": view, "status": "not_run", "reason": reason, "asset": attack.asset}
        )
        for view in views
        for attack in attacks
        if view in attack.views and wanted(attack.name, view)
    ]


class Desk:
    """Takes jobs in, keeps their order, and gives their records out."""

    def __init__(self, pool: Pool, wanted: Wanted, *, progress: Progress = silent) -> None:
        self.wanted = wanted
        self._pool, self._progress = pool, progress
        self._open: list[tuple[Job, Future[Answer]] | list[AttackRecord]] = []

    def put(self, job: Job) -> None:
        """Run those attacks of ``job`` that are wanted, after what they need; nothing if none is."""
        chosen = {a.name: a for a in job.attacks if self.wanted(a.name, job.view.view)}
        needed = {attack.needs for attack in chosen.values()}
        run = [attack for attack in job.attacks if attack.name in chosen or attack.name in needed]
        if run:
            self._open.append((job, self._pool.submit(job.view, run)))

    def put_records(self, records: list[AttackRecord]) -> None:
        """Take records of what was not run, in their place among the jobs."""
        self._open.append(records)

    def records(self) -> list[AttackRecord]:
        """Return the records of all jobs so far, in the order in which they were put.

        Raises:
            AttackFailedError: an attack's process ended without claims.
        """
        found: list[AttackRecord] = []
        for number, entry in enumerate(self._open):
            self._progress("views attacked", number, len(self._open))
            found += entry if isinstance(entry, list) else _scored(*entry, self.wanted)
        self._progress("views attacked", len(self._open), len(self._open))
        self._open = []
        return found


def _scored(job: Job, future: Future[Answer], wanted: Wanted) -> list[AttackRecord]:
    answer = future.result()
    found: list[AttackRecord] = []
    for attack in job.attacks:
        if attack.name in answer.claims and wanted(attack.name, job.view.view):
            seconds = answer.seconds[attack.name] + answer.seconds.get(attack.needs or "", 0.0)
            found += _records(job, attack, answer, seconds)
    return found


def _worth(score: Score) -> str:
    """Return why the interval of a count is wider than its numbers say, empty where they are independent."""
    if score.n is None or score.size is None or score.size > ALIKE * score.n:
        return ""
    return f"{score.n} that depend on one another are worth {score.size:.0f} independent ones"


def _records(job: Job, attack: Attack[Any], answer: Answer, seconds: float) -> list[AttackRecord]:
    """Return a record for each score, or one that says why there is none."""
    result = attack.score(answer.claims[attack.name], answer.claims.get(attack.needs or "", {}), job.truth)
    notes = (*job.notes, result.note)
    about: dict[str, object] = {
        **job.about,
        "name": attack.name,
        "view": job.view.view,
        "asset": attack.asset,
        "reason": "; ".join(filter(None, notes)),
        "seconds": seconds,
        "detail": dict(result.detail),
    }
    if not result.scores:
        return [AttackRecord.model_validate({**about, "status": "not_run"})]
    return [
        AttackRecord.model_validate(
            {
                **about,
                "status": "run",
                "metric": score.metric,
                "value": score.value,
                "k": score.k,
                "n": score.n,
                "ci_low": score.low,
                "ci_high": score.high,
                "chance": score.chance,
                "min_certifiable_fpr": score.min_certifiable_fpr,
                "reason": "; ".join(filter(None, (*notes, _worth(score)))),
                "roc": score.roc,
            }
        )
        for score in result.scores
    ]
