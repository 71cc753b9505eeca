"""New molecules under a partner's model: bit for bit what the dataset would give, every row accounted for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from stand_ins import CountingRng

from securefl.chem.dataset import Activities, Dataset, Fold, Task
from securefl.chem.encoding import Encoding, encode
from securefl.chem.keyed import key_check, public_key
from securefl.chem.standardise import Rules
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import InputError, VerificationError
from securefl.evaluation.scoring import as_csv, columns_of, read_smiles, score, write_scores
from securefl.federation.training import train_federated
from securefl.learning.family import with_graphs
from securefl.learning.model import predict
from securefl.learning.owned import OwnedModel, load_owned, owned_by
from securefl.types import Secret

KEY = Secret(bytes(range(32)))
RINGS = ("c1ccccc1", "C1CCCCC1", "c1ccncc1", "c1ccoc1", "c1ccsc1")
TAILS = ("O", "N", "Cl", "F", "CC", "C(=O)O", "C#N", "OC", "NC(C)=O", "Br")


def made_dataset(key: Secret) -> Dataset:
    """150 molecules at three partners, made as preparation makes them."""
    smiles = [f"{ring}{tail}{'C' * extra}" for ring in RINGS for tail in TAILS[:5] for extra in range(6)]
    encoding = Encoding(bits=256, radius=2, counts=False, rules=Rules(), key_check=key_check(key), seed=0)
    found = encode(smiles, encoding, key=key)
    draw = np.random.default_rng(0)
    count = len(found.smiles)
    compound = np.tile(np.arange(count, dtype=np.int32), 3)
    return Dataset(
        inchikeys=found.inchikeys,
        smiles=found.smiles,
        fingerprints=found.fingerprints,
        fold=np.where(np.arange(count) % 5 < 4, Fold.TRAIN, Fold.VALIDATION).astype(np.int8),
        cluster=np.arange(count, dtype=np.int32),
        tasks=(Task(0, "reject"), Task(1, "ours"), Task(2, "theirs")),
        partners=("a", "b", "c"),
        activities=Activities(
            np.repeat(np.arange(3, dtype=np.int32), count),
            compound,
            draw.normal(6, 1, 3 * count).astype(np.float32),
            np.zeros(3 * count, dtype=np.int8),
        ),
        sha256="made",
        encoding=encoding,
    )


def trained(dataset: Dataset, family: str = "mlp") -> RunConfig:
    model = ModelConfig.model_validate({"family": family, "hidden": (16, 8), "graph_width": 8})
    return RunConfig(data=DataConfig(partners=3), model=model, federation=FederationConfig(rounds=2, batch=32))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return made_dataset(KEY)


@pytest.fixture(scope="module")
def owned(dataset: Dataset) -> OwnedModel:
    run = train_federated(dataset, config=trained(dataset), scheme="plaintext", seed=0, rng=CountingRng())
    return owned_by(run.model, dataset, 0)


@pytest.mark.parametrize("family", ["mlp", "graph"])
def test_scores_are_what_the_dataset_gives(dataset: Dataset, family: str) -> None:
    config = trained(dataset, family)
    complete = with_graphs(dataset, config.model)
    run = train_federated(complete, config=config, scheme="masking", seed=0, rng=CountingRng())
    cells = complete.cells(0)
    expected = predict(run.model, complete, cells)
    scores = score(owned_by(run.model, complete, 0), tuple(dataset.smiles[i] for i in cells.compound), key=KEY)
    np.testing.assert_allclose(scores.value[:, 0], expected, rtol=1e-5)
    assert expected.std() > 0


def test_every_row_is_there_and_refused_ones_say_why(owned: OwnedModel, dataset: Dataset, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_text("id,smiles\n1,CCO\n2,C1CC\n3,\n4,c1ccccc1O\n", encoding="utf-8")
    scores = score(owned, read_smiles(table), key=KEY, data=dataset)
    columns = columns_of(scores)
    # The task is called like a column of ours, so it gets its number.
    assert list(columns) == ["row", "smiles", "reject (1)", "nearest", "reject"]
    assert [value is None for value in columns["reject (1)"]] == [False, True, True, False]
    assert columns["reject"][0] == ""
    assert "pars" in str(columns["reject"][1])
    assert columns["reject"][2] == "blank smiles"
    near = columns["nearest"]
    assert near[3] == 1.0
    assert isinstance(near[0], float)
    assert near[0] < 1.0
    write_scores(scores, tmp_path / "out.csv")
    write_scores(scores, tmp_path / "out.parquet")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == as_csv(scores)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 4
    with pytest.raises(InputError, match=r"must end in \.csv or \.parquet"):
        write_scores(scores, tmp_path / "out.xlsx")


def test_the_wrong_key_is_noticed(owned: OwnedModel) -> None:
    with pytest.raises(VerificationError, match="another key than the public key"):
        score(owned, ("CCO",))
    with pytest.raises(VerificationError, match="another key than this one"):
        score(owned, ("CCO",), key=Secret(bytes(32)))
    assert owned.encoding is not None
    public = dataclasses.replace(owned, encoding=dataclasses.replace(owned.encoding, key_check=key_check(public_key(0))))
    assert np.isfinite(score(public, ("CCO",)).value).all()


def test_a_model_without_encoding_and_data_of_another_one_are_refused(owned: OwnedModel, dataset: Dataset) -> None:
    with pytest.raises(InputError, match="how its fingerprints are made"):
        score(dataclasses.replace(owned, encoding=None), ("CCO",))
    assert dataset.encoding is not None
    other = dataclasses.replace(dataset, encoding=dataclasses.replace(dataset.encoding, radius=3))
    with pytest.raises(InputError, match="in another way"):
        score(owned, ("CCO",), key=KEY, data=other)


def test_bad_tables_are_one_line_errors(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("structure\nCCO\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("smiles\n", encoding="utf-8")
    with pytest.raises(InputError, match="missing column smiles; found: structure"):
        read_smiles(tmp_path / "a.csv")
    with pytest.raises(InputError, match="0 rows"):
        read_smiles(tmp_path / "b.csv")
    with pytest.raises(InputError, match="no such file"):
        read_smiles(tmp_path / "c.csv")


def test_the_encoding_survives_the_folder(owned: OwnedModel, tmp_path: Path) -> None:
    owned.save(tmp_path / "m")
    assert load_owned(tmp_path / "m").encoding == owned.encoding
