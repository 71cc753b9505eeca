"""Plants canaries, trains on those that a coin chose by the arm's own private step, and writes what every step changed.

The audited partner owns nothing but canaries: the mechanism's guarantee holds for any data, so for these. Its plan (noise,
clipping, steps) is the one that the arm's planner makes for so many records. The start is public and chosen by the auditor: a
trunk of one layer whose units all work, and a large head, so that most of a gradient lies in the first layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from attacks.epsilon.canary import CANARY, Coins
from attacks.interface import AdversaryView
from attacks.jobs import Desk, Job, not_run
from attacks.target import Target
from securefl.dp.accountant import PrvAccountant, SampledGaussian
from securefl.errors import BudgetExceededError, ParameterError
from securefl.learning.cells import Records
from securefl.learning.heads import Heads
from securefl.learning.local import LocalTrainer, Seat
from securefl.learning.private_plan import private_plans
from securefl.learning.private_step import PrivateSteps, PrivateTrainer
from securefl.learning.trunk import Trunk
from securefl.recipes import Unit
from securefl.records import AttackRecord, ControlRecord
from securefl.types import Rng

CANARIES = 1000
OWN_BITS = 8
WIDTH = 16
FAR = 1e6
"""A canary's scaled result: so far from every prediction that its error keeps its sign and its gradient is clipped."""
HEAD = 10.0
UNPROTECTED = "plaintext"
CAUGHT = 0.5
"""Without noise the bound must reach this share of the ceiling, or the audit says nothing."""
TrainerOf = Callable[[Seat, PrivateSteps], LocalTrainer]


def coins(count: int, *, seed: int) -> NDArray[np.bool_]:
    """Return which canaries are trained on, a fair coin each."""
    return np.asarray(np.random.default_rng([seed, 9]).random(count) < 0.5)


def signs(count: int) -> NDArray[np.float32]:
    """Return on which side each canary's result lies, +1 or -1 in turn: what they share cancels, what is their own does not."""
    return np.where(np.arange(count) % 2 == 0, 1.0, -1.0).astype(np.float32)


def canary_records(inside: NDArray[np.bool_]) -> Records:
    """Return the records of the canaries that are ``inside``: each with bits of its own, and one result far off."""
    rows = np.flatnonzero(inside)
    indices = (rows[:, None] * OWN_BITS + np.arange(OWN_BITS)).ravel()
    indptr = np.arange(len(rows) + 1) * OWN_BITS
    shape = (len(rows), len(inside) * OWN_BITS)
    return Records(
        fingerprints=sp.csr_matrix((np.ones(len(indices), dtype=np.uint8), indices, indptr), shape=shape),
        compound=rows.astype(np.int32),
        start=np.arange(len(rows) + 1),
        task=np.zeros(len(rows), dtype=np.int64),
        target=FAR * signs(len(inside))[rows],
        relation=np.zeros(len(rows), dtype=np.int8),
        binary=np.zeros(1, dtype=bool),
    )


def _start(bits: int, seed: int) -> tuple[Trunk, Heads]:
    """Return the public start: small first weights, a bias that keeps every unit at work, a large head."""
    trunk, heads = Trunk(bits, (WIDTH,), generator=torch.Generator().manual_seed(seed)), Heads(1, WIDTH)
    with torch.no_grad():
        trunk.first.weight.mul_(0.01)
        trunk.first.bias.fill_(1.0)
        heads.weight.fill_(HEAD)
    return trunk, heads


def observed(inside: NDArray[np.bool_], plan: PrivateSteps, *, seed: int, trainer: TrainerOf) -> dict[str, NDArray[np.generic]]:
    """Return what the auditor sees of every step: the change of each canary's rows, the head before, the working units."""
    plan = replace(plan, steps_each=1)
    records, count = canary_records(inside), len(inside)
    trunk, heads = _start(count * OWN_BITS, seed)
    local = trainer(Seat(partner=0, records=records, seed=seed), plan)
    steps, before_heads, active = [], [], []
    for _ in range(plan.steps):
        weight = trunk.first.weight.detach().numpy().copy().reshape(count, OWN_BITS, WIDTH)
        bias = trunk.first.bias.detach().numpy().copy()
        before_heads.append(heads.weight.detach().numpy()[0].copy())
        active.append(weight.sum(axis=1) + bias > 0)
        local.train_epoch(trunk, heads, records)
        steps.append(trunk.first.weight.detach().numpy().reshape(count, OWN_BITS, WIDTH).sum(axis=1) - weight.sum(axis=1))
    return {"steps": np.stack(steps), "heads": np.stack(before_heads), "active": np.stack(active), "sign": signs(count)}


