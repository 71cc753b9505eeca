"""Membership by likelihood ratio, LiRA [CCN+22], with one fixed variance, as it should be for few shadow models.

Each candidate's fit is compared with what models that saw it, and models that didn't, reach. The variances are pooled over all
candidates from the deviations around each one's own mean, separately for seen and unseen: pooling raw fits instead would
measure how much candidates differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from attacks.membership.candidates import Candidates
from attacks.membership.shadow_losses import Shadows

Matrix = NDArray[np.float64]


def mean_and_spread(fit: Matrix, which: NDArray[np.bool_]) -> tuple[Matrix, float]:
    """Return each candidate's mean over the shadows in ``which``, and the pooled deviation around those means."""
    count = which.sum(axis=0)
    mean = np.where(which, fit, 0.0).sum(axis=0) / np.maximum(count, 1)
    # One degree of freedom goes into each mean.
    freedom = np.maximum(count - 1, 0).sum()
    if freedom == 0:
        return mean, float(np.std(fit[which])) if which.any() else 1.0
    return mean, float(np.sqrt((np.where(which, fit - mean, 0.0) ** 2).sum() / freedom))


def lira(losses: Matrix, candidates: Candidates, shadows: Shadows) -> Matrix:
    """Return each candidate's score, shape (c,): the log-likelihood ratio of seen against unseen; more means member.

    Candidates that every shadow saw, or none, can't be compared and score by the offline test (unseen alone, or zero).
    """
    fit = np.sqrt(np.stack([candidates.sums(each) for each in shadows.losses]))
    target = np.sqrt(candidates.sums(losses))
    inside = shadows.inside[:, candidates.compound]
    seen, seen_spread = mean_and_spread(fit, inside)
    unseen, unseen_spread = mean_and_spread(fit, ~inside)
    least = 1e-9
    as_seen = norm.logpdf(target, seen, max(seen_spread, least))
    as_unseen = norm.logpdf(target, unseen, max(unseen_spread, least))
    offline = -(target - unseen) / max(unseen_spread, least)
    both = inside.any(axis=0) & ~inside.all(axis=0)
    return np.where(both, as_seen - as_unseen, np.where(inside.all(axis=0), 0.0, offline))
