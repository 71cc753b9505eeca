"""Views and claims as files: tensors as safetensors, facts as JSON beside them. Nothing is pickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from attacks.interface import AdversaryView, Fact, Tensors
from securefl.errors import InputError

TENSORS_FILE = "tensors.safetensors"
FACTS_FILE = "facts.json"


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write ``tensors`` to ``path``; what is empty is kept by its shape."""
    path.write_bytes(save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors in ``path``.

    Raises:
        InputError: it can't be read or is no safetensors file.
    """
    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        raise InputError(f"can't read tensors {path}: {error}") from error


def write_view(folder: Path, view: AdversaryView, reads: Iterable[str]) -> None:
    """Write what attacks that read ``reads`` may see of ``view`` into the existing ``folder``."""
    write_tensors(folder / TENSORS_FILE, view.only(tuple(reads)).tensors)
    facts: Mapping[str, object] = {"view": view.view, "facts": dict(view.facts)}
    (folder / FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")


def view_digest(view: AdversaryView, reads: Iterable[str]) -> bytes:
    """Return the SHA-256 of everything that attacks which read ``reads`` may see of ``view``."""
    digest = hashlib.sha256(json.dumps({"view": view.view, "facts": dict(view.facts)}, sort_keys=True).encode())
    for name, value in sorted(view.only(tuple(reads)).tensors.items()):
        digest.update(f"{name} {value.dtype.str} {value.shape};".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.digest()


def read_view(folder: Path) -> AdversaryView:
    """Return the view in ``folder``.

    Raises:
        InputError: it holds none.
    """
    try:
        content = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        facts: dict[str, Fact] = dict(content["facts"])
        view = content["view"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"can't read view {folder}: {error}") from error
    return AdversaryView(view=view, tensors=read_tensors(folder / TENSORS_FILE), facts=facts)
