"""Intervals of counts computed again, by Clopper and Pearson's closed form, so that a record can't state a narrower one."""

from __future__ import annotations

from collections.abc import Iterable

from scipy.stats import beta

from securefl.records import AttackRecord
from securefl.report.numbers import title

LEVEL = 0.95
TOLERANCE = 1e-6


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % interval of ``k`` of ``n``.

    >>> tuple(round(end, 4) for end in clopper_pearson(0, 64))
    (0.0, 0.056)
    """
    tail = (1 - LEVEL) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def wrong_intervals(attacks: Iterable[AttackRecord]) -> tuple[str, ...]:
    """Return, for each result of k of n whose value or interval is narrower than the exact one, what is wrong with it."""
    found = []
    for attack in attacks:
        if attack.k is None or not attack.n or attack.ci_low is None or attack.ci_high is None:
            continue
        low, high = clopper_pearson(attack.k, attack.n)
        if attack.ci_low > low + TOLERANCE or attack.ci_high < high - TOLERANCE:
            stated = f"{attack.ci_low:.4f} to {attack.ci_high:.4f}"
            found.append(
                f"{title(attack.name)} on {attack.arm}: {attack.k} of {attack.n} has {low:.4f} to {high:.4f}, stated {stated}"
            )
    return tuple(found)
