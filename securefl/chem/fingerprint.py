"""ECFP fingerprints as sparse rows, from the unfolded hashes of a molecule's atom environments.

The hashes (32 bits each) and how often each occurs are stored once; a fingerprint of any size is ``hash mod bits``, as bits
or as counts, which is what RDKit's own folding does (a test compares them bit for bit). The columns can be put into a keyed
order, see :func:`securefl.chem.keyed.bit_order` for what that hides (little) and from whom (not from partners).

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

BITS = 32_768
"""The usual size: MELLODDY's 32,000, rounded up to a power of two."""
MOST = 255
"""Counts are bytes; more occurrences of one environment, or of several in one column, are kept as so many."""


def environments(mol: Chem.Mol, radius: int) -> NDArray[np.uint32]:
    """Return the distinct hashes of the molecule's circular environments up to ``radius`` bonds, ascending."""
    return counted_environments(mol, radius)[0]


def counted_environments(mol: Chem.Mol, radius: int) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Return :func:`environments` and how often each occurs, at most :data:`MOST`."""
    found = _generator(radius).GetSparseCountFingerprint(mol).GetNonzeroElements()
    # RDKit keeps them in a sorted map; whatever a later version does, they leave in ascending order.
    pairs = np.array(sorted(found.items()), dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0].astype(np.uint32), np.minimum(pairs[:, 1], MOST).astype(np.uint8)


def fold_counts(
    environments: Iterable[tuple[NDArray[np.uint32], NDArray[np.uint8]]],
    bits: int,
    *,
    order: NDArray[np.int32] | None = None,
) -> sp.csr_matrix:
    """Return what :func:`fold_bits` does, with the occurrences of each column's environments added up to :data:`MOST`."""
    pairs = list(environments)
    matrix = fold_bits((hashes for hashes, _ in pairs), bits, order=order)
    for row, (hashes, counts) in enumerate(pairs):
        total = np.zeros(matrix.indptr[row + 1] - matrix.indptr[row], dtype=np.int64)
        columns = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
        np.add.at(total, np.searchsorted(columns, _columns(hashes, bits, order)), counts)
        matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]] = np.minimum(total, MOST)
    return matrix


def fold_bits(hashes: Iterable[NDArray[np.uint32]], bits: int, *, order: NDArray[np.int32] | None = None) -> sp.csr_matrix:
    """Return a binary CSR matrix uint8, shape (n, bits), indices sorted, column ``order[h mod bits]`` for each hash h."""
    rows = [np.unique(_columns(row, bits, order)) for row in hashes]
    indptr = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=indptr[1:])
    indices = np.concatenate(rows).astype(np.int32) if rows else np.zeros(0, dtype=np.int32)
    matrix = sp.csr_matrix((np.ones(len(indices), dtype=np.uint8), indices, indptr.astype(np.int32)), shape=(len(rows), bits))
    matrix.has_sorted_indices = True
    return matrix


def fingerprints(
    smiles: Sequence[str], *, bits: int = BITS, radius: int = 3, counts: bool = False, key: Secret | None = None
) -> sp.csr_matrix:
    """Return the fingerprints of ``smiles`` as they are (nothing is standardised), shape (n, bits).

    See :func:`fold_bits`, or :func:`fold_counts` with ``counts``.

    Raises:
        InputError: a SMILES can't be parsed.
    """
    found = []
    for text in smiles:
        mol = Chem.MolFromSmiles(text)
        if mol is None:
            raise InputError(f"SMILES {text!r} can't be parsed")
        found.append(counted_environments(mol, radius))
    order = None if key is None else bit_order(key, bits)
    return fold_counts(found, bits, order=order) if counts else fold_bits((one for one, _ in found), bits, order=order)


def _columns(hashes: NDArray[np.uint32], bits: int, order: NDArray[np.int32] | None) -> NDArray[np.int64]:
    columns = (hashes % np.uint32(bits)).astype(np.int64)
    return columns if order is None else order[columns].astype(np.int64)


@lru_cache(maxsize=8)
def _generator(radius: int) -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(radius=radius)
