"""A trained model: the shared trunk and each partner's private heads, as arrays, on disk as safetensors.

In a simulation one object holds every partner's heads, because one process plays all partners; :meth:`Model.of` is what a
single partner owns. Its heads and scaling say what the partner's assays are worth: the file belongs to that partner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from securefl.chem.dataset import Activities, Dataset
from securefl.errors import InputError, ParameterError
from securefl.files import read_bytes, write_bytes
from securefl.learning.cells import Scaling
from securefl.learning.family import inputs_for
from securefl.learning.graph import GraphShape
from securefl.learning.graph_batch import graph_batch
from securefl.learning.heads import Heads
from securefl.learning.sparse import batch_of
from securefl.learning.trunk import Trunk

FORMAT = b"securefl/model/1"
ROWS = 2048
"""Compounds that are computed at a time: what prediction needs in memory beside its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerHeads:
    """One partner's heads: ``weight`` float32 (k, width), ``bias`` float32 (k,), and how its targets are scaled."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    scaling: Scaling

    def load_into(self, heads: Heads) -> None:
        """Overwrite ``heads`` with these weights.

        Raises:
            ParameterError: the shapes differ.
        """
        if heads.weight.shape != self.weight.shape:
            raise ParameterError(f"heads have shape {self.weight.shape}, must be {tuple(heads.weight.shape)}")
        with torch.no_grad():
            heads.weight.copy_(torch.from_numpy(self.weight.copy()))
            heads.bias.copy_(torch.from_numpy(self.bias.copy()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``trunk``: float32 arrays by name, in the layout's order. ``heads``: by partner, counted from 0."""

    trunk: Mapping[str, NDArray[np.float32]]
    heads: Mapping[int, PartnerHeads]

    @property
    def bits(self) -> int:
        """Number of fingerprint bits that the trunk reads."""
        return int(self.trunk["first.weight"].shape[0])

    @property
    def hidden(self) -> tuple[int, ...]:
        """Sizes of the hidden layers."""
        count = sum(name.startswith("layers.") and name.endswith(".bias") for name in self.trunk)
        names = ["first.bias", *(f"layers.{i}.bias" for i in range(count))]
        return tuple(len(self.trunk[name]) for name in names)

    @property
    def outputs(self) -> int:
        """Number of common tasks, which are outputs of the trunk."""
        return len(self.trunk["outputs.bias"]) if "outputs.bias" in self.trunk else 0

    @property
    def graph(self) -> GraphShape | None:
        """Sizes of the message passing, ``None`` for a trunk on fingerprints."""
        if "first.bond" not in self.trunk:
            return None
        steps = sum(name.startswith("first.steps.") and name.endswith(".bias") for name in self.trunk)
        return GraphShape(int(self.trunk["first.bond"].shape[1]), steps)

    def of(self, partner: int) -> Model:
        """Return what one partner owns after the run: the trunk and its own heads."""
        return Model(trunk=self.trunk, heads={partner: self.heads[partner]})

    def network(self) -> Trunk:
        """Return the trunk as a module, without dropout.

        Raises:
            ParameterError: a tensor is missing or has a shape that doesn't fit the others.
        """
        trunk = Trunk(self.bits, self.hidden, graph=self.graph, outputs=self.outputs)
        if missing := sorted(set(trunk.layout.names) - set(self.trunk)):
            raise ParameterError(f"trunk lacks {missing}")
        trunk.load(self.trunk)
        return trunk

    def save(self, path: Path) -> None:
        """Write the model as safetensors, under a temporary name first.

        Raises:
            InputError: the file can't be written; what was there before is still there.
        """
        write_bytes(path, model_tensors(self))

    def entries(self) -> Iterator[tuple[str, NDArray[np.generic]]]:
        """Yield every tensor by its name in the file."""
        for name, value in self.trunk.items():
            yield f"trunk.{name}", np.ascontiguousarray(value, dtype=np.float32)
        for partner, heads in self.heads.items():
            yield f"heads.{partner}.weight", np.ascontiguousarray(heads.weight, dtype=np.float32)
            yield f"heads.{partner}.bias", np.ascontiguousarray(heads.bias, dtype=np.float32)
            for name in ("tasks", "mean", "std", "binary"):
                yield f"heads.{partner}.{name}", np.ascontiguousarray(getattr(heads.scaling, name))

    @classmethod
    def load(cls, path: Path) -> Model:
        """Return the model in ``path``.

        Raises:
            InputError: the file can't be read or isn't a model of ours.
        """
        try:
            data = read_bytes(path)
        except OSError as error:
            raise InputError(f"can't read model {path}: {error.strerror}") from error
        return model_from(load_arrays(data, path), path)


def model_tensors(model: Model, part: str = "") -> bytes:
    """Return the safetensors bytes of ``model``, or of its ``part`` ("trunk" or "heads") alone."""
    entries = {name: value for name, value in model.entries() if name.startswith(part)}
    return bytes(save_tensors(entries, metadata={"format": FORMAT.decode()}))


