"""Molecules as graphs of integers: for each atom the rows of a table that describe it, for each bond its kind.

35 rows of the table are values of single properties (element, degree, charge, hydrogens, aromatic, in a ring), as in the atom
encoder of the Open Graph Benchmark ([Hu+20]); the others are hashes of an atom with its direct neighbours. An atom is seven
rows. So the first layer of a graph network is as linear in binary inputs as that of a fingerprint network.

What it does NOT protect: the rows that a partner's molecules use say which elements, charges and neighbourhoods it works
with, see :attr:`MoleculeGraphs.presence`.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import rdkit
import scipy.sparse as sp
from numpy.typing import NDArray
from rdkit import Chem

from securefl.errors import InputError
from securefl.files import read_bytes, write_bytes
from securefl.types import Progress, silent

ELEMENTS = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53)
"""Atomic numbers with a row of their own; every other element shares the row after them."""
MAX_DEGREE, MAX_CHARGE, MAX_HYDROGENS = 6, 2, 4
NEIGHBOURHOODS = 477
"""Rows that hashes of an atom with its direct neighbours fall into."""
FIELDS = 7
"""Rows that describe one atom."""
_SIZES = (len(ELEMENTS) + 1, MAX_DEGREE + 1, 2 * MAX_CHARGE + 1, MAX_HYDROGENS + 1, 2, 2, NEIGHBOURHOODS)
_FIRST = tuple(sum(_SIZES[:i]) for i in range(FIELDS))
ATOM_ROWS = sum(_SIZES)
"""Rows of the atom table."""
BOND_KINDS = 4
"""Single, double, triple and aromatic; RDKit's rarer kinds count as single."""
_KIND = {Chem.BondType.DOUBLE: 1, Chem.BondType.TRIPLE: 2, Chem.BondType.AROMATIC: 3}
_ELEMENT = {number: place for place, number in enumerate(ELEMENTS)}
CHUNK = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MoleculeGraphs:
    """``n`` molecules behind each other.

    Attributes:
        atoms: int16, shape (A, FIELDS), rows of the atom table. atom_start: int64 (n + 1,).
        bonds: int32, shape (B, 2), atoms counted inside their molecule. kind: int8 (B,). bond_start: int64 (n + 1,).
    """

    atoms: NDArray[np.int16]
    atom_start: NDArray[np.int64]
    bonds: NDArray[np.int32]
    kind: NDArray[np.int8]
    bond_start: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.atom_start) - 1

    def select(self, rows: NDArray[np.int64] | NDArray[np.int32]) -> MoleculeGraphs:
        """Return the molecules ``rows``, in that order."""
        atom, atom_start = _ranges(self.atom_start, rows)
        bond, bond_start = _ranges(self.bond_start, rows)
        return MoleculeGraphs(
            atoms=self.atoms[atom],
            atom_start=atom_start,
            bonds=self.bonds[bond],
            kind=self.kind[bond],
            bond_start=bond_start,
        )

    @property
    def presence(self) -> sp.csr_matrix:
        """Which rows of the atom table each molecule uses: binary CSR uint8, shape (n, ATOM_ROWS), indices sorted."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.atom_start))
        used = np.zeros((len(self), ATOM_ROWS), dtype=np.uint8)
        used[owner[:, None], self.atoms] = 1
        return sp.csr_matrix(used)


def graphs_of(smiles: Sequence[str], progress: Progress = silent) -> MoleculeGraphs:
    """Return the graphs of ``smiles`` as they are: nothing is standardised here.

    Raises:
        InputError: a SMILES can't be parsed.
    """
    parts: list[tuple[list[list[int]], list[tuple[int, int]], list[int]]] = []
    for number, text in enumerate(smiles):
        mol = Chem.MolFromSmiles(text)
        if mol is None:
            raise InputError(f"SMILES {text!r} can't be parsed")
        ends, kinds = _bonds(mol)
        parts.append((_atoms(mol, ends, kinds), ends, kinds))
        if number % CHUNK == 0:
            progress("graphs", number, len(smiles))
    progress("graphs", len(smiles), len(smiles))
    return MoleculeGraphs(
        atoms=np.array([row for atoms, _, _ in parts for row in atoms], dtype=np.int16).reshape(-1, FIELDS),
        atom_start=_starts(len(atoms) for atoms, _, _ in parts),
        bonds=np.array([pair for _, bonds, _ in parts for pair in bonds], dtype=np.int32).reshape(-1, 2),
        kind=np.array([kind for _, _, kinds in parts for kind in kinds], dtype=np.int8),
        bond_start=_starts(len(bonds) for _, bonds, _ in parts),
    )


def cached_graphs(smiles: Sequence[str], path: Path, progress: Progress = silent) -> MoleculeGraphs:
    """Return the graphs of ``smiles``, from the npz file ``path`` where it holds them, else computed and kept there.

    Raises:
        InputError: a SMILES can't be parsed, or the file can't be written.
    """
    name = hashlib.sha256(("\x00".join((rdkit.__version__, str(ATOM_ROWS), *smiles))).encode()).hexdigest()
    found = _read(path, name)
    if found is None:
        found = graphs_of(smiles, progress)
        _write(path, name, found)
    return found


def _atoms(mol: Chem.Mol, ends: list[tuple[int, int]], kinds: list[int]) -> list[list[int]]:
    own = [
        [first + value for first, value in zip(_FIRST[:-1], _properties(atom), strict=True)] for atom in mol.GetAtoms()
    ]
    encoded = [bytes(rows) for rows in own]
    around: list[list[bytes]] = [[] for _ in own]
    for (one, other), kind in zip(ends, kinds, strict=True):
        around[one].append(encoded[other] + bytes((kind,)))
        around[other].append(encoded[one] + bytes((kind,)))
    # CRC-32 as a hash that is the same everywhere; nothing secret depends on it.
    hashes = [zlib.crc32(rows + b"".join(sorted(near))) for rows, near in zip(encoded, around, strict=True)]
    return [[*rows, _FIRST[-1] + found % NEIGHBOURHOODS] for rows, found in zip(own, hashes, strict=True)]


def _properties(atom: Chem.Atom) -> tuple[int, int, int, int, int, int]:
    """Return the atom's value of each single property, counted from 0."""
    return (
        _ELEMENT.get(atom.GetAtomicNum(), len(ELEMENTS)),
        min(atom.GetDegree(), MAX_DEGREE),
        max(-MAX_CHARGE, min(MAX_CHARGE, atom.GetFormalCharge())) + MAX_CHARGE,
        min(atom.GetTotalNumHs(), MAX_HYDROGENS),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
    )


