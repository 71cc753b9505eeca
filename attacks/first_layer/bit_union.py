"""Union of bits: which substructures a partner's compounds have, from the rows that its update touched.

A row of the first layer moves if and only if some compound has its bit: this holds for every optimiser, any number of local
epochs and any quantiser. Secure aggregation leaves it in place: the sum shows the union over all partners, and a partner that
subtracts its own part sees the union over the others. With it comes a membership test without any error on one side: a
compound with a bit outside the union was not there.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.first_layer.rows import Delta, noise_floor, touched_rows
from attacks.score import Score, clustered, proportion


def union_of_bits(delta_w1: Delta, *, noise: float | None = None) -> NDArray[np.int64]:
    """Return the bits that some compound behind the update has, ascending.

    Args:
        delta_w1: shape (bits, hidden units). noise: standard deviation of an entry's error; ``None`` estimates it.

    Raises:
        ParameterError: the update is not a finite matrix.

    >>> import numpy as np
    >>> union_of_bits(np.array([[0.0, 0.0], [0.1, -0.2], [0.0, 0.0]]))
    array([1])
    """
    return touched_rows(delta_w1, noise_floor(delta_w1) if noise is None else noise)


def could_be_member(union: NDArray[np.int64], fingerprints: sp.csr_matrix) -> NDArray[np.bool_]:
    """Return for each of ``fingerprints``, CSR (n, bits), whether all of its bits are in ``union``: if not, it wasn't there."""
    outside = np.ones(fingerprints.shape[1], dtype=np.int64)
    outside[union] = 0
    return np.asarray(fingerprints @ outside == 0)


def first_having(fingerprints: sp.csr_matrix) -> NDArray[np.int64]:
    """Return the first of ``fingerprints``, CSR (n, bits), that has each bit, int64 (bits,), -1 where none has.

    >>> first_having(sp.csr_matrix(np.array([[1, 0, 0], [1, 0, 1]]))).tolist()
    [0, -1, 1]
    """
    found = np.full(fingerprints.shape[1], -1, dtype=np.int64)
    rows = np.repeat(np.arange(fingerprints.shape[0]), np.diff(fingerprints.indptr))
    # Of several rows in one place the last is kept: turned around, the first.
    found[fingerprints.indices[::-1]] = rows[::-1]
    return found


def union_scores(
    union: NDArray[np.int64], fingerprints: sp.csr_matrix, *, known: NDArray[np.int64] | None = None
) -> tuple[Score, ...]:
    """Return precision and recall of ``union``, and the recall of bits that a single compound has.

    Those of one compound show together, so that recall counts compounds; precision and recall of all bits take them as
    independent, and are for orientation.

    Args:
        union: the bits that the attack names. fingerprints: CSR (n, bits), the compounds that were there.
        known: bits that the attacker could not have missed (its own); they are left out.

    Chance is what naming as many bits at random gives.
    """
    support = np.bincount(fingerprints.indices, minlength=fingerprints.shape[1])
    counted = np.ones(len(support), dtype=bool)
    if known is not None:
        counted[known] = False
    named = np.zeros(len(support), dtype=bool)
    named[union] = True
    named &= counted
    true, alone = counted & (support > 0), counted & (support == 1)
    hits, size = int((named & true).sum()), max(int(counted.sum()), 1)
    chance = float(named.sum()) / size
    scores = []
    if named.any():
        scores.append(proportion("precision", hits, int(named.sum()), chance=float(true.sum()) / size))
    if true.any():
        scores.append(proportion("recall", hits, int(true.sum()), chance=chance))
    if alone.any():
        scores.append(clustered("single_compound_recall", named[alone], first_having(fingerprints)[alone], chance=chance))
    return tuple(scores)
