"""Shards on disk: what is written is read, training on them is training in memory bit for bit, damage is named first."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from securefl.chem.dataset import Dataset, Fold
from securefl.config import FederationConfig, ModelConfig
from securefl.errors import InputError, ParameterError, VerificationError
from securefl.learning.cells import Records, RecordSource, Scaling, records_of, scaling_of
from securefl.learning.heads import Heads
from securefl.learning.local import PlainTrainer, Seat
from securefl.learning.loss import CellBatch
from securefl.learning.model import Model
from securefl.learning.owned import load_owned
from securefl.learning.shard_writer import write_shards, writing_shards
from securefl.learning.shards import ARRAYS, MANIFEST, TASKS, open_shards
from securefl.learning.sparse import SparseBatch
from securefl.learning.streaming import fit
from securefl.learning.trunk import Trunk

MODEL = ModelConfig(hidden=(24, 12), dropout=0.2)
TRAINING = FederationConfig(batch=32, learning_rate=5e-3)


@pytest.fixture(scope="module")
def records(tiny_dataset: Dataset) -> Records:
    return records_of(tiny_dataset, scaling_of(tiny_dataset, 0), tiny_dataset.cells(0, Fold.TRAIN))


@pytest.fixture
def folder(tiny_dataset: Dataset, tmp_path: Path) -> Path:
    write_shards(tiny_dataset, 0, tmp_path / "shards", records=50)
    return tmp_path / "shards"


@dataclass(frozen=True)
class InMemory:
    """The same parts in memory, visited in the order of the shards."""

    parts: list[Records]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def batches(self, size: int, shuffle: np.random.Generator) -> Iterator[tuple[SparseBatch, CellBatch]]:
        for number in shuffle.permutation(len(self.parts)):
            yield from self.parts[number].batches(size, shuffle)


def trained(
    source: RecordSource, bits: int, scaling: Scaling, *, epochs: int, training: FederationConfig
) -> tuple[Trunk, Heads]:
    """Train as :func:`fit` does."""
    trunk = Trunk(bits, MODEL.hidden, dropout=MODEL.dropout, generator=torch.Generator().manual_seed(7))
    heads = Heads.fresh(scaling, trunk.width)
    trainer = PlainTrainer(Seat(partner=0, records=source, seed=7), config=training)
    for _ in range(epochs):
        trainer.train_epoch(trunk, heads, source)
    return trunk, heads


def assert_same(model: Model, trunk: Trunk, heads: Heads) -> None:
    for name, value in trunk.tensors().items():
        np.testing.assert_array_equal(model.trunk[name], value)
    np.testing.assert_array_equal(model.heads[0].weight, heads.weight.detach().numpy())


def parts_of(records: Records, size: int) -> list[Records]:
    order = np.random.default_rng([0, 0]).permutation(len(records))
    return [records.select(order[start : start + size]) for start in range(0, len(order), size)]


def test_every_record_is_in_one_shard_as_it_was(folder: Path, records: Records) -> None:
    opened = open_shards(folder)
    parts = parts_of(records, 50)
    assert (len(opened), opened.cells, len(opened.manifest.shards)) == (len(records), records.cells, len(parts))
    assert len(parts) > 2
    for number, part in enumerate(parts):
        read = opened.shard(number)
        assert (read.fingerprints != part.fingerprints).nnz == 0
        for name in ("start", "task", "target", "relation", "binary"):
            np.testing.assert_array_equal(getattr(read, name), getattr(part, name))
    assert opened.size == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("steps", [0, 5])
def test_streamed_training_is_training_in_memory_bit_for_bit(folder: Path, records: Records, steps: int) -> None:
    training = TRAINING.model_copy(update={"local_steps": steps})
    fitted = fit(open_shards(folder), model=MODEL, training=training, epochs=3, seed=7)
    source = InMemory(parts_of(records, 50))
    trunk, heads = trained(source, records.fingerprints.shape[1], open_shards(folder).scaling, epochs=3, training=training)
    assert_same(fitted.owned.model, trunk, heads)
    assert fitted.losses[-1] < fitted.losses[0]


def test_one_shard_is_the_ordinary_trainer_on_its_records(tiny_dataset: Dataset, records: Records, tmp_path: Path) -> None:
    write_shards(tiny_dataset, 0, tmp_path / "one")
    fitted = fit(open_shards(tmp_path / "one"), model=MODEL, training=TRAINING, epochs=2, seed=7)
    (part,) = parts_of(records, len(records))
    trunk, heads = trained(part, records.fingerprints.shape[1], scaling_of(tiny_dataset, 0), epochs=2, training=TRAINING)
    assert_same(fitted.owned.model, trunk, heads)


def test_the_order_is_shuffled_by_the_seed_and_visits_everything_once(folder: Path) -> None:
    opened = open_shards(folder)
    one, again, other = (list(opened.batches(16, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert sum(len(batch) for batch, _ in one) == len(opened)
    assert all(torch.equal(a.indices, b.indices) for (a, _), (b, _) in zip(one, again, strict=True))
    assert not all(torch.equal(a.indices, b.indices) for (a, _), (b, _) in zip(one, other, strict=False))
    labels = sorted(float(x) for _, cells in one for x in cells.target)
    assert labels == sorted(float(x) for _, cells in other for x in cells.target)


def test_model_of_shards_is_the_owners_and_names_its_tasks(folder: Path, tiny_dataset: Dataset, tmp_path: Path) -> None:
    fit(open_shards(folder), model=MODEL, training=TRAINING, epochs=1).owned.save(tmp_path / "model")
    owned = load_owned(tmp_path / "model")
    assert owned.partner == tiny_dataset.partners[0]
    assert [task.name for task in owned.tasks] == [tiny_dataset.tasks[t].name for t in tiny_dataset.tasks_of(0)]


def test_weights_of_tasks_travel_with_the_shards(tiny_dataset: Dataset, tmp_path: Path) -> None:
    tasks = tuple(dataclasses.replace(task, weight=0.25 * (i + 1)) for i, task in enumerate(tiny_dataset.tasks))
    write_shards(dataclasses.replace(tiny_dataset, tasks=tasks), 0, tmp_path / "weighted")
    (_, cells), *_ = open_shards(tmp_path / "weighted").batches(8, np.random.default_rng(0))
    assert cells.weight is not None
    own = [tasks[t].weight for t in tiny_dataset.tasks_of(0)]
    assert cells.weight.tolist() == [own[task] for task in cells.task.tolist()]


def test_a_missing_shard_is_named_before_training(folder: Path) -> None:
    shutil.rmtree(folder / "00001")
    with pytest.raises(VerificationError, match=r"shards .*: 00001/bit_start\.npy is missing"):
        open_shards(folder)


@pytest.mark.parametrize("name", [TASKS, *(f"00002/{array}.npy" for array in ARRAYS)])
def test_every_changed_byte_is_noticed_and_its_file_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(VerificationError, match=rf"{name} differs from its SHA-256"):
        open_shards(folder)


def test_a_manifest_that_leaves_a_shard_out_is_refused(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    content["files"] = {name: value for name, value in content["files"].items() if not name.startswith("00001")}
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"lists .* files, must be the"):
        open_shards(folder)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "securefl-shards/9"}'])
def test_what_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="shards"):
        open_shards(folder)


def test_a_folder_that_is_there_is_never_written_to(folder: Path, tiny_dataset: Dataset) -> None:
    before = (folder / MANIFEST).read_bytes()
    with pytest.raises(InputError, match="exists: choose a new one"):
        write_shards(tiny_dataset, 0, folder)
    assert (folder / MANIFEST).read_bytes() == before


def test_an_error_while_writing_leaves_nothing(records: Records, tiny_dataset: Dataset, tmp_path: Path) -> None:
    narrow = dataclasses.replace(records, fingerprints=records.fingerprints[:, :10])

    def write() -> None:
        with writing_shards(tmp_path / "new", bits=256, scaling=scaling_of(tiny_dataset, 0)) as writer:
            writer.add(records)
            writer.add(narrow)

    with pytest.raises(ParameterError, match=r"bits=10 .*must be"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_shards_of_nothing_are_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with (
        pytest.raises(ParameterError, match="shards=0 must be >= 1"),
        writing_shards(tmp_path / "new", bits=256, scaling=scaling_of(tiny_dataset, 0)),
    ):
        pass
    with pytest.raises(ParameterError, match="records=0 must be >= 1"):
        write_shards(tiny_dataset, 0, tmp_path / "new", records=0)


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ParameterError, match="device='tpu' must be 'cpu'"):
        fit(open_shards(folder), model=MODEL, training=TRAINING, epochs=1, device="tpu")