def load_arrays(data: bytes, path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays in the safetensors bytes ``data`` of the file ``path``.

    Raises:
        InputError: they are no safetensors.
    """
    try:
        return dict(load_tensors(data))
    except SafetensorError as error:
        raise InputError(f"model {path} is not safetensors: {error}") from error


def model_from(tensors: dict[str, NDArray[np.generic]], path: Path) -> Model:
    """Return the model that ``tensors`` of ``path`` make.

    Raises:
        InputError: one is missing, or they don't fit together.
    """
    try:
        return _assembled(tensors)
    except (KeyError, ValueError) as error:
        raise InputError(f"model {path} is incomplete: {error}") from error


def _assembled(tensors: dict[str, NDArray[np.generic]]) -> Model:
    trunk: dict[str, NDArray[np.float32]] = {
        name.removeprefix("trunk."): value.astype(np.float32) for name, value in tensors.items() if name.startswith("trunk.")
    }
    partners = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("heads.")})
    heads = {}
    for partner in partners:
        part = {name: tensors[f"heads.{partner}.{name}"] for name in ("weight", "bias", "tasks", "mean", "std", "binary")}
        heads[partner] = PartnerHeads(
            weight=part["weight"].astype(np.float32),
            bias=part["bias"].astype(np.float32),
            scaling=Scaling(
                tasks=part["tasks"].astype(np.int32),
                mean=part["mean"].astype(np.float32),
                std=part["std"].astype(np.float32),
                binary=part["binary"].astype(bool),
            ),
        )
    model = Model(trunk=trunk, heads=heads)
    model.network()
    return model


def predict(model: Model, dataset: Dataset, cells: Activities) -> NDArray[np.float32]:
    """Return a prediction for each cell, float32 (n_cells,): pX in original units, or the probability of class 1.

    Raises:
        InputError: the fingerprints have another size, or a cell's task has no head in ``model``.
    """
    dataset = inputs_for(dataset, graph=model.graph is not None)
    if dataset.bits != model.bits:
        raise InputError(f"dataset has {dataset.bits} bits, the model reads {model.bits}")
    owner = np.array([task.partner for task in dataset.tasks], dtype=np.int64)[cells.task]
    if missing := sorted(set(owner.tolist()) - set(model.heads)):
        raise InputError(f"model has no heads of partner {missing[0]}, only of {sorted(model.heads)}")
    compounds, place = np.unique(cells.compound, return_inverse=True)
    hidden = _hidden(model.network(), dataset, compounds)
    result = np.empty(len(cells), dtype=np.float32)
    for partner, heads in model.heads.items():
        own = np.flatnonzero(owner == partner)
        local = np.full(len(dataset.tasks), -1, dtype=np.int64)
        local[heads.scaling.tasks] = np.arange(len(heads.scaling))
        task = local[cells.task[own]]
        if len(task) and task.min() < 0:
            raise InputError(f"partner {partner} has no head for task {int(cells.task[own][task < 0][0])}")
        result[own] = _in_units(hidden, place[own], task, heads)
    return result


def predict_all(model: Model, partner: int, dataset: Dataset) -> NDArray[np.float32]:
    """Return every head's prediction for every compound of ``dataset``, float32 (n_compounds, heads), units as :func:`predict`.

    Raises:
        InputError: the fingerprints have another size.
    """
    dataset = inputs_for(dataset, graph=model.graph is not None)
    if dataset.bits != model.bits:
        raise InputError(f"dataset has {dataset.bits} bits, the model reads {model.bits}")
    heads = model.heads[partner]
    hidden = _hidden(model.network(), dataset, np.arange(len(dataset.smiles), dtype=np.int32))
    return _units(hidden @ heads.weight.T + heads.bias, heads.scaling, slice(None))


def _units(
    output: NDArray[np.float32], scaling: Scaling, task: NDArray[np.int64] | slice
) -> NDArray[np.float32]:
    """Return heads' outputs in the units of their tasks, the last axis along ``task``."""
    probability = 1.0 / (1.0 + np.exp(-np.clip(output, -60, 60)))
    scaled = output * scaling.std[task] + scaling.mean[task]
    return np.where(scaling.binary[task], probability, scaled).astype(np.float32)


def _in_units(
    hidden: NDArray[np.float32], place: NDArray[np.int64], task: NDArray[np.int64], heads: PartnerHeads
) -> NDArray[np.float32]:
    result = np.empty(len(task), dtype=np.float32)
    # Task by task: one matrix-vector product over the task's own compounds, nothing for labels that don't exist.
    for k in np.unique(task):
        mine = np.flatnonzero(task == k)
        result[mine] = hidden[place[mine]] @ heads.weight[k] + heads.bias[k]
    return _units(result, heads.scaling, task)


@torch.no_grad()
def _hidden(trunk: Trunk, dataset: Dataset, compounds: NDArray[np.int32]) -> NDArray[np.float32]:
    hidden = np.empty((len(compounds), trunk.width), dtype=np.float32)
    for start in range(0, len(compounds), ROWS):
        rows = compounds[start : start + ROWS]
        graph = None if dataset.graphs is None else graph_batch(dataset.graphs.select(rows))
        hidden[start : start + len(rows)] = trunk(batch_of(dataset.fingerprints, rows, graph)).numpy()
    return hidden
