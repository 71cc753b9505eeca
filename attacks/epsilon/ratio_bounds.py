"""Lower bounds of a ratio of two rates, hits over false alarms: four classical intervals, each one-sided.

Under (epsilon, 0)-DP no test has more than e^epsilon times as many hits as false alarms, so the logarithm of a lower bound of
the ratio is a lower bound on epsilon ([Jagielski et al. 2020], https://arxiv.org/abs/2006.07709; with Katz's interval in
https://arxiv.org/abs/2210.08643). Unlike Clopper and Pearson's (:mod:`attacks.epsilon.bounds`) these hold asymptotically
only: on few false alarms they say more than they can keep, which is why no verdict here rests on them. They ignore delta.

Reference: Aho, Bowyer 2015, https://doi.org/10.1111/2041-210X.12304 (``ci.prat`` of the R package asbio); the treatment of
counts at their ends is that of TensorFlow Privacy's ``epsilon_lower_bound``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from scipy.stats import norm

from securefl.errors import ParameterError

Rate: TypeAlias = tuple[int, int]
"""So many of so many: (k, n)."""
HALF = 0.5


def _checked(hits: Rate, false_alarms: Rate, significance: float) -> float:
    """Return the (negative) normal quantile of ``significance``."""
    for name, (k, n) in (("hits", hits), ("false_alarms", false_alarms)):
        if not (n >= 1 and 0 <= k <= n):
            raise ParameterError(f"{name}={k} of {n} must be 0 <= k <= n with n >= 1")
    if not 0 < significance < HALF:
        raise ParameterError(f"significance={significance} must be in (0, 0.5)")
    return float(norm.ppf(significance))


def _inside(hits: Rate, false_alarms: Rate, least: float) -> tuple[float, float]:
    """Return the two counts, moved off their ends: both half a count down if both are whole, no false alarm is ``least``."""
    (a, n), (b, m) = hits, false_alarms
    if (a, b) == (n, m):
        return a - HALF, b - HALF
    return float(a), float(b) if b else least


def katz_log(hits: Rate, false_alarms: Rate, *, significance: float = 0.05) -> float:
    """Return Katz's bound on the logarithm of the ratio, as a ratio.

    >>> round(katz_log((473, 984), (755, 1705)), 8)
    1.01166194

    Raises:
        ParameterError: a count or the significance is out of range.
    """
    z = _checked(hits, false_alarms, significance)
    if not hits[0]:
        return 0.0
    (a, b), n, m = _inside(hits, false_alarms, HALF), hits[1], false_alarms[1]
    return a / n / (b / m) * math.exp(z * math.sqrt((1 - a / n) / a + (1 - b / m) / b))


def adjusted_log(hits: Rate, false_alarms: Rate, *, significance: float = 0.05) -> float:
    """Return Walter's bound: Katz's with half a count more everywhere; errors as for :func:`katz_log`."""
    z = _checked(hits, false_alarms, significance)
    if not (hits[0] or false_alarms[0]):
        return 0.0
    (a, b), n, m = _inside(hits, false_alarms, 0.0), hits[1] + HALF, false_alarms[1] + HALF
    a, b = a + HALF, b + HALF
    return a / n / (b / m) * math.exp(z * math.sqrt(1 / a - 1 / n + 1 / b - 1 / m))


def bailey(hits: Rate, false_alarms: Rate, *, significance: float = 0.05) -> float:
    """Return Bailey's bound, from the cube root of the ratio; errors as for :func:`katz_log`."""
    z = _checked(hits, false_alarms, significance)
    if not hits[0]:
        return 0.0
    n, m = hits[1], false_alarms[1]
    # Here each whole count moves by itself: a rate of 1 has no variance to take a root of.
    a, b = min(hits[0], n - HALF), min(false_alarms[0] or HALF, m - HALF)
    missed, cleared = 1 - a / n, 1 - b / m
    root = math.sqrt(missed / a + cleared / b - z * z * missed * cleared / (9 * a * b))
    return float(a / n / (b / m) * ((1 + z / 3 * root) / (1 - z * z * cleared / (9 * b))) ** 3)


def inverse_sinh(hits: Rate, false_alarms: Rate, *, significance: float = 0.05) -> float:
    """Return Newcombe's inverse hyperbolic sine bound; errors as for :func:`katz_log`."""
    z = _checked(hits, false_alarms, significance)
    if not hits[0]:
        return 0.0
    (a, b), n, m = _inside(hits, false_alarms, z * z), hits[1], false_alarms[1]
    return a / n / (b / m) * math.exp(2 * math.asinh(z / 2 * math.sqrt(1 / a - 1 / n + 1 / b - 1 / m)))


RATIO_BOUNDS: Mapping[str, Callable[..., float]] = {
    "Katz log": katz_log,
    "adjusted log": adjusted_log,
    "Bailey": bailey,
    "inverse sinh": inverse_sinh,
}
