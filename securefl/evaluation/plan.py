"""What a run would cost, before anything of it runs: ``securefl run --plan``.

Training time is one real step of this config timed on this machine, times the steps; protocol time and bytes are real
rounds of the scheme on two short vectors, extended as a straight line. Nothing of the partners' data is released by it, and
no model is kept. Estimates, not promises: a busy machine is slower, early stopping makes runs shorter.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from pydantic import Field

from securefl.chem.dataset import Dataset, Fold
from securefl.config import RunConfig
from securefl.errors import SecureFLError
from securefl.evaluation.arms import rounds_of, tensors_of
from securefl.evaluation.cost import Meter
from securefl.evaluation.spending import require_price
from securefl.federation.protocols import MAX_WEIGHT, options_for, quantizer_for, set_up
from securefl.federation.sum_noise import sum_noise
from securefl.learning.baselines import Family, SingleTaskParams, task_model
from securefl.learning.cells import records_of, scaling_of
from securefl.learning.family import inputs_of, layout_for, trunk_of, with_graphs
from securefl.learning.heads import Heads
from securefl.learning.local import PlainTrainer, Seat
from securefl.learning.private_plan import dp_record, private_plans, record_counts
from securefl.learning.private_step import PrivateTrainer
from securefl.learning.trunk import Trunk
from securefl.recipes import Recipe, Unit, recipe_of
from securefl.records import DpRecord, Record
from securefl.secagg import RoundCost, run_round
from securefl.types import ClientId, Rng

SHORT = (4_096, 20_480)
"""Lengths of the vectors on which a scheme is timed."""
COPIES = 8
"""Trunk-sized float arrays that a partner holds in the simulation: weights, gradient, two moments, shared, delta, copies."""


class PlanRow(Record):
    """One arm's forecast. ``refusal`` says why it would not start; its figures are then missing."""

    arm: str
    scheme: str | None
    rounds: int
    parameters: int = Field(0, description="coordinates in each aggregated vector")
    seconds: float | None = Field(None, description="wall time on this machine, all seeds")
    bytes_up: float | None = Field(None, description="of one client, a round")
    bytes_down: float | None = None
    spare_bits: float | None = Field(None, description="headroom of the ring above the largest possible sum")
    epsilon: float | None = Field(None, description="largest over the partners; none: infinite")
    delta: float | None = None
    memory_mb: float | None = Field(None, description="peak of the whole simulation")
    refusal: str = ""
    warnings: tuple[str, ...] = Field((), description="what the arm's scheme assumes, and who could open single updates")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speed:
    """Seconds of a training step on one core, and the seconds that a record's epoch takes by it."""

    seconds_per_record: float
    cores: int


def plan(config: RunConfig, dataset: Dataset, *, rng: Rng) -> tuple[PlanRow, ...]:
    """Return a row for each arm of ``config``, in its order; an arm that would be refused says why and stops nothing."""
    dataset = with_graphs(dataset, config.model)
    speed = _Speed(
        seconds_per_record=_seconds_per_record(config, dataset),
        cores=max(1, min(torch.get_num_threads(), len(dataset.partners))),
    )
    return tuple(_row(arm, config.for_arm(arm), dataset, speed, rng) for arm in config.arms)


def _row(arm: str, config: RunConfig, dataset: Dataset, speed: _Speed, rng: Rng) -> PlanRow:
    recipe = recipe_of(arm)
    rounds = rounds_of(recipe, config) if recipe else 0 if arm == "single-task" else config.federation.rounds
    scheme = recipe.scheme if recipe else None
    try:
        require_price(arm, recipe, config)
        if recipe is not None:
            return _federated_row(arm, recipe, config, dataset, speed, rng)
        counts = record_counts(dataset)
        trained = (sum(counts),) if arm == "pooled" else counts
        seconds = _single_task_seconds(config, dataset) if arm == "single-task" else _rounds_seconds(config, trained, speed)
    except SecureFLError as error:
        return PlanRow(arm=arm, scheme=scheme, rounds=rounds, refusal=str(error))
    return PlanRow(
        arm=arm,
        scheme=None,
        rounds=rounds,
        seconds=seconds * len(config.federation.seeds),
        memory_mb=_memory_mb(config, dataset, parties=1, bytes_up=0.0),
    )


def _federated_row(arm: str, recipe: Recipe, config: RunConfig, dataset: Dataset, speed: _Speed, rng: Rng) -> PlanRow:
    layout, parties = layout_for(dataset.bits, config.model), len(dataset.partners)
    tensors = tensors_of(recipe, config, bits=dataset.bits)
    size = layout.only(tensors).size if tensors else layout.size
    quantizer = quantizer_for(config.secagg, parties)
    largest = parties * MAX_WEIGHT * round(config.secagg.clip * 2**quantizer.scale_bits)
    privacy = _privacy(recipe, config, dataset, size)
    cost, warnings = _round_cost(recipe, config, parties, size, rng)
    rounds = rounds_of(recipe, config)
    training = _rounds_seconds(config, record_counts(dataset), speed) / speed.cores * rounds / config.federation.rounds
    if recipe.privacy is not None and recipe.privacy.unit is Unit.RECORD:
        training = _private_seconds(config, dataset, rng)
    protocol = cost.setup_seconds + rounds * (
        parties * cost.client_seconds + cost.server_seconds + cost.decryptor_seconds + cost.key_seconds
    )
    return PlanRow(
        arm=arm,
        scheme=recipe.scheme,
        rounds=rounds,
        parameters=size,
        seconds=(training + protocol) * len(config.federation.seeds),
        bytes_up=cost.bytes_up_per_client,
        bytes_down=cost.bytes_down_per_client,
        spare_bits=quantizer.ring_bits - 1 - math.log2(largest),
        epsilon=privacy.epsilon if privacy else None,
        delta=privacy.delta if privacy else None,
        memory_mb=_memory_mb(config, dataset, parties=parties, bytes_up=cost.bytes_up_per_client),
        warnings=warnings,
    )


