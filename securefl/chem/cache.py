"""Described structures on disk: what a killed preparation had finished is read back by the next one.

Structures go to disk in blocks as they are finished. A block's file belongs to one recipe (rules, radius, RDKit's version)
and one list of SMILES; anything else, or a damaged file, is computed anew. Standardising a million molecules takes a
quarter of an hour a core, reading them back seconds. The files hold the structures in clear, beside a dataset that holds
them too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from securefl.chem.compounds import Description, Recipe, describe_all, describe_blocks
from securefl.errors import InputError
from securefl.types import Progress

BLOCK = 20_000
"""Structures in a file: at most so many are lost when a preparation is killed."""


def describe_cached(smiles: Sequence[str], recipe: Recipe, cache: Path | None, progress: Progress) -> list[Description]:
    """Return the descriptions of ``smiles``, from the folder ``cache`` where they are there, else computed and kept.

    Raises:
        InputError: the cache can't be written.
    """
    if cache is None:
        return describe_all(smiles, recipe, progress=progress)
    blocks = [smiles[start : start + BLOCK] for start in range(0, len(smiles), BLOCK)]
    paths = [cache / _name(block, recipe) for block in blocks]
    found = [_read(path, len(block)) for path, block in zip(paths, blocks, strict=True)]
    missing = [i for i, block in enumerate(found) if block is None]
    ready = len(smiles) - sum(len(blocks[i]) for i in missing)
    progress("structures", ready, len(smiles))
    fresh = describe_blocks(
        [blocks[i] for i in missing], recipe, progress=lambda what, done, _: progress(what, ready + done, len(smiles))
    )
    for i, descriptions in zip(missing, fresh, strict=True):
        _write(paths[i], descriptions)
        found[i] = descriptions
    return [one for block in found for one in block or []]


def _name(block: Sequence[str], recipe: Recipe) -> str:
    digest = hashlib.sha256((recipe.identity() + "\x00" + "\x00".join(block)).encode()).hexdigest()
    return f"structures-{digest[:24]}.parquet"


def _write(path: Path, found: list[Description]) -> None:
    columns = {
        "inchikey": [one.inchikey for one in found],
        "smiles": [one.smiles for one in found],
        "scaffold": [one.scaffold for one in found],
        "reason": [one.reason for one in found],
        "hashes": pa.array([one.hashes for one in found], type=pa.list_(pa.uint32())),
        "counts": pa.array([one.counts for one in found], type=pa.list_(pa.uint8())),
    }
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), temporary, compression="zstd")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"can't write {path}: {error.strerror}") from error


def _read(path: Path, length: int) -> list[Description] | None:
    """Return what a file holds; ``None`` if it is absent or damaged, since it can be computed again."""
    if not path.is_file():
        return None
    try:
        content = pq.read_table(path)
        hashes, counts = (content[name].combine_chunks() for name in ("hashes", "counts"))
        offsets, flat = hashes.offsets.to_numpy(), (hashes.values.to_numpy(), counts.values.to_numpy())
        text = [content[name].to_pylist() for name in ("inchikey", "smiles", "scaffold", "reason")]
    except (OSError, KeyError, pa.ArrowException):
        return None
    if len(content) != length or not hashes.offsets.equals(counts.offsets):
        return None
    parts = [slice(start, stop) for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    return [
        Description(inchikey, smiles, scaffold, flat[0][part], flat[1][part], reason)
        for part, inchikey, smiles, scaffold, reason in zip(parts, *text, strict=True)
    ]
