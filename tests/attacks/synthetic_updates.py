"""Compounds, a small network and its updates in plain numpy, for tests of the first-layer attacks without the federation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
HIDDEN = (192, 80)


def compounds(n: int, *, bits: int = 2048, seed: int = 0) -> sp.csr_matrix:
    """Return fingerprints like a medicinal chemist's: series with 25 common bits, rare bits of their own, frequent ones."""
    draw = np.random.default_rng(seed)
    series = [draw.choice(bits, 25, replace=False) for _ in range(max(n // 6, 2))]
    frequent = draw.choice(bits, 30, replace=False)
    dense = np.zeros((n, bits), dtype=np.uint8)
    for row in range(n):
        dense[row, series[draw.integers(len(series))][draw.random(25) < 0.9]] = 1
        dense[row, frequent[draw.random(30) < 0.4]] = 1
        dense[row, draw.choice(bits, 12, replace=False)] = 1
    return sp.csr_matrix(dense)


@dataclass(frozen=True, slots=True)
class Network:
    """A trunk of two hidden layers with ReLU; weights (inputs, outputs)."""

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

    @classmethod
    def drawn(cls, bits: int = 2048, *, seed: int = 0) -> Network:
        """Return a network with random weights."""
        draw = np.random.default_rng(seed)
        sizes = (bits, *HIDDEN)
        scale = [(2 / 50) ** 0.5, (2 / HIDDEN[0]) ** 0.5]
        return cls(
            tuple(
                (draw.normal(0, s, (a, b)).astype(np.float32), draw.normal(0, 0.05, b).astype(np.float32))
                for a, b, s in zip(sizes[:-1], sizes[1:], scale, strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Assays:
    """One measured task a compound: task (n,), value (n,), and the private heads (tasks, width)."""

    task: NDArray[np.int64]
    value: Matrix
    heads: Matrix

    @classmethod
    def drawn(cls, n: int, tasks: int, *, seed: int = 0) -> Assays:
        """Return random values and small random heads."""
        draw = np.random.default_rng([seed, 1])
        heads = draw.normal(0, 0.3 / HIDDEN[-1] ** 0.5, (tasks, HIDDEN[-1]))
        return cls(draw.integers(0, tasks, n), draw.normal(size=n), heads)

    def rows(self, which: NDArray[np.int64]) -> Assays:
        """Return the assays of some compounds."""
        return Assays(self.task[which], self.value[which], self.heads)


def factors(x: sp.csr_matrix, first: Matrix, network: Network, assays: Assays) -> Matrix:
    """Return the gradient of half the squared error at each compound's first pre-activations, shape (n, h)."""
    (_, b1), (w2, b2) = network.layers
    a1 = x @ first + b1
    a2 = np.maximum(a1, 0) @ w2 + b2
    head = assays.heads[assays.task]
    error = (np.maximum(a2, 0) * head).sum(axis=1) - assays.value
    return np.asarray(((error[:, None] * head * (a2 > 0)) @ w2.T) * (a1 > 0) / x.shape[0])


def sgd_step(x: sp.csr_matrix, network: Network, assays: Assays, *, rate: float = 0.1) -> Matrix:
    """Return the first layer's update of one plain gradient step."""
    first = network.layers[0][0].astype(np.float64)
    return np.asarray(-rate * (x.T.astype(np.float64) @ factors(x, first, network, assays)))


def local_training(
    x: sp.csr_matrix, network: Network, assays: Assays, *, epochs: int, batch: int, optimiser: str, seed: int = 0
) -> Matrix:
    """Return the first layer's update after local epochs of ``sgd``, ``momentum`` or ``adam``; the rest stays fixed."""
    start = network.layers[0][0].astype(np.float64)
    first, speed, square, steps = start.copy(), np.zeros_like(start), np.zeros_like(start), 0
    draw = np.random.default_rng(seed)
    for _ in range(epochs):
        order = draw.permutation(x.shape[0])
        for rows in np.array_split(order, max(len(order) // batch, 1)):
            gradient = x[rows].T @ factors(x[rows], first, network, assays.rows(rows))
            steps += 1
            if optimiser == "adam":
                speed = 0.9 * speed + 0.1 * gradient
                square = 0.999 * square + 0.001 * gradient**2
                scaled = (speed / (1 - 0.9**steps)) / (np.sqrt(square / (1 - 0.999**steps)) + 1e-8)
                first = first - 1e-3 * scaled
            else:
                speed = (0.9 if optimiser == "momentum" else 0.0) * speed + gradient
                first = first - 0.05 * speed
    return np.asarray(first - start)


def guarded(delta: Matrix, x: sp.csr_matrix, k: int) -> Matrix:
    """Return the update without the rows of bits that fewer than ``k`` of the compounds have."""
    support = np.asarray(x.sum(axis=0)).ravel()
    return np.where((support < k)[:, None], 0.0, delta)
