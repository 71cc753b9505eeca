"""Membership by relative likelihood, RMIA [ZLS24]: how much better the target fits than models that may not have seen it.

Where the population term doesn't depend on the candidate, counting the population samples that a candidate dominates only
re-ranks ``p(x | target) / mean_k p(x | shadow_k)``; gamma then changes nothing. So the score is that ratio's logarithm,
which has no ties (the same score as BASE [LBJ25]). A cell's likelihood is a normal density around the prediction, or the
probability of the observed class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from attacks.membership.candidates import Candidates
from attacks.membership.shadow_losses import Shadows


def log_likelihoods(losses: NDArray[np.float64], candidates: Candidates, *, spread: float) -> NDArray[np.float64]:
    """Return each candidate's log-likelihood up to a constant, shape (c,), with residuals of variance ``spread``."""
    return -candidates.sums(losses) / spread


def unseen_spread(shadows: Shadows, cell_compound: NDArray[np.int64]) -> float:
    """Return the variance of standardised residuals on cells that a shadow didn't train on: the noise of its likelihood."""
    outside = ~shadows.inside[:, cell_compound]
    return max(2.0 * float(shadows.losses[outside].mean()), 1e-6) if outside.any() else 1.0


def rmia(
    losses: NDArray[np.float64], candidates: Candidates, shadows: Shadows, cell_compound: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return each candidate's score, shape (c,): more means member.

    Args:
        losses: the target's loss on each cell (cells,). candidates: whom to score. shadows: models of the same recipe.
        cell_compound: each cell's compound, int64 (cells,).
    """
    spread = unseen_spread(shadows, cell_compound)
    target = log_likelihoods(losses, candidates, spread=spread)
    others = np.stack([log_likelihoods(each, candidates, spread=spread) for each in shadows.losses])
    return np.asarray(target - (logsumexp(others, axis=0) - np.log(len(others))))
