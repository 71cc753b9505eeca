"""How much of a batch the first-layer attacks give back: the grid of batch, bits, local training and defence, as JSON.

    python -m benchmarks.attacks_recovery TABLE [--out FILE] [--seeds N] [--part grid|inversion]

TABLE is a Parquet file with a column ``smiles``. Every cell of the grid draws compounds and network afresh for each seed. The
network is the library's own trunk at its default sizes with small random private heads, eight tasks and one value a compound.

The second part, ``inversion``, puts inversion by optimisation beside the decoder on the same small batches, and both beside
the nearest of so many random compounds, which needs no release. A part that is not asked for stays in FILE as it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch

from attacks import clopper_pearson, fingerprint_recovery
from attacks.first_layer.gradient_inversion import gradient_inversion
from attacks.first_layer.on_views import best_tanimoto, patterns
from attacks.first_layer.released import layers_of
from securefl.chem.fingerprint import fingerprints
from securefl.files import write_to_disk
from securefl.learning.heads import Heads
from securefl.learning.sparse import batch_of
from securefl.learning.trunk import Trunk

HIDDEN = (400, 120)
TASKS = 8
RATE = 0.1
STEP = 2.0**-21
POOL = 4000
INVERTED, INVERTED_BITS, STEPS = (1, 2, 4, 8), 2048, 500
RESULT = Path(__file__).with_name("results") / "attacks_recovery.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One setting: ``parts`` partners with ``batch`` compounds each, plain SGD over ``epochs`` in mini-batches of ``mini``."""

    batch: int
    bits: int
    parts: int = 1
    epochs: int = 1
    mini: int = 0
    guard_k: int = 0
    quantized: bool = False


GRID = (
    *(Cell(batch=b, bits=2048) for b in (8, 32, 64, 128, 200)),
    *(Cell(batch=b, bits=32768) for b in (64, 200)),
    Cell(batch=1024, bits=32768),
    Cell(batch=64, bits=2048, epochs=5, mini=16),
    Cell(batch=64, bits=2048, quantized=True),
    Cell(batch=40, bits=32768, parts=3, quantized=True),
    Cell(batch=40, bits=32768, parts=5, quantized=True),
    *(Cell(batch=64, bits=32768, guard_k=k) for k in (2, 3, 5)),
)


