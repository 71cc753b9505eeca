"""Page one: the answer in a sentence, what follows from it, and for each view what is lost there and who stays within."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from securefl.records import ArmRecord, ReportRecord, VerdictRecord
from securefl.report.conformance import decryptor_of
from securefl.report.numbers import decimal, percent, title
from securefl.report.sections import cleared, joined
from securefl.report.verdicts import options
from securefl.report.words import words

ALONE = "standalone"
"""Where this one is above a limit too, joining is not what does it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The first lines of page one."""

    headline: str
    tone: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLine:
    """A view's verdict: in plain words what it means, the figure it rests on, and the options that pass there."""

    verdict: VerdictRecord
    plain: str
    passing: str


def answer(report: ReportRecord) -> Answer:
    """Return what a reader gets who reads one sentence, and then the next ones."""
    choice, clear = options(report.arms), cleared(report)
    untested = [str(verdict.view) for verdict in report.verdicts if verdict.verdict == "not tested"]
    if clear:
        stay = f"{len(clear)} of {len(choice)} options stay" if len(clear) > 1 else f"One of {len(choice)} options stays"
        headline = f"{stay} within the risk appetite in every view that was tested: {joined(clear)}."
        # A view that nobody tested is no pass, so neither is the page.
        tone = "inconclusive" if untested else "pass"
    elif not choice:
        headline = "There is no option to judge: no arm of this run hides a partner's update from the operator."
        tone = "inconclusive"
    else:
        headline = "No option stays within the risk appetite in every view that was tested."
        tone = "fail" if any(_views(report, arm, "fail") for arm in choice) else "inconclusive"
    sentences = [_consequence(report, clear, untested)]
    if choice and not clear:
        sentences.append(f"Nearest to it is {_nearest(report, choice)}: {_standing(report, _nearest(report, choice))}.")
        sentences += _against(report, _nearest(report, choice))
    sentences += _others(report, [arm for arm in choice if arm not in clear]) if clear else []
    return Answer(headline=headline, tone=tone, sentences=(*sentences, *_performance(report, choice, clear)))


def _views(report: ReportRecord, arm: str, verdict: str) -> list[str]:
    return [str(v.view) for v in report.arm_verdicts if v.arm == arm and v.verdict == verdict]


def _consequence(report: ReportRecord, clear: Sequence[str], untested: Sequence[str]) -> str:
    """Return what the report means for private data, by the rules of the gate."""
    if not clear:
        return "What follows: private data stay out. Under no option may they be used on the strength of this report."
    if untested:
        return f"What follows: private data stay out, because nothing is known about {joined(untested)}. That is not a pass."
    if report.expires is None:
        return "What follows: nothing yet, because the report has no date, so it can't be signed off."
    return f"What follows: once an auditor has signed it, private data may be used with {joined(clear)} until {report.expires}."


def _nearest(report: ReportRecord, choice: Sequence[str]) -> str:
    """Return the option with the fewest views against it."""
    def against(arm: str) -> tuple[int, int]:
        failed = len(_views(report, arm, "fail"))
        return failed, len(report.verdicts) - failed - len(_views(report, arm, "pass"))

    return min(choice, key=against)


def _standing(report: ReportRecord, arm: str) -> str:
    """Return in which views an option fails, is not settled, or was not tested."""
    kinds = (("fail", "above a limit in"), ("inconclusive", "not settled in"), ("not tested", "not tested in"))
    found = [(told, _views(report, arm, kind)) for kind, told in kinds]
    return "; ".join(f"{told} {joined(views)}" for told, views in found if views) or "within the appetite everywhere"


def _against(report: ReportRecord, arm: str) -> list[str]:
    """Return what puts an option above its first limit: the figure, not only the view."""
    found = [v for v in report.arm_verdicts if v.arm == arm and v.verdict == "fail"]
    return [f"What speaks against it in {found[0].view}: {found[0].because}."] if found else []


def _others(report: ReportRecord, rest: Sequence[str]) -> list[str]:
    failing = [arm for arm in rest if _views(report, arm, "fail")]
    unsettled = [arm for arm in rest if arm not in failing]
    told = [f"Above a limit in at least one view: {joined(failing)}."] if failing else []
    return [*told, f"Not settled, or not tested everywhere: {joined(unsettled)}."] if unsettled else told


def _performance(report: ReportRecord, choice: Sequence[str], clear: Sequence[str]) -> tuple[str, ...]:
    """Return in one sentence what training alone, the option to think of, the best one and all data pooled reach.

    The option to think of is the best within the appetite, or the one nearest to it: safe and worse than alone is no bargain.
    """
    if not choice:
        return ()
    arms = {arm.name: arm for arm in report.arms}
    ranked = sorted((arms[name] for name in choice), key=lambda arm: -arm.performance.mean)
    shared = [arm for arm in ranked if decryptor_of(arm) != "single"] or ranked
    within = [arm for arm in ranked if arm.name in clear]
    safest = within[0] if within else arms[_nearest(report, choice)]
    role = "the best within the appetite" if within else "the nearest to the appetite"
    parts = [f"{decimal(arms['standalone'].performance.mean)} training alone"] if "standalone" in arms else []
    parts.append(f"{_reach(safest)}, {role}")
    if shared[0] is not safest:
        keyless = "" if shared == ranked else " that no single party could open"
        parts.append(f"{_reach(shared[0])}, the best of all options{keyless}")
    if "pooled" in arms:
        parts.append(f"{decimal(arms['pooled'].performance.mean)} if all data were pooled, which nobody may do")
    return (f"What it is worth ({title(safest.performance.metric)}, where 1 is perfect): {'; '.join(parts)}.",)


def _reach(arm: ArmRecord) -> str:
    seen = arm.performance
    return f"{decimal(seen.mean)} ({decimal(seen.ci_low)} to {decimal(seen.ci_high)}) with {arm.name}, {_gain(arm)}"


def _gain(arm: ArmRecord) -> str:
    """Return what an arm is worth to a partner, as far as the interval of the difference settles it."""
    seen = arm.performance
    if seen.delta_vs_standalone is None or seen.delta_ci_low is None or seen.delta_ci_high is None:
        return "not compared with training alone"
    if seen.delta_ci_low > 0:
        return f"better than alone in {percent(seen.tasks_better)} of the tasks"
    return "worse than alone" if seen.delta_ci_high < 0 else "no settled difference from alone"


def view_lines(report: ReportRecord) -> tuple[ViewLine, ...]:
    """Return each view's verdict with its meaning in plain words: of a failed one, what is lost on the worst option."""
    told = words()
    return tuple(
        ViewLine(
            verdict=verdict,
            plain=told.losses[verdict.lost] if verdict.lost else told.meanings[verdict.verdict],
            passing=_passing(report, str(verdict.view)),
        )
        for verdict in report.verdicts
    )


def _passing(report: ReportRecord, view: str) -> str:
    """Return the options that pass in a view whose verdict is another one, and whether training alone would, in a sentence."""
    choice = options(report.arms)
    verdict_of = {v.arm: v.verdict for v in report.arm_verdicts if v.view == view}
    here = {arm: verdict_of[arm] for arm in choice if arm in verdict_of}
    passed = [arm for arm, verdict in here.items() if verdict == "pass"]
    if not here or len(passed) == len(choice):
        return ""
    told = f"Within the appetite here: {joined(passed)}." if passed else "No option stays within the appetite here."
    alone = " Nor does a partner that trains alone." if not passed and verdict_of.get(ALONE) == "fail" else ""
    return told + alone
