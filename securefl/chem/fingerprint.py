"""ECFP fingerprints as sparse rows, from the unfolded hashes of a molecule's atom environments.

The hashes (32 bits each) are stored once; a fingerprint of any size is ``hash mod bits``, which is what RDKit's own
folding does (a test compares them bit for bit). The columns can be put into a keyed order, see
:func:`securefl.chem.keyed.bit_order` for what that hides (little) and from whom (not from partners).

What it does NOT protect: a fingerprint is no anonymisation. Structures are read back from ECFP bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from securefl.chem.keyed import bit_order
from securefl.errors import InputError
from securefl.types import Secret


def environments(mol: Chem.Mol, radius: int) -> NDArray[np.uint32]:
    """Return the distinct hashes of the molecule's circular environments up to ``radius`` bonds, ascending."""
    counts = _generator(radius).GetSparseCountFingerprint(mol).GetNonzeroElements()
    return np.array(sorted(key & 0xFFFFFFFF for key in counts), dtype=np.uint32)


def fold_bits(hashes: Iterable[NDArray[np.uint32]], bits: int, *, order: NDArray[np.int32] | None = None) -> sp.csr_matrix:
    """Return a binary CSR matrix uint8, shape (n, bits), indices sorted, column ``order[h mod bits]`` for each hash h."""
    rows = [np.unique(_columns(row, bits, order)) for row in hashes]
    indptr = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=indptr[1:])
    indices = np.concatenate(rows).astype(np.int32) if rows else np.zeros(0, dtype=np.int32)
    matrix = sp.csr_matrix((np.ones(len(indices), dtype=np.uint8), indices, indptr.astype(np.int32)), shape=(len(rows), bits))
    matrix.has_sorted_indices = True
    return matrix


def fingerprints(smiles: Sequence[str], *, bits: int, radius: int, key: Secret | None = None) -> sp.csr_matrix:
    """Return the fingerprints of ``smiles`` as they are (nothing is standardised), shape (n, bits); see :func:`fold_bits`.

    Raises:
        InputError: a SMILES can't be parsed.
    """
    hashes = []
    for text in smiles:
        mol = Chem.MolFromSmiles(text)
        if mol is None:
            raise InputError(f"SMILES {text!r} can't be parsed")
        hashes.append(environments(mol, radius))
    return fold_bits(hashes, bits, order=None if key is None else bit_order(key, bits))


def _columns(hashes: NDArray[np.uint32], bits: int, order: NDArray[np.int32] | None) -> NDArray[np.int64]:
    columns = (hashes % np.uint32(bits)).astype(np.int64)
    return columns if order is None else order[columns].astype(np.int64)


@lru_cache(maxsize=8)
def _generator(radius: int) -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(radius=radius)
