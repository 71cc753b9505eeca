"""Many molecules: standardised and hashed on all cores, one at a time.

A chunk of SMILES goes to a worker process and comes back as plain columns; the result does not depend on the chunks, the
blocks, or the number of workers. What is kept on disk on the way is :mod:`securefl.chem.cache`'s business.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import rdkit
from numpy.typing import NDArray

from securefl.chem.fingerprint import counted_environments
from securefl.chem.standardise import Refusal, Rules, standardise
from securefl.errors import InputError
from securefl.types import Progress, silent

CHUNK = 250
POOL_FROM = 2_000
"""Below so many molecules the start of worker processes costs more than they save."""


class Description(NamedTuple):
    """What preparation keeps of one SMILES. ``reason`` is empty unless it was refused; then the rest is empty.

    ``counts`` says how often each of ``hashes`` occurs in the molecule.
    """

    inchikey: str
    smiles: str
    scaffold: str
    hashes: NDArray[np.uint32]
    counts: NDArray[np.uint8]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a description depends on, beside the SMILES and RDKit's version."""

    rules: Rules
    radius: int

    def identity(self) -> str:
        """Return a line that names the recipe and RDKit's version: a cache of another identity is not read."""
        return f"securefl/chem/2 radius={self.radius} rdkit={rdkit.__version__} {sorted(asdict(self.rules).items())}"


def describe(smiles: str, recipe: Recipe) -> Description:
    """Return the description of one SMILES: exactly what :func:`describe_all` gives for it."""
    found = standardise(smiles, recipe.rules)
    if isinstance(found, Refusal):
        return Description("", "", "", np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint8), found.reason)
    return Description(found.inchikey, found.smiles, found.scaffold, *counted_environments(found.mol, recipe.radius))


def describe_all(
    smiles: Sequence[str], recipe: Recipe, *, workers: int | None = None, progress: Progress = silent
) -> list[Description]:
    """Return the description of each SMILES, in order, computed in ``workers`` processes (default: one a core).

    Raises:
        InputError: a worker died (most likely out of memory).
    """
    [found] = describe_blocks([smiles], recipe, workers=workers, progress=progress)
    return found


def describe_blocks(
    blocks: Sequence[Sequence[str]], recipe: Recipe, *, workers: int | None = None, progress: Progress = silent
) -> Iterator[list[Description]]:
    """Yield the descriptions of each block as soon as it is complete, in order, all blocks from one pool of workers.

    Raises:
        InputError: a worker died (most likely out of memory).
    """
    workers, total = workers or _cores(), sum(map(len, blocks))
    chunks = [block[start : start + CHUNK] for block in blocks for start in range(0, len(block), CHUNK)]
    if workers == 1 or total < POOL_FROM:
        yield from _collect((_describe_chunk(chunk, recipe) for chunk in chunks), blocks, progress)
        return
    # Spawned, not forked: a fork of a process that has torch's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context) as pool:
            try:
                yield from _collect(pool.map(partial(_describe_chunk, recipe=recipe), chunks), blocks, progress)
            finally:
                # Someone who stops half-way shall not wait for what is still in the queue.
                pool.shutdown(wait=False, cancel_futures=True)
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died while it read structures (out of memory, or a script without "
            "an `if __name__ == '__main__'` guard): nothing was written"
        ) from error


def _cores() -> int:
    """Return the cores that this process may use, which a container can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collect(
    chunks: Iterator[list[Description]], blocks: Sequence[Sequence[str]], progress: Progress
) -> Iterator[list[Description]]:
    done, total = 0, sum(map(len, blocks))
    for block in blocks:
        found: list[Description] = []
        for chunk in islice(chunks, -(-len(block) // CHUNK)):
            found += chunk
            progress("structures", done + len(found), total)
        done += len(found)
        yield found


def _describe_chunk(smiles: Sequence[str], recipe: Recipe) -> list[Description]:
    return [describe(one, recipe) for one in smiles]
