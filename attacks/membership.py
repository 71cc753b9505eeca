"""The membership attacks on one trained arm, from its predictions: view V4, per consortium and per partner."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from attacks.candidates import Candidates, MemberOf, candidates_of, losses_with
from attacks.controls import blind_control, permuted_control
from attacks.lira import lira
from attacks.membership_loss import membership_loss
from attacks.private_shadows import shadow_privacy
from attacks.rmia import rmia
from attacks.score import Score, auc, membership_scores
from attacks.shadows import Shadows, shadows_of
from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.errors import InputError, ParameterError
from securefl.evaluation.predictions import load_predictions
from securefl.federation.training import train_federated
from securefl.learning.model import Model
from securefl.records import ArmRecord, AttackRecord, ControlRecord
from securefl.types import Progress, Rng

NAMES = ("membership_loss", "membership_rmia", "membership_lira")
MEMBER_OF: tuple[MemberOf, ...] = ("consortium", "partner")
SHADOW_NOTES: Mapping[str, str] = MappingProxyType(
    {
        "plaintext": "",
        "masking": "",
        "masking+guard": "shadows are trained without the guard",
        "paillier": "shadows follow the plaintext recipe from the start, the arm ends with rounds of its second layer alone",
        "ckks": "shadows follow the plaintext recipe from the start, the arm ends with rounds under its own scheme",
        "dp": "the shadows' noise is set by the normal limit, scaled to agree with the accountant for the largest partner",
    }
)
"""Arms that shadow models stand for, with what differs. The others have another recipe: the shadow attacks don't run there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The arm under attack: where its run lies, what it is, and the settings."""

    run: Path
    dataset: Dataset
    config: RunConfig
    record: ArmRecord
    rng: Rng
    progress: Progress

    @property
    def arm(self) -> str:
        """The arm's name."""
        return self.record.name

    def losses(self) -> NDArray[np.float64]:
        """Return the loss of the arm's first seed on each cell, float64 (cells,)."""
        path = self.run / "arms" / self.arm / f"seed-{self.record.seeds[0]}" / "predictions.npz"
        return losses_with(self.dataset)(load_predictions(path, self.dataset))


def shadows_for(target: Target) -> Shadows:
    """Return the shadow models of the target's recipe, shared by all arms whose plain recipe is the same.

    Raises:
        InputError: no shadows follow this arm's recipe, or one can't be trained.
    """
    config, private = target.config, target.record.dp is not None
    if target.arm not in SHADOW_NOTES:
        raise InputError(f"no shadow models follow the recipe of {target.arm}: only the loss attack runs")

    def train(dataset: Dataset, seed: int) -> Model:
        privacy = shadow_privacy(dataset, config=config, rng=target.rng) if private else None
        return train_federated(
            dataset,
            config=config,
            scheme="plaintext",
            seed=seed,
            rng=target.rng,
            private=privacy,
            rounds=config.dp.rounds if private else None,
            progress=lambda what, done, total: target.progress(f"shadow {what}", done, total),
        ).model

    return shadows_of(
        target.run,
        target.dataset,
        config=config,
        recipe="dp" if private else "plain",
        count=config.attacks.dp_shadows if private else config.attacks.shadows,
        train=train,
        progress=target.progress,
    )


def _record(target: Target, name: str, member_of: MemberOf, **found: object) -> AttackRecord:
    return AttackRecord.model_validate(
        {
            "name": name,
            "view": "V4",
            "arm": target.arm,
            "release": "model",
            "status": "run",
            "asset": "membership",
            "member_of": member_of,
            "optimiser": "private sgd" if target.record.dp else target.config.federation.optimiser,
            "bits": target.dataset.bits,
            **found,
        }
    )


def _score_fields(score: Score) -> dict[str, object]:
    return {
        "metric": score.metric,
        "value": score.value,
        "k": score.k,
        "n": score.n,
        "ci_low": score.low,
        "ci_high": score.high,
        "chance": score.chance,
        "min_certifiable_fpr": score.min_certifiable_fpr,
    }


