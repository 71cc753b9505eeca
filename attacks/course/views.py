"""Builds the views of a course: trajectories from V1 and V3, differences from V1 and V4."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from attacks.course.differential import BITS, COMPOUNDS, RATIO, Differences
from attacks.course.rounds import ROUNDS, Cast, Course, cast_of, course_key, halves_of, run_course
from attacks.course.source_inference import SOURCE, Sources
from attacks.course.trajectory import COSINE, FEDMIA, PROJECTION
from attacks.first_layer.bit_union import first_having
from attacks.interface import AdversaryView, Fact
from attacks.jobs import Desk, Job, not_run
from attacks.membership.members import Members
from attacks.membership.shadows import made_once
from attacks.target import Target
from securefl.errors import InputError, ParameterError
from securefl.records import View

TRAJECTORY = (PROJECTION, COSINE, FEDMIA)
DIFFERENTIAL = (BITS, COMPOUNDS)
ALL = (*TRAJECTORY, *DIFFERENTIAL, RATIO, SOURCE)
VIEWS: tuple[View, ...] = ("V3", "V1", "V4")
ATTACKER, VICTIM = 2, 0
"""Partners of the cast, the smallest first: the largest of the three attacks, the smallest is the victim."""
NOTE = f"{ROUNDS} rounds of three small partners on a narrow trunk; members by a coin"


class _Courses:
    """The courses of one arm, each run when it is asked for."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.cast: Cast = cast_of(target.dataset, target.config)
        self._seed = target.config.attacks.seed

    @cached_property
    def real(self) -> Course:
        """The course that is attacked, through the arm's own protocol."""
        return run_course(self._target, self.cast, halves_of(self.cast, seed=self._seed, number=0))

    @cached_property
    def without(self) -> NDArray[np.float64]:
        """The end of the same course without the victim, (bits, h)."""
        return self._variant(0, np.zeros(int((self.cast.partner == VICTIM).sum()), dtype=bool))

    def shadow(self, number: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The end of a course in which the victim has another random half of its candidates, and which it has."""
        inside = halves_of(self.cast, seed=self._seed, number=number)[self.cast.partner == VICTIM]
        return self._variant(number, inside), inside

    def _variant(self, number: int, of_victim: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the end of variant ``number`` (0 is without the victim), from the cache of all arms that share its recipe."""
        path = self._target.run / "shadows" / f"course-{course_key(self._target)}-{number}.npz"
        member = halves_of(self.cast, seed=self._seed, number=0)
        member[self.cast.partner == VICTIM] = of_victim
        return made_once(path, lambda: run_course(self._target, self.cast, member, plain_sum=True).end)


def _candidates(target: Target, rows: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    matrix = target.dataset.fingerprints[rows].tocsr()
    return {"candidate.indices": matrix.indices.astype(np.int64), "candidate.indptr": matrix.indptr.astype(np.int64)}


def _members(target: Target, course: Course, asked: NDArray[np.bool_]) -> Members:
    return Members(course.member[asked], target.dataset.cluster[course.compound[asked]])


def _about(target: Target, compounds: int) -> dict[str, object]:
    return {
        "arm": target.arm,
        "release": "course",
        "member_of": "partner",
        "optimiser": "private sgd" if target.record.dp else target.config.federation.optimiser,
        "bits": target.dataset.bits,
        "compounds": compounds,
    }


def attack_course(target: Target, desk: Desk) -> None:
    """Put the trajectory and differential views of the arm on the desk, or say why there is no course.

    Raises:
        ProtocolAbort: the arm's protocol stopped.
    """
    if not any(desk.wanted(attack.name, view) for attack in ALL for view in attack.views):
        return
    try:
        if target.config.model.family != "mlp":
            raise InputError("the course follows the rows of a fingerprint network: it is not made for a graph network")
        courses = _Courses(target)
        target.progress("course of small partners", 0, 1)
        for view in VIEWS:
            _put(target, desk, courses, view)
    except (InputError, ParameterError) as error:
        about = {"arm": target.arm, "release": "course"}
        desk.put_records(not_run(ALL, desk.wanted, VIEWS, reason=str(error), about=about))


def _put(target: Target, desk: Desk, courses: _Courses, view: View) -> None:
    wanted = [attack for attack in ALL if view in attack.views and desk.wanted(attack.name, view)]
    if any(attack in TRAJECTORY for attack in wanted):
        desk.put(_single(target, courses) if view == "V3" else _summed(target, courses))
    if SOURCE in wanted:
        desk.put(_sources(target, courses))
    if any(attack in (*DIFFERENTIAL, RATIO) for attack in wanted):
        desk.put(_difference(target, courses, with_shadows=view == "V4"))


def _single(target: Target, courses: _Courses) -> Job:
    """Return V3: every partner's updates; the victim's candidates."""
    course = courses.real
    mine = course.partner == VICTIM
    tensors = _candidates(target, course.compound[mine])
    others = [p for p in course.rounds[0].updates if p != VICTIM]
    for t, one in enumerate(course.rounds):
        tensors[f"round.{t}.delta"] = one.updates[VICTIM].astype(np.float64)
        tensors |= {f"round.{t}.other.{i}": one.updates[p].astype(np.float64) for i, p in enumerate(others)}
    facts: dict[str, Fact] = {"bits": target.dataset.bits, "rounds": len(course.rounds), "others": len(others)}
    return Job(
        view=AdversaryView(view="V3", tensors=tensors, facts=facts),
        attacks=(PROJECTION, FEDMIA),
        truth=_members(target, course, mine),
        about=_about(target, int(mine.sum())),
        notes=(NOTE,),
    )


def _sources(target: Target, courses: _Courses) -> Job:
    """Return V3: every partner's updates, and the compounds of which it is known that somebody trained on them."""
    course = courses.real
    tensors = _candidates(target, course.compound[course.member])
    partners = sorted(course.rounds[0].updates)
    for t, one in enumerate(course.rounds):
        tensors |= {f"partner.{p}.{t}": one.updates[p].astype(np.float64) for p in partners}
    facts: dict[str, Fact] = {"bits": target.dataset.bits, "rounds": len(course.rounds), "partners": len(partners)}
    return Job(
        view=AdversaryView(view="V3", tensors=tensors, facts=facts),
        attacks=(SOURCE,),
        truth=Sources(course.partner[course.member], target.dataset.cluster[course.compound[course.member]]),
        about={**_about(target, int(course.member.sum())), "member_of": None},
        notes=(NOTE,),
    )


def _summed(target: Target, courses: _Courses) -> Job:
    """Return V1: the opened sums without the attacker's own part; the other partners' candidates."""
    course = courses.real
    theirs = course.partner != ATTACKER
    tensors = _candidates(target, course.compound[theirs])
    for t, one in enumerate(course.rounds):
        own = one.weights[ATTACKER] * one.updates[ATTACKER].astype(np.float64)
        tensors[f"round.{t}.delta"] = one.total - own
        tensors[f"round.{t}.before"] = one.before
    tensors |= {"second": course.second, "heads": course.heads[ATTACKER]}
    facts: dict[str, Fact] = {"bits": target.dataset.bits, "rounds": len(course.rounds)}
    return Job(
        view=AdversaryView(view="V1", tensors=tensors, facts=facts),
        attacks=(PROJECTION, COSINE),
        truth=_members(target, course, theirs),
        about=_about(target, int(theirs.sum())),
        notes=(NOTE,),
    )


def _difference(target: Target, courses: _Courses, *, with_shadows: bool) -> Job:
    """Return the trunk with the victim and without it; for V4 also after shadow runs with other halves of its candidates."""
    real, bits = courses.real, target.dataset.fingerprints
    mine = real.partner == VICTIM
    tensors = _candidates(target, real.compound[mine])
    tensors |= {"start": real.rounds[0].before, "without": courses.without, "given": real.end}
    if with_shadows:
        shadows = [courses.shadow(number) for number in range(1, 1 + target.config.attacks.shadows * target.effort.shadows)]
        tensors["shadow.given"] = np.stack([end for end, _ in shadows])
        tensors["shadow.inside"] = np.stack([inside for _, inside in shadows])
    of_victim = first_having(bits[real.compound[mine & real.member]])
    of_others = np.asarray(bits[real.compound[~mine & real.member]].sum(axis=0)).ravel() > 0
    return Job(
        view=AdversaryView(view="V4" if with_shadows else "V1", tensors=tensors, facts={"bits": target.dataset.bits}),
        attacks=(RATIO,) if with_shadows else DIFFERENTIAL,
        truth=Differences(members=_members(target, real, mine), bringer=np.where(of_others, -1, of_victim)),
        about=_about(target, int(mine.sum())),
        notes=(NOTE,),
    )
