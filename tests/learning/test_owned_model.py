"""What a partner keeps: a folder that is read back whole, refused when it is not, and tuned by its owner alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.chem.dataset import Dataset, Fold
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import InputError, ParameterError, VerificationError
from securefl.federation.training import train_federated
from securefl.learning.fine_tune import fine_tune
from securefl.learning.model import Model
from securefl.learning.owned import HEADS, MANIFEST, TRUNK, load_owned, owned_by

CONFIG = RunConfig(
    data=DataConfig(partners=3),
    model=ModelConfig(hidden=(24, 12)),
    federation=FederationConfig(rounds=4, batch=32, learning_rate=5e-3),
)


@pytest.fixture(scope="module")
def model(tiny_dataset: Dataset) -> Model:
    return train_federated(tiny_dataset, config=CONFIG, scheme="plaintext", seed=0, rng=CountingRng()).model


def test_a_folder_holds_the_trunk_and_the_owners_heads_alone(model: Model, tiny_dataset: Dataset, tmp_path: Path) -> None:
    owned = owned_by(model, tiny_dataset, 1, origin="test")
    owned.save(tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [HEADS, MANIFEST, TRUNK]
    again = load_owned(tmp_path / "mine")
    assert (again.number, again.partner, again.origin) == (1, "partner 1", "test")
    assert [task.name for task in again.tasks] == [f"assay {i}" for i in range(4)]
    assert [task.kind for task in again.tasks] == ["regression"] * 3 + ["classification"]
    assert again.data_sha256 == tiny_dataset.sha256
    np.testing.assert_array_equal(again.model.heads[1].weight, model.heads[1].weight)
    for name, value in model.trunk.items():
        np.testing.assert_array_equal(again.model.trunk[name], value)
    everything = b"".join(path.read_bytes() for path in (tmp_path / "mine").iterdir())
    assert model.heads[1].weight.tobytes() in everything
    assert model.heads[0].weight.tobytes() not in everything


def test_the_trunk_of_several_partners_is_one_file(model: Model, tiny_dataset: Dataset, tmp_path: Path) -> None:
    owned_by(model, tiny_dataset, 0).save(tmp_path / "one")
    owned_by(model, tiny_dataset, 1).save(tmp_path / "two", shared_trunk=tmp_path / "one" / TRUNK)
    assert (tmp_path / "one" / TRUNK).stat().st_ino == (tmp_path / "two" / TRUNK).stat().st_ino
    # Another trunk is never linked.
    other = dataclasses.replace(model, trunk={name: value + 1 for name, value in model.trunk.items()})
    owned_by(other, tiny_dataset, 2).save(tmp_path / "three", shared_trunk=tmp_path / "one" / TRUNK)
    changed, shared = (load_owned(tmp_path / name).model.trunk["first.bias"] for name in ("three", "two"))
    np.testing.assert_array_equal(changed, shared + 1)


@pytest.mark.parametrize("name", [TRUNK, HEADS])
def test_a_damaged_file_is_named(model: Model, tiny_dataset: Dataset, tmp_path: Path, name: str) -> None:
    owned_by(model, tiny_dataset, 0).save(tmp_path / "mine")
    data = bytearray((tmp_path / "mine" / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / "mine" / name).write_bytes(data)
    with pytest.raises(VerificationError, match=f"{name} differs from its SHA-256"):
        load_owned(tmp_path / "mine")
    (tmp_path / "mine" / name).unlink()
    with pytest.raises(VerificationError, match=f"{name} is missing"):
        load_owned(tmp_path / "mine")


def test_what_is_no_model_folder_is_refused(model: Model, tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a model folder"):
        load_owned(tmp_path)
    owned_by(model, tiny_dataset, 0).save(tmp_path / "mine")
    path = tmp_path / "mine" / MANIFEST
    content = json.loads(path.read_text(encoding="utf-8"))
    for changes, match in (
        ({"format": "other/1"}, "format 'other/1'"),
        ({"tasks": content["tasks"][:2]}, "names 2 tasks"),
        ({"tasks": [{"task": "x"}]}, "is incomplete"),
        ({"encoding": {"bits": 1}}, "encoding of structures can't be read"),
    ):
        path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
        with pytest.raises(InputError, match=match):
            load_owned(tmp_path / "mine")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="can't be read"):
        load_owned(tmp_path / "mine")


def test_fine_tuning_improves_on_the_owners_validation_and_touches_no_other_file(model: Model, tiny_dataset: Dataset) -> None:
    owned = owned_by(model, tiny_dataset, 0)
    tuned, curve = fine_tune(owned, tiny_dataset, epochs=12, learning_rate=5e-3)
    assert len(curve) == 13
    assert max(curve[1:]) > curve[0]
    assert not np.array_equal(tuned.model.trunk["first.weight"], owned.model.trunk["first.weight"])
    assert tuned.tasks == owned.tasks
    again, same = fine_tune(owned, tiny_dataset, epochs=12, learning_rate=5e-3)
    assert same == curve
    np.testing.assert_array_equal(again.model.heads[0].weight, tuned.model.heads[0].weight)


def test_fine_tuning_keeps_the_model_where_nothing_gets_better(model: Model, tiny_dataset: Dataset) -> None:
    owned = owned_by(model, tiny_dataset, 0)
    tuned, curve = fine_tune(owned, tiny_dataset, epochs=2, learning_rate=10.0)
    assert max(curve[1:]) <= curve[0]
    np.testing.assert_array_equal(tuned.model.heads[0].weight, owned.model.heads[0].weight)


def test_fine_tuning_needs_the_owner_and_its_tasks(model: Model, tiny_dataset: Dataset) -> None:
    owned = owned_by(model, tiny_dataset, 0)
    with pytest.raises(ParameterError, match="epochs=0"):
        fine_tune(owned, tiny_dataset, epochs=0)
    with pytest.raises(InputError, match="no partner 'partner 0'"):
        fine_tune(owned, dataclasses.replace(tiny_dataset, partners=("x", "y", "z")), epochs=1)
    trained = np.where(tiny_dataset.fold == Fold.VALIDATION, Fold.TRAIN, tiny_dataset.fold).astype(np.int8)
    with pytest.raises(InputError, match="0 validation records"):
        fine_tune(owned, dataclasses.replace(tiny_dataset, fold=trained), epochs=1)
    renamed = tuple(dataclasses.replace(task, name=f"new {task.name}") for task in tiny_dataset.tasks)
    with pytest.raises(InputError, match="0 tasks 'assay 0'"):
        fine_tune(owned, dataclasses.replace(tiny_dataset, tasks=renamed), epochs=1)
    with pytest.raises(InputError, match="has 10 bits"):
        fine_tune(owned, dataclasses.replace(tiny_dataset, fingerprints=tiny_dataset.fingerprints[:, :10]), epochs=1)
