"""Models on disk and their predictions in original units."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins import make_dataset

from securefl.chem.dataset import Dataset
from securefl.errors import InputError, ParameterError
from securefl.learning.cells import scaling_of
from securefl.learning.heads import Heads
from securefl.learning.model import Model, PartnerHeads, predict
from securefl.learning.sparse import batch_of
from securefl.learning.trunk import Trunk


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> Model:
    draw = np.random.default_rng(0)
    heads = {}
    for partner in range(3):
        scaling = scaling_of(dataset, partner)
        heads[partner] = PartnerHeads(
            weight=draw.normal(size=(len(scaling), 5)).astype(np.float32),
            bias=draw.normal(size=len(scaling)).astype(np.float32),
            scaling=scaling,
        )
    trunk = Trunk(dataset.bits, (9, 5), generator=torch.Generator().manual_seed(0))
    return Model(trunk=trunk.tensors(), heads=heads)


def test_save_then_load_is_the_identity(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.safetensors"
    model.save(path)
    back = Model.load(path)
    assert list(back.heads) == [0, 1, 2]
    assert (back.bits, back.hidden) == (model.bits, (9, 5))
    for name, value in model.trunk.items():
        np.testing.assert_array_equal(back.trunk[name], value)
    for partner, heads in model.heads.items():
        for name in ("weight", "bias"):
            np.testing.assert_array_equal(getattr(back.heads[partner], name), getattr(heads, name))
        for name in ("tasks", "mean", "std", "binary"):
            np.testing.assert_array_equal(getattr(back.heads[partner].scaling, name), getattr(heads.scaling, name))
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_a_full_disk_keeps_what_was_there(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"an earlier model")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        model.save(path)
    assert path.read_bytes() == b"an earlier model"
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_are_no_models_are_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match="can't read model"):
        Model.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not safetensors"):
        Model.load(path)
    Model(trunk={"first.bias": np.zeros(3, dtype=np.float32)}, heads={}).save(path)
    with pytest.raises(InputError, match="incomplete"):
        Model.load(path)


def test_prediction_is_the_network_in_original_units(model: Model, dataset: Dataset) -> None:
    cells = dataset.activities
    found = predict(model, dataset, cells)
    assert found.shape == (len(cells),)
    assert found.dtype == np.float32
    trunk = model.network()
    for cell in (0, 17, len(cells) - 1):
        task = int(cells.task[cell])
        heads = model.heads[dataset.tasks[task].partner]
        k = heads.scaling.tasks.tolist().index(task)
        with torch.no_grad():
            hidden = trunk(batch_of(dataset.fingerprints, cells.compound[[cell]]))[0].numpy()
        logit = float(hidden @ heads.weight[k] + heads.bias[k])
        in_units = 1 / (1 + np.exp(-logit)) if heads.scaling.binary[k] else logit * heads.scaling.std[k] + heads.scaling.mean[k]
        assert found[cell] == pytest.approx(in_units, rel=1e-4)
    binary = np.array([task.kind.value == "classification" for task in dataset.tasks])[cells.task]
    assert ((found[binary] >= 0) & (found[binary] <= 1)).all()


def test_one_partners_model_predicts_its_own_cells_only(model: Model, dataset: Dataset) -> None:
    own = model.of(1)
    assert len(predict(own, dataset, dataset.cells(1))) == len(dataset.cells(1))
    with pytest.raises(InputError, match="no heads of partner 0"):
        predict(own, dataset, dataset.cells(0))


def test_other_fingerprints_are_refused(model: Model) -> None:
    other = make_dataset(bits=128)
    with pytest.raises(InputError, match="dataset has 128 bits, the model reads 256"):
        predict(model, other, other.activities)


def test_heads_of_another_shape_are_refused(model: Model) -> None:
    with pytest.raises(ParameterError, match="heads have shape"):
        model.heads[0].load_into(Heads(4, 6))
