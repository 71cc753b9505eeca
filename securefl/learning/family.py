"""The model families: what each one's first layer reads, and how a trunk of it is built from the config.

``mlp`` reads fingerprints, ``graph`` reads atoms and bonds (:mod:`securefl.learning.graph`). Everything else is the same: the
dense layers, the heads, the trainer, the protocols, the attacks. To every one of them a family's input is a binary matrix
with a row for each compound and a column for each row of the first table; for graphs it says which atoms a compound has.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from securefl.chem.dataset import Dataset
from securefl.chem.graphs import ATOM_ROWS, cached_graphs, graphs_of
from securefl.config import ModelConfig
from securefl.errors import InputError, ParameterError
from securefl.learning.cells import Scaling
from securefl.learning.graph import GraphShape, graph_entries
from securefl.learning.heads import Heads
from securefl.learning.layout import TensorLayout, trunk_layout
from securefl.learning.trunk import Trunk
from securefl.types import Progress, silent


def with_graphs(dataset: Dataset, model: ModelConfig, cache: Path | None = None, progress: Progress = silent) -> Dataset:
    """Return ``dataset`` with the graphs that ``model``'s family needs, kept in the npz file ``cache``; as it is if none.

    Raises:
        InputError: a SMILES can't be parsed, or the file can't be written.
    """
    return attach_graphs(dataset, cache, progress) if model.family == "graph" else dataset


def attach_graphs(dataset: Dataset, cache: Path | None = None, progress: Progress = silent) -> Dataset:
    """Return ``dataset`` with its molecules as graphs; errors as for :func:`with_graphs`."""
    if dataset.graphs is not None:
        return dataset
    graphs = graphs_of(dataset.smiles, progress) if cache is None else cached_graphs(dataset.smiles, cache, progress)
    return dataclasses.replace(dataset, graphs=graphs)


def inputs_of(dataset: Dataset, model: ModelConfig) -> Dataset:
    """Return ``dataset`` as the trunk of ``model`` reads it: the fingerprints of a graph family are its atoms' rows.

    Raises:
        InputError: the family needs graphs and the dataset has none.
    """
    return inputs_for(dataset, graph=model.family == "graph")


def inputs_for(dataset: Dataset, *, graph: bool) -> Dataset:
    """Return ``dataset`` as a trunk on graphs, or on fingerprints, reads it; errors as for :func:`inputs_of`."""
    if not graph:
        return dataset if dataset.graphs is None else dataclasses.replace(dataset, graphs=None)
    if dataset.graphs is None:
        raise InputError("the graph family needs graphs, the dataset has none: use securefl.learning.family.with_graphs")
    return dataclasses.replace(dataset, fingerprints=dataset.graphs.presence)


def require_private_step(model: ModelConfig) -> None:
    """Return if gradients of single records can be taken apart in this family, as record-level privacy needs.

    Raises:
        ParameterError: they can't.
    """
    if model.family != "mlp":
        raise ParameterError(f"model.family={model.family!r} has no private step: record-level privacy needs 'mlp'")
    if model.common:
        raise ParameterError(f"model.common has {len(model.common)} tasks, must have 0 for record-level privacy")


def graph_shape(model: ModelConfig) -> GraphShape | None:
    """Return the sizes of ``model``'s message passing, ``None`` for a family without."""
    return GraphShape(model.graph_width, model.graph_steps) if model.family == "graph" else None


def layout_of(dataset: Dataset, model: ModelConfig) -> TensorLayout:
    """Return the tensors of ``model``'s trunk on ``dataset``."""
    return layout_for(dataset.bits, model)


def layout_for(bits: int, model: ModelConfig) -> TensorLayout:
    """Return the tensors of ``model``'s trunk on fingerprints of ``bits``, which a graph family does not read."""
    shape = graph_shape(model)
    outputs = len(model.common)
    if shape is None:
        return trunk_layout(bits, model.hidden, outputs=outputs)
    return trunk_layout(ATOM_ROWS, model.hidden, graph_entries(ATOM_ROWS, model.hidden[0], shape), outputs=outputs)


def trunk_of(dataset: Dataset, model: ModelConfig, generator: torch.Generator | None = None) -> Trunk:
    """Return a trunk of ``model``'s family for ``dataset``; without ``generator`` its weights are zero."""
    shape = graph_shape(model)
    rows = dataset.bits if shape is None else ATOM_ROWS
    return Trunk(
        rows, model.hidden, dropout=model.dropout, generator=generator, graph=shape, outputs=len(model.common)
    )


def fresh_heads(dataset: Dataset, scaling: Scaling, model: ModelConfig) -> Heads:
    """Return fresh heads of the tasks of ``scaling``: a partner's own, or those that hand on the common tasks' outputs.

    Raises:
        InputError: some tasks are common, and one of these is not.
    """
    if not model.common:
        return Heads.fresh(scaling, model.hidden[-1])
    names = [dataset.tasks[task].name for task in scaling.tasks]
    if foreign := sorted(set(names) - set(model.common)):
        raise InputError(f"task {foreign[0]!r} is not among model.common: with common tasks, all must be")
    return Heads.handing_on([model.common.index(name) for name in names], scaling, len(model.common))
