"""From attacks to verdicts, by one rule that the report prints beside them.

The rule judges each attack that ran against the appetite's limit for its view and metric, with the attack's own 95 %
interval: *fail* if the interval lies above the limit, *pass* if it lies under it and the controls held, else *inconclusive*.
A view without an attack that ran is *not tested*, which is never a pass. The worst attack decides for an arm in a view, and
the worst option for the view. Options are the arms that aggregate updates, don't pool private data and aren't the undefended
reference, on which every attack has to succeed: it would speak for every view and say nothing of the protocols.

A pass says that these attacks, at this strength and sample size, stayed under the limit. It isn't a proof that no other
attack would not; intervals are per attack and not corrected for their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from securefl.records import ArmRecord, AttackRecord, AuditRecord, ConformanceRecord, ControlRecord, VerdictRecord, View
from securefl.report.appetite import VIEWS, Appetite
from securefl.report.conformance import decryptor_of, foreign
from securefl.report.numbers import figure, key, outcome, title
from securefl.report.words import words

REFERENCE_ARM = "plaintext"
"""Every attack must succeed here to prove that it works: its controls count for all arms."""
BLIND = "blind"
"""A control of this name never sees a model: where it tells members apart, membership figures measure the data's split."""
DEVIATION = "deviation"
"""What is lost where somebody deviates and gets away with it: the protocol itself, not yet an asset."""
PROTECTED: tuple[View, ...] = ("V1", "V2", "V2c", "V5")
"""What these views see, the protocol let through: attacks on the opened sum say nothing of what else it lets through."""
DEVIATING: View = "V5"
"""What this view may do is deviate: deviations that come to nothing are evidence there, and say nothing of leaks elsewhere."""
RULE = (
    "An attack fails its limit if its whole 95 % interval lies above it and is within its limit if the whole interval lies "
    "under it. An arm passes a view if every attack that ran there is within its limit and the controls held; it fails if one "
    "attack is above; everything else is inconclusive. A deviation from the protocol that succeeds fails its view. V5, the "
    "view of those who deviate, passes if deviations were played and all were refused or came to nothing; any other view needs "
    "a measured attack. Where the protocol comes from another package, V1, V2, V2c and V5, which rest on it, never pass. "
    "A view takes the verdict of its worst option. Plaintext is none: every attack has to succeed there. "
    "No attack and no deviation: not tested."
)


_LOSSES = ("membership", "identity", "assay", "substructure", "label", "structure")
"""What can be lost, the gravest last: a whole compound is more than a part of it, or than knowing that it was used."""


