"""The setting that a rule picks from the options that stay within the appetite, and why; none where nothing stays within."""

from __future__ import annotations

from collections.abc import Sequence

from securefl.evidence import RecommendationRecord
from securefl.records import ArmRecord
from securefl.report.conformance import decryptor_of
from securefl.report.numbers import decimal, title

RULE = (
    "Among the options that pass in every view that was tested, whose key no single party holds, and that are not settled to "
    "be worse than training alone: the best mean performance; among those whose intervals contain that mean, the one that "
    "costs a partner the least CPU time."
)


def recommend(arms: Sequence[ArmRecord], clear: Sequence[str]) -> RecommendationRecord:
    """Return the recommended arm by :data:`RULE`, out of the options ``clear`` that stay within the appetite."""
    within = [arm for arm in arms if arm.name in clear]
    safe = [arm for arm in within if decryptor_of(arm) != "single"]
    worth = [arm for arm in safe if not _worse(arm)]
    if not worth:
        return RecommendationRecord(arm=None, because=_why_none(within, safe))
    best = max(worth, key=lambda arm: arm.performance.mean)
    alike = [arm for arm in worth if arm.performance.ci_low <= best.performance.mean <= arm.performance.ci_high]
    chosen = min([best, *alike], key=lambda arm: (arm.cost.client_seconds, -arm.performance.mean))
    others = f"; {best.name} reaches {decimal(best.performance.mean)}, within that interval" if chosen is not best else ""
    return RecommendationRecord(
        arm=chosen.name, because=f"{len(worth)} of {len(arms)} arms qualify, {chosen.name} reaches {_reach(chosen)}{others}"
    )


def _worse(arm: ArmRecord) -> bool:
    high = arm.performance.delta_ci_high
    return high is not None and high < 0


def _reach(arm: ArmRecord) -> str:
    seen = arm.performance
    return f"{title(seen.metric)} {decimal(seen.mean)} ({decimal(seen.ci_low)} to {decimal(seen.ci_high)})"


def _why_none(within: Sequence[ArmRecord], safe: Sequence[ArmRecord]) -> str:
    if not within:
        return "no option stays within the appetite in every view that was tested"
    if not safe:
        return "the options that stay within the appetite can each be opened by one party alone"
    found = max(safe, key=lambda arm: arm.performance.mean)
    return f"what stays within the appetite is worse than training alone: {found.name} reaches {_reach(found)}"
