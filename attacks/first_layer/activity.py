"""Which of several binary bases is the true one: the fingerprints that agree with the units that worked.

Analogues leave the columns ambiguous: where one fingerprint minus another plus a third is a pattern of zeros and ones as well,
nothing in the column space prefers the true one. The shared trunk does. A compound's row of factors is zero exactly on the
units that are inactive on it (ReLU), and the attacker knows the first layer, so it can compute which units a candidate pattern
makes active. Exchanging ``c_i`` for ``c_i + c_a - c_b`` leaves the factors of i as they are, so each exchange can be judged by
itself: the search takes those after which activity and factors disagree on fewer units.

An integer vector e is binary if and only if the sum of e(e - 1) is 0, so overlaps of columns alone tell which exchanges fit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Numbers = NDArray[np.int64]
SILENT = 0.02
"""A factor under this share of its row's root mean square counts as zero."""
WORTH = 2
"""An exchange has to explain so many units more: less may be chance."""
MOST_EXCHANGES = 3_000
"""Of more exchanges for one column, a fixed random choice is tried."""
MOST_PASSES = 30


@dataclass(frozen=True, slots=True)
class Basis:
    """Binary columns (m, r) over the distinct rows, their factors (r, h), and the activations (r, h) they cause, no bias."""

    columns: Matrix
    factors: Matrix
    drive: Matrix


def disagreement(drive: Matrix, factor: Matrix, bias: Matrix) -> Numbers:
    """Return on how many units activations (n, h) and one row of factors (h,) disagree, shape (n,)."""
    working = np.abs(factor) > SILENT * np.sqrt(np.mean(factor**2))
    return np.asarray(((drive + bias > 0) != working).sum(axis=-1), dtype=np.int64)


def _exchanges(i: int, overlap: Matrix) -> tuple[Numbers, Numbers]:
    """Return all (a, b) for which column i plus column a minus column b is binary; the last column is zero."""
    size = np.diag(overlap)
    # ||c_i + c_a - c_b||^2 equals the sum of its entries exactly if it is binary.
    fits = np.abs(overlap[i][None, :] + overlap - overlap[i][:, None] - size[None, :]) < 0.5
    fits[i, :] = fits[:, i] = False
    np.fill_diagonal(fits, False)
    a, b = np.nonzero(fits)
    if len(a) > MOST_EXCHANGES:
        chosen = np.random.default_rng(0).permutation(len(a))[:MOST_EXCHANGES]
        a, b = a[chosen], b[chosen]
    return a.astype(np.int64), b.astype(np.int64)


def _pass(basis: Basis, count: Matrix, bias: Matrix, deadline: float) -> int:
    """Take the best exchange of every column whose partners have not moved in this pass; return how many were taken."""
    columns, factors, drive = basis.columns, basis.factors, basis.drive
    last = columns.shape[1] - 1
    overlap = columns.T @ (columns * count[:, None])
    moved: set[int] = set()
    taken: list[tuple[int, int, int]] = []
    for i in range(last):
        if time.thread_time() > deadline:
            break
        a, b = _exchanges(i, overlap)
        if not len(a):
            continue
        now = disagreement(drive[i], factors[i], bias)
        then = disagreement(drive[i] + drive[a] - drive[b], factors[i], bias)
        best = int(then.argmin())
        chosen = (i, int(a[best]), int(b[best]))
        used = {number for _, x, y in taken for number in (x, y)}
        if now - then[best] < WORTH or moved & set(chosen[1:]) or i in used:
            continue
        moved.add(i)
        taken.append(chosen)
    for i, x, y in taken:
        columns[:, i] += columns[:, x] - columns[:, y]
        drive[i] += drive[x] - drive[y]
        factors[x] -= factors[i]
        factors[y] += factors[i]
    return len(taken)


def agree_with_activity(
    columns: Matrix, factors: Matrix, count: Matrix, *, rows: Matrix, bias: Matrix, deadline: float
) -> tuple[Matrix, Matrix]:
    """Return columns (m, r) and factors (r, h) of the same update, exchanged until they agree with the units that worked.

    Args:
        columns: integer, shape (m, r); those that are not binary are left alone. factors: (r, h).
        count: (m,), how many bits share each distinct row.
        rows: (m, h), the sum of the first layer's weights over the bits of each distinct row. bias: (h,).
        deadline: stop then (seconds of this thread).
    """
    columns, factors = columns.copy(), factors.copy()
    usable = np.flatnonzero(((columns == 0) | (columns == 1)).all(axis=0))
    zero = np.zeros((1, factors.shape[1]))
    part = np.concatenate([columns[:, usable], np.zeros((len(columns), 1))], axis=1)
    basis = Basis(part, np.concatenate([factors[usable], zero]), part.T @ rows)
    for _ in range(MOST_PASSES):
        if not _pass(basis, count, bias, deadline):
            break
    columns[:, usable] = basis.columns[:, :-1]
    factors[usable] = basis.factors[:-1]
    return columns, factors
