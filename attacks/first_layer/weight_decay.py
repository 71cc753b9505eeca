"""Weight decay taken out of a first-layer update, so that what is left is the sum of products that the attacks decode.

Plain and momentum gradient descent with weight decay is a linear recursion: after any number of steps the update is
``c W + X^T L``, with ``W`` the weights that the step started from and one number ``c`` for the whole layer. Rows of bits that
no compound has are ``c W`` alone, so they give ``c`` away: it is the ratio of update to weight that most of them share. A sum
of updates from one start is of the same form. For Adam with decoupled decay the rest is not linear, but untouched rows show.

What it can't do: tell ``c`` where no bit is untouched, or where noise hides the untouched rows; the update then comes back as
it was.
"""

from __future__ import annotations

import numpy as np

from attacks.first_layer.rows import Delta, row_rms
from securefl.errors import ParameterError

FEWEST = 10
SHARE = 0.05
"""So many rows, and this share of all, must agree on the ratio."""
ROUNDING = 2.0**-21
"""Of a row's weights: what is smaller after the correction is the rounding of a float32 difference."""


def decay_ratio(delta: Delta, weight: Delta) -> tuple[float, int]:
    """Return the ratio of update to weight on which most rows agree, and how many rows make up that agreement."""
    exact = weight.astype(np.float64)
    ratio = np.sort(np.einsum("ij,ij->i", delta, exact) / np.maximum(np.einsum("ij,ij->i", exact, exact), 1e-300))
    window = min(max(FEWEST, int(SHARE * len(ratio))), len(ratio))
    width = ratio[window - 1 :] - ratio[: len(ratio) - window + 1]
    start = int(width.argmin())
    return float(np.median(ratio[start : start + window])), window


def without_decay(delta: Delta, weight: Delta, *, noise: float | None = None) -> Delta:
    """Return ``delta`` (bits, h) without the part that is a multiple of ``weight``; untouched rows are then exactly zero.

    An update with zero rows had no decay and comes back as it is, as does one whose rows agree on no ratio.

    Args:
        weight: the first layer before the step, (bits, h). noise: standard deviation of an entry's error beyond rounding.

    Raises:
        ParameterError: the update is not a finite matrix, or ``weight`` has another shape.

    >>> weight = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    >>> update = -0.01 * weight.astype(float)
    >>> update[:4] += 1.0
    >>> left = without_decay(update, weight)
    >>> bool(np.allclose(left[:4], 1.0)), int(np.count_nonzero(left[4:]))
    (True, 0)
    """
    if (row_rms(delta) == 0).any():
        return delta
    if weight.shape != delta.shape:
        raise ParameterError(f"weights have shape {weight.shape}, must be the update's {delta.shape}")
    ratio, agreeing = decay_ratio(delta, weight)
    left = delta - ratio * weight.astype(np.float64)
    untouched = row_rms(left) <= np.maximum(ROUNDING * row_rms(weight), 2.0 * (noise or 0.0))
    if untouched.sum() < agreeing:
        return delta
    left[untouched] = 0.0
    return np.asarray(left)