def _privacy(recipe: Recipe, config: RunConfig, dataset: Dataset, size: int) -> DpRecord | None:
    if recipe.privacy is None:
        return None
    if recipe.privacy.unit is Unit.RECORD:
        return dp_record(private_plans(record_counts(dataset), config=config), dataset.partners, delta=config.dp.delta)
    central = recipe.privacy.unit is Unit.CENTRAL
    return sum_noise(config, length=size, parties=len(dataset.partners), central=central)[1]


def _round_cost(
    recipe: Recipe, config: RunConfig, parties: int, size: int, rng: Rng
) -> tuple[RoundCost, tuple[str, ...]]:
    """Return a round's cost at ``size`` coordinates, from the line through real rounds on two short ones, and its warnings."""
    clients = [ClientId(i + 1) for i in range(parties)]
    quantizer = quantizer_for(config.secagg, parties)
    setup = set_up(recipe.scheme, clients, quantizer=quantizer, rng=rng, options=options_for(recipe.scheme, config.secagg))
    results = [
        run_round(
            setup,
            {client: np.zeros(length) for client in clients},
            weights=dict.fromkeys(clients, 1),
            round=number,
            model_hash=bytes(32),
            rng=rng,
            quantizer=quantizer,
        )
        for number, length in enumerate(SHORT, start=1)
    ]

    def at(name: str) -> float:
        low, high = (float(getattr(result.cost, name)) for result in results)
        return max(low + (high - low) / (SHORT[1] - SHORT[0]) * (size - SHORT[0]), 0.0)

    cost = RoundCost(
        setup_seconds=results[0].cost.setup_seconds,
        client_seconds=at("client_seconds"),
        server_seconds=at("server_seconds"),
        decryptor_seconds=at("decryptor_seconds"),
        key_seconds=at("key_seconds"),
        bytes_up_per_client=at("bytes_up_per_client"),
        bytes_down_per_client=at("bytes_down_per_client"),
    )
    return cost, results[0].warnings


def _timed(work: Callable[[], object]) -> float:
    """Return the seconds of ``work``, the second time that it runs: the first one warms caches."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _seconds_per_record(config: RunConfig, dataset: Dataset) -> float:
    """Return one partner's training time for a record, from two batches of the largest partner."""
    partner = int(np.argmax(record_counts(dataset)))
    scaling = scaling_of(dataset, partner)
    cells = dataset.cells(partner, Fold.TRAIN)
    few = np.unique(cells.compound)[: 2 * config.federation.batch]
    records = records_of(inputs_of(dataset, config.model), scaling, cells.select(np.isin(cells.compound, few)))
    trunk = trunk_of(dataset, config.model)
    heads = Heads(len(scaling), trunk.width)
    epochs = config.federation.model_copy(update={"local_steps": 0})
    trainer = PlainTrainer(Seat(partner=partner, records=records, seed=0), config=epochs)
    return _timed(lambda: trainer.train_epoch(trunk, heads, records)) / len(records)


def _rounds_seconds(config: RunConfig, counts: Sequence[int], speed: _Speed) -> float:
    """Return the time of all rounds on one core, of trainers with ``counts`` records each."""
    federation = config.federation
    if federation.local_steps:
        read = sum(federation.local_steps * min(federation.batch, count) for count in counts)
    else:
        read = federation.local_epochs * sum(counts)
    return federation.rounds * read * speed.seconds_per_record


def _private_seconds(config: RunConfig, dataset: Dataset, rng: Rng) -> float:
    """Return the time of all private steps, one after the other, from one step of the largest partner."""
    counts = record_counts(dataset)
    plans = private_plans(counts, config=config)
    partner = int(np.argmax(counts))
    scaling = scaling_of(dataset, partner)
    records = records_of(dataset, scaling, dataset.cells(partner, Fold.TRAIN))
    trunk = Trunk(dataset.bits, config.model.hidden)
    heads = Heads(len(scaling), trunk.width)

    def step() -> None:
        seat = Seat(partner=partner, records=records, seed=0)
        PrivateTrainer(seat, plan=replace(plans[partner], steps_each=1), rng=rng).train_epoch(trunk, heads, records)

    return _timed(step) * sum(one.steps for one in plans)


def _single_task_seconds(config: RunConfig, dataset: Dataset) -> float:
    """Return the time of all single-task models on all cores, from the median task: a tenth of its trees, or its machine."""
    sizes = np.bincount(dataset.cells(fold=Fold.TRAIN).task, minlength=len(dataset.tasks))
    task = int(np.argsort(sizes)[len(sizes) // 2])
    trees = max(1, config.baselines.trees // 10)
    seconds = 0.0
    for family in map(Family, config.baselines.models):
        grown = config.baselines.trees / trees if family in (Family.FOREST, Family.BOOSTING) else 1.0
        params = SingleTaskParams(family=family, trees=trees)
        seconds += grown * _timed(partial(task_model, dataset, task, params))
    return seconds / max(int(sizes[task]), 1) * float(sizes.sum()) / len(os.sched_getaffinity(0))


def _memory_mb(config: RunConfig, dataset: Dataset, *, parties: int, bytes_up: float) -> float:
    """Return this process's peak so far plus every party's arrays and messages at once."""
    layout = layout_for(dataset.bits, config.model)
    return Meter.peak_rss_mb() + parties * (COPIES * 4 * layout.size + 2 * bytes_up) / 1e6
