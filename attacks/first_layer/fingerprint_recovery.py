"""Exact fingerprint recovery: whole compounds, bit for bit, out of a first-layer update or a secure sum of updates.

``dW = X^T L`` (see :mod:`attacks.first_layer.rows`) puts every fingerprint into the column space of dW: it is the rare vector
there that holds nothing but zeros and ones. Sparse dictionary learning finds such vectors one by one by minimising the L1
norm over that space [SWW12]; that costs a linear program for each row and gets analogues wrong, since a difference of two
similar fingerprints is sparser than either. This attack uses that the coefficients are *integers*:

1. take the shortest linearly independent rows of dW as a basis (rows of few compounds are short, so most of them are one
   compound's factors);
2. write every row in that basis: the coefficients are whole numbers, since the basis is made of sums of few factors;
3. where a basis row was a sum of two compounds, some coefficients are -1: adding another column clears them. Repeat until
   each column is zeros and ones. Those are the fingerprints, and the basis rows are the factors, which carry the labels;
4. where analogues leave several binary bases, the one is taken that agrees with the units that worked, if the first layer is
   known (:mod:`attacks.first_layer.activity`).

Where the release is noisy (an approximate scheme whose noise is public, or differential privacy) its singular values are
first cut softly by that noise, so that only the update's own directions are decoded.

It takes a fraction of a second where the linear programs take a minute, and recovers nearly everything where they recover
half. Related: SRATTA [MKT+23] groups by co-activation over rounds.

What it can't do: more compounds than hidden units (the column space is then all of it), updates by Adam or sign (the sum is
no longer linear; equal rows still show which bits occur together), and rows that a guard withheld.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.first_layer.activity import agree_with_activity
from attacks.first_layer.rows import Delta, Rows, denoised, distinct_rows, entry_noise, noise_floor, touched_rows
from attacks.first_layer.weight_decay import without_decay
from securefl.errors import ParameterError
from securefl.types import Progress, silent

FEWEST_BITS = 5
"""A shorter pattern is no molecule's fingerprint; it comes from rows that fell apart."""
Matrix = NDArray[np.float64]
Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What was recovered.

    Attributes:
        fingerprints: CSR uint8, shape (k, bits), one row for each compound.
        factors: float64, shape (k, h), each compound's row of L, up to the noise.
        rank: how many compounds the update shows. saturated: the rank is all that the layer has, nothing can be decoded.
        finished: whether the search ended before its time limit. seconds: of this thread that it took.
    """

    fingerprints: sp.csr_matrix
    factors: Matrix
    rank: int
    saturated: bool
    finished: bool
    seconds: float


def shortest_basis(rows: Matrix, rank: int, noise: float) -> NDArray[np.int64]:
    """Return the numbers of up to ``rank`` linearly independent ``rows``, the shortest first."""
    basis = np.zeros((rank, rows.shape[1]))
    chosen: list[int] = []
    threshold = 5 * noise * np.sqrt(rank)
    for j in np.argsort(np.linalg.norm(rows, axis=1)):
        known = basis[: len(chosen)]
        rest = rows[j] - known.T @ (known @ rows[j])
        # A second pass: one is not orthogonal enough once rows are nearly parallel (classical Gram-Schmidt).
        rest -= known.T @ (known @ rest)
        length = np.linalg.norm(rest)
        if length > max(threshold, 1e-6 * float(np.linalg.norm(rows[j]))):
            basis[len(chosen)] = rest / length
            chosen.append(int(j))
            if len(chosen) == rank:
                break
    return np.array(chosen, dtype=np.int64)


def violation(columns: Matrix, count: Matrix) -> Matrix:
    """Return by how many bits each column leaves zero and one, shape (r,)."""
    return np.asarray(count @ (np.maximum(0.0, -columns) + np.maximum(0.0, columns - 1.0)))


def _best_repair(columns: Matrix, i: int, count: Matrix) -> tuple[Matrix, float]:
    """Return column ``i`` after the addition or subtraction of another column that violates least, and its violation."""
    column = columns[:, i]
    best, least = column, float("inf")
    for sign, broken in ((1.0, column < 0), (-1.0, column > 1)):
        if not broken.any():
            continue
        # Only columns that clear more than they can break are worth the full count.
        cleared = (count * broken) @ np.maximum(columns, 0.0)
        cleared[i] = 0.0
        worth = np.argsort(-cleared)[:12]
        worth = worth[cleared[worth] > 0]
        if not len(worth):
            continue
        tried = column[:, None] + sign * columns[:, worth]
        left = violation(tried, count)
        j = int(left.argmin())
        if left[j] < least:
            best, least = tried[:, j], float(left[j])
    return best, least


def make_binary(columns: Matrix, count: Matrix, *, deadline: float, progress: Progress = silent) -> tuple[Matrix, bool]:
    """Return integer ``columns`` (m, r) after adding columns to one another until as many as possible are binary.

    ``count`` weighs the rows. The second value says whether the search ended before the ``deadline`` (seconds of this thread).
    """
    columns = columns.copy()
    left = violation(columns, count)
    changed = True
    while changed:
        changed = False
        # Nearly binary ones first: each that is finished helps to clear the next.
        for i in np.argsort(left):
            while left[i] > 0:
                if time.thread_time() > deadline:
                    return columns, False
                repaired, remaining = _best_repair(columns, int(i), count)
                if remaining >= left[i]:
                    break
                columns[:, i], left[i], changed = repaired, remaining, True
        progress("recovering fingerprints", int((left == 0).sum()), len(left))
    return columns, True


def _coefficients(rows: Rows, factors: Matrix) -> Matrix:
    """Return every distinct row in terms of ``factors``, rounded to whole numbers, shape (m, r)."""
    return np.asarray(np.round(np.linalg.lstsq(factors.T, rows.mean.T, rcond=None)[0].T))


def _refit(rows: Rows, columns: Matrix) -> Matrix:
    """Return the factors that explain all rows best: each is an average over the bits that show it."""
    weight = np.sqrt(rows.count)[:, None]
    return np.asarray(np.linalg.lstsq(columns * weight, rows.mean * weight, rcond=None)[0])


def _directions(rows: Matrix, noise: float) -> Matrix:
    """Return the directions in which ``rows`` (m, h) rise above the noise, shape (rank, h)."""
    _, squares, axes = np.linalg.svd(rows.T @ rows)
    return np.asarray(axes[np.sqrt(squares) > noise * (np.sqrt(len(rows)) + np.sqrt(rows.shape[1]))])


def _is_saturated(delta: Delta, noise: float | None) -> bool:
    """Return whether the update has all the directions that its layer has: then no pattern stands out in them."""
    sigma = noise_floor(delta) if noise is None else entry_noise(delta, noise)
    touched = touched_rows(delta, sigma)
    if len(touched) < delta.shape[1]:
        return False
    return bool(len(_directions(delta[touched].astype(np.float64), sigma)) == delta.shape[1])


def fingerprint_recovery(
    delta_w1: Delta,
    *,
    layer: Layer | None = None,
    noise: float | None = None,
    seconds: float = 8.0,
    progress: Progress = silent,
) -> Recovery:
    """Return the fingerprints that can be read out of a first-layer update.

    Args:
        delta_w1: shape (bits, hidden units): one update, a sum of updates, or a sum minus one's own part. Its scale and sign
            don't matter.
        layer: the first layer that the step started from, weight (bits, hidden units) and bias; settles what binarity leaves
            open, and takes weight decay out of the update.
        noise: standard deviation of an entry's error; a quantiser's is its step / sqrt(12). ``None`` estimates it.
        seconds: stop searching after so much of this thread's time; what was found by then is returned.
        progress: told how many columns are binary.

    Raises:
        ParameterError: the update is not a finite matrix, or ``layer`` has another shape.

    >>> import numpy as np
    >>> draw = np.random.default_rng(0)
    >>> compounds = (draw.random((10, 300)) < 0.1).astype(float)
    >>> found = fingerprint_recovery(compounds.T @ draw.normal(size=(10, 32)))
    >>> {tuple(x) for x in found.fingerprints.toarray()} == {tuple(x) for x in compounds.astype(int)}
    True
    """
    begin = time.thread_time()
    if layer is not None and layer[0].shape != delta_w1.shape:
        raise ParameterError(f"layer has shape {layer[0].shape}, must be the update's {delta_w1.shape}")
    delta_w1 = delta_w1 if layer is None else without_decay(delta_w1, layer[0], noise=noise)
    delta_w1, noise = denoised(delta_w1, noise)
    rank, saturated, finished = delta_w1.shape[-1], True, True
    fingerprints, factors = _spread(delta_w1.shape, None, np.zeros((0, 0))), np.zeros((0, rank))
    if not _is_saturated(delta_w1, noise):
        rows = distinct_rows(delta_w1, noise=noise)
        directions = _directions(rows.mean, rows.noise)
        # As many directions as distinct rows: every row is a direction of its own.
        rank, saturated = len(directions), len(directions) >= len(rows.mean) > 1
        if rank and not saturated:
            deadline = begin + seconds
            columns, finished = _binary_basis(rows, directions, deadline=deadline, progress=progress)
            columns, factors = _settled(rows, columns, layer, deadline)
            found = _binary_columns(rows, columns)
            fingerprints, factors = _spread(delta_w1.shape, rows, columns[:, found]), factors[found]
    return Recovery(
        fingerprints=fingerprints,
        factors=factors[: fingerprints.shape[0]],
        rank=rank,
        saturated=saturated,
        finished=finished,
        seconds=time.thread_time() - begin,
    )


def _binary_basis(rows: Rows, directions: Matrix, *, deadline: float, progress: Progress) -> tuple[Matrix, bool]:
    """Return integer columns (m, r), most of them binary, and whether the search ended in time."""
    chosen = shortest_basis(rows.mean @ directions.T, len(directions), rows.noise)
    columns = _coefficients(rows, rows.mean[chosen])
    columns, _ = make_binary(columns, rows.count, deadline=deadline, progress=progress)
    # With the factors averaged over all bits that show them, the rounding is safer than with single rows.
    columns = _coefficients(rows, _refit(rows, columns))
    return make_binary(columns, rows.count, deadline=deadline, progress=progress)


def _settled(rows: Rows, columns: Matrix, layer: Layer | None, deadline: float) -> tuple[Matrix, Matrix]:
    """Return columns and factors after the first layer, where it is known, has settled what binarity leaves open."""
    factors = _refit(rows, columns)
    if layer is None:
        return columns, factors
    weight, bias = layer
    sums = np.zeros_like(rows.mean)
    np.add.at(sums, rows.label, weight[rows.bits].astype(np.float64))
    return agree_with_activity(columns, factors, rows.count, rows=sums, bias=bias.astype(np.float64), deadline=deadline)


def _spread(shape: tuple[int, ...], rows: Rows | None, columns: Matrix) -> sp.csr_matrix:
    """Return columns over the distinct rows as fingerprints over all bits, CSR (r, bits)."""
    if rows is None:
        return sp.csr_matrix((0, shape[0]), dtype=np.uint8)
    patterns = sp.csr_matrix((columns[rows.label] == 1).T, dtype=np.uint8)
    numbers = rows.bits[patterns.indices]
    return sp.csr_matrix((patterns.data, numbers, patterns.indptr), shape=(columns.shape[1], shape[0]), dtype=np.uint8)


def _binary_columns(rows: Rows, columns: Matrix) -> NDArray[np.int64]:
    """Return which columns are fingerprints: zeros and ones, enough of them, each pattern once."""
    sizes = rows.count @ columns
    fits = (violation(columns, rows.count) == 0) & (sizes >= FEWEST_BITS)
    numbers = np.flatnonzero(fits)
    if not len(numbers):
        return numbers.astype(np.int64)
    _, first = np.unique(columns[:, numbers].astype(np.int8), axis=1, return_index=True)
    return numbers[np.sort(first)].astype(np.int64)
