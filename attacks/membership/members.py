"""Who was a member, and what a claimed score makes of it: the figures of every membership attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.interface import Claims, Found
from attacks.score import membership_scores, untold_rates


@dataclass(frozen=True, slots=True)
class Members:
    """``member`` bool (c,): who was one; ``series`` (c,): candidates of one are easy or hard together."""

    member: NDArray[np.bool_]
    series: NDArray[np.integer[Any]]


def score_members(claims: Claims, earlier: Claims, truth: Members) -> Found:
    """Return AUC and true positive rates of the claimed ``score``; more means member."""
    score, member, series = claims["score"], truth.member, truth.series
    others = int((~member).sum())
    detail = {"members": float(member.sum()), "non_members": float(others)}
    scores = membership_scores(score[member], score[~member], clusters=(series[member], series[~member]))
    return Found(scores=scores, detail=detail, note=untold_rates(others))
