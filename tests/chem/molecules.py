"""Molecules and tables for the tests of chemistry: real, parsable structures on several scaffolds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TAILS = ("O", "N", "CO", "F", "CCN")
SALTS = 20
"""So many of the structures are a second spelling of another one, as its hydrochloride."""


def _two_rings(first: int, second: int, linker: int, tail: str) -> str:
    return f"{tail}C1{'C' * (first - 2)}C1{'C' * linker}C2{'C' * (second - 2)}C2"


def structures(n: int = 500) -> list[str]:
    """Return ``n`` distinct SMILES (500 at most, 480 compounds) on 96 generic scaffolds, the same ones every time."""
    shapes = [(first, second, linker) for first in range(3, 9) for second in range(first, 9) for linker in range(5)]
    found = [_two_rings(*shape, tail) for tail in TAILS for shape in shapes[:96]]
    return [*found, *(f"{one}.Cl" for one in found[:SALTS])][:n]


def long_table(*, tasks: int = 3, n: int = 500, classes: bool = False, seed: int = 0) -> pa.Table:
    """Return a table smiles, task, value, relation, partner with ``tasks`` tasks that all measure ``n`` structures."""
    draw = np.random.default_rng(seed)
    smiles = structures(n) * tasks
    task = [f"assay-{i}" for i in range(tasks) for _ in range(n)]
    value = draw.integers(0, 2, len(smiles)).astype(float) if classes else draw.normal(6.0, 1.0, len(smiles)).round(3)
    relation = ["=" if u < 0.9 else "<" if u < 0.95 else ">" for u in draw.random(len(smiles))]
    partner = [f"site-{i % 3}" for i in range(len(smiles))]
    return pa.table({"smiles": smiles, "task": task, "value": value, "relation": relation, "partner": partner})


def write_csv(path: Path, text: str) -> Path:
    """Write ``text`` to ``path`` and return it."""
    path.write_text(text, encoding="utf-8")
    return path


def write_parquet(path: Path, table: pa.Table) -> Path:
    """Write ``table`` to ``path`` and return it."""
    pq.write_table(table, path)
    return path
