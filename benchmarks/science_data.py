"""The public data of the scientific bar, divided among partners: MoleculeACE, FS-Mol's largest assays, tox21."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset, Fold, Task
from securefl.chem.keyed import public_key
from securefl.chem.moleculeace import default_dataset
from securefl.chem.prepare import prepare
from securefl.chem.table import Columns, table_of
from securefl.chem.wide import read_wide
from securefl.config import DataConfig

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
ASSAYS = 200
TOX21_PARTNERS = (2, 5, 10, 20)


def fsmol(cache: Path, split: str = "target") -> Dataset:
    """Return FS-Mol's 200 largest assays, active or not, at five partners of equal size.

    Under ``target`` a partner has whole assays, and learns from others' assays alone; under ``series`` it has some of the
    chemical series of each, as in the default data, and assays whose parts miss the quorum are rejected there.
    """
    folder = SHARED / "01_fsmol_chembl27"
    assays = pq.read_table(folder / "assays.parquet", columns=["assay_chembl_id", "n_compounds"])
    largest = assays.sort_by([("n_compounds", "descending"), ("assay_chembl_id", "ascending")])["assay_chembl_id"][:ASSAYS]
    rows = pq.read_table(folder / "train.parquet", columns=["assay_chembl_id", "smiles", "active"])
    rows = rows.filter(pc.is_in(rows["assay_chembl_id"], value_set=largest.combine_chunks()))
    content = pa.table(
        {
            "smiles": rows["smiles"].cast(pa.string()),
            "task": rows["assay_chembl_id"].cast(pa.string()),
            "value": rows["active"].cast(pa.float64()),
        }
    )
    config = DataConfig.model_validate({"split": split, "partners": 5, "sizes": "equal"})
    table = table_of(content, Columns(), name="FS-Mol, 200 largest assays")
    name = "fsmol" if split == "target" else f"fsmol-{split}"
    return prepare(table, config, cache / name, key=public_key(config.seed), cache=cache)


def tox21(folds: str, partners: int, cache: Path) -> Dataset:
    """Return tox21 with its training compounds divided at random; every partner is tested on all test compounds."""
    config = DataConfig.model_validate({"split": "target", "partners": 1, "folds": folds, "audit_fraction": 0.01})
    table = read_wide(SHARED / "11_dense_panels" / "tox21.parquet")
    whole = prepare(table, config, cache / f"tox21-{folds}", key=public_key(config.seed), cache=cache)
    return divided(whole, partners, seed=partners)


def divided(whole: Dataset, partners: int, *, seed: int) -> Dataset:
    """Return ``whole`` (of one owner) with each compound at one random partner, but test compounds at all of them."""
    owner = np.random.default_rng([20261121, seed]).integers(0, partners, len(whole.inchikeys))
    cells, count = whole.activities, len(whole.tasks)
    tested = whole.fold[cells.compound] == Fold.TEST
    parts = []
    for partner in range(partners):
        mine = cells.select(tested | (owner[cells.compound] == partner))
        parts.append(Activities((mine.task + partner * count).astype(np.int32), mine.compound, mine.value, mine.relation))
    return replace(
        whole,
        tasks=tuple(Task(partner, task.name, task.kind) for partner in range(partners) for task in whole.tasks),
        partners=tuple(f"partner-{partner + 1}" for partner in range(partners)),
        activities=Activities(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("task", "compound", "value", "relation"))
        ),
        sha256=hashlib.sha256(f"{whole.sha256} {partners} {seed}".encode()).hexdigest(),
        name=f"{whole.name}, {partners} partners",
    )


def shuffled(dataset: Dataset, kept: int, *, seed: int) -> Dataset:
    """Return ``dataset`` with the training labels of all partners but ``kept`` permuted within each task.

    The others' validation cells are dropped: ``kept`` alone decides when training stops, which favours finding a gain.
    """
    draw = np.random.default_rng([20261122, seed])
    cells = dataset.activities
    owner = np.array([task.partner for task in dataset.tasks])[cells.task]
    fold = dataset.fold[cells.compound]
    value, relation = cells.value.copy(), cells.relation.copy()
    for task in np.unique(cells.task[owner != kept]):
        rows = np.flatnonzero((cells.task == task) & (fold == Fold.TRAIN))
        moved = draw.permutation(rows)
        value[rows], relation[rows] = cells.value[moved], cells.relation[moved]
    keep: NDArray[np.bool_] = (owner == kept) | (fold != Fold.VALIDATION)
    return replace(dataset, activities=Activities(cells.task, cells.compound, value, relation).select(keep))


LOADERS: dict[str, Callable[[Path], Dataset]] = {
    "moleculeace": lambda cache: default_dataset(DataConfig(), cache),
    "fsmol": fsmol,
    "fsmol-series": lambda cache: fsmol(cache, "series"),
}
