"""Public tables as their owners published them, read through column names alone and prepared from a sample of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from securefl.chem.dataset import TaskKind
from securefl.chem.folder import load, load_rejects
from securefl.chem.keyed import public_key
from securefl.chem.prepare import prepare
from securefl.chem.table import Columns, Table, read_table
from securefl.chem.units import to_p
from securefl.chem.wide import read_wide
from securefl.config import DataConfig

pytestmark = pytest.mark.shared

Reader = Callable[[Path], Table]
REGRESSION, CLASSIFICATION = TaskKind.REGRESSION, TaskKind.CLASSIFICATION


def long(path: str, columns: Columns) -> Reader:
    return lambda data: read_table(data / path, columns)


def in_units(path: str, columns: Columns) -> Reader:
    return lambda data: to_p(read_table(data / path, columns))


def panel(path: str, smiles: str = "smiles") -> Reader:
    return lambda data: read_wide(data / "11_dense_panels" / path, smiles=smiles)


DOCUMENTS = Columns(
    task="assay_chembl_id", value="standard_value", relation="standard_relation", unit="standard_units",
    partner="document_chembl_id",
)  # fmt: skip
# name: reader, usable rows of the whole table, kind of the tasks
TABLES: dict[str, tuple[Reader, int, TaskKind]] = {
    "fsmol": (
        long("01_fsmol_chembl27/train.parquet", Columns(task="assay_chembl_id", value="active")), 412_402, CLASSIFICATION,
    ),
    "moleculeace": (
        long("02_moleculeace/moleculeace.parquet", Columns(task="target_chembl_id", value="p_value")), 48_714, REGRESSION,
    ),
    "time-split": (
        long("04_chembl_time_split/pchembl_long.parquet", Columns(task="target_chembl_id", value="pchembl")),
        68_899, REGRESSION,
    ),
    "simpd": (
        long("05_simpd_ki/simpd_ki.parquet", Columns(smiles="canonical_smiles", task="assay", value="pchembl_value")),
        50_197, REGRESSION,
    ),
    "pharmabench": (long("06_pharmabench/final_11_adme.parquet", Columns(task="property")), 52_482, REGRESSION),
    "tox21": (panel("tox21.parquet"), 77_946, CLASSIFICATION),
    "sider": (panel("sider27.parquet"), 38_529, CLASSIFICATION),
    "muv": (panel("muv.parquet"), 249_967, CLASSIFICATION),
    "hiv": (panel("hiv.parquet"), 41_127, CLASSIFICATION),
    "biogen": (panel("biogen_adme_3521.csv.gz", smiles="SMILES"), 11_318, REGRESSION),
}  # fmt: skip
SAMPLE = 300
NO_QUORUM = {"min_test": 0, "min_train_class": 1, "min_test_class": 0}
"""A few hundred rows can't meet the quorum of the real thing."""


def sample(table: Table, tasks: int) -> Table:
    """Return rows of the largest tasks on a few hundred structures, rare actives first, so that the test takes seconds."""
    largest = np.argsort(-np.bincount(table.task.code), kind="stable")[:tasks]
    mine = np.isin(table.task.code, largest)
    draw = np.random.default_rng(0)
    some = np.unique(table.smiles.code[mine])
    high = np.unique(table.smiles.code[mine & (table.value >= np.quantile(table.value[mine], 0.999))])[: SAMPLE // 3]
    kept = np.union1d(draw.choice(some, min(SAMPLE, len(some)), replace=False), high)
    part = table.select(mine & np.isin(table.smiles.code, kept))
    names, code = np.unique(part.smiles.code, return_inverse=True)
    return Table(
        smiles=type(part.smiles)(tuple(part.smiles.names[i] for i in names), code.astype(np.int32)),
        task=part.task, value=part.value, relation=part.relation, row=part.row, name=part.name,
    )  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_published_table_is_read_and_prepared(shared_data: Path, tmp_path: Path, name: str) -> None:
    reader, rows, kind = TABLES[name]
    table = reader(shared_data)
    assert len(table) == rows
    config = DataConfig(bits=1024, partners=2, small_partner_compounds=0, sizes="equal", min_train=5, **NO_QUORUM)
    part = sample(table, tasks=4)
    dataset = prepare(part, config, tmp_path / "d", key=public_key(0))
    rejects = load_rejects(tmp_path / "d")
    assert load(tmp_path / "d").sha256 == dataset.sha256
    assert kind in {task.kind for task in dataset.tasks}
    assert len(dataset.partners) == 2
    # Hardly any structure of a published table fails; 4 % of sider's drugs are peptides over the size limit.
    assert sum(reject.stage.value == "structure" for reject in rejects) <= 0.05 * len(part)
    assert all(1 <= reject.row <= int(table.row.max()) for reject in rejects)


def test_documents_as_partners_with_units(shared_data: Path) -> None:
    table = in_units("06_pharmabench/chembl_raw_with_documents.parquet", DOCUMENTS)(shared_data)
    assert table.partner is not None
    assert len(np.unique(table.partner.code)) > 1000
    assert 2 < np.median(table.value) < 8
    reasons = {reject.reason for reject in table.rejects}
    assert {"blank standard_value", "unit '%' is not a molar concentration"} <= reasons
    assert len(table) + len(table.rejects) == 38_314
