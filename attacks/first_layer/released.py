"""What an arm released of its first layer, with the truth that only a scorer may see.

``as-run`` is the first round as the run really sent it. ``exposed`` (:mod:`attacks.first_layer.exposed`) is one step on few
compounds, the worst case of the same scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.first_layer.label_inference import Layer
from attacks.first_layer.rows import Delta
from securefl.chem.dataset import Dataset, Fold, Relation, TaskKind
from securefl.errors import InputError

ReleaseName = Literal["as-run", "exposed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """One partner's part: its compounds (rows of the dataset), their labels, its weight and its update.

    ``label`` int8: 1 above the task's mean (or active), -1 below, 0 where the compound has not exactly one usable value.
    ``update`` is as handed to secure aggregation, after the guard; ``None`` where only the sum is looked at.
    """

    compounds: NDArray[np.int64]
    label: NDArray[np.int8]
    weight: int
    update: Delta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A first-layer release: what was sent, and whose compounds were behind it.

    Attributes:
        parts: by partner. total: float64 (bits, h), the opened sum of weight times update, or ``None``.
        layers: the public trunk that the step started from, first layer first, weights (inputs, outputs).
        fingerprints: CSR (compounds, bits), rows of all compounds of ``parts`` filled.
        library: CSR (l, bits), public compounds that no partner trained on: what guessing without a release would name.
        noise: standard deviation of an entry of an update (float rounding), ``None`` where privacy noise of an unstated size is
            in it. step: the quantiser's step.
        bits: numbers of the rows that were released, ``None`` for all of them.
        note: what a reader has to know about this release, in one clause.
        sum_noise: standard deviation of the noise that the scheme itself adds to an entry of the sum; public.
        contributors: int64 (bits,), how many partners contribute to each row, where the arm opened that count.
    """

    name: ReleaseName
    optimiser: str
    parts: Mapping[int, Contribution]
    total: NDArray[np.float64] | None
    layers: tuple[Layer, ...]
    fingerprints: sp.csr_matrix
    library: sp.csr_matrix
    noise: float | None
    step: float
    bits: NDArray[np.int64] | None = None
    note: str = ""
    sum_noise: float = 0.0
    contributors: NDArray[np.int64] | None = None


def labels_of(dataset: Dataset, partner: int, compounds: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return each compound's label at ``partner``, see :class:`Contribution`; the mean is that of the training cells."""
    cells = dataset.cells(partner, Fold.TRAIN)
    mean = np.zeros(len(dataset.tasks))
    count = np.bincount(cells.task, minlength=len(mean))
    np.add.at(mean, cells.task, cells.value)
    mean /= np.maximum(count, 1)
    for task, described in enumerate(dataset.tasks):
        if described.kind is TaskKind.CLASSIFICATION:
            mean[task] = 0.5
    sign = np.where(cells.relation == Relation.EQUAL, np.sign(cells.value - mean[cells.task]), 0).astype(np.int64)
    number = len(dataset.inchikeys)
    values, once = np.bincount(cells.compound, minlength=number), np.zeros(number, dtype=np.int64)
    np.add.at(once, cells.compound, sign)
    return np.where(values == 1, once, 0)[compounds].astype(np.int8)


def library_of(dataset: Dataset, *, size: int, seed: int) -> NDArray[np.int64]:
    """Return rows of up to ``size`` compounds that no partner trains on: the guesser's public library."""
    outside = np.flatnonzero(dataset.fold != Fold.TRAIN)
    return np.sort(np.random.default_rng(seed).permutation(outside)[:size])


def layers_of(trunk: Mapping[str, NDArray[np.float32]]) -> tuple[Layer, ...]:
    """Return the trunk's layers as weights (inputs, outputs) and biases, from its tensors by name.

    Of a graph trunk the atom table alone: what follows it is no stack of layers.
    """
    if "first.bond" in trunk:
        return ((trunk["first.weight"], np.zeros(trunk["first.weight"].shape[1], dtype=np.float32)),)
    layers = [(trunk["first.weight"], trunk["first.bias"])]
    while f"layers.{len(layers) - 1}.weight" in trunk:
        name = f"layers.{len(layers) - 1}"
        layers.append((np.ascontiguousarray(trunk[f"{name}.weight"].T), trunk[f"{name}.bias"]))
    return tuple(layers)


def weight_rounding(weights: NDArray[np.float32]) -> float:
    """Return the standard deviation of an update's rounding: it is a difference of two float32 weights of this size."""
    return float(np.sqrt(np.mean(np.square(weights, dtype=np.float64)))) * 2.0**-24


def load_as_run(folder: Path, dataset: Dataset, *, step: float, noisy: bool = False) -> Released | None:
    """Return the first round's release of the arm in ``folder`` (``RUN/arms/ARM``), ``None`` if it released nothing.

    ``step`` is the quantiser's; ``noisy`` says that the updates hold privacy noise.

    Raises:
        InputError: a release is there and can't be read, or is of another dataset.
    """
    paths = sorted(folder.glob("seed-*/release.npz"))
    if not paths:
        return None
    try:
        # Opened here, since numpy would leave a broken archive open.
        with paths[0].open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        initial, total = found["initial"], found["total"].astype(np.float64)
        updates = {p: found[f"update_{p}"] for p in range(len(dataset.partners)) if f"update_{p}" in found}
        weights = {p: int(found[f"weight_{p}"]) for p in updates}
        optimiser = str(found["optimiser"])
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(f"can't read release {paths[0]}: {error}") from error
    if initial.shape[0] != dataset.bits or not updates:
        raise InputError(f"{paths[0]} has {initial.shape[0]} bits and {len(updates)} updates, dataset has {dataset.bits} bits")
    parts = {}
    for partner, update in updates.items():
        compounds = np.unique(dataset.cells(partner, Fold.TRAIN).compound).astype(np.int64)
        parts[partner] = Contribution(
            compounds=compounds, label=labels_of(dataset, partner, compounds), weight=weights[partner], update=update
        )
    return Released(
        name="as-run",
        optimiser=optimiser,
        parts=parts,
        total=total,
        layers=((initial, np.zeros(initial.shape[1], dtype=np.float32)),),
        fingerprints=dataset.fingerprints,
        library=dataset.fingerprints[library_of(dataset, size=500, seed=0)],
        noise=None if noisy else weight_rounding(initial),
        step=step,
        contributors=found.get("contributors"),
    )
