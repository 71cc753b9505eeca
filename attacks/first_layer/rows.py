"""The rows of a first-layer update: which were touched, which are the same, and what the sum of products is that made them.

On sparse binary inputs a first-layer update made by plain or momentum gradient descent is exactly linear in the batch:
``dW = X^T L``, X the compounds' fingerprints (compounds x bits) and L one row of factors for each compound, over any number
of local epochs. So the row of a bit that no compound has is zero, rows of bits that the same compounds have are equal, and
the row of a bit that one compound alone has *is* that compound's factors. Adam breaks the sum (each entry is rescaled by its
own history) but neither the zero rows nor the equal ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from securefl.errors import ParameterError

FLOAT_NOISE = 2.0**-20
"""Rounding of an update that was computed in float32, relative to its largest entry."""
PROJECTED = 8
FEWEST_ROWS = 100
"""Under so many rows, equal lengths are no evidence of noise."""
NOISY = 16
"""Noise of so many roundings is noise that somebody added."""
Delta = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The touched rows of an update, equal ones merged.

    Attributes:
        bits: int64 (t,), the touched rows' numbers. label: int64 (t,), the class of each.
        mean: float64 (m, h), the row of each class. count: float64 (m,), how many bits share it.
        noise: standard deviation of an entry's error.
    """

    bits: NDArray[np.int64]
    label: NDArray[np.int64]
    mean: NDArray[np.float64]
    count: NDArray[np.float64]
    noise: float


def row_rms(delta: Delta) -> NDArray[np.float64]:
    """Return the root mean square of each row, shape (bits,).

    Raises:
        ParameterError: the update is not a matrix, or holds NaN or infinite values.
    """
    if delta.ndim != 2 or 0 in delta.shape:
        raise ParameterError(f"update has shape {delta.shape}, must be (bits, hidden units)")
    rms = np.sqrt(np.einsum("ij,ij->i", delta, delta, dtype=np.float64) / delta.shape[1])
    if not np.isfinite(rms).all():
        raise ParameterError(f"update holds {int((~np.isfinite(rms)).sum())} rows with NaN or infinite values, must be 0")
    return np.asarray(rms)


def noise_floor(delta: Delta) -> float:
    """Return an estimate of the noise on an entry: what the attacker can read off the release itself.

    Where no row is zero and the smallest rows are equally large, those are noise alone (differential privacy, or an
    approximate scheme). Otherwise only rounding is left.
    """
    rms = row_rms(delta)
    rounding = float(rms.max()) * FLOAT_NOISE
    if (rms == 0).any() or len(rms) < FEWEST_ROWS:
        return rounding
    low, high = np.quantile(rms, [0.02, 0.15])
    return max(rounding, float((low + high) / 2)) if high < 1.4 * low else rounding


def entry_noise(delta: Delta, stated: float) -> float:
    """Return the ``stated`` noise on an entry, or the rounding of float32 where that is larger."""
    return max(stated, float(np.abs(delta).max()) * FLOAT_NOISE)


def touched_rows(delta: Delta, noise: float) -> NDArray[np.int64]:
    """Return the numbers of the rows that some compound touched, given the ``noise`` on an entry.

    With exact protocols an untouched row is exactly zero; otherwise a row counts if it rises above the noise by four
    standard errors.
    """
    rms = row_rms(delta)
    bound = 0.0 if (rms == 0).any() else noise * (1 + 4 / np.sqrt(2 * delta.shape[1]))
    return np.flatnonzero(rms > bound).astype(np.int64)


def denoised(delta: Delta, noise: float | None) -> tuple[Delta, float | None]:
    """Return the update with its singular values softly cut by the noise of an entry, and what noise is left in an entry.

    An update of N compounds has rank N, noise has every direction: the shrinkage that loses least for a known noise [GD17]
    takes the noise out of all directions but N. An exact release (zero rows, or no noise beyond rounding) comes back as it is.

    Reference: [GD17] Gavish, Donoho: Optimal shrinkage of singular values, IEEE Trans. Inf. Theory 2017.
    """
    rms = row_rms(delta)
    sigma = noise_floor(delta) if noise is None else entry_noise(delta, noise)
    if (rms == 0).any() or sigma <= NOISY * float(np.abs(delta).max()) * FLOAT_NOISE:
        return delta, noise
    rows, width = delta.shape
    values = np.asarray(delta, dtype=np.float64)
    squares, axes = np.linalg.eigh(values.T @ values if rows >= width else values @ values.T)
    unit = sigma * np.sqrt(max(rows, width))
    size, ratio = np.sqrt(np.maximum(squares, 0.0)) / unit, min(rows, width) / max(rows, width)
    above = size > 1.0 + np.sqrt(ratio)
    shrunk = np.sqrt(np.maximum((np.square(size) - ratio - 1.0) ** 2 - 4.0 * ratio, 0.0))
    factor = np.where(above, shrunk / np.maximum(np.square(size), 1e-300), 0.0)
    projector = (axes * factor) @ axes.T
    rank = int(above.sum())
    left = sigma * float(np.sqrt(rank * (rows + width - rank) / (rows * width)))
    return (values @ projector if rows >= width else projector @ values), left


def _classes(rows: NDArray[np.float64], noise: float) -> NDArray[np.int64]:
    """Return the class of each row: rows closer than their noise explains are the same, and so are their neighbours."""
    count, width = rows.shape
    radius = 2 * noise * np.sqrt(2 * width)
    if radius > 0.5 * np.median(np.linalg.norm(rows, axis=1)):
        # Nothing can be told apart at this noise: merging would put everything into one class.
        return np.arange(count, dtype=np.int64)
    # A fixed projection to few dimensions finds the candidates; the distance itself decides.
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(width, min(PROJECTED, width))))[0]
    pairs = cKDTree(rows @ directions).query_pairs(radius, output_type="ndarray")
    near = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), 20_000):
        some = pairs[start : start + 20_000]
        near[start : start + 20_000] = np.linalg.norm(rows[some[:, 0]] - rows[some[:, 1]], axis=1) <= radius
    pairs = pairs[near]
    graph = sp.csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def distinct_rows(delta: Delta, *, noise: float | None = None) -> Rows:
    """Return the touched rows of ``delta``, shape (bits, h), equal ones merged.

    Args:
        delta: the first layer's update.
        noise: standard deviation of an entry's error (a quantiser's is its step / sqrt(12)); ``None`` estimates it.

    Raises:
        ParameterError: the update is not a finite matrix.
    """
    sigma = noise_floor(delta) if noise is None else entry_noise(delta, noise)
    bits = touched_rows(delta, sigma)
    rows = delta[bits].astype(np.float64)
    label = _classes(rows, sigma) if len(bits) else np.zeros(0, dtype=np.int64)
    count = np.bincount(label).astype(np.float64)
    mean = np.zeros((len(count), delta.shape[1]))
    np.add.at(mean, label, rows)
    return Rows(bits=bits, label=label, mean=mean / np.maximum(count, 1)[:, None], count=count, noise=sigma)
