"""Shadow models: the target's own recipe on random halves of the candidates, and the cache of what they fit.

A shadow is :func:`securefl.federation.train_federated` on the same dataset with another fold column: each compound of the
training and the audit fold is in half of the shadows, the validation and test folds stay. So rounds, early stopping and
everything else are exactly the target's; only the number of training compounds is half.

They are trained where joblib says: one after the other unless a caller chose otherwise, e.g. eight processes by
``with joblib.parallel_config(backend="loky", n_jobs=8)``, or several machines by a backend that Dask or Ray registers with
joblib (``"dask"`` inside a ``distributed.Client``, ``"ray"`` after ``ray.util.joblib.register_ray()``). What is trained is
the same anywhere, to the last bit. joblib sends the dataset and the settings to its own workers as pickles; nothing of a
partner's is read so.

The cache is named by a hash of data, recipe, seed and order, and holds them; anything else is trained again. A cache of an
earlier run or another order of cells can't bleed into an audit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from attacks.membership.candidates import losses_with
from attacks.membership.shadow_losses import Shadows
from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.config import RunConfig
from securefl.errors import InputError, ParameterError
from securefl.evaluation.predictions import load_arrays, save_arrays
from securefl.learning.model import Model, predict
from securefl.types import Progress, silent

JOBS = 2
"""Processes that train shadows in a command unless it is told otherwise: each one holds as much memory as the training did."""
ONE = "made"
TrainShadow = Callable[[Dataset, int], Model]
"""Trains one shadow on a dataset whose fold column says what to train on; the number seeds it."""


def halves(dataset: Dataset, count: int, *, seed: int) -> NDArray[np.bool_]:
    """Return which compounds each of ``count`` shadows trains on, bool (count, compounds).

    Each candidate is in half of them (one more or less where ``count`` is odd); a task that would be left without a training
    value, or without one of its classes, gets its first ones back.

    Raises:
        ParameterError: ``count`` is under 2.
    """
    if count < 2:
        raise ParameterError(f"shadows={count} must be >= 2: each compound has to be in some and out of some")
    pool = (dataset.fold == Fold.TRAIN) | (dataset.fold == Fold.AUDIT)
    draw = np.random.default_rng([seed, 4])
    order = draw.random((count, len(dataset.fold))).argsort(axis=0)
    inside = (order < count // 2) & pool
    cells = dataset.activities
    for task, described in enumerate(dataset.tasks):
        mine = (cells.task == task) & pool[cells.compound]
        values = cells.value[mine] if described.kind is TaskKind.CLASSIFICATION else np.zeros(int(mine.sum()))
        for value in np.unique(values):
            compounds = cells.compound[mine][values == value]
            bare = ~inside[:, compounds].any(axis=1)
            inside[bare, compounds[0]] = True
    return np.asarray(inside)


def fold_for(dataset: Dataset, inside: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return the fold column of a shadow that trains on ``inside`` and on no other candidate."""
    pool = (dataset.fold == Fold.TRAIN) | (dataset.fold == Fold.AUDIT)
    return np.where(pool, np.where(inside, Fold.TRAIN, Fold.AUDIT), dataset.fold).astype(np.int8)


def cache_key(dataset: Dataset, config: RunConfig, *, recipe: str, count: int) -> str:
    """Return the hex hash that names a set of shadows: data, folds, order of cells, recipe, number and seed."""
    cells = dataset.activities
    digest = hashlib.sha256(b"securefl/shadows/1")
    about = {
        "data": dataset.sha256,
        "model": config.model.model_dump(mode="json"),
        "federation": config.federation.model_dump(mode="json"),
        "dp": config.dp.model_dump(mode="json") if recipe == "dp" else None,
        "recipe": recipe,
        "count": count,
        "seed": config.attacks.seed,
    }
    digest.update(json.dumps(about, sort_keys=True).encode())
    for array in (dataset.fold, cells.task, cells.compound, cells.value, cells.relation):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def shadows_of(
    run: Path,
    dataset: Dataset,
    *,
    config: RunConfig,
    recipe: str,
    count: int,
    train: TrainShadow,
    progress: Progress = silent,
) -> Shadows:
    """Return ``count`` shadows of a recipe, from the run's cache ``RUN/shadows/HASH.npz`` or trained now.

    A training that was interrupted goes on with the shadows that are missing.

    Raises:
        InputError: a shadow can't be trained, or the cache can't be written.
    """
    key = cache_key(dataset, config, recipe=recipe, count=count)
    path = run / "shadows" / f"{key}.npz"
    inside = halves(dataset, count, seed=config.attacks.seed)
    done = _cached(path, key, inside)
    progress(f"{recipe} shadow models", len(done), count)
    missing = (delayed(_losses_of)(train, dataset, inside[number], 1000 + number) for number in range(len(done), count))
    # Results come in the order of the shadows, and each is on the disk before the next is waited for.
    for losses in Parallel(return_as="generator")(missing):
        done.append(losses)
        progress(f"{recipe} shadow models", len(done), count)
        save_arrays(path, {"key": np.array(key), "inside": inside, "losses": np.stack(done)})
    return Shadows(losses=np.stack(done).astype(np.float64), inside=inside)


def _losses_of(train: TrainShadow, dataset: Dataset, inside: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
    """Return the losses (cells,) of one shadow: what a worker does."""
    model = train(dataclasses.replace(dataset, fold=fold_for(dataset, inside)), seed)
    return losses_with(dataset)(predict(model, dataset, dataset.activities)).astype(np.float32)


def _cached(path: Path, key: str, inside: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
    """Return the losses of the shadows in ``path``, none if it is missing, broken or of something else."""
    kept = cached_arrays(path, ("key", "inside", "losses"))
    if kept is None or str(kept["key"]) != key or not np.array_equal(kept["inside"], inside):
        return []
    return [np.asarray(each, dtype=np.float32) for each in kept["losses"]]


def cached_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.generic]] | None:
    """Return the arrays of a cache, ``None`` if it is missing or broken: what it held is then made again."""
    try:
        return load_arrays(path, names)
    except InputError:
        return None


def made_once(path: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return the array in the cache ``path``, or make it now and keep it there."""
    kept = cached_arrays(path, (ONE,))
    if kept is not None:
        return kept[ONE]
    made = make()
    save_arrays(path, {ONE: made})
    return made
