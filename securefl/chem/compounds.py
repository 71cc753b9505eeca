"""Many molecules: standardised and hashed on all cores, one at a time, and kept in a cache that a later run reads.

A chunk of SMILES goes to a worker process and comes back as plain columns; the result does not depend on the chunks or
on the number of workers.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import rdkit
from numpy.typing import NDArray

from securefl.chem.fingerprint import environments
from securefl.chem.standardise import Refusal, Rules, standardise
from securefl.errors import InputError
from securefl.types import Progress, silent

CHUNK = 250
POOL_FROM = 2_000
"""Below so many molecules the start of worker processes costs more than they save."""


class Description(NamedTuple):
    """What preparation keeps of one SMILES. ``reason`` is empty unless it was refused; then the rest is empty."""

    inchikey: str
    smiles: str
    scaffold: str
    hashes: NDArray[np.uint32]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a description depends on, beside the SMILES and RDKit's version."""

    rules: Rules
    radius: int

    def identity(self) -> str:
        """Return a line that names the recipe and RDKit's version: a cache of another identity is not read."""
        return f"securefl/chem/1 radius={self.radius} rdkit={rdkit.__version__} {sorted(asdict(self.rules).items())}"


def describe(smiles: str, recipe: Recipe) -> Description:
    """Return the description of one SMILES: exactly what :func:`describe_all` gives for it."""
    found = standardise(smiles, recipe.rules)
    if isinstance(found, Refusal):
        return Description("", "", "", np.zeros(0, dtype=np.uint32), found.reason)
    return Description(found.inchikey, found.smiles, found.scaffold, environments(found.mol, recipe.radius))


def describe_all(
    smiles: Sequence[str], recipe: Recipe, *, workers: int | None = None, progress: Progress = silent
) -> list[Description]:
    """Return the description of each SMILES, in order, computed in ``workers`` processes (default: one a core).

    Raises:
        InputError: a worker died (most likely out of memory).
    """
    workers = workers or _cores()
    chunks = [smiles[start : start + CHUNK] for start in range(0, len(smiles), CHUNK)]
    if workers == 1 or len(smiles) < POOL_FROM:
        return _collect((_describe_chunk(chunk, recipe) for chunk in chunks), len(smiles), progress)
    # Spawned, not forked: a fork of a process that has torch's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context) as pool:
            return _collect(pool.map(partial(_describe_chunk, recipe=recipe), chunks), len(smiles), progress)
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died while it read structures (out of memory, or a script without "
            "an `if __name__ == '__main__'` guard): nothing was written"
        ) from error


def _cores() -> int:
    """Return the cores that this process may use, which a container can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collect(chunks: Iterator[list[Description]], total: int, progress: Progress) -> list[Description]:
    found: list[Description] = []
    for chunk in chunks:
        found += chunk
        progress("structures", len(found), total)
    return found


def _describe_chunk(smiles: Sequence[str], recipe: Recipe) -> list[Description]:
    return [describe(one, recipe) for one in smiles]
