"""Candidates of a membership attack, and how well a model fits each: view V4, everything that an auditor has.

A candidate is a compound (member if any partner trained on it) or a compound at a partner (member if that partner trained on
it); its loss is the sum over its measured cells. Folds are the same at every partner, so no non-member is anybody's member.

Non-members are the audit fold, and only as far as it is exchangeable with the members. The audit fold is drawn across all
scaffolds, members come from the training scaffolds: an audit compound of a test scaffold would be told apart by its chemistry
alone, without any model. So those are left out; of the scaffolds that lie in the audit fold as a whole, the same share is kept
as of all scaffolds went to training. A blind control (:mod:`attacks.controls`) checks that nothing is left to see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold, TaskKind

MemberOf = Literal["partner", "consortium"]
Value = TypeVar("Value", bound=np.generic)
FLOOR = 1e-7
"""Predicted probabilities are kept this far from 0 and 1, as float32 training does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Members and non-members with their cells.

    Attributes:
        member: bool (c,). compound: int64 (c,), the dataset's row. partner: int64 (c,), -1 for the consortium.
        of_cell: int64 (cells,), each cell's candidate, -1 where it belongs to none.
    """

    member: NDArray[np.bool_]
    compound: NDArray[np.int64]
    partner: NDArray[np.int64]
    of_cell: NDArray[np.int64]

    def sums(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of a value per cell over each candidate's cells, shape (c,)."""
        used = self.of_cell >= 0
        return np.bincount(self.of_cell[used], weights=cells[used], minlength=len(self.member)).astype(np.float64)

    def split(self, values: NDArray[Value]) -> tuple[NDArray[Value], NDArray[Value]]:
        """Return the values (scores, for instance) of members and of non-members."""
        return values[self.member], values[~self.member]


def non_members(dataset: Dataset, *, seed: int) -> NDArray[np.bool_]:
    """Return which compounds can stand for what the models didn't see, bool (compounds,), see the module's text."""
    clusters = int(dataset.cluster.max(initial=-1)) + 1

    def has(fold: Fold) -> NDArray[np.bool_]:
        return np.bincount(dataset.cluster[dataset.fold == fold], minlength=clusters) > 0

    trained, held_out = has(Fold.TRAIN), has(Fold.VALIDATION) | has(Fold.TEST)
    kept = trained.copy()
    if (held_out & has(Fold.AUDIT)).any():
        share = trained.sum() / max(int((trained | held_out).sum()), 1)
        unknown = ~trained & ~held_out
        kept |= unknown & (np.random.default_rng([seed, 3]).random(clusters) < share)
    else:
        # The audit fold was drawn from training scaffolds alone: nothing to leave out.
        kept |= ~held_out
    return np.asarray((dataset.fold == Fold.AUDIT) & kept[dataset.cluster])


def candidates_of(dataset: Dataset, member_of: MemberOf, *, seed: int, partner: int | None = None) -> Candidates:
    """Return the candidates of a membership attack; with ``partner`` only those at that partner."""
    cells = dataset.activities
    owner = np.array([task.partner for task in dataset.tasks], dtype=np.int64)[cells.task]
    compound = cells.compound.astype(np.int64)
    outside = non_members(dataset, seed=seed)
    used = (dataset.fold[compound] == Fold.TRAIN) | outside[compound]
    if partner is not None:
        used &= owner == partner
    who = owner if member_of == "partner" else np.full(len(owner), -1, dtype=np.int64)
    unit = (who + 1) * len(dataset.fold) + compound
    units, place = np.unique(unit[used], return_inverse=True)
    of_cell = np.full(len(cells), -1, dtype=np.int64)
    of_cell[used] = place
    found = units % len(dataset.fold)
    return Candidates(
        member=dataset.fold[found] == Fold.TRAIN,
        compound=found,
        partner=units // len(dataset.fold) - 1,
        of_cell=of_cell,
    )


def losses_with(dataset: Dataset) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Return a function from predictions (cells,) to each cell's loss: half the squared error in units of the task's spread
    among its owner's training cells (one-sided where censored), or the logistic loss. A missing prediction costs nothing.
    """
    cells = dataset.activities
    train = dataset.fold[cells.compound] == Fold.TRAIN
    spread = np.ones(len(dataset.tasks))
    for task in range(len(dataset.tasks)):
        values = cells.value[train & (cells.task == task)]
        if len(values) and values.std() > 1e-6:
            spread[task] = values.std()
    scale = spread[cells.task]
    binary = np.array([task.kind is TaskKind.CLASSIFICATION for task in dataset.tasks])[cells.task]

    def losses(prediction: NDArray[np.float32]) -> NDArray[np.float64]:
        predicted = prediction.astype(np.float64)
        error = (predicted - cells.value) / scale
        squared = 0.5 * np.where(error * cells.relation > 0, 0.0, error) ** 2
        right = np.where(cells.value > 0.5, predicted, 1.0 - predicted)
        logistic = -np.log(np.clip(np.nan_to_num(right, nan=1.0), FLOOR, 1.0))
        return np.nan_to_num(np.where(binary, logistic, squared), nan=0.0)

    return losses
