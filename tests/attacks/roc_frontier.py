"""The thresholds that jax_privacy tests: the corners of the ROC curve's upper hull, which only who knows the coins can tell.

Its printed figures are reproduced with them, and they are the negative control of how often a bound is wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.epsilon.bounds import Guesses


def frontier(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> list[Guesses]:
    """Return the guesses at the corners; a higher score means inside."""
    thresholds = np.append(np.unique(np.concatenate([inside, outside])), np.inf)
    missed = np.searchsorted(np.sort(inside), thresholds)
    cleared = np.searchsorted(np.sort(outside), thresholds)
    hull: list[int] = []
    for i in range(len(thresholds)):
        while len(hull) >= 2 and _turns_up(missed, cleared, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    total = len(inside) + len(outside)
    hits = len(inside) - missed
    made = hits + len(outside) - cleared
    return [Guesses(canaries=total, made=int(made[i]), correct=int(hits[i])) for i in hull]


def _turns_up(x: NDArray[np.int64], y: NDArray[np.int64], a: int, b: int, c: int) -> bool:
    """Return whether ``b`` lies on or under the line from ``a`` to ``c``: it can be left out of the upper hull."""
    return int(y[b] - y[a]) * int(x[c] - x[b]) <= int(y[c] - y[b]) * int(x[b] - x[a])
