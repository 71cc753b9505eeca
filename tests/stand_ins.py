"""Stand-ins that tests share: a repeatable source of bytes, a small synthetic dataset, and where the public data lies.

``CountingRng`` is for tests alone: its bytes are predictable. The synthetic compounds are bit patterns with a signal
that a model can learn; their SMILES parse, and have nothing to do with their bits.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset, Fold, Task, TaskKind

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
Install: TypeAlias = Callable[..., Path]
"""Lays a package out and returns its folder: see the fixture ``install_package``."""
TINY_BITS = 256
ROW_BITS = 20
SIGNAL_BITS = 24
CUTOFF = 6.0


class CountingRng:
    """A deterministic :class:`securefl.types.Rng`: SHA-256 of a seed and a counter. Predictable, so for tests alone."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed.to_bytes(8, "little")
        self._block = 0
        self._left = b""
        self._lock = threading.Lock()

    def bytes(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the stream; partners that train in threads may share it."""
        with self._lock:
            parts = [self._left]
            have = len(self._left)
            while have < size:
                parts.append(hashlib.sha256(self._seed + self._block.to_bytes(8, "little")).digest())
                have += 32
                self._block += 1
            stream = b"".join(parts)
            self._left = stream[size:]
            return stream[:size]


def _compounds(n: int, bits: int, clusters: int, draw: np.random.Generator) -> tuple[sp.csr_matrix, NDArray[np.int32]]:
    """Return fingerprints and clusters: members of a cluster share half of their bits, as scaffolds do."""
    cluster = draw.integers(0, clusters, n).astype(np.int32)
    scaffold = [draw.choice(bits, ROW_BITS // 2, replace=False) for _ in range(clusters)]
    dense = np.zeros((n, bits), dtype=np.uint8)
    for row in range(n):
        dense[row, scaffold[cluster[row]]] = 1
        dense[row, draw.choice(bits, ROW_BITS // 2, replace=False)] = 1
    # The first bits carry the signal: half of the compounds have each of them, independent of the scaffold.
    dense[:, :SIGNAL_BITS] = draw.random((n, SIGNAL_BITS)) < 0.5
    return sp.csr_matrix(dense), cluster


def _folds(cluster: NDArray[np.int32], draw: np.random.Generator) -> NDArray[np.int8]:
    """Return folds: whole clusters to train, validation and test, then 10 % of all compounds at random to audit."""
    share = cluster % 10
    fold = np.where(share < 6, Fold.TRAIN, np.where(share < 8, Fold.VALIDATION, Fold.TEST)).astype(np.int8)
    fold[draw.random(len(cluster)) < 0.1] = Fold.AUDIT
    return fold


def make_dataset(
    *, compounds: int = 480, bits: int = TINY_BITS, tasks_each: int = 4, partners: int = 3, seed: int = 0
) -> Dataset:
    """Return a synthetic dataset: the last partner is small, its last task classifies, one task has censored cells.

    Every task is the same linear signal in other units plus noise, so that partners can learn from one another. About
    a third of the compounds lies with two partners.
    """
    draw = np.random.default_rng(seed)
    fingerprints, cluster = _compounds(compounds, bits, clusters=60, draw=draw)
    signal = fingerprints[:, :SIGNAL_BITS].toarray() @ draw.normal(0, 0.4, SIGNAL_BITS)
    signal = (signal - signal.mean()) / signal.std()
    tasks: list[Task] = []
    columns: list[Activities] = []
    for partner in range(partners):
        share = 0.15 if partner == partners - 1 else 0.45
        owned = np.flatnonzero(draw.random(compounds) < share)
        for number in range(tasks_each):
            kind = TaskKind.CLASSIFICATION if number == tasks_each - 1 else TaskKind.REGRESSION
            rows = owned[draw.random(len(owned)) < 0.8]
            value = CUTOFF + signal[rows] + draw.normal(0, 0.3, len(rows))
            relation = np.zeros(len(rows), dtype=np.int8)
            if number == 0:
                # An assay that stops at a concentration: what is weaker is reported as the limit itself.
                weak = value < CUTOFF - 1
                relation[weak], value[weak] = -1, CUTOFF - 1
            if kind is TaskKind.CLASSIFICATION:
                value = (value > CUTOFF).astype(np.float64)
            task = np.full(len(rows), len(tasks), dtype=np.int32)
            columns.append(Activities(task, rows.astype(np.int32), value.astype(np.float32), relation))
            tasks.append(Task(partner, f"assay {number}", kind))
    return Dataset(
        inchikeys=tuple(f"{i:014d}-UHFFFAOYSA-N" for i in range(compounds)),
        smiles=tuple("C" * (1 + i % 30) + "N" * (1 + i // 30) for i in range(compounds)),
        fingerprints=fingerprints,
        fold=_folds(cluster, draw),
        cluster=cluster,
        tasks=tuple(tasks),
        partners=tuple(f"partner {i}" for i in range(partners)),
        activities=Activities(
            *(np.concatenate([getattr(c, name) for c in columns]) for name in ("task", "compound", "value", "relation"))
        ),
        sha256=hashlib.sha256(f"{compounds} {bits} {tasks_each} {partners} {seed}".encode()).hexdigest(),
        name="synthetic",
    )