class Finding(IntEnum):
    """What one attack says, the gravest last."""

    WITHIN = 0
    UNLIMITED = 1
    UNDECIDED = 2
    UNDERMINED = 3
    ABOVE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An attack that ran, its limit in the metric's unit and what follows.

    ``used`` is the share of the appetite that it takes: 0 is chance, 1 the limit. ``used_low`` and ``used_high`` are those of
    the interval.
    """

    attack: AttackRecord
    limit: float | None
    finding: Finding
    used: float | None
    used_low: float | None
    used_high: float | None

    @property
    def gravity(self) -> tuple[int, int, float]:
        """Order of attacks: by finding, among those above a limit by what was lost, then by the share of the appetite."""
        lost = _LOSSES.index(self.attack.asset) if self.finding is Finding.ABOVE else 0
        return self.finding, lost, self.used if self.used is not None else -1.0


def concerns(control: ControlRecord, arm: str, view: View) -> bool:
    """Return whether a verdict on ``arm`` in ``view`` rests on ``control``; one that names no view is for all of them."""
    return (not control.views or view in control.views) and control.arm in (None, arm, REFERENCE_ARM)


def options(arms: Iterable[ArmRecord]) -> tuple[str, ...]:
    """Return the arms among which a consortium can choose: they aggregate, pool no private data, and send nothing in clear."""
    return tuple(arm.name for arm in arms if arm.scheme is not None and not arm.forbidden and decryptor_of(arm) != "open")


def _finding(attack: AttackRecord, limit: float | None, undermined: bool) -> Finding:
    if undermined:
        return Finding.UNDERMINED
    if limit is None:
        return Finding.UNLIMITED
    if attack.ci_low is None or attack.ci_high is None:
        return Finding.UNDECIDED
    if attack.ci_low > limit:
        return Finding.ABOVE
    return Finding.WITHIN if attack.ci_high <= limit else Finding.UNDECIDED


def judge(attack: AttackRecord, appetite: Appetite, controls: Sequence[ControlRecord]) -> Judged:
    """Return what an attack that ran means under ``appetite``."""
    limit = appetite.limit_for(attack)
    bound = None if limit is None else limit.bound(attack.chance)
    undermined = attack.asset == "membership" and any(
        BLIND in key(c.name) and not c.held and concerns(c, attack.arm, attack.view) for c in controls
    )
    floor = attack.chance or 0.0

    def used(value: float | None) -> float | None:
        return None if value is None or bound is None or bound <= floor else (value - floor) / (bound - floor)

    return Judged(
        attack=attack,
        limit=bound,
        finding=_finding(attack, bound, undermined),
        used=used(attack.value),
        used_low=used(attack.ci_low),
        used_high=used(attack.ci_high),
    )


def judge_all(attacks: Iterable[AttackRecord], appetite: Appetite, controls: Sequence[ControlRecord]) -> tuple[Judged, ...]:
    """Return every attack that ran and that the appetite wants judged, the gravest first, else in the order given."""
    ran = [a for a in attacks if a.status == "run" and a.metric is not None and key(a.metric) not in appetite.not_judged]
    judged = [judge(attack, appetite, controls) for attack in ran]
    # reverse=True keeps equal ones in their order
    return tuple(sorted(judged, key=lambda j: j.gravity, reverse=True))


def told(judged: Judged) -> str:
    """Return an attack, arm, release and figure in one clause."""
    attack = judged.attack
    return f"{title(attack.name)} on {attack.arm}, {words().released[attack.release]}: {outcome(attack)}"


_FINDINGS: dict[Finding, str] = {
    Finding.ABOVE: "the whole interval above the limit of {limit}",
    Finding.WITHIN: "under the limit of {limit}",
    Finding.UNDECIDED: "which doesn't settle the limit of {limit}",
    Finding.UNLIMITED: "for which the appetite states no limit",
    Finding.UNDERMINED: "which says nothing, since the blind control told members apart without a model",
}


def _because(worst: Judged) -> str:
    limit = figure(worst.attack.metric, worst.limit, counted=worst.attack.k is not None)
    return f"{told(worst)}, {_FINDINGS[worst.finding].format(limit=limit)}"


def arm_verdict(
    arm: str, view: View, judged: Sequence[Judged], controls: Sequence[ControlRecord], played: Sequence[ConformanceRecord] = ()
) -> VerdictRecord:
    """Return the verdict on one arm in one view, from the attacks that were judged and the deviations that were played."""
    mine = [one for one in played if one.arm == arm and one.view == view]
    broken_by = [one for one in mine if one.outcome == "succeeded"]
    if broken_by:
        why = f"the deviation {title(broken_by[0].name)} succeeded on {arm}: {broken_by[0].reason}"
        return VerdictRecord(view=view, arm=arm, verdict="fail", because=why, lost=DEVIATION)
    here = sorted((j for j in judged if j.attack.arm == arm and j.attack.view == view), key=lambda j: j.gravity, reverse=True)
    if not here:
        return _of_deviations(arm, view, mine)
    worst = here[0]
    if worst.finding is Finding.ABOVE:
        return VerdictRecord(view=view, arm=arm, verdict="fail", because=_because(worst), lost=worst.attack.asset)
    if worst.finding is not Finding.WITHIN:
        return VerdictRecord(view=view, arm=arm, verdict="inconclusive", because=_because(worst))
    resting = [control for control in controls if concerns(control, arm, view)]
    broken = [control for control in resting if not control.held]
    if broken or not resting:
        why = f"the control {title(broken[0].name)} did not hold: {broken[0].because}" if broken else "no control was run"
        return VerdictRecord(view=view, arm=arm, verdict="inconclusive", because=f"{_because(worst)}, but {why}")
    strength = "the only attack" if len(here) == 1 else f"the strongest of {len(here)} attacks"
    held = f"{len(resting)} control{'s' if len(resting) > 1 else ''} held"
    return VerdictRecord(view=view, arm=arm, verdict="pass", because=f"{strength}, {_because(worst)}; {held}")


def _of_deviations(arm: str, view: View, played: Sequence[ConformanceRecord]) -> VerdictRecord:
    """Return the verdict of a view in which no attack was measured; none of the deviations succeeded."""
    if not played:
        return VerdictRecord(view=view, arm=arm, verdict="not tested", because="no attack was run in this view")
    refused = sum(one.outcome == "refused" for one in played)
    many = f"{len(played)} deviation{'s' if len(played) > 1 else ''}"
    told = f"{many} from the protocol on {arm}: {refused} refused, {len(played) - refused} failed"
    if view != DEVIATING:
        lacking = "no attack on what this view sees was measured"
        return VerdictRecord(view=view, arm=arm, verdict="inconclusive", because=f"{told}, but {lacking}")
    if not all(one.broken_variant for one in played):
        lacking = "a deviation has no variant on which it succeeds, so it proves nothing"
        return VerdictRecord(view=view, arm=arm, verdict="inconclusive", because=f"{told}, but {lacking}")
    return VerdictRecord(view=view, arm=arm, verdict="pass", because=f"{told}; each succeeds where its defence is taken out")


def _vouched(arm: ArmRecord, verdict: VerdictRecord) -> VerdictRecord:
    """Return ``verdict`` as it may stand: nobody has checked that another package's protocol hides what it must."""
    if arm.plugin is None or verdict.verdict != "pass" or verdict.view not in PROTECTED:
        return verdict
    because = f"{verdict.because}; but {foreign(arm.plugin)}"
    return verdict.model_copy(update={"verdict": "inconclusive", "because": because})


