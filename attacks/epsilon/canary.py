"""Canary audit: what the released steps of a private training prove about its epsilon, at the least [SNJ23].

Canary compounds are put in or left out by a fair coin each, before training. Each one has bits that no other compound has and
a result far from anything that the model says, so that its clipped gradient lies in rows of its own: the worst case that the
guarantee must cover. The auditor (V4) sees every step and knows every canary, and guesses who was in. If so many guesses are
right as the claimed epsilon makes unlikely, the claim is refuted; the largest epsilon that is refuted is a lower bound.

Two statistics on the steps of a canary's own rows, along the gradient that it would send: their *sum* (noise averages out),
and their *spread* (noise that is the same in every step cancels). The better bound counts, each at half the significance.

The bound proves no privacy: it says that these guesses refuted no more. ``ceiling`` is the most that so many canaries can
refute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.epsilon.bounds import Level, ceiling, one_run_bound, planned
from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.score import Score, auc

SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Coins:
    """``inside`` bool (m,), which canaries were trained on; the claim that is tested, infinite where there is none."""

    inside: NDArray[np.bool_]
    epsilon: float
    delta: float


def projections(steps: NDArray[np.float32], heads: NDArray[np.float32], active: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how far each step moved each canary's own rows along the gradient that it would send, shape (steps, m).

    Args:
        steps: (steps, m, h), the sum over a canary's own rows of what a step changed. heads: (steps, h), before each step.
        active: (steps, m, h), which units work on each canary before each step.
    """
    along = heads[:, None, :] * active
    length = np.linalg.norm(along, axis=2)
    return np.asarray((steps * along).sum(axis=2) / np.maximum(length, 1e-12), dtype=np.float64)


def run_canaries(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``sum`` and ``spread``: two scores for each canary, more means that it was trained on."""
    steps, heads, active, sign = (view.tensors[name] for name in ("steps", "heads", "active", "sign"))
    found = sign * projections(steps, heads, active)
    # Along one direction, so that noise which repeats itself is the same number in every step.
    return {"sum": found.sum(axis=0), "spread": (steps @ heads[0]).std(axis=0).astype(np.float64)}


def score_canaries(claims: Claims, earlier: Claims, truth: Coins) -> Found:
    """Return the lower bound on epsilon, with the claim and the ceiling beside it."""
    inside, count = truth.inside, len(truth.inside)
    level = Level(significance=SIGNIFICANCE / 2, delta=truth.delta)
    bounds = {name: one_run_bound(planned(claims[name], inside), level=level) for name in ("sum", "spread")}
    best = max(bounds.values())
    most = ceiling(count, level=level)
    area = auc(claims["sum"][inside], claims["sum"][~inside])
    detail = {
        "canaries": float(count),
        "inside": float(inside.sum()),
        "ceiling": most,
        "auc_sum": area.value,
        **{f"bound_{name}": bound for name, bound in bounds.items()},
    }
    if np.isfinite(truth.epsilon):
        detail["claimed_epsilon"] = truth.epsilon
    score = Score(metric="epsilon_lower_bound", value=best, low=best, high=max(most, best), chance=0.0, n=count)
    note = f"lower bound at 95 % from {count} canaries in one run; a perfect attack would show {most:.2f}"
    return Found(scores=(score,), detail=detail, note=note)


CANARY = Attack(
    name="canary_audit",
    asset="membership",
    views=("V4",),
    reads=("steps", "heads", "active", "sign"),
    run=run_canaries,
    score=score_canaries,
)