def _bonds(mol: Chem.Mol) -> tuple[list[tuple[int, int]], list[int]]:
    bonds = list(mol.GetBonds())
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in bonds]
    return ends, [_KIND.get(bond.GetBondType(), 0) for bond in bonds]


def _starts(sizes: Iterable[int]) -> NDArray[np.int64]:
    return np.cumsum(np.fromiter((0, *sizes), dtype=np.int64))


def _ranges(
    start: NDArray[np.int64], rows: NDArray[np.int64] | NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers in the ranges that ``rows`` name, one range after the other, and where each begins."""
    sizes = start[rows + 1] - start[rows]
    begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return np.arange(begins[-1]) + np.repeat(start[rows] - begins[:-1], sizes), begins


def _write(path: Path, name: str, graphs: MoleculeGraphs) -> None:
    content = io.BytesIO()
    columns = {column: getattr(graphs, column) for column in MoleculeGraphs.__slots__}
    np.savez_compressed(content, allow_pickle=False, name=np.array(name), **columns)
    write_bytes(path, content.getvalue())


def _read(path: Path, name: str) -> MoleculeGraphs | None:
    """Return what the file holds; ``None`` if it is missing, broken or of other molecules: it can be computed again."""
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as archive:
            if str(archive["name"]) == name:
                return MoleculeGraphs(**{column: archive[column] for column in MoleculeGraphs.__slots__})
    except (OSError, KeyError, ValueError, BadZipFile):
        return None
    return None