def view_verdict(view: View, of_arms: Sequence[VerdictRecord]) -> VerdictRecord:
    """Return the verdict of a view over its options: that of the worst, and a pass only if every option was tested."""
    here = [verdict for verdict in of_arms if verdict.view == view]
    for kind in ("fail", "inconclusive"):
        found = [verdict for verdict in here if verdict.verdict == kind]
        if found:
            return found[0]
    passed = [verdict for verdict in here if verdict.verdict == "pass"]
    untested = [str(verdict.arm) for verdict in here if verdict.verdict == "not tested"]
    if not passed:
        why = "no attack was run in this view on any option: nothing is known about it"
        return VerdictRecord(view=view, verdict="not tested", because=why)
    if untested:
        why = f"{passed[0].because}; but no attack was run here on {', '.join(untested)}"
        return VerdictRecord(view=view, arm=passed[0].arm, verdict="inconclusive", because=why)
    return passed[0]


def verdicts(
    arms: Sequence[ArmRecord], audit: AuditRecord, appetite: Appetite
) -> tuple[tuple[VerdictRecord, ...], tuple[VerdictRecord, ...]]:
    """Return the verdict of every view and that of every arm in every view.

    Within a view the arms are judged by their gravest attack, and the gravest arm speaks for the view.
    """
    controls = audit.controls
    judged = judge_all(audit.attacks, appetite, controls)
    of_arms = tuple(
        _vouched(arm, arm_verdict(arm.name, view, judged, controls, audit.conformance)) for arm in arms for view in VIEWS
    )
    order = {arm: position for position, arm in reversed(list(enumerate(j.attack.arm for j in judged)))}
    choice = options(arms)
    ranked = sorted((verdict for verdict in of_arms if verdict.arm in choice), key=lambda v: order.get(str(v.arm), len(judged)))
    return tuple(view_verdict(view, ranked) for view in VIEWS), of_arms
