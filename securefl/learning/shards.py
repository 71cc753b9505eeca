"""Training records on disk: memory-mapped CSR shards that are trained on one at a time, so memory doesn't grow with compounds.

A folder holds ``manifest.json`` and, for each shard of some 65,536 records, six ``.npy`` files without pickle: the on-bits
(``bits``, each record's begin at ``bit_start``) and the cells (``task``, ``target``, ``relation``, each record's begin at
``start``), in the smallest integers that hold them: 8 bytes a record, 2 an on-bit, 7 a cell. ``tasks.npz`` says which tasks
they are and how their targets were scaled. The manifest has the SHA-256 of every file; all are checked before training.

A shard is read as the same :class:`~securefl.learning.cells.Records` as data in memory, so a step can't tell where its batch
came from. The order is shuffled by shards and within each one: a batch holds records of one shard only, so shards should be
large against a batch and their records in no order of their own (:func:`securefl.learning.shard_writer.write_shards` shuffles).

What the hashes do NOT give: authenticity, and secrecy: the folder holds a partner's structures and activities in the clear,
and stays with the partner.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from securefl.chem.folder import file_sha256
from securefl.errors import InputError, VerificationError
from securefl.learning.cells import Records, Scaling
from securefl.learning.loss import CellBatch
from securefl.learning.owned import OwnedTask
from securefl.learning.sparse import SparseBatch
from securefl.types import Progress, silent

FORMAT = "securefl-shards/1"
MANIFEST = "manifest.json"
TASKS = "tasks.npz"
ARRAYS = ("bits", "bit_start", "start", "task", "target", "relation")


@dataclass(frozen=True, slots=True)
class ShardSize:
    """What one shard holds."""

    records: int
    on_bits: int
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOwner:
    """Whose records they are and of which dataset: what a model that was trained on them needs to name its tasks.

    ``number`` counts from 0; ``encoding`` as JSON values says how structures became bits, ``None`` if nobody knows.
    """

    number: int = 0
    partner: str = ""
    tasks: tuple[OwnedTask, ...] = ()
    encoding: dict[str, Any] | None = None
    data_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardManifest:
    """``manifest.json``: sizes, whose data it is, and the SHA-256 (hex) of every file by its name."""

    bits: int
    owner: ShardOwner
    shards: tuple[ShardSize, ...]
    files: dict[str, str]


def shard_name(number: int) -> str:
    """Return the name of a shard's folder; ``number`` counts from 0."""
    return f"{number:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedRecords:
    """An open folder of shards: what a trainer reads in the place of records in memory.

    ``weight`` float32 (tasks,) are the tasks' weights, ``None`` if all are 1.
    """

    folder: Path
    manifest: ShardManifest
    scaling: Scaling
    weight: NDArray[np.float32] | None

    def __len__(self) -> int:
        return sum(shard.records for shard in self.manifest.shards)

    @property
    def cells(self) -> int:
        """Number of labelled cells."""
        return sum(shard.cells for shard in self.manifest.shards)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum((self.folder / name).stat().st_size for name in (*self.manifest.files, MANIFEST))

    def shard(self, number: int) -> Records:
        """Return one shard; its cells stay on disk until a batch reads them.

        Raises:
            InputError: the files don't fit each other.
        """
        path = self.folder / shard_name(number)
        try:
            bits, bit_start, start, task, target, relation = (
                np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS
            )
            # scipy multiplies no 16-bit indices; the ones take a byte an on-bit.
            rows, shape = bits.astype(np.int32), (len(bit_start) - 1, self.manifest.bits)
            matrix = sp.csr_matrix((np.ones(len(rows), dtype=np.uint8), rows, bit_start.astype(np.int64)), shape=shape)
        except (OSError, ValueError) as error:
            raise InputError(f"shards {self.folder}: shard {shard_name(number)} can't be read: {error}") from error
        return Records(
            fingerprints=matrix,
            compound=np.arange(len(bit_start) - 1, dtype=np.int32),
            start=start.astype(np.int64),
            task=task,
            target=target,
            relation=relation,
            binary=self.scaling.binary,
            weight=self.weight,
        )

    def batches(self, size: int, shuffle: np.random.Generator) -> Iterator[tuple[SparseBatch, CellBatch]]:
        """Yield every record once: shards in shuffled order, each one's records in shuffled order, one shard open at a time."""
        for number in shuffle.permutation(len(self.manifest.shards)):
            yield from self.shard(int(number)).batches(size, shuffle)


def open_shards(folder: Path, progress: Progress = silent) -> ShardedRecords:
    """Return the shards in ``folder``, every file checked against its hash.

    Raises:
        InputError: ``folder`` holds no shards, or its manifest can't be read.
        VerificationError: a file is missing or differs from its hash; the message names it.
    """
    manifest = _read_manifest(folder)
    for done, (name, expected) in enumerate(sorted(manifest.files.items()), start=1):
        if not (folder / name).is_file():
            raise VerificationError(f"shards {folder}: {name} is missing")
        if file_sha256(folder / name) != expected:
            raise VerificationError(f"shards {folder}: {name} differs from its SHA-256 in {MANIFEST}")
        progress("checking shards", done, len(manifest.files))
    scaling, weight = _read_tasks(folder / TASKS)
    return ShardedRecords(folder=folder, manifest=manifest, scaling=scaling, weight=weight)


def _read_manifest(folder: Path) -> ShardManifest:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise InputError(f"shards {folder}: format {content['format']!r}, must be {FORMAT!r}")
        shards = tuple(ShardSize(int(s["records"]), int(s["on_bits"]), int(s["cells"])) for s in content["shards"])
        files = {str(name): str(sha256) for name, sha256 in content["files"].items()}
        expected = {TASKS, *(f"{shard_name(i)}/{name}.npy" for i in range(len(shards)) for name in ARRAYS)}
        if set(files) != expected or not shards:
            raise InputError(f"shards {folder}: {MANIFEST} lists {len(files)} files, must be the {len(expected)} of its shards")
        owner = ShardOwner(**{**content["owner"], "tasks": tuple(OwnedTask(**task) for task in content["owner"]["tasks"])})
        return ShardManifest(bits=int(content["bits"]), owner=owner, shards=shards, files=files)
    except OSError as error:
        raise InputError(f"{folder} is no folder of shards: {MANIFEST}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder} is no folder of shards: {MANIFEST} can't be read") from error


def _read_tasks(path: Path) -> tuple[Scaling, NDArray[np.float32] | None]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            tasks, mean, std, binary, weight = (stored[name] for name in ("tasks", "mean", "std", "binary", "weight"))
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    scaling = Scaling(
        tasks=tasks.astype(np.int32), mean=mean.astype(np.float32), std=std.astype(np.float32), binary=binary.astype(bool)
    )
    return scaling, None if (weight == 1).all() else weight.astype(np.float32)
