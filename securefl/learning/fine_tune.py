"""Private fine-tuning: the owner of a model trains it further on its own records, alone. Nothing leaves.

The trunk moves too, so the result is no longer what the consortium shares. It fits the owner's records better and says more
about them: a tuned model is worth as much to an attacker as a model that was trained alone. Privacy budgets of the run say
nothing about it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset, Fold
from securefl.config import FederationConfig
from securefl.errors import InputError, ParameterError
from securefl.learning.cells import Scaling, records_of
from securefl.learning.family import inputs_for
from securefl.learning.heads import Heads
from securefl.learning.local import PlainTrainer, Seat
from securefl.learning.model import Model, PartnerHeads
from securefl.learning.owned import OwnedModel
from securefl.learning.validation import NullModel, explained_deviance
from securefl.types import Progress, silent


def fine_tune(
    owned: OwnedModel,
    dataset: Dataset,
    *,
    epochs: int,
    learning_rate: float = 1e-4,
    batch: int = 32,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[OwnedModel, tuple[float, ...]]:
    """Return ``owned`` after at most ``epochs`` on its owner's TRAIN records in ``dataset``, and the validation score of each.

    The best epoch on the owner's VALIDATION records counts; the first score is that of the model as it was, which may win.
    Targets stay scaled as they were. Deterministic given ``seed``.

    Raises:
        InputError: the dataset lacks the owner, one of its tasks, training or validation records, or has other fingerprints.
        ParameterError: ``epochs`` is under 1.
    """
    if epochs < 1:
        raise ParameterError(f"epochs={epochs} must be >= 1")
    dataset = inputs_for(dataset, graph=owned.model.graph is not None)
    if dataset.bits != owned.model.bits:
        raise InputError(f"dataset has {dataset.bits} bits, the model reads {owned.model.bits}")
    number, scaling = owner_in(dataset, owned), scaling_in(dataset, owned)
    train, validation = (records_of(dataset, scaling, _cells(dataset, scaling, fold)) for fold in (Fold.TRAIN, Fold.VALIDATION))
    if not len(train):
        raise InputError(f"partner {owned.partner!r} has 0 training records of the model's tasks, must have >= 1")
    if not len(validation):
        raise InputError(f"partner {owned.partner!r} has 0 validation records of the model's tasks, must have >= 1")
    trunk = owned.model.network()
    heads = Heads(len(scaling), trunk.width)
    owned.model.heads[owned.number].load_into(heads)
    config = FederationConfig(batch=batch, learning_rate=learning_rate)
    trainer = PlainTrainer(Seat(partner=number, records=train, seed=seed), config=config)
    null = NullModel.of(train)
    scores = [explained_deviance(trunk, heads, validation, null)]
    best = owned.model
    for epoch in range(epochs):
        trainer.train_epoch(trunk, heads, train)
        scores.append(explained_deviance(trunk, heads, validation, null))
        if scores[-1] > max(scores[:-1]):
            weight, bias = (value.detach().cpu().numpy().copy() for value in (heads.weight, heads.bias))
            mine = PartnerHeads(weight=weight, bias=bias, scaling=owned.model.heads[owned.number].scaling)
            best = Model(trunk=trunk.tensors(), heads={owned.number: mine})
        progress("epochs", epoch + 1, epochs)
    return dataclasses.replace(owned, model=best, origin=f"{owned.origin}, fine-tuned by its owner"), tuple(scores)


def owner_in(dataset: Dataset, owned: OwnedModel) -> int:
    """Return the number of the model's owner in ``dataset``, from 0.

    Raises:
        InputError: it is not there.
    """
    if owned.partner not in dataset.partners:
        raise InputError(f"dataset has no partner {owned.partner!r}, only {', '.join(dataset.partners)}")
    return dataset.partners.index(owned.partner)


def scaling_in(dataset: Dataset, owned: OwnedModel) -> Scaling:
    """Return the model's scaling with its tasks as ``dataset`` numbers them, found by name.

    Raises:
        InputError: a task is missing, or its name occurs more than once.
    """
    number = owner_in(dataset, owned)
    rows: list[int] = []
    for task in owned.tasks:
        found = [i for i in dataset.tasks_of(number) if dataset.tasks[i].name == task.name]
        if len(found) != 1 or dataset.tasks[found[0]].kind.value != task.kind:
            raise InputError(f"dataset has {len(found)} tasks {task.name!r} of {owned.partner!r}, must have one {task.kind}")
        rows.append(int(found[0]))
    return dataclasses.replace(owned.model.heads[owned.number].scaling, tasks=np.array(rows, dtype=np.int32))


def _cells(dataset: Dataset, scaling: Scaling, fold: Fold) -> Activities:
    cells = dataset.activities
    keep: NDArray[np.bool_] = np.isin(cells.task, scaling.tasks) & (dataset.fold[cells.compound] == fold)
    return cells.select(keep)
