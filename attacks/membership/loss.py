"""Membership by loss: whoever fits better was trained on. The attack that needs nothing but the model [YGFJ18].

View V4: it reads the loss on the candidate's own measured values, which only the owner and an auditor have, at the private
heads. A partner can't run it on another partner's assays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.membership.candidates import Candidates


def membership_loss(losses: NDArray[np.float64], candidates: Candidates) -> NDArray[np.float64]:
    """Return each candidate's score, shape (c,): minus its loss, so that more means member.

    Args:
        losses: the target model's loss on each cell, float64 (cells,).
        candidates: whom to score.
    """
    return -candidates.sums(losses)
