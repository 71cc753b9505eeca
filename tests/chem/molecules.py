"""Molecules and tables for the tests of chemistry: real, parsable structures on several scaffolds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CORES = (
    "c1ccc({})cc1", "c1ccnc({})c1", "c1cnc({})nc1", "C1CCN({})CC1", "C1COCCN1{}", "c1ccc2nc({})ccc2c1", "c1cc2ccc({})cc2[nH]1",
    "c1csc({})c1", "c1coc({})c1", "C1CC1{}", "c1ccc(-c2ccc({})cc2)cc1", "O=C1CCCN1{}", "c1ccc2c(c1)OCO2.{}", "C1CCC({})CC1",
    "c1ccc(Cc2ccc({})cc2)cc1", "c1nnc({})o1", "C1CCCC1{}", "c1ccc2c(c1)CCN2{}", "c1cn({})cn1", "C1CCCCCC1{}",
)  # fmt: skip
TAILS = (
    "C", "CC", "CCC", "CCO", "CCN", "CC(=O)O", "CC(=O)N", "C(F)(F)F", "CCCl", "CC(C)C", "CC#N", "CCOC", "CS(C)(=O)=O", "CCCO",
    "CC(C)(C)C", "CC(N)=O", "CCCN", "CCSC", "CC(O)CO", "CCC(=O)OC", "CN(C)C", "CCCC", "CCBr", "CCC#C", "CC=C",
)  # fmt: skip
"""Each core takes each tail: 500 structures, all of them parsable."""


def structures(n: int = len(CORES) * len(TAILS)) -> list[str]:
    """Return ``n`` distinct SMILES on 20 scaffolds, the same ones every time."""
    return [core.format(tail) for tail in TAILS for core in CORES][:n]


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