def _smallest(dataset: Dataset, candidates: Candidates, score: NDArray[np.float64]) -> dict[str, float]:
    """Return the AUC at the partner with the fewest members: the one that has most to lose, too small for a row of its own."""
    members = np.bincount(candidates.partner[candidates.member], minlength=len(dataset.partners))
    mine = candidates.partner == int(np.argmin(np.where(members > 0, members, members.max() + 1)))
    inside, outside = score[mine & candidates.member], score[mine & ~candidates.member]
    if not len(inside) or not len(outside):
        return {}
    found = auc(inside, outside)
    return {
        "auc_smallest_partner": found.value,
        "auc_smallest_partner_low": found.low,
        "auc_smallest_partner_high": found.high,
        "members_smallest_partner": float(len(inside)),
        "non_members_smallest_partner": float(len(outside)),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What the attacks read: the target's losses on cells, the cells' compounds, and the shadows if there are any."""

    losses: NDArray[np.float64]
    cell_compound: NDArray[np.int64]
    shadows: Shadows | None

    def score(self, name: str, candidates: Candidates) -> NDArray[np.float64] | None:
        """Return each candidate's score under the attack ``name``, ``None`` if it needs shadows and there are none."""
        if name == "membership_loss":
            return membership_loss(self.losses, candidates)
        if self.shadows is None:
            return None
        if name == "membership_rmia":
            return rmia(self.losses, candidates, self.shadows, self.cell_compound)
        return lira(self.losses, candidates, self.shadows)


def _scored(
    target: Target, name: str, member_of: MemberOf, candidates: Candidates, evidence: _Evidence
) -> list[AttackRecord]:
    begin = time.monotonic()
    score = evidence.score(name, candidates)
    if score is None:
        return []
    members, others = candidates.split(score)
    detail = {"members": float(len(members)), "non_members": float(len(others))}
    if member_of == "partner":
        detail |= _smallest(target.dataset, candidates, score)
    about: dict[str, object] = {
        "compounds": len(candidates.member),
        "reason": SHADOW_NOTES.get(target.arm, "") if name != "membership_loss" else "",
        "seconds": time.monotonic() - begin,
        "detail": detail,
    }
    scores = membership_scores(members, others, clusters=candidates.clusters)
    return [_record(target, name, member_of, **_score_fields(each), **about) for each in scores]


def attack_membership(
    target: Target, *, wanted: Callable[[str], bool]
) -> tuple[list[AttackRecord], list[ControlRecord]]:
    """Return what the ``wanted`` membership attacks get on the arm, and their controls.

    Raises:
        InputError: the arm's predictions can't be read.
    """
    seed = target.config.attacks.seed
    names = [name for name in NAMES if wanted(name)]
    if not names:
        return [], []
    candidates = {m: candidates_of(target.dataset, m, seed=seed) for m in MEMBER_OF}
    everyone = candidates["consortium"]
    if everyone.member.all() or not everyone.member.any():
        reason = f"{int(everyone.member.sum())} members and {int((~everyone.member).sum())} non-members: nothing to compare"
        return [_record(target, n, m, status="not_run", reason=reason) for n in names for m in MEMBER_OF], []
    evidence, missing = _gather(target, any(name != "membership_loss" for name in names))
    records = []
    for member_of, those in candidates.items():
        for name in names:
            found = _scored(target, name, member_of, those, evidence)
            records += found or [_record(target, name, member_of, status="not_run", reason=missing)]
    controls = [
        blind_control(target.dataset, everyone, seed=seed),
        permuted_control(target.arm, everyone, membership_loss(evidence.losses, everyone), seed=seed),
    ]
    return records, controls


def _gather(target: Target, with_shadows: bool) -> tuple[_Evidence, str]:
    """Return the evidence, and why there are no shadows in it if there are none."""
    shadows, missing = None, ""
    if with_shadows:
        try:
            shadows = shadows_for(target)
        except (InputError, ParameterError) as error:
            missing = str(error)
    compound = target.dataset.activities.compound.astype(np.int64)
    return _Evidence(losses=target.losses(), cell_compound=compound, shadows=shadows), missing
