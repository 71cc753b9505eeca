"""Membership from predictions alone: a model says more extreme things about what it has seen.

View V0: an outsider who may ask for predictions and knows no measured value. A regularised model pulls what it doesn't know
towards a task's centre, and fits its training compounds farther out. A weak signal, confounded by compounds that are truly
extreme; the loss attack says what an outsider gets who has measured the compound too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.membership.candidates import Candidates


def prediction_extremity(
    prediction: NDArray[np.float32], cell_task: NDArray[np.int64], candidates: Candidates
) -> NDArray[np.float64]:
    """Return each candidate's score, shape (c,): the mean distance of its predictions from the median of their task, in the
    task's own median deviations.

    Args:
        prediction: float32 (cells,), NaN where the model gives none. cell_task: int64 (cells,).
    """
    distance = np.zeros(len(prediction))
    for task in np.unique(cell_task):
        mine = np.flatnonzero((cell_task == task) & np.isfinite(prediction))
        away = np.abs(prediction[mine].astype(np.float64) - np.median(prediction[mine])) if len(mine) else np.zeros(0)
        spread = float(np.median(away)) if len(away) else 0.0
        if spread > 0:
            distance[mine] = away / spread
    cells = candidates.sums(np.ones(len(prediction)))
    return np.asarray(candidates.sums(distance) / np.maximum(cells, 1.0))
