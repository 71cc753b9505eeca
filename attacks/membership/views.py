"""Builds the membership views of an arm, V4 and V0, for the consortium and for each partner, with their controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from attacks.controls import blind_control, permuted_control
from attacks.interface import AdversaryView
from attacks.jobs import Desk, Job, not_run
from attacks.membership.analogue_range import ANALOGUE
from attacks.membership.analogue_views import analogue_job, analogues_of
from attacks.membership.candidates import Candidates, MemberOf, candidates_of, losses_with
from attacks.membership.loss import membership_loss
from attacks.membership.on_views import EXTREMITY, LIRA, LOSS, RMIA, membership_of
from attacks.membership.overfit import overfit_control, overfit_predictions
from attacks.membership.private_shadows import shadow_privacy
from attacks.membership.shadow_losses import Shadows
from attacks.membership.shadows import cache_key, made_once, shadows_of
from attacks.target import Target
from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.errors import InputError, ParameterError
from securefl.federation.training import train_federated
from securefl.learning.model import Model
from securefl.recipes import Unit
from securefl.records import ControlRecord
from securefl.types import Rng

WITH_SHADOWS = (RMIA, LIRA)
ALL = (LOSS, *WITH_SHADOWS, EXTREMITY, ANALOGUE)
MEMBER_OF: tuple[MemberOf, ...] = ("consortium", "partner")
PRIVATE_NOTE = "the shadows' noise is set by the normal limit, scaled to agree with the accountant for the largest partner"
GUARD_NOTE = "shadows are trained without the guard"
EXACT_NOTE = "shadows sum in plaintext, which is the same exact sum"
SCHEME_NOTES: Mapping[str, str] = MappingProxyType(
    {
        "paillier": "shadows follow the plaintext recipe from the start, the arm may end with rounds of its second layer alone",
        "ckks": "shadows follow the plaintext recipe from the start, the arm ends with rounds under its own scheme",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """Trains one shadow by ``config``; ``private`` with privacy noise from ``rng``. A worker of joblib gets a copy."""

    config: RunConfig
    private: bool
    rng: Rng

    def __call__(self, dataset: Dataset, seed: int) -> Model:
        """Return a model trained on the training fold of ``dataset``."""
        config, private = self.config, self.private
        return train_federated(
            dataset,
            config=config,
            scheme="plaintext",
            seed=seed,
            rng=self.rng,
            private=shadow_privacy(dataset, config=config, rng=self.rng) if private else None,
            rounds=config.dp.rounds if private else None,
        ).model


def shadow_note(target: Target) -> str:
    """Return in what the shadows differ from the arm's own recipe.

    Raises:
        InputError: no shadow models follow this arm's recipe.
    """
    recipe = target.recipe
    if recipe is None:
        raise InputError(f"no shadow models follow the recipe of {target.arm}: only the loss attack runs")
    if recipe.privacy is not None and recipe.privacy.unit is not Unit.RECORD:
        raise InputError(f"no shadow models follow the privacy of {target.arm}: only the loss attack runs")
    notes = [PRIVATE_NOTE if recipe.privacy else "", GUARD_NOTE if recipe.guarded else ""]
    if recipe.traits.homomorphic:
        notes.append(SCHEME_NOTES.get(recipe.scheme, EXACT_NOTE if recipe.traits.exact else SCHEME_NOTES["ckks"]))
    return "; ".join(note for note in notes if note)


def shadows_for(target: Target) -> Shadows:
    """Return the shadow models of the target's recipe, shared by all arms whose plain recipe is the same.

    Raises:
        InputError: one can't be trained.
    """
    config, private = target.config, target.record.dp is not None
    privacy_of = target.recipe.privacy if target.recipe else None
    if privacy_of is not None and privacy_of.epsilon is not None:
        config = config.model_copy(update={"dp": config.dp.model_copy(update={"epsilon": privacy_of.epsilon})})

    return shadows_of(
        target.run,
        target.dataset,
        config=config,
        recipe="dp" if private else "plain",
        count=(config.attacks.dp_shadows if private else config.attacks.shadows) * target.effort.shadows,
        train=Shadow(config=config, private=private, rng=target.rng),
        progress=target.progress,
    )


def _tensors(dataset: Dataset, candidates: Candidates) -> dict[str, NDArray[np.generic]]:
    return {
        "compound": candidates.compound.astype(np.int64),
        "partner": candidates.partner.astype(np.int64),
        "of_cell": candidates.of_cell.astype(np.int64),
        "cell_compound": dataset.activities.compound.astype(np.int64),
        "cell_task": dataset.activities.task.astype(np.int64),
    }


def _about(target: Target, member_of: MemberOf, candidates: Candidates) -> dict[str, object]:
    return {
        "arm": target.arm,
        "release": "model",
        "member_of": member_of,
        "optimiser": "private sgd" if target.record.dp else target.config.federation.optimiser,
        "bits": target.dataset.bits,
        "compounds": len(candidates.member),
    }


def attack_membership(target: Target, desk: Desk) -> list[ControlRecord]:
    """Put the membership jobs of the arm on the desk; return their controls.

    Raises:
        InputError: the arm's predictions can't be read.
    """
    if not any(desk.wanted(attack.name, view) for attack in ALL for view in attack.views):
        return []
    seed, dataset = target.config.attacks.seed, target.dataset
    candidates = {m: candidates_of(dataset, m, seed=seed) for m in MEMBER_OF}
    everyone = candidates["consortium"]
    if everyone.member.all() or not everyone.member.any():
        reason = f"{int(everyone.member.sum())} members and {int((~everyone.member).sum())} non-members: nothing to compare"
        for member_of, those in candidates.items():
            about = _about(target, member_of, those)
            desk.put_records(not_run(ALL, desk.wanted, ("V4", "V0"), reason=reason, about=about))
        return []
    losses = losses_with(dataset)(target.predictions())
    _put_jobs(target, desk, candidates, losses)
    return [
        blind_control(dataset, everyone, seed=seed),
        overfit_control(dataset, everyone, _overfit(target)),
        permuted_control(dataset, everyone, membership_loss(losses, everyone), arm=target.arm, seed=seed),
    ]


def _overfit(target: Target) -> NDArray[np.float32]:
    """Return the predictions of the model that overfits: the same for every arm, so fitted once for a run."""
    seed = target.config.attacks.seed
    key = cache_key(target.dataset, target.config, recipe="overfit", count=0)[:32]
    return made_once(target.run / "shadows" / f"overfit-{key}.npz", lambda: overfit_predictions(target.dataset, seed=seed))


def _put_jobs(
    target: Target, desk: Desk, candidates: Mapping[MemberOf, Candidates], losses: NDArray[np.float64]
) -> None:
    shadows, note, missing = _gather(target, any(desk.wanted(attack.name, "V4") for attack in (*WITH_SHADOWS, ANALOGUE)))
    prediction = target.predictions()
    for member_of, those in candidates.items():
        about = _about(target, member_of, those)
        truth = membership_of(target.dataset, those, of_partner=member_of == "partner")
        common = _tensors(target.dataset, those)
        view = AdversaryView(view="V4", tensors={**common, "losses": losses}, facts={})
        desk.put(Job(view=view, attacks=(LOSS,), truth=truth, about=about))
        if shadows is None:
            desk.put_records(not_run(WITH_SHADOWS, desk.wanted, ("V4",), reason=missing, about=about))
        else:
            more = {"shadow.losses": shadows.losses, "shadow.inside": shadows.inside}
            with_shadows = AdversaryView(view="V4", tensors={**view.tensors, **more}, facts={})
            desk.put(Job(view=with_shadows, attacks=WITH_SHADOWS, truth=truth, about=about, notes=(note,)))
        outside = AdversaryView(view="V0", tensors={**common, "prediction": prediction}, facts={})
        desk.put(Job(view=outside, attacks=(EXTREMITY,), truth=truth, about=about))
    everyone = candidates["consortium"]
    about = _about(target, "consortium", everyone)
    if shadows is None:
        desk.put_records(not_run((ANALOGUE,), desk.wanted, ("V4",), reason=missing, about=about))
    elif desk.wanted(ANALOGUE.name, "V4"):
        near = analogues_of(target, everyone)
        desk.put(analogue_job(target.dataset, everyone, near=near, losses=losses, shadows=shadows, about=about, note=note))


def _gather(target: Target, with_shadows: bool) -> tuple[Shadows | None, str, str]:
    """Return the shadows, in what they differ from the target's recipe, and why there are none if there are none."""
    if not with_shadows:
        return None, "", "not asked for"
    try:
        note = shadow_note(target)
        return shadows_for(target), note, ""
    except (InputError, ParameterError) as error:
        return None, "", str(error)
