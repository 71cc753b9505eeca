"""Membership from the trunk alone: heads fitted anew on what the trunk makes of the candidates (V1).

A partner has the shared trunk and not the others' heads. If it knows a candidate's measured value (the usual premise of
membership), it fits a ridge head for each assay on all candidates of it, members and non-members alike, and looks at how well
the others predict each one: the leave-one-out residual, in closed form. A trunk that was trained on a compound has made room
for it, so a member's residual should be smaller. How hard a compound is by itself is taken off: the same residual on a trunk
of the same shape that was never trained [WGP22]. No shadow models are needed.

It sees only what training left in the trunk. On one that thousands of compounds shaped this is little: expect chance, and
read the interval.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.interface import AdversaryView, Attack, Claims
from attacks.membership.on_views import CANDIDATES, candidates_in, score_membership

RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Penalties that are tried, in units of the features' mean square; the one with the smallest leave-one-out error is taken."""
FEWEST = 8
"""A task with fewer candidates has no head worth fitting."""
Matrix = NDArray[np.float64]


def leave_one_out(features: Matrix, values: Matrix) -> Matrix:
    """Return the residual of each of ``values`` (n,) under a ridge head on ``features`` (n, width) fitted on the others."""
    centred = features - features.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    energy = float(np.mean(size**2))
    along, middle = left.T @ (values - values.mean()), values - values.mean()
    found: list[Matrix] = []
    for ridge in RIDGES:
        kept = size**2 / (size**2 + ridge * energy + 1e-12)
        leverage = (left**2) @ kept + 1.0 / len(values)
        found.append((middle - left @ (kept * along)) / np.maximum(1.0 - leverage, 1e-6))
    return min(found, key=lambda residual: float(np.mean(residual**2)))


def cell_losses(hidden: Matrix, compound: NDArray[np.int64], task: NDArray[np.int64], value: Matrix) -> Matrix:
    """Return half the squared leave-one-out residual of each cell, in units of its task's variance, 0 for small tasks.

    Args:
        hidden: the trunk's output for each compound, (compounds, width). compound, task, value: of each cell, (cells,).
    """
    loss = np.zeros(len(value))
    for number in np.unique(task):
        mine = np.flatnonzero(task == number)
        spread = float(value[mine].std())
        if len(mine) >= FEWEST and spread > 0:
            loss[mine] = 0.5 * (leave_one_out(hidden[compound[mine]], value[mine]) / spread) ** 2
    return loss


def run_surrogate(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: by how much the trained trunk predicts a candidate better than an untrained one does."""
    tensors = view.tensors
    cells = (tensors["cell_row"], tensors["cell_task"], tensors["cell_value"].astype(np.float64))
    trained, untrained = (
        cell_losses(tensors[name].astype(np.float64), *cells) for name in ("hidden.trained", "hidden.untrained")
    )
    return {"score": candidates_in(view).sums(untrained - trained)}


SURROGATE = Attack(
    name="membership_surrogate",
    asset="membership",
    views=("V1",),
    reads=(*CANDIDATES, "hidden.*", "cell_row", "cell_task", "cell_value"),
    run=run_surrogate,
    score=score_membership,
)
