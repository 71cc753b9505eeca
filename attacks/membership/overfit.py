"""The positive control of membership: a model that overfits on purpose, which the loss attack must catch.

An audit whose attacks find nothing says something only if they would have found something. So every audit fits a model that is
bound to remember: for each task a ridge regression on at most 200 of its training cells with next to no penalty, which passes
through the values that it saw. The attack by loss, on the run's own candidates, must tell its members from the audit fold.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attacks.membership.candidates import Candidates, losses_with
from attacks.membership.loss import membership_loss
from attacks.score import auc
from securefl.chem.dataset import Dataset, Fold
from securefl.records import ControlRecord

MOST_CELLS = 200
PENALTY = 1e-6
"""Of the kernel's mean diagonal: as little as keeps the equations solvable."""
CAUGHT = 0.75
"""The interval of the area must lie above this: a model that remembers is easy prey."""


def overfit_predictions(dataset: Dataset, *, seed: int) -> NDArray[np.float32]:
    """Return a prediction for the cells that the model saw and for the audit fold's, NaN elsewhere, float32 (cells,)."""
    cells, draw = dataset.activities, np.random.default_rng([seed, 13])
    predictions = np.full(len(cells), np.nan, dtype=np.float32)
    fold = dataset.fold[cells.compound]
    for task in range(len(dataset.tasks)):
        mine = cells.task == task
        seen = draw.permutation(np.flatnonzero(mine & (fold == Fold.TRAIN)))[:MOST_CELLS]
        asked = np.concatenate([seen, np.flatnonzero(mine & (fold == Fold.AUDIT))])
        if not len(seen):
            continue
        known = dataset.fingerprints[cells.compound[seen]].astype(np.float64)
        kernel = (known @ known.T).toarray()
        kernel[np.diag_indices_from(kernel)] += PENALTY * max(float(np.trace(kernel)) / len(seen), 1.0)
        mean = float(cells.value[seen].mean())
        weight = np.linalg.solve(kernel, cells.value[seen].astype(np.float64) - mean)
        shared = dataset.fingerprints[cells.compound[asked]].astype(np.float64) @ known.T
        predictions[asked] = mean + np.asarray(shared @ weight)
    return predictions


def overfit_control(dataset: Dataset, everyone: Candidates, predictions: NDArray[np.float32]) -> ControlRecord:
    """Return the control that the loss attack catches the model of :func:`overfit_predictions`."""
    of_cell = np.where(np.isfinite(predictions), everyone.of_cell, -1)
    asked = np.zeros(len(everyone.member), dtype=bool)
    asked[of_cell[of_cell >= 0]] = True
    seen = replace(everyone, of_cell=of_cell)
    score = membership_loss(losses_with(dataset)(predictions), seen)
    inside, outside = asked & everyone.member, asked & ~everyone.member
    series = dataset.cluster[everyone.compound]
    found = auc(score[inside], score[outside], clusters=(series[inside], series[outside]))
    held = found.low > CAUGHT
    because = f"a model that overfits on purpose is told by its losses: {found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    return ControlRecord(
        name="overfit_model",
        arm=None,
        held=held,
        metric="auc",
        value=found.value,
        ci_low=found.low,
        ci_high=found.high,
        expected=f"the 95 % interval lies above {CAUGHT}",
        because=because if held else f"{because}; an attack that misses this says nothing of other models",
        views=("V4",),
    )
