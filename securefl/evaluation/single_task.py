"""The single-task arm: each configured family of models for each partner-task, and each task's by validation.

The choice compares squared errors or log losses on the task's measured VALIDATION cells, averaged over seeds; a task without
any keeps the first family. The TEST fold is not read by the choice, so the best of several is an honest rival, not the best on
test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.config import BaselineConfig
from securefl.evaluation.comparison import Contest, metric_records
from securefl.evaluation.metrics import PROBABILITY_FLOOR, Floats, counted
from securefl.evaluation.task_scores import Predictions, main_metric
from securefl.learning.baselines import Family, SingleTaskParams, single_task_models
from securefl.measures import BaselineRecord
from securefl.types import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleTask:
    """The chosen models' predictions, one vector a seed; a record of each family; in words what was done."""

    predictions: Sequence[Predictions]
    records: tuple[BaselineRecord, ...]
    note: str


def single_task(
    dataset: Dataset, *, config: BaselineConfig, seeds: Sequence[int], bar: Callable[[int], Progress]
) -> SingleTask:
    """Train every family with every seed and choose; ``bar`` gives the progress of a seed."""
    families = [Family(name) for name in config.models]
    found = [
        [
            single_task_models(dataset, params=SingleTaskParams(family=one, trees=config.trees, seed=seed), progress=bar(seed))
            for seed in seeds
        ]
        for one in families
    ]
    choice = chosen_on_validation(dataset, found)
    picked = choice[dataset.activities.task]
    rows = np.arange(len(picked))
    predictions = [np.stack(of_seed)[picked, rows] for of_seed in zip(*found, strict=True)]
    names = ", ".join(one.value for one in families)
    note = f"{names}, {config.trees} trees a task" if len(families) == 1 else f"of {names} each task has validation's choice"
    return SingleTask(predictions=predictions, records=_records(dataset, families, found, choice), note=note)


def chosen_on_validation(dataset: Dataset, found: Sequence[Sequence[Predictions]]) -> NDArray[np.int64]:
    """Return for each task the number of the family with the smallest VALIDATION loss, shape (tasks,).

    Args:
        found: for each family one vector of predictions a seed.
    """
    losses = np.array([np.mean([_validation_losses(dataset, one) for one in seeds], axis=0) for seeds in found])
    return np.asarray(np.argmin(np.where(np.isfinite(losses), losses, np.inf), axis=0))


def _validation_losses(dataset: Dataset, prediction: Predictions) -> Floats:
    """Return the mean loss of each task's VALIDATION cells, shape (tasks,); NaN without any."""
    cells = dataset.activities
    keep = (dataset.fold[cells.compound] == Fold.VALIDATION) & counted(cells.value, prediction, cells.relation)
    task, value = cells.task[keep], cells.value[keep].astype(np.float64)
    said = prediction[keep].astype(np.float64)
    classes = np.array([one.kind is TaskKind.CLASSIFICATION for one in dataset.tasks], dtype=bool)[task]
    p = np.clip(said, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    loss = np.where(classes, -np.where(value > 0, np.log(p), np.log1p(-p)), (value - said) ** 2)
    count = np.bincount(task, minlength=len(dataset.tasks))
    total = np.bincount(task, weights=loss, minlength=len(dataset.tasks))
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def _records(
    dataset: Dataset, families: Sequence[Family], found: Sequence[Sequence[Predictions]], choice: NDArray[np.int64]
) -> tuple[BaselineRecord, ...]:
    """Return each family's figure on the TEST fold, which the choice did not see; a family without one is left out."""
    metric = main_metric(dataset)
    records = []
    for number, (family, seeds) in enumerate(zip(families, found, strict=True)):
        for record in metric_records(Contest(dataset=dataset, arm=seeds)):
            if record.name != metric.name:
                continue
            records.append(
                BaselineRecord(
                    model=family.value,
                    metric=record.name,
                    n_tasks=record.n_tasks,
                    value=record.value,
                    chosen=int((choice == number).sum()),
                )
            )
    return tuple(records)
