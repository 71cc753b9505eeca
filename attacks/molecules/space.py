"""Molecules and their bits: what a fingerprint says of each atom, and how alike two sets of bits are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.rdFingerprintGenerator import FingerprintGenerator64

Bits = frozenset[int]


def flat_smiles(mol: Chem.Mol) -> str:
    """Return the canonical SMILES without stereochemistry, which these fingerprints don't see."""
    return str(Chem.MolToSmiles(mol, isomericSmiles=False))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep RDKit from writing about molecules that are tried and don't exist."""
    with rdBase.BlockLogs():
        yield


def tanimoto(one: Bits, other: Bits) -> float:
    """Return the share of all bits that both sets have; 0 for two empty sets."""
    shared = len(one & other)
    return shared / max(len(one) + len(other) - shared, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoleculeSpace:
    """How molecules become bits: ``radius`` and ``bits`` of the fingerprint, and the column of each RDKit bit.

    ``order`` int32 (bits,) is empty where a column's number is its bit's.
    """

    radius: int
    bits: int
    order: NDArray[np.int32]
    _generator: FingerprintGenerator64 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        generator = rdFingerprintGenerator.GetMorganGenerator(radius=self.radius)
        object.__setattr__(self, "_generator", generator)

    def of(self, mol: Chem.Mol) -> Bits:
        """Return the columns of the bits that ``mol`` has."""
        return frozenset(self._columns(self._generator.GetSparseFingerprint(mol).GetOnBits()))

    def agreement(self, mol: Chem.Mol, target: Bits) -> NDArray[np.float64]:
        """Return for each atom how many of the environments around it ``target`` has, minus those that it lacks, (atoms,)."""
        found = rdFingerprintGenerator.AdditionalOutput()
        found.AllocateBitInfoMap()
        self._generator.GetSparseFingerprint(mol, additionalOutput=found)
        score = np.zeros(mol.GetNumAtoms())
        environments = found.GetBitInfoMap()
        for column, places in zip(self._columns(environments), environments.values(), strict=True):
            for atom, _ in places:
                score[atom] += 1.0 if column in target else -1.0
        return score

    def _columns(self, hashes: Iterable[int]) -> list[int]:
        folded = [number % self.bits for number in hashes]
        return [int(column) for column in self.order[folded]] if len(self.order) else folded
