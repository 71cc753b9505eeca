"""Names decide nothing: assays renamed, permuted, and hashed in another order give the same messages and model, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from molecules import long_table, structures
from stand_ins import CountingRng

from securefl.chem.compounds import Description, Recipe, describe_all
from securefl.chem.dataset import Dataset
from securefl.chem.folder import load
from securefl.chem.keyed import public_key
from securefl.chem.prepare import build
from securefl.chem.roles import with_roles
from securefl.chem.standardise import Rules
from securefl.chem.table import Columns, Role, table_of
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.federation.releases import RoundTrace
from securefl.federation.training import train_federated
from securefl.learning.model import Model

DATA = DataConfig(
    bits=128, radius=2, partners=3, small_partner_compounds=0, min_train=10, min_test=2, thresholds=(6.0,),
    min_train_class=5, min_test_class=1, unjudged="train",
)  # fmt: skip
RUN = RunConfig(data=DATA, model=ModelConfig(hidden=(12, 6)), federation=FederationConfig(rounds=2, batch=64))
# The new names sort in the opposite order, and one is an old name of another assay.
NAMES = {"assay-0": "zeta", "assay-1": "assay-0", "assay-2": "\u00c5ngstr\u00f6m \u03b1"}
ROLE = Role(0.5)


@pytest.fixture(scope="module")
def described() -> dict[str, Description]:
    names = structures()
    return dict(zip(names, describe_all(names, Recipe(Rules(), 2), workers=1), strict=True))


def made(content: pa.Table, described: dict[str, Description], weighted: str) -> Dataset:
    table = with_roles(table_of(content.drop_columns(["partner"]), Columns(), name="t"), {weighted: ROLE})
    return build(table, [described[name] for name in table.smiles.names], DATA, key=public_key(0))[0]


def renamed(content: pa.Table) -> pa.Table:
    names = [NAMES[name] for name in content["task"].to_pylist()]
    return content.set_column(1, "task", pa.array(names)).take(np.random.default_rng(5).permutation(len(content)))


def trained(dataset: Dataset) -> tuple[Model, list[bytes]]:
    messages: list[bytes] = []

    def keep(trace: RoundTrace) -> None:
        messages.extend(message.data for message in trace.result.transcript)

    result = train_federated(dataset, config=RUN, scheme="masking", seed=0, rng=CountingRng(), observer=keep)
    return result.model, messages


def test_renamed_and_permuted_assays_train_the_same_model(described: dict[str, Description]) -> None:
    one = made(long_table(), described, "assay-1")
    two = made(renamed(long_table()), described, "assay-0")
    assert [NAMES[t.name.split(" >= ")[0]] for t in one.tasks] == [t.name.split(" >= ")[0] for t in two.tasks]
    assert [(t.partner, t.kind, t.weight, t.judged) for t in one.tasks] == [
        (t.partner, t.kind, t.weight, t.judged) for t in two.tasks
    ]
    assert ROLE.weight in {task.weight for task in one.tasks}
    (first, sent), (second, again) = trained(one), trained(two)
    assert sent
    assert sent == again
    for name, value in first.trunk.items():
        np.testing.assert_array_equal(value, second.trunk[name])
    for partner, heads in first.heads.items():
        np.testing.assert_array_equal(heads.weight, second.heads[partner].weight)
        np.testing.assert_array_equal(heads.bias, second.heads[partner].bias)
    everything = b"".join(sent)
    assert not any(name.encode() in everything for name in (*NAMES, *NAMES.values()))


def test_the_comparison_sees_another_value(described: dict[str, Description]) -> None:
    content = long_table()
    values = content["value"].to_pylist()
    other = content.set_column(2, "value", pa.array([values[0] + 3, *values[1:]]))
    assert trained(made(content, described, "assay-1"))[1] != trained(made(other, described, "assay-1"))[1]


def test_the_order_of_pythons_hashes_changes_nothing(tmp_path: Path) -> None:
    pacsv.write_csv(long_table(tasks=2, n=120).drop_columns(["partner"]), tmp_path / "t.csv")
    code = (
        "import pathlib, sys; from securefl.chem.keyed import public_key; from securefl.chem.prepare import prepare\n"
        "from securefl.chem.table import read_table; from securefl.config import DataConfig\n"
        "config = DataConfig(partners=2, sizes='equal', min_train=5, min_test=1, folds='cluster', bits=256)\n"
        "prepare(read_table(pathlib.Path(sys.argv[1])), config, pathlib.Path(sys.argv[2]), key=public_key(0))"
    )
    found = []
    for seed in ("1", "2"):
        out = tmp_path / f"d{seed}"
        command = [sys.executable, "-c", code, str(tmp_path / "t.csv"), str(out)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed}, timeout=200)
        found.append(load(out).sha256)
    assert found[0] == found[1]
