"""Controls: checks without which an audit says nothing.

Negative: an attack that never sees a model, and an attack on permuted membership, must look like chance. Positive: where
nothing protects (plaintext, exposed), the first-layer attacks must succeed. Negative controls use 99 % intervals, so that a
fair audit fails each of them once in a hundred times; of the nine arms of a demo, whose scores are alike, one failed in 2 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.membership.candidates import Candidates
from attacks.score import auc
from securefl.chem.dataset import Dataset
from securefl.records import AttackRecord, ControlRecord, View

CONTROL_CONFIDENCE = 0.99
PRIOR = 1.0
"""Laplace's pseudo-count of the blind classifier."""


def blind_scores(dataset: Dataset, candidates: Candidates, *, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores of a classifier that sees structures alone, and which candidates it was not fitted on.

    A naive Bayes classifier on fingerprint bits, fitted on a random half of the candidates and read on the other half: the
    scores of that half are independent of its labels if members and non-members are exchangeable.
    """
    bits = dataset.fingerprints[candidates.compound]
    held_out = np.random.default_rng([seed, 5]).random(len(candidates.member)) < 0.5
    weight = np.zeros(dataset.bits)
    for members, sign in ((True, 1.0), (False, -1.0)):
        rows = bits[(candidates.member == members) & ~held_out]
        on = np.asarray(rows.sum(axis=0), dtype=np.float64).ravel()
        rate = (on + PRIOR) / (rows.shape[0] + 2 * PRIOR)
        weight += sign * (np.log(rate) - np.log1p(-rate))
    return np.asarray(bits @ weight, dtype=np.float64), held_out


def _near_chance(
    name: str,
    arm: str | None,
    score: NDArray[np.float64],
    because: str,
    *,
    member: NDArray[np.bool_],
    series: NDArray[np.integer[Any]],
    views: tuple[View, ...] = ("V4",),
) -> ControlRecord:
    clusters = series[member], series[~member]
    found = auc(score[member], score[~member], clusters=clusters, confidence=CONTROL_CONFIDENCE)
    held = found.low <= 0.5 <= found.high
    return ControlRecord(
        name=name,
        arm=arm,
        held=held,
        metric="auc",
        value=found.value,
        ci_low=found.low,
        ci_high=found.high,
        expected="the 99 % interval contains 0.5",
        because=because if held else f"{because}; it found {found.value:.3f} ({found.low:.3f} to {found.high:.3f})",
        views=views,
    )


def blind_control(dataset: Dataset, candidates: Candidates, *, seed: int) -> ControlRecord:
    """Return the control that members can't be told apart by their structures alone: V0 and V4 have the same candidates."""
    score, held_out = blind_scores(dataset, candidates, seed=seed)
    return _near_chance(
        "blind_membership",
        None,
        score[held_out],
        "a classifier that never sees a model can't tell members from non-members",
        member=candidates.member[held_out],
        series=dataset.cluster[candidates.compound][held_out],
        views=("V0", "V4"),
    )


def permuted_control(
    dataset: Dataset, candidates: Candidates, score: NDArray[np.float64], *, arm: str, seed: int
) -> ControlRecord:
    """Return the control that the membership attack finds nothing once membership is drawn at random."""
    member = np.random.default_rng([seed, 6]).permutation(candidates.member)
    because = "the same scores against permuted membership look like chance"
    series = dataset.cluster[candidates.compound]
    return _near_chance("permuted_membership", arm, score, because, member=member, series=series)


def exposed_control(arm: str, view: View, attacks: Iterable[AttackRecord]) -> ControlRecord:
    """Return the control that fingerprint recovery succeeds on the exposed release of an arm that protects nothing."""
    for attack in attacks:
        key = (attack.name, attack.release, attack.view, attack.metric, attack.status)
        if key == ("fingerprint_recovery", "exposed", view, "exact", "run") and attack.ci_low is not None:
            held = attack.ci_low > (attack.chance or 0.0)
            found = f"recovered {attack.k} of {attack.n} fingerprints exactly"
            return ControlRecord(
                name="exposed_recovery",
                arm=arm,
                held=held,
                metric="exact",
                value=attack.value,
                ci_low=attack.ci_low,
                ci_high=attack.ci_high,
                expected="the 95 % interval lies above chance",
                because=found if held else f"{found}: the attack doesn't work here, so its failure elsewhere says nothing",
                views=(view,),
            )
    return ControlRecord(
        name="exposed_recovery",
        arm=arm,
        held=False,
        metric="exact",
        value=None,
        ci_low=None,
        ci_high=None,
        expected="the 95 % interval lies above chance",
        because="the exposed release could not be attacked",
        views=(view,),
    )
