"""A dataset on disk: written under a temporary name and renamed when it is complete, verified by hash when it is read.

A folder that holds anything else is refused, never overwritten; a disk that fills up leaves what was there before.
What the hashes do NOT give: authenticity. Whoever can write the folder can write a manifest that fits it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from securefl.chem.dataset import Activities, Dataset, Task, TaskKind
from securefl.chem.encoding import Encoding
from securefl.chem.rejects import Reject, read_rejects, write_rejects
from securefl.errors import InputError, VerificationError

FORMAT = "securefl-dataset/1"
MANIFEST = "manifest.json"
FILES = ("activities.parquet", "compounds.parquet", "fingerprints.npz", "rejects.csv", "tasks.parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``manifest.json``: the files with their SHA-256, what the tables don't say of the dataset, the request that made it."""

    sha256: str
    request: str
    files: dict[str, str]
    about: dict[str, Any]
    partners: list[str]
    name: str
    licence: str
    citation: str
    rejects: int


def content_sha256(dataset: Dataset) -> str:
    """Return the hex SHA-256 of everything in ``dataset``, whichever library versions wrote it to disk."""
    digest = hashlib.sha256(FORMAT.encode())
    matrix = dataset.fingerprints
    arrays = [
        matrix.indptr.astype("<i8"),
        matrix.indices.astype("<i4"),
        np.array(matrix.shape, dtype="<i8"),
        dataset.fold.astype("<i1"),
        dataset.cluster.astype("<i4"),
        dataset.activities.task.astype("<i4"),
        dataset.activities.compound.astype("<i4"),
        dataset.activities.value.astype("<f4"),
        dataset.activities.relation.astype("<i1"),
    ]
    if (matrix.data != 1).any():
        arrays.append(matrix.data.astype("<u1"))
    for array in arrays:
        digest.update(b"%d;" % array.size + array.tobytes())
    text = [*dataset.inchikeys, *dataset.smiles, *dataset.partners]
    text += [f"{task.partner}\x00{task.name}\x00{task.kind.value}" for task in dataset.tasks]
    # What most datasets have none of is hashed only where it is there: their hashes stay what they were.
    text += [f"{i}\x00{t.weight!r}\x00{t.judged}" for i, t in enumerate(dataset.tasks) if t.weight != 1 or not t.judged]
    text += [dataset.name, dataset.licence, dataset.citation, str(dataset.rejects)]
    digest.update(json.dumps(text).encode())
    return digest.hexdigest()


def save(
    dataset: Dataset,
    path: Path,
    rejects: Iterable[Reject] = (),
    *,
    request: str = "",
    about: dict[str, Any] | None = None,
) -> Dataset:
    """Write ``dataset`` to the folder ``path`` and return it with the hash of its content.

    Args:
        rejects: the rows of ``rejects.csv``.
        request: names what was asked for; :func:`prepared` finds the folder by it.
        about: counts and settings for people, JSON values.

    Raises:
        InputError: ``path`` holds something else, or can't be written; what was there is unchanged.
    """
    dataset = replace(dataset, sha256=content_sha256(dataset))
    check_free(path)
    temporary = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A killed process of the same number (they repeat in containers) may have left one.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        _write_files(dataset, temporary, rejects)
        manifest = Manifest(
            sha256=dataset.sha256,
            request=request,
            files={name: file_sha256(temporary / name) for name in FILES},
            about=about or {},
            partners=list(dataset.partners),
            name=dataset.name,
            licence=dataset.licence,
            citation=dataset.citation,
            rejects=dataset.rejects,
        )
        _write_manifest(temporary / MANIFEST, manifest)
        temporary.replace(path)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise InputError(f"can't write dataset {path}: {reason}; nothing there was changed") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return dataset


def check_free(path: Path) -> None:
    """Return if a dataset may be written to ``path``: it doesn't exist or is an empty folder.

    Raises:
        InputError: it holds something.
    """
    try:
        names = sorted(child.name for child in path.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"output folder {path}: {error.strerror}") from error
    if MANIFEST in names:
        raise InputError(f"output folder {path} holds another dataset: choose another folder, or delete it yourself")
    if names:
        raise InputError(f"output folder {path} holds something else ({names[0]}): choose an empty or a new one")


def prepared(path: Path, request: str) -> Dataset | None:
    """Return the dataset in ``path`` if it answers ``request``, else ``None``.

    Raises:
        VerificationError: it does, but one of its files has changed.
    """
    if not (path / MANIFEST).is_file() or read_manifest(path).request != request:
        return None
    return load(path)


