"""A course: a few rounds of the arm's own training over three small partners, of which everything is known.

Trajectory and differential attacks need several releases and what would have been released otherwise. A run keeps neither, and
over thousands of compounds neither shows. So the framework trains again, by the arm's recipe (optimiser, guard, privacy,
protocol): on few compounds, with a narrow trunk, fresh from a seed. Half of each partner's chosen compounds are trained on, at
random; the other half are non-members that nothing but this coin tells apart from members.

Exact homomorphic schemes open the same sum as plaintext and are replaced by it here; CKKS sums by itself.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.membership.private_shadows import shadow_privacy
from attacks.membership.shadows import cache_key
from attacks.target import Target
from securefl.chem.dataset import Activities, Dataset, Fold, TaskKind
from securefl.config import RunConfig
from securefl.errors import InputError
from securefl.federation.guards import FIRST_WEIGHT
from securefl.federation.releases import RoundTrace
from securefl.federation.training import train_federated
from securefl.recipes import Unit

ROUNDS = 3
HIDDEN = (64, 24)
PARTNERS = 3
VALIDATION_CELLS = 4
"""A score is opened every round; so few cells are enough for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of the first layer: ``before``, each partner's ``updates`` and ``weights``, and the opened ``total``."""

    before: NDArray[np.float32]
    updates: dict[int, NDArray[np.float32]]
    weights: dict[int, int]
    total: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """What the trunk moved by."""
        return self.total / max(sum(self.weights.values()), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a course's candidates are and what was released.

    Attributes:
        compound: int64 (c,), rows of the dataset. partner: int64 (c,), who could have trained on each (0 to 2).
        member: bool (c,), whether it did. rounds: what was released.
        heads: float32 (k, width), the heads of each partner after the course, by partner.
        second: the second layer's weight (outputs, inputs) before the last round.
    """

    compound: NDArray[np.int64]
    partner: NDArray[np.int64]
    member: NDArray[np.bool_]
    rounds: tuple[Round, ...]
    heads: dict[int, NDArray[np.float32]]
    second: NDArray[np.float32]

    @property
    def end(self) -> NDArray[np.float64]:
        """The first layer after the last round, as everybody at the table has it."""
        return np.asarray(self.rounds[-1].before + self.rounds[-1].mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who takes part: three partners of the dataset by number, and their candidates as rows of it."""

    partners: tuple[int, ...]
    compound: NDArray[np.int64]
    partner: NDArray[np.int64]


def cast_of(dataset: Dataset, config: RunConfig) -> Cast:
    """Return the three smallest partners with at most twice ``exposed_each`` training compounds each.

    Compounds that two of them own are left out: they would be members in more than one way.

    Raises:
        InputError: fewer than three partners have eight compounds of their own.
    """
    draw = np.random.default_rng([config.attacks.seed, 7])
    owned = [np.unique(dataset.cells(p, Fold.TRAIN).compound).astype(np.int64) for p in range(len(dataset.partners))]
    chosen = [p for p in sorted(range(len(owned)), key=lambda p: len(owned[p])) if len(owned[p]) >= 8][:PARTNERS]
    times = np.bincount(np.concatenate([owned[p] for p in chosen] or [np.zeros(0, np.int64)]), minlength=len(dataset.fold))
    alone = [owned[p][times[owned[p]] == 1] for p in chosen]
    if len(chosen) < PARTNERS or min(len(rows) for rows in alone) < 8:
        raise InputError(f"{len(chosen)} partners have 8 training compounds of their own, a course needs {PARTNERS}")
    rows = [np.sort(draw.permutation(mine)[: 2 * config.attacks.exposed_each]) for mine in alone]
    return Cast(
        partners=tuple(chosen),
        compound=np.concatenate(rows),
        partner=np.repeat(np.arange(PARTNERS), [len(mine) for mine in rows]).astype(np.int64),
    )


def halves_of(cast: Cast, *, seed: int, number: int) -> NDArray[np.bool_]:
    """Return which candidates a course trains on: half of each partner's, drawn anew for each ``number``."""
    draw = np.random.default_rng([seed, 8, number])
    member = np.zeros(len(cast.compound), dtype=bool)
    for partner in range(PARTNERS):
        mine = np.flatnonzero(cast.partner == partner)
        member[draw.permutation(mine)[: len(mine) // 2]] = True
    return member


def _stage(dataset: Dataset, cast: Cast, member: NDArray[np.bool_]) -> Dataset:
    """Return a dataset of the cast alone whose training fold is the members; a partner without any is not in it."""
    inside = {
        number: cast.compound[member & (cast.partner == p)]
        for p, number in enumerate(cast.partners)
        if (member & (cast.partner == p)).any()
    }
    present = list(inside)
    owner = np.array([task.partner for task in dataset.tasks])
    tasks = [t for t in range(len(dataset.tasks)) if owner[t] in inside]
    parts: list[Activities] = []
    kept: list[int] = []
    for task in tasks:
        mine = inside[int(owner[task])]
        cells = dataset.activities.select(dataset.activities.task == task)
        train = cells.select(np.isin(cells.compound, mine))
        values = np.unique(train.value) if dataset.tasks[task].kind is TaskKind.CLASSIFICATION else train.value[:2]
        if len(train) < 2 or len(values) < 2:
            continue
        held = cells.select(np.flatnonzero(dataset.fold[cells.compound] == Fold.VALIDATION)[:VALIDATION_CELLS])
        for some in (train, held):
            parts.append(dataclasses.replace(some, task=np.full(len(some), len(kept), dtype=np.int32)))
        kept.append(task)
    fold = np.where(np.isin(np.arange(len(dataset.fold)), np.concatenate(list(inside.values()))), Fold.TRAIN, dataset.fold)
    return dataclasses.replace(
        dataset,
        fold=fold.astype(np.int8),
        partners=tuple(dataset.partners[p] for p in present),
        tasks=tuple(dataclasses.replace(dataset.tasks[t], partner=present.index(int(owner[t]))) for t in kept),
        activities=Activities(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ("task", "compound", "value", "relation"))
        ),
    )


def _settings(config: RunConfig, *, parties: int) -> RunConfig:
    # A row of a course can't have more partners than the course: all of them is then the most that can be asked for.
    fewest = min(config.guard.partners, parties)
    return config.model_copy(
        update={
            "guard": config.guard.model_copy(update={"partners": fewest}),
            "model": config.model.model_copy(update={"hidden": HIDDEN}),
            "federation": config.federation.model_copy(update={"rounds": ROUNDS, "patience": ROUNDS}),
            "dp": config.dp.model_copy(update={"rounds": ROUNDS}),
        }
    )


def course_key(target: Target) -> str:
    """Return the hex hash that names the shadow courses of the arm's recipe: the same for all exact protocols.

    Two arms share their shadow courses if guard and privacy are the same; shadows open a plain sum, whatever the protocol.
    """
    recipe, config = target.recipe, target.config
    private = recipe is not None and recipe.privacy is not None
    about = {
        "guard": config.guard.model_dump(mode="json") if recipe is not None and recipe.guarded else None,
        "privacy": repr(recipe.privacy) if recipe is not None else None,
        "dp": config.dp.model_dump(mode="json") if private else None,
        "secagg": config.secagg.model_dump(mode="json"),
        "sizes": [HIDDEN, ROUNDS, PARTNERS, VALIDATION_CELLS, config.attacks.exposed_each],
    }
    return cache_key(target.dataset, config, recipe=f"course {json.dumps(about, sort_keys=True)}", count=0)[:32]


def run_course(target: Target, cast: Cast, member: NDArray[np.bool_], *, plain_sum: bool = False) -> Course:
    """Return a course of the target's recipe in which ``member`` (c,) says who is trained on.

    ``plain_sum`` leaves the protocol out: the sums are the same for exact schemes, and shadows need no protocol.

    Raises:
        InputError: a partner can't train, or the arm's privacy has no course.
        ProtocolAbort: the arm's protocol stopped.
    """
    recipe = target.recipe
    if recipe is None:
        raise InputError(f"{target.arm} sends no update: there is nothing to attack")
    if recipe.privacy is not None and recipe.privacy.unit is not Unit.RECORD:
        raise InputError(f"no course follows the privacy of {target.arm}")
    dataset = _stage(target.dataset, cast, member)
    config = _settings(target.config, parties=len(dataset.partners))
    rounds: list[Round] = []
    second: list[NDArray[np.float32]] = []

    def observe(trace: RoundTrace) -> None:
        rounds.append(_round_of(trace, dataset.bits))
        second.append(trace.before["layers.0.weight"])

    exact = recipe.traits.homomorphic and recipe.traits.exact
    trained = train_federated(
        dataset,
        config=config,
        scheme="plaintext" if exact or plain_sum else recipe.scheme,
        seed=config.attacks.seed,
        rng=target.rng,
        guard_k=config.guard.k if recipe.guarded else None,
        private=shadow_privacy(dataset, config=config, rng=target.rng) if recipe.privacy else None,
        rounds=ROUNDS,
        observer=observe,
    )
    return Course(
        compound=cast.compound,
        partner=cast.partner,
        member=member,
        rounds=tuple(rounds),
        heads={partner: heads.weight for partner, heads in trained.model.heads.items()},
        second=second[-1],
    )


def _round_of(trace: RoundTrace, bits: int) -> Round:
    """Return the first layer of a round: it comes first in every flat vector."""
    size = bits * HIDDEN[0]
    if trace.names[0] != FIRST_WEIGHT:
        raise InputError(f"the first tensor of an update is {trace.names[0]}, must be {FIRST_WEIGHT}")
    return Round(
        before=trace.before[FIRST_WEIGHT],
        updates={c - 1: np.asarray(u[:size]).reshape(bits, HIDDEN[0]) for c, u in trace.updates.items()},
        weights={c - 1: weight for c, weight in trace.weights.items()},
        total=np.asarray(trace.result.total[:size], dtype=np.float64).reshape(bits, HIDDEN[0]),
    )
