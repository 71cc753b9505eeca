"""Described structures on disk: standardising 35,000 molecules takes half a minute, reading them back a second.

A cache file belongs to one recipe (rules, radius, RDKit's version) and one list of SMILES; anything else is computed anew.
It holds the structures in clear, beside a dataset that holds them too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from securefl.chem.compounds import Description, Recipe, describe_all
from securefl.errors import InputError
from securefl.types import Progress


def describe_cached(smiles: Sequence[str], recipe: Recipe, cache: Path | None, progress: Progress) -> list[Description]:
    """Return the descriptions of ``smiles``, from the folder ``cache`` where they are there, else computed and kept.

    Raises:
        InputError: the cache can't be written.
    """
    if cache is None:
        return describe_all(smiles, recipe, progress=progress)
    digest = hashlib.sha256((recipe.identity() + "\x00" + "\x00".join(smiles)).encode()).hexdigest()
    path = cache / f"structures-{digest[:24]}.parquet"
    if path.is_file():
        found = _read(path)
        if found is not None and len(found) == len(smiles):
            progress("structures", len(smiles), len(smiles))
            return found
    found = describe_all(smiles, recipe, progress=progress)
    _write(path, found)
    return found


def _write(path: Path, found: list[Description]) -> None:
    columns = {
        "inchikey": [one.inchikey for one in found],
        "smiles": [one.smiles for one in found],
        "scaffold": [one.scaffold for one in found],
        "reason": [one.reason for one in found],
        "hashes": pa.array([one.hashes for one in found], type=pa.list_(pa.uint32())),
    }
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), temporary, compression="zstd")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"can't write {path}: {error.strerror}") from error


def _read(path: Path) -> list[Description] | None:
    """Return what the cache holds; ``None`` if it is damaged, since it can be computed again."""
    try:
        content = pq.read_table(path)
        hashes = content["hashes"].combine_chunks()
        flat, offsets = hashes.values.to_numpy(), hashes.offsets.to_numpy()
        text = [content[name].to_pylist() for name in ("inchikey", "smiles", "scaffold", "reason")]
    except (OSError, KeyError, pa.ArrowException):
        return None
    return [
        Description(inchikey, smiles, scaffold, np.asarray(flat[offsets[i] : offsets[i + 1]], dtype=np.uint32), reason)
        for i, (inchikey, smiles, scaffold, reason) in enumerate(zip(*text, strict=True))
    ]
