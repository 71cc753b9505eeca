"""The graph family behind the same trunk: shapes, gradients, and what a row that nobody uses does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from securefl.chem.dataset import Dataset
from securefl.chem.graphs import ATOM_ROWS, graphs_of
from securefl.config import ModelConfig
from securefl.errors import InputError, ParameterError
from securefl.learning.cells import joined, records_of, scaling_of
from securefl.learning.family import inputs_of, layout_of, trunk_of, with_graphs
from securefl.learning.graph import GraphLayers, GraphShape
from securefl.learning.graph_batch import graph_batch
from securefl.learning.sparse import SparseBatch, batch_of
from securefl.learning.trunk import Trunk

GRAPH = ModelConfig(family="graph", hidden=(12, 6), graph_width=8, graph_steps=2)
SMILES = ("CCO", "c1ccccc1O", "[Na+].[Cl-]", "CC(=O)NC")


def made_trunk() -> Trunk:
    return Trunk(ATOM_ROWS, (12, 6), generator=torch.Generator().manual_seed(0), graph=GraphShape(8, 2))


def batch(smiles: tuple[str, ...]) -> SparseBatch:
    graphs = graphs_of(smiles)
    return batch_of(graphs.presence, np.arange(len(smiles)), graph_batch(graphs))


def test_the_layout_lists_the_tensors_of_the_trunk(tiny_dataset: Dataset) -> None:
    trunk = made_trunk()
    layout = layout_of(tiny_dataset, GRAPH)
    assert trunk.layout == layout
    assert {name: tuple(value.shape) for name, value in trunk.named_parameters()} == dict(layout.tensors)
    assert trunk.width == 6
    assert "first.weight" in layout.names


def test_a_molecule_gets_the_same_whatever_stands_beside_it_and_however_its_atoms_are_numbered() -> None:
    trunk = made_trunk()
    together = trunk(batch(SMILES)).detach().numpy()
    alone = np.concatenate([trunk(batch((smiles,))).detach().numpy() for smiles in SMILES])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(trunk(batch(("OCC",))).detach().numpy(), together[:1], atol=1e-5)
    assert np.abs(together[0] - together[3]).max() > 1e-3


def test_bonds_and_their_kinds_reach_the_output() -> None:
    trunk = made_trunk()
    assert isinstance(trunk.first, GraphLayers)
    with torch.no_grad():
        trunk.first.bond.normal_(generator=torch.Generator().manual_seed(1))
    whole = batch(("CC(=O)NC",))
    assert whole.graph is not None
    single = dataclasses.replace(whole, graph=dataclasses.replace(whole.graph, kind=torch.zeros_like(whole.graph.kind)))
    assert (trunk(whole) - trunk(single)).abs().max() > 1e-4


def test_rows_that_no_molecule_uses_get_exactly_no_gradient() -> None:
    trunk = made_trunk()
    some = batch(SMILES)
    trunk(some).sum().backward()
    gradient = trunk.first.weight.grad
    assert gradient is not None
    used = np.zeros(ATOM_ROWS, dtype=bool)
    used[some.indices.numpy()] = True
    assert not gradient[torch.from_numpy(~used)].any()
    assert gradient[torch.from_numpy(used)].abs().sum(1).min() > 0


def test_records_of_the_graph_family_hold_the_molecules_of_their_compounds(tiny_dataset: Dataset) -> None:
    dataset = inputs_of(with_graphs(tiny_dataset, GRAPH), GRAPH)
    parts = [records_of(dataset, scaling_of(dataset, p), dataset.cells(p)) for p in range(3)]
    rows = np.array([3, 0, 7])
    for records in (*parts, joined(parts)):
        inputs, _ = records.batch(rows)
        assert inputs.graph is not None
        expected = graph_batch(graphs_of([dataset.smiles[i] for i in records.compound[rows]]))
        assert torch.equal(inputs.graph.atoms, expected.atoms)
        assert torch.equal(inputs.graph.molecule, expected.molecule)
        assert records.fingerprints.shape[1] == ATOM_ROWS


def test_inputs_follow_the_family(tiny_dataset: Dataset) -> None:
    assert inputs_of(tiny_dataset, ModelConfig()) is tiny_dataset
    attached = with_graphs(tiny_dataset, GRAPH)
    assert with_graphs(attached, GRAPH) is attached
    assert with_graphs(tiny_dataset, ModelConfig()) is tiny_dataset
    assert inputs_of(attached, ModelConfig()).graphs is None
    assert inputs_of(attached, GRAPH).bits == ATOM_ROWS
    assert inputs_of(inputs_of(attached, GRAPH), GRAPH).bits == ATOM_ROWS
    with pytest.raises(InputError, match="needs graphs"):
        inputs_of(tiny_dataset, GRAPH)
    with pytest.raises(ParameterError, match="the batch holds fingerprints alone"):
        trunk_of(tiny_dataset, GRAPH)(batch_of(tiny_dataset.fingerprints, np.arange(3)))
    with pytest.raises(ParameterError, match="must be >= 1"):
        GraphShape(0, 1)
