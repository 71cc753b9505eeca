"""What a federation is compared with: every partner alone, and all data in one place (which no partner may have).

Both use the federated recipe: the same layers, trainer, local epochs a round, rounds and early stopping on VALIDATION.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from securefl.chem.dataset import Dataset, Fold
from securefl.config import RunConfig
from securefl.federation.partner import partner_seed
from securefl.federation.releases import Trained
from securefl.federation.starts import first_trunk
from securefl.federation.threads import threads_for
from securefl.learning.cells import Records, Scaling, joined, records_of, scaling_of
from securefl.learning.family import fresh_heads, inputs_of, trunk_of
from securefl.learning.heads import Heads
from securefl.learning.local import PlainTrainer, Seat
from securefl.learning.model import Model, PartnerHeads
from securefl.learning.trunk import Trunk
from securefl.learning.validation import NullModel, explained_deviance
from securefl.types import Progress, silent

POOLED = 1 << 16
"""The pooled run's place among the partners' seeds: no partner has that number."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A partner's data as a run without a federation reads it."""

    number: int
    scaling: Scaling
    train: Records
    validation: Records


def train_alone(
    dataset: Dataset, partner: int, *, config: RunConfig, seed: int, progress: Progress = silent, device: str = "cpu"
) -> Trained:
    """Return what ``partner`` (counted from 0) gets from its own data: a model with its heads alone.

    It begins with the same weights as the federation under the same ``seed``.

    Raises:
        InputError: the partner can't train, or the loss is not finite.
    """
    dataset = inputs_of(dataset, config.model)
    return _fit([_part(dataset, partner)], dataset, seat=partner, config=config, seed=seed, progress=progress, device=device)


def train_each_alone(dataset: Dataset, *, config: RunConfig, seed: int, progress: Progress = silent) -> list[Trained]:
    """Return :func:`train_alone` of every partner, as many at a time as torch has threads; the result is the same.

    Raises:
        InputError: a partner can't train, or the loss is not finite.
    """
    numbers = range(len(dataset.partners))
    found: list[Trained] = []
    with threads_for(len(numbers)) as pool:
        for one in pool.map(lambda number: train_alone(dataset, number, config=config, seed=seed), numbers):
            found.append(one)
            progress("partners", len(found), len(numbers))
    return found


def train_pooled(
    dataset: Dataset, *, config: RunConfig, seed: int, progress: Progress = silent, device: str = "cpu"
) -> Trained:
    """Return what one trainer gets from all partners' data: the forbidden upper bound.

    Tasks of different partners stay apart, as they do in the federation; only the trunk sees everything.

    Raises:
        InputError: a partner can't train, or the loss is not finite.
    """
    dataset = inputs_of(dataset, config.model)
    parts = [_part(dataset, number) for number in range(len(dataset.partners))]
    return _fit(parts, dataset, seat=POOLED, config=config, seed=seed, progress=progress, device=device)


def _part(dataset: Dataset, number: int) -> _Part:
    scaling = scaling_of(dataset, number)
    return _Part(
        number,
        scaling,
        records_of(dataset, scaling, dataset.cells(number, Fold.TRAIN)),
        records_of(dataset, scaling, dataset.cells(number, Fold.VALIDATION)),
    )


def _fit(
    parts: Sequence[_Part], dataset: Dataset, *, seat: int, config: RunConfig, seed: int, progress: Progress, device: str
) -> Trained:
    train = joined([part.train for part in parts])
    validation = joined([part.validation for part in parts])
    null = NullModel.of(train)
    trunk = trunk_of(dataset, config.model).to(torch.device(device))
    trunk.load(first_trunk(dataset, config, seed))
    heads = fresh_heads(dataset, Scaling.joined([part.scaling for part in parts]), config.model).to(torch.device(device))
    trainer = PlainTrainer(
        Seat(partner=seat, records=train, seed=partner_seed(seed, seat)), config=config.federation, device=torch.device(device)
    )
    curve: list[float] = []
    best, seconds = 0, 0.0
    model = _model(trunk, heads, parts)
    while len(curve) < config.federation.rounds and len(curve) - best < config.federation.patience:
        started = time.thread_time()
        for _ in range(config.federation.local_epochs):
            trainer.train_epoch(trunk, heads, train)
        seconds += time.thread_time() - started
        curve.append(explained_deviance(trunk, heads, validation, null))
        # Without a validation cell there is nothing to choose by: the last round is taken.
        if not validation.cells or curve[-1] > max(curve[:-1], default=-float("inf")):
            best, model = len(curve), _model(trunk, heads, parts)
        progress("rounds", len(curve), config.federation.rounds)
    return Trained(model=model, rounds=len(curve), best_round=best, curve=tuple(curve), parameters=0, training_seconds=seconds)


def _model(trunk: Trunk, heads: Heads, parts: Sequence[_Part]) -> Model:
    """Return a copy of the weights, each partner's heads apart."""
    weight, bias = heads.weight.detach().cpu().numpy(), heads.bias.detach().cpu().numpy()
    found: dict[int, PartnerHeads] = {}
    start = 0
    for part in parts:
        stop = start + len(part.scaling)
        found[part.number] = PartnerHeads(weight=weight[start:stop].copy(), bias=bias[start:stop].copy(), scaling=part.scaling)
        start = stop
    return Model(trunk=trunk.tensors(), heads=found)
