"""What a partner keeps after a run: a folder with the trunk, its own heads, and what it needs to use them.

``trunk.safetensors`` is what all partners of the arm share, ``heads.safetensors`` is the owner's alone, ``model.json`` says how
structures become fingerprints, what each head predicts and in which units, and the SHA-256 of both files.

The folder belongs to its owner: heads, names of tasks, and spreads of values say what its assays are worth. Whoever has the
trunk and predictions can test membership. The hashes tell damage, not forgery: who can write the folder can write the hashes.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from securefl.chem.dataset import Dataset
from securefl.chem.encoding import Encoding
from securefl.errors import InputError, VerificationError
from securefl.files import is_in_memory, write_bytes
from securefl.learning.model import Model, load_arrays, model_from, model_tensors

FORMAT = "securefl-model/1"
MANIFEST, TRUNK, HEADS = "model.json", "trunk.safetensors", "heads.safetensors"


@dataclass(frozen=True, slots=True)
class OwnedTask:
    """One head's task: the owner's ``name`` and whether it predicts pX or the probability of class 1."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedModel:
    """One partner's model: ``model`` holds its heads alone, ``tasks`` are in the heads' order.

    ``encoding`` is ``None`` for a dataset that was not made by :mod:`securefl.chem.prepare`: new molecules can't be scored
    then. ``data_sha256`` names the dataset that it was trained on.
    """

    model: Model
    partner: str
    tasks: tuple[OwnedTask, ...]
    encoding: Encoding | None
    data_sha256: str
    origin: str = ""

    @property
    def number(self) -> int:
        """The partner's number, from 0."""
        return next(iter(self.model.heads))

    def save(self, folder: Path, *, shared_trunk: Path | None = None) -> None:
        """Write the model folder; the manifest comes last, so that a folder without one is not finished.

        ``shared_trunk`` is a file with the same trunk, which is linked instead of written again where the disk allows it.

        Raises:
            InputError: a file can't be written.
        """
        trunk, heads = (model_tensors(self.model, part) for part in ("trunk", "heads"))
        if shared_trunk is None or not _linked(shared_trunk, folder / TRUNK, hashlib.sha256(trunk).digest()):
            write_bytes(folder / TRUNK, trunk)
        write_bytes(folder / HEADS, heads)
        content = {
            "format": FORMAT,
            "partner": self.partner,
            "family": "mlp" if self.model.graph is None else "graph",
            "hidden": list(self.model.hidden),
            "tasks": [asdict(task) for task in self.tasks],
            "encoding": None if self.encoding is None else self.encoding.as_json(),
            "data_sha256": self.data_sha256,
            "origin": self.origin,
            "files": {TRUNK: hashlib.sha256(trunk).hexdigest(), HEADS: hashlib.sha256(heads).hexdigest()},
        }
        write_bytes(folder / MANIFEST, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def owned_by(model: Model, dataset: Dataset, partner: int, *, origin: str = "") -> OwnedModel:
    """Return what ``partner`` (from 0) of ``dataset`` owns of ``model``; ``origin`` says for people where it comes from."""
    own = model.of(partner)
    tasks = tuple(
        OwnedTask(dataset.tasks[task].name, dataset.tasks[task].kind.value) for task in own.heads[partner].scaling.tasks
    )
    return OwnedModel(
        model=own,
        partner=dataset.partners[partner],
        tasks=tasks,
        encoding=dataset.encoding,
        data_sha256=dataset.sha256,
        origin=origin,
    )


def load_owned(folder: Path) -> OwnedModel:
    """Return the model in ``folder``, both files checked against the manifest.

    Raises:
        InputError: it is no model folder.
        VerificationError: a file is missing or differs from its hash; the message names it.
    """
    content = _manifest(folder)
    tensors: dict[str, np.ndarray[Any, np.dtype[Any]]] = {}
    try:
        hashes, tasks = content["files"], tuple(OwnedTask(**task) for task in content["tasks"])
        encoding = None if content["encoding"] is None else Encoding.from_json(content["encoding"])
        for name in (TRUNK, HEADS):
            tensors |= load_arrays(_checked(folder, name, hashes[name]), folder / name)
        partner, data, origin = str(content["partner"]), str(content["data_sha256"]), str(content["origin"])
    except (KeyError, TypeError) as error:
        raise InputError(f"model {folder}: {MANIFEST} is incomplete: {error}") from error
    model = model_from(tensors, folder)
    if len(model.heads) != 1 or len(tasks) != len(next(iter(model.heads.values())).bias):
        raise InputError(f"model {folder}: {MANIFEST} names {len(tasks)} tasks, the heads are others")
    return OwnedModel(model=model, partner=partner, tasks=tasks, encoding=encoding, data_sha256=data, origin=origin)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise InputError(f"model {folder}: format {content['format']!r}, must be {FORMAT!r}")
    except OSError as error:
        raise InputError(f"{folder} is not a model folder: {MANIFEST}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} is not a model folder: {MANIFEST} can't be read") from error
    return dict(content)


def _checked(folder: Path, name: str, sha256: str) -> bytes:
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise VerificationError(f"model {folder}: {name} is missing") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise VerificationError(f"model {folder}: {name} differs from its SHA-256 in {MANIFEST}")
    return data


def _linked(source: Path, target: Path, digest: bytes) -> bool:
    """Link ``target`` to ``source`` if that holds the bytes of ``digest``; return whether it did."""
    if is_in_memory(target):
        return False
    with suppress(OSError):
        if hashlib.sha256(source.read_bytes()).digest() == digest:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            os.link(source, target)
            return True
    return False
