"""Single-task baselines: one model for each partner-task, trained on that task's own cells alone.

Random forests, support vector machines (linear and RBF) and gradient boosting on ECFP are the standard of the field for one
assay; the funding call compares with nothing less. Every partner could run them without anybody else, so they leak nothing to
others. Censored cells enter training at their reported limit.

A split of a tree looks at the square root of the bits that vary in the task: on 13 tasks of the default data 100 such trees
reached R2 0.25 against 0.20 with a third of the bits, in a third of the time. A support vector machine's scores become
probabilities by Platt's sigmoid on held-out fifths of the training cells.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.svm import SVC, SVR

from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.errors import ParameterError
from securefl.types import Progress, silent

MAX_TREES = 100
BOOSTED_DEPTH = 5
LINEAR_C, RBF_C = 0.1, 10.0
"""Penalties of the support vector machines, usual for bits of ECFP; not tuned for each task."""
FOLDS = 5
"""Parts of the training cells on which a support vector machine's probabilities are calibrated, at most."""


class Family(Enum):
    """A family of single-task models; the values are the config's names."""

    FOREST = "random-forest"
    LINEAR_SVM = "linear-svm"
    RBF_SVM = "rbf-svm"
    BOOSTING = "gradient-boosting"


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleTaskParams:
    """The ``family``, ``trees`` of a forest or boosting steps (1 to 100), ``min_leaf`` training cells in a leaf, the seed."""

    family: Family = Family.FOREST
    trees: int = 100
    min_leaf: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.trees <= MAX_TREES or self.min_leaf < 1:
            raise ParameterError(f"trees={self.trees} must be 1 to {MAX_TREES} and min_leaf={self.min_leaf} >= 1")


def task_model(dataset: Dataset, task: int, params: SingleTaskParams) -> NDArray[np.float32]:
    """Return predictions for all cells of ``task``, in their order; probabilities where the task classifies.

    Without a training cell there is no model: all predictions are NaN. With one class only, or one value, the model is
    that constant.
    """
    cells = dataset.activities
    mine = np.flatnonzero(cells.task == task)
    train = mine[dataset.fold[cells.compound[mine]] == Fold.TRAIN]
    if len(train) == 0:
        return np.full(len(mine), np.nan, dtype=np.float32)
    known = dataset.fingerprints[cells.compound[train]]
    counts = np.asarray((known > 0).sum(axis=0)).ravel()
    # A bit that all or none of the training compounds have can't split anything: it only costs time.
    varying = np.flatnonzero((counts > 0) & (counts < len(train)))
    target = cells.value[train]
    if len(varying) == 0 or np.ptp(target) == 0:
        return np.full(len(mine), target.mean(), dtype=np.float32)
    kind = dataset.tasks[task].kind
    model = _untrained(kind, params, target, seed=int(np.random.SeedSequence([params.seed, task]).generate_state(1)[0]))
    if model is None:
        return np.full(len(mine), target.mean(), dtype=np.float32)
    model.fit(_features(known[:, varying], params.family), target)
    asked = _features(dataset.fingerprints[cells.compound[mine]][:, varying], params.family)
    if kind is TaskKind.CLASSIFICATION:
        return np.asarray(model.predict_proba(asked)[:, 1], dtype=np.float32)
    return np.asarray(model.predict(asked), dtype=np.float32)


def _features(rows: sp.csr_matrix, family: Family) -> sp.csr_matrix | NDArray[np.float32]:
    """Return the bits as the family reads them fastest: trees dense, support vector machines sparse."""
    if family in (Family.LINEAR_SVM, Family.RBF_SVM):
        return rows.astype(np.float64)
    return np.asarray(rows.toarray(), dtype=np.float32)


def _untrained(kind: TaskKind, params: SingleTaskParams, target: NDArray[np.float32], *, seed: int) -> Any | None:
    """Return an untrained estimator; ``None`` where a machine's probabilities can't be calibrated (one cell of a class)."""
    classifies = kind is TaskKind.CLASSIFICATION
    match params.family:
        case Family.FOREST:
            forest = RandomForestClassifier if classifies else RandomForestRegressor
            return forest(params.trees, max_features="sqrt", min_samples_leaf=params.min_leaf, random_state=seed)
        case Family.BOOSTING:
            boosting = GradientBoostingClassifier if classifies else GradientBoostingRegressor
            return boosting(
                n_estimators=params.trees,
                max_features="sqrt",
                max_depth=BOOSTED_DEPTH,
                min_samples_leaf=params.min_leaf,
                subsample=0.8,
                random_state=seed,
            )
        case Family.LINEAR_SVM | Family.RBF_SVM:
            kernel, penalty = ("linear", LINEAR_C) if params.family is Family.LINEAR_SVM else ("rbf", RBF_C)
            if not classifies:
                return SVR(kernel=kernel, C=penalty)
            folds = min(FOLDS, int((target > 0).sum()), int((target == 0).sum()))
            return CalibratedClassifierCV(SVC(kernel=kernel, C=penalty), cv=folds, ensemble=False) if folds > 1 else None


def single_task_models(
    dataset: Dataset,
    *,
    params: SingleTaskParams,
    tasks: Sequence[int] | None = None,
    cores: int | None = None,
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Return a prediction for each cell of ``dataset.activities`` from its task's own model, NaN where none exists.

    The result does not depend on ``cores`` (all of them unless told), nor on which other tasks are asked for.
    """
    chosen = range(len(dataset.tasks)) if tasks is None else tasks
    predictions = np.full(len(dataset.activities), np.nan, dtype=np.float32)
    # Threads, not processes: growing a tree releases the interpreter's lock, and the fingerprints are shared.
    pool = Parallel(n_jobs=cores or len(os.sched_getaffinity(0)), prefer="threads", return_as="generator")
    results = pool(delayed(task_model)(dataset, task, params) for task in chosen)
    for done, (task, result) in enumerate(zip(chosen, results, strict=True), start=1):
        predictions[dataset.activities.task == task] = result
        progress(f"single-task {params.family.value}", done, len(chosen))
    return predictions