def load(path: Path) -> Dataset:
    """Return the dataset in the folder ``path``, every file checked against the manifest.

    Raises:
        InputError: ``path`` is not a dataset folder.
        VerificationError: a file is missing or differs from its hash; the message names it.
    """
    manifest = read_manifest(path)
    for name in FILES:
        file = path / name
        if not file.is_file():
            raise VerificationError(f"dataset {path}: {name} is missing")
        if file_sha256(file) != manifest.files.get(name):
            raise VerificationError(f"dataset {path}: {name} differs from its SHA-256 in {MANIFEST}")
    try:
        dataset = _read_files(path, manifest)
    except (OSError, KeyError, ValueError, pa.ArrowException, BadZipFile) as error:
        raise InputError(f"dataset {path}: can't be read: {error}") from error
    if content_sha256(dataset) != manifest.sha256:
        raise VerificationError(f"dataset {path}: content differs from the SHA-256 in {MANIFEST}")
    return dataset


def load_rejects(path: Path) -> tuple[Reject, ...]:
    """Return the rows of ``rejects.csv`` in the dataset folder ``path``.

    Raises:
        InputError: the file is missing or is no list of rejects.
    """
    try:
        with (path / "rejects.csv").open(newline="", encoding="utf-8") as handle:
            return read_rejects(handle)
    except OSError as error:
        raise InputError(f"dataset {path}: rejects.csv: {error.strerror}") from error


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of the dataset folder ``path``.

    Raises:
        InputError: there is none, or it is of another format.
    """
    try:
        content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        found = content.pop("format")
        if found != FORMAT:
            raise InputError(f"dataset {path}: format {found!r}, must be {FORMAT!r}")
        return Manifest(**content)
    except OSError as error:
        raise InputError(f"{path} is not a dataset folder: {MANIFEST}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a dataset folder: {MANIFEST} can't be read") from error


def _write_files(dataset: Dataset, folder: Path, rejects: Iterable[Reject]) -> None:
    compounds = {
        "inchikey": list(dataset.inchikeys), "smiles": list(dataset.smiles), "cluster": dataset.cluster, "fold": dataset.fold,
    }  # fmt: skip
    tasks = {
        "partner": [dataset.partners[task.partner] for task in dataset.tasks],
        "name": [task.name for task in dataset.tasks],
        "kind": [task.kind.value for task in dataset.tasks],
        "weight": [task.weight for task in dataset.tasks],
        "judged": [task.judged for task in dataset.tasks],
    }
    cells = dataset.activities
    activities = {"task": cells.task, "compound": cells.compound, "value": cells.value, "relation": cells.relation}
    for name, columns in (("compounds", compounds), ("tasks", tasks), ("activities", activities)):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", compression="zstd")
    matrix = dataset.fingerprints
    with (folder / "fingerprints.npz").open("wb") as handle:
        counts = {"data": matrix.data} if (matrix.data != 1).any() else {}
        np.savez_compressed(handle, indptr=matrix.indptr, indices=matrix.indices, shape=np.array(matrix.shape), **counts)
    with (folder / "rejects.csv").open("w", newline="", encoding="utf-8") as text:
        write_rejects(text, rejects)


def _write_manifest(path: Path, manifest: Manifest) -> None:
    with path.open("w", encoding="utf-8") as handle:
        handle.write(json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, sort_keys=True) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def _read_files(path: Path, manifest: Manifest) -> Dataset:
    compounds, tasks, cells = (pq.read_table(path / f"{name}.parquet") for name in ("compounds", "tasks", "activities"))
    with np.load(path / "fingerprints.npz", allow_pickle=False) as stored:
        indices, indptr, shape = stored["indices"], stored["indptr"], tuple(stored["shape"].tolist())
        data = stored["data"] if "data" in stored else np.ones(len(indices), dtype=np.uint8)
    matrix = sp.csr_matrix((data, indices, indptr), shape=shape)
    matrix.has_sorted_indices = True
    number = {name: i for i, name in enumerate(manifest.partners)}
    column = {name: cells[name].to_numpy() for name in ("task", "compound", "value", "relation")}
    return Dataset(
        inchikeys=tuple(compounds["inchikey"].to_pylist()),
        smiles=tuple(compounds["smiles"].to_pylist()),
        fingerprints=matrix,
        fold=compounds["fold"].to_numpy().astype(np.int8),
        cluster=compounds["cluster"].to_numpy().astype(np.int32),
        tasks=tuple(_task(row, number) for row in tasks.to_pylist()),
        partners=tuple(manifest.partners),
        activities=Activities(
            column["task"].astype(np.int32),
            column["compound"].astype(np.int32),
            column["value"].astype(np.float32),
            column["relation"].astype(np.int8),
        ),
        sha256=manifest.sha256,
        name=manifest.name,
        licence=manifest.licence,
        citation=manifest.citation,
        rejects=manifest.rejects,
        encoding=Encoding.from_json(manifest.about["encoding"]) if "encoding" in manifest.about else None,
    )


def _task(row: dict[str, Any], number: dict[str, int]) -> Task:
    # Folders from before there were weights have no such columns.
    return Task(
        number[row["partner"]], row["name"], TaskKind(row["kind"]), row.get("weight", 1.0), row.get("judged", True)
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
