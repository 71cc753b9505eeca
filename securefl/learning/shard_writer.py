"""Writing a folder of training shards: chunk by chunk, under a temporary name, complete or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold
from securefl.chem.folder import file_sha256
from securefl.errors import InputError, ParameterError
from securefl.learning.cells import Records, Scaling, records_of, scaling_of
from securefl.learning.owned import OwnedTask
from securefl.learning.shards import (
    ARRAYS,
    FORMAT,
    MANIFEST,
    TASKS,
    ShardManifest,
    ShardOwner,
    ShardSize,
    shard_name,
)
from securefl.types import Progress, silent

SHARD_RECORDS = 1 << 16


class ShardWriter:
    """Adds shards to a folder that :func:`writing_shards` made."""

    def __init__(self, folder: Path, *, bits: int, tasks: int) -> None:
        self._folder, self._bits, self._tasks = folder, bits, tasks
        self.sizes: list[ShardSize] = []
        self.files: dict[str, str] = {}

    def add(self, records: Records) -> None:
        """Write one shard.

        Raises:
            ParameterError: the bits or tasks are not the folder's, there is no record, or the records are graphs or counts.
        """
        matrix = records.fingerprints
        if matrix.shape[1] != self._bits or len(records.binary) != self._tasks or not len(records):
            found = f"records={len(records)} bits={matrix.shape[1]} tasks={len(records.binary)}"
            raise ParameterError(f"shard has {found}, must be >= 1, {self._bits} and {self._tasks}")
        if records.graphs is not None or (matrix.data != 1).any():
            raise ParameterError("shard has graphs or counts, must have binary fingerprints alone")
        arrays = (
            matrix.indices.astype(_smallest(self._bits)), matrix.indptr.astype(np.uint32), records.start.astype(np.uint32),
            records.task.astype(_smallest(self._tasks)), records.target.astype(np.float32), records.relation.astype(np.int8),
        )  # fmt: skip
        name = shard_name(len(self.sizes))
        (self._folder / name).mkdir()
        for array_name, array in zip(ARRAYS, arrays, strict=True):
            file = f"{name}/{array_name}.npy"
            np.save(self._folder / file, array, allow_pickle=False)
            self.files[file] = file_sha256(self._folder / file)
        self.sizes.append(ShardSize(len(records), matrix.nnz, records.cells))


def _smallest(numbers: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if numbers <= 1 << 16 else np.uint32


@contextmanager
def writing_shards(
    folder: Path,
    *,
    bits: int,
    scaling: Scaling,
    weight: NDArray[np.float32] | None = None,
    owner: ShardOwner | None = None,
) -> Iterator[ShardWriter]:
    """Yield a writer; the folder gets its name when the block ends without an error, else nothing of it is left.

    Args:
        folder: a new folder. bits: number of fingerprint bits.
        scaling: of the tasks that the records count from 0. weight: float32 (tasks,), ``None`` for 1.
        owner: whose records they are; nobody's in particular if left out.

    Raises:
        InputError: ``folder`` exists, or can't be written.
        ParameterError: no shard was added.
    """
    if folder.exists():
        raise InputError(f"output folder {folder} exists: choose a new one")
    temporary = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    writer = ShardWriter(temporary, bits=bits, tasks=len(scaling))
    try:
        # A killed process of the same number (they repeat in containers) may have left one.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        writer.files[TASKS] = _write_tasks(temporary / TASKS, scaling, weight)
        yield writer
        if not writer.sizes:
            raise ParameterError("shards=0 must be >= 1")
        shards, files = tuple(writer.sizes), writer.files
        manifest = ShardManifest(bits=bits, owner=owner or ShardOwner(), shards=shards, files=files)
        _write_manifest(temporary / MANIFEST, manifest)
        temporary.replace(folder)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise InputError(f"can't write shards {folder}: {reason}; nothing is left of them") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_tasks(path: Path, scaling: Scaling, weight: NDArray[np.float32] | None) -> str:
    weights = np.ones(len(scaling), dtype=np.float32) if weight is None else weight
    with path.open("wb") as handle:
        np.savez(handle, tasks=scaling.tasks, mean=scaling.mean, std=scaling.std, binary=scaling.binary, weight=weights)
    return file_sha256(path)


def _write_manifest(path: Path, manifest: ShardManifest) -> None:
    with path.open("w", encoding="utf-8") as handle:
        handle.write(json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, sort_keys=True) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def shard_owner(dataset: Dataset, partner: int, scaling: Scaling) -> ShardOwner:
    """Return what a folder of ``partner``'s shards says about where they come from."""
    tasks = tuple(OwnedTask(dataset.tasks[task].name, dataset.tasks[task].kind.value) for task in scaling.tasks)
    return ShardOwner(
        number=partner,
        partner=dataset.partners[partner],
        tasks=tasks,
        encoding=None if dataset.encoding is None else dataset.encoding.as_json(),
        data_sha256=dataset.sha256,
    )


def write_shards(
    dataset: Dataset,
    partner: int,
    folder: Path,
    *,
    fold: Fold = Fold.TRAIN,
    records: int = SHARD_RECORDS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Write ``partner``'s records of one fold as shards of ``records`` each, shuffled by ``seed`` before they are divided.

    Targets are scaled by the partner's TRAIN cells, whichever fold is written. (The dataset itself is read into memory:
    whoever has more than fits adds shards through :func:`writing_shards`.)

    Raises:
        InputError: the partner can't train (:func:`~securefl.learning.cells.scaling_of`), or ``folder`` exists or can't be
            written.
        ParameterError: ``records`` is under 1, or the fold has none.
    """
    if records < 1:
        raise ParameterError(f"records={records} must be >= 1")
    scaling = scaling_of(dataset, partner)
    whole = records_of(dataset, scaling, dataset.cells(partner, fold))
    order = np.random.default_rng([seed, partner]).permutation(len(whole))
    starts = range(0, len(order), records)
    owner = shard_owner(dataset, partner, scaling)
    with writing_shards(folder, bits=dataset.bits, scaling=scaling, weight=whole.weight, owner=owner) as writer:
        for done, start in enumerate(starts, start=1):
            writer.add(whole.select(order[start : start + records]))
            progress("shards", done, len(starts))