def private_trainer(rng: Rng) -> TrainerOf:
    """Return the arm's own trainer: the sampled Gaussian mechanism."""
    return lambda seat, plan: PrivateTrainer(seat, plan=plan, rng=rng)


def canary_job(target: Target, plan: PrivateSteps, *, epsilon: float, trainer: TrainerOf) -> Job:
    """Return the view of an audited training and its coins."""
    inside = coins(CANARIES, seed=target.config.attacks.seed)
    tensors = observed(inside, plan, seed=target.config.attacks.seed, trainer=trainer)
    return Job(
        view=AdversaryView(view="V4", tensors=tensors, facts={}),
        attacks=(CANARY,),
        truth=Coins(inside=inside, epsilon=epsilon, delta=target.config.dp.delta),
        about=_about(target),
    )


def _about(target: Target) -> dict[str, object]:
    return {
        "arm": target.arm,
        "release": "canaries",
        "optimiser": "private sgd",
        "bits": CANARIES * OWN_BITS,
        "compounds": CANARIES,
    }


def audit_canaries(target: Target, desk: Desk) -> None:
    """Put the canary audit of the arm on the desk: of its private step, or without noise where nothing protects."""
    if not desk.wanted(CANARY.name, "V4"):
        return
    recipe = target.recipe
    private = recipe.privacy if recipe else None
    if target.arm != UNPROTECTED and (private is None or private.unit is not Unit.RECORD):
        reason = "claims no differential privacy of records: there is no claim to refute"
        desk.put_records(not_run((CANARY,), desk.wanted, ("V4",), reason=reason, about=_about(target)))
        return
    target.progress("training on canaries", 0, 1)
    try:
        plan, epsilon = plan_of(target, records=int(coins(CANARIES, seed=target.config.attacks.seed).sum()))
        desk.put(canary_job(target, plan, epsilon=epsilon, trainer=private_trainer(target.rng)))
    except (ParameterError, BudgetExceededError) as error:
        desk.put_records(not_run((CANARY,), desk.wanted, ("V4",), reason=str(error), about=_about(target)))


def plan_of(target: Target, *, records: int) -> tuple[PrivateSteps, float]:
    """Return the arm's plan for so many records and the epsilon that it claims; without noise, infinity, for plaintext.

    Raises:
        ParameterError, BudgetExceededError: see :func:`securefl.learning.private_plan.private_plans`.
    """
    config, privacy = target.config, target.recipe.privacy if target.recipe else None
    if privacy is not None and privacy.epsilon is not None and math.isfinite(privacy.epsilon):
        config = config.model_copy(update={"dp": config.dp.model_copy(update={"epsilon": privacy.epsilon})})
    if privacy is None or (privacy.epsilon is not None and not math.isfinite(privacy.epsilon)):
        dp = config.dp
        bare = PrivateSteps(
            records=records, sampling_rate=1.0, steps_each=1, steps=dp.rounds, noise_multiplier=0.0,
            clipping_norm=dp.clipping_norm, learning_rate=dp.learning_rate,
        )  # fmt: skip
        return bare, math.inf
    (plan,) = private_plans([records], config=config, accountant=PrvAccountant())
    mechanism = SampledGaussian(noise_multiplier=plan.noise_multiplier, sampling_rate=plan.sampling_rate, steps=plan.steps)
    return plan, PrvAccountant().epsilon(mechanism, delta=config.dp.delta)


def canary_controls(target: Target, attacks: list[AttackRecord]) -> list[ControlRecord]:
    """Return the control of the canary audit: without noise it must catch them; a private arm's claim must not be refuted."""
    found = [a for a in attacks if a.name == CANARY.name and a.status == "run"]
    return [_control(target, attack) for attack in found if attack.value is not None]


def _control(target: Target, attack: AttackRecord) -> ControlRecord:
    bound, most = attack.value or 0.0, attack.detail["ceiling"]
    claimed = attack.detail.get("claimed_epsilon")
    held = bound >= CAUGHT * most if claimed is None else bound <= claimed
    said = f"refuted every epsilon under {bound:.2f}, of at most {most:.2f} that {int(attack.detail['canaries'])} canaries can"
    return ControlRecord(
        name="planted_canaries" if claimed is None else "claimed_epsilon",
        arm=target.arm,
        held=held,
        metric="epsilon_lower_bound",
        value=bound,
        ci_low=attack.ci_low,
        ci_high=attack.ci_high,
        expected=f"at least {CAUGHT * most:.2f}" if claimed is None else f"at most the claimed {claimed:.2f}",
        because=said,
        views=("V4",),
    )
