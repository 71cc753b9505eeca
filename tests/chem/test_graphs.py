"""Molecules as graphs: right atoms and bonds, selection, and a cache that is never believed for other molecules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from securefl.chem.graphs import ATOM_ROWS, ELEMENTS, FIELDS, MoleculeGraphs, cached_graphs, graphs_of
from securefl.errors import InputError

SMILES = ("CCO", "c1ccccc1", "[Na+].[Cl-]", "CC(=O)N", "C#N", "O")


def same(one: MoleculeGraphs, two: MoleculeGraphs) -> bool:
    return all(np.array_equal(getattr(one, column), getattr(two, column)) for column in MoleculeGraphs.__slots__)


def test_atoms_and_bonds_are_those_of_the_molecule() -> None:
    graphs = graphs_of(SMILES)
    assert np.diff(graphs.atom_start).tolist() == [3, 6, 2, 4, 2, 1]
    assert np.diff(graphs.bond_start).tolist() == [2, 6, 0, 3, 1, 0]
    assert graphs.atoms.shape == (18, FIELDS)
    assert graphs.atoms[:3, 0].tolist() == [ELEMENTS.index(6), ELEMENTS.index(6), ELEMENTS.index(8)]
    assert graphs.bonds[:2].tolist() == [[0, 1], [1, 2]]
    assert graphs.kind.tolist() == [0, 0, 3, 3, 3, 3, 3, 3, 0, 1, 0, 2]
    # Every property of an atom has rows of its own, so no two columns share one.
    assert all(not set(graphs.atoms[:, i]) & set(graphs.atoms[:, j]) for i in range(FIELDS) for j in range(i))
    assert graphs.atoms.min() >= 0
    assert graphs.atoms.max() < ATOM_ROWS


def test_the_last_row_tells_neighbourhoods_apart_whatever_the_order_of_atoms() -> None:
    one, other = graphs_of(["CCO"]), graphs_of(["OCC"])
    assert sorted(one.atoms[:, -1]) == sorted(other.atoms[:, -1])
    assert len(set(one.atoms[:, -1])) == 3
    assert set(graphs_of(["CCN"]).atoms[:, -1]) != set(one.atoms[:, -1])


def test_selection_is_the_graphs_of_the_selected() -> None:
    rows = np.array([4, 0, 0, 2])
    assert same(graphs_of(SMILES).select(rows), graphs_of([SMILES[row] for row in rows]))
    assert len(graphs_of(SMILES).select(rows[:0])) == 0


def test_presence_has_a_one_for_each_row_that_a_molecule_uses() -> None:
    graphs = graphs_of(SMILES)
    presence = graphs.presence.toarray()
    assert presence.shape == (6, ATOM_ROWS)
    assert set(np.flatnonzero(presence[1])) == set(graphs.atoms[3:9].ravel())


def test_the_cache_belongs_to_its_molecules(tmp_path: Path) -> None:
    path = tmp_path / "graphs.npz"
    first = cached_graphs(SMILES, path)
    assert same(first, graphs_of(SMILES))
    assert same(cached_graphs(SMILES, path), first)
    assert len(cached_graphs(SMILES[:2], path)) == 2
    path.write_bytes(b"broken")
    assert same(cached_graphs(SMILES, path), first)
    assert [one.name for one in tmp_path.iterdir()] == ["graphs.npz"]


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SMILES 'C1CC' can't be parsed"):
        graphs_of(["C", "C1CC"])
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="can't write"):
        cached_graphs(SMILES, tmp_path / "file" / "graphs.npz")