def update_of(matrix: sp.csr_matrix, cell: Cell, trunk: Trunk, seed: int) -> np.ndarray:
    """Return one partner's first-layer update, float32 (bits, h)."""
    draw = np.random.default_rng(seed)
    heads = Heads(TASKS, trunk.width)
    with torch.no_grad():
        heads.weight.copy_(torch.from_numpy(draw.normal(0, 1 / (3 * trunk.width**0.5), (TASKS, trunk.width))))
    task = torch.from_numpy(draw.integers(0, TASKS, matrix.shape[0]))
    value = torch.from_numpy(draw.normal(size=matrix.shape[0]).astype(np.float32))
    start = trunk.tensors()
    for _ in range(cell.epochs):
        order = draw.permutation(matrix.shape[0])
        for rows in np.array_split(order, max(len(order) // (cell.mini or len(order)), 1)):
            trunk.zero_grad()
            output = heads(trunk(batch_of(matrix, rows)), torch.arange(len(rows)), task[rows])
            (0.5 * (output - value[rows]).square().sum() / len(rows)).backward()
            with torch.no_grad():
                for parameter in trunk.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(RATE * parameter.grad)
    change = trunk.tensors()["first.weight"] - start["first.weight"]
    trunk.load(start)
    support = np.asarray(matrix.sum(axis=0)).ravel()
    change[support < cell.guard_k] = 0.0
    return change


def run_cell(cell: Cell, smiles: list[str], seed: int) -> tuple[int, int, int, float]:
    """Return how many fingerprints were there, recovered, and right, and the seconds of the attack."""
    draw = np.random.default_rng(seed)
    chosen = [smiles[i] for i in draw.choice(len(smiles), cell.batch * cell.parts, replace=False)]
    matrix = fingerprints(chosen, bits=cell.bits, radius=3)
    trunk = Trunk(cell.bits, HIDDEN, generator=torch.Generator().manual_seed(seed))
    total, noise = np.zeros((cell.bits, HIDDEN[0])), 1e-8
    for part in range(cell.parts):
        update = update_of(matrix[part * cell.batch : (part + 1) * cell.batch], cell, trunk, 100 * seed + part)
        total += np.rint(update / STEP) * STEP if cell.quantized else update
    if cell.quantized:
        noise = STEP / 12**0.5 * cell.parts**0.5
    layer = (trunk.tensors()["first.weight"], trunk.tensors()["first.bias"])
    begin = time.process_time()
    found = set(patterns(fingerprint_recovery(total, layer=layer, noise=noise, seconds=60).fingerprints))
    seconds = time.process_time() - begin
    true = set(patterns(matrix))
    return len(true), len(found), len(true & found), seconds


def inversion_row(batch: int, smiles: list[str], seeds: int) -> dict[str, object]:
    """Return how many of a small batch each attack gives back exactly, and the mean similarity of the nearest guess."""
    exact = {"inversion": 0, "decoder": 0, "random library": 0}
    near: dict[str, list[float]] = {name: [] for name in exact}
    there, seconds = 0, 0.0
    for seed in range(seeds):
        chosen = np.random.default_rng([seed, batch]).choice(len(smiles), 2 * batch, replace=False)
        matrix = fingerprints([smiles[i] for i in chosen], bits=INVERTED_BITS, radius=3)
        matrix, library = matrix[:batch], matrix[batch:]
        trunk = Trunk(INVERTED_BITS, HIDDEN, generator=torch.Generator().manual_seed(seed))
        delta = update_of(matrix, Cell(batch=batch, bits=INVERTED_BITS), trunk, seed)
        layers, begin = layers_of(trunk.tensors()), time.process_time()
        guesses = {"inversion": gradient_inversion(delta, compounds=batch, layers=layers, steps=STEPS, seed=seed)}
        seconds = max(seconds, time.process_time() - begin)
        guesses["decoder"] = fingerprint_recovery(delta, layer=layers[0], noise=1e-8, seconds=60).fingerprints
        guesses["random library"] = library
        true = set(patterns(matrix))
        there += len(true)
        for name, found in guesses.items():
            exact[name] += len(true & set(patterns(found)))
            near[name].append(best_tanimoto(matrix, found))
    return {
        "batch": batch, "bits": INVERTED_BITS, "steps": STEPS, "n": there, "inversion_seconds": seconds,
        **{name: {"k": exact[name], "interval": clopper_pearson(exact[name], there), "tanimoto": float(np.mean(near[name]))}
           for name in exact},
    }  # fmt: skip


def cell_row(cell: Cell, smiles: list[str], seeds: int) -> dict[str, object]:
    """Return a cell of the grid over all seeds."""
    runs = [run_cell(cell, smiles, seed) for seed in range(seeds)]
    there, found, right = sum(run[0] for run in runs), sum(run[1] for run in runs), sum(run[2] for run in runs)
    low, high = clopper_pearson(right, there)
    return {
        **asdict(cell),
        "k": right,
        "n": there,
        "exact": right / there,
        "ci_low": low,
        "ci_high": high,
        "precision": right / found if found else None,
        "seconds": max(run[3] for run in runs),
    }


def main(arguments: list[str]) -> None:
    """Run what is asked for and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=("grid", "inversion"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    smiles = sorted(set(pq.read_table(options.table, columns=["smiles"])["smiles"].to_pylist()))
    smiles = [smiles[i] for i in np.random.default_rng(0).choice(len(smiles), min(POOL, len(smiles)), replace=False)]
    found = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    found |= {"hidden": HIDDEN, "tasks": TASKS, "seeds": options.seeds}
    parts: dict[str, tuple[str, Callable[[], list[dict[str, object]]]]] = {
        "grid": ("cells", lambda: [cell_row(cell, smiles, options.seeds) for cell in GRID]),
        "inversion": ("inversion", lambda: [inversion_row(batch, smiles, options.seeds) for batch in INVERTED]),
    }
    for part, (name, measure) in parts.items():
        if options.part in (None, part):
            found[name] = measure()
            write_to_disk(options.out, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
