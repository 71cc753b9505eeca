"""Training from shards on disk at 10^5, 10^6 and 10^7 compounds with 100 labels each: bytes, peak memory, seconds an epoch.

Compounds are drawn with replacement from real fingerprints (ECFP6, 32,768 bits) of ../shared/data/01; how many labels one has
follows the real counts, scaled to a mean of 100 (and cut at 2,000); its tasks and values are a run of the real activities in
random order, so a task is as frequent as it is there. Nothing is to be learnt from them: only sizes and times are read.

Each size is written to a temporary folder, trained on by a fresh process (whose peak memory is measured), and removed. An
epoch is not run to its end: the time of a slice is measured in parts, and the epoch is what the linear fit through them says,
given with the residual of the fit. After it the same process reads the batches of one whole epoch, every shard of it, so that
the peak is that of an epoch and not of a slice. Reading is from the page cache where the system has kept it: 10^7 compounds
are 8.5 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from benchmarks.environment import environment
from securefl.chem.fingerprint import fingerprints
from securefl.config import FederationConfig
from securefl.learning.cells import Records, Scaling
from securefl.learning.heads import Heads
from securefl.learning.local import PlainTrainer, Seat, limit_threads
from securefl.learning.shard_writer import writing_shards
from securefl.learning.shards import open_shards
from securefl.learning.trunk import Trunk

SEED = 20240607
SIZES = (10**5, 10**6, 10**7)
BITS, HIDDEN, BATCH, SHARD = 32768, 400, 4096, 65536
MEAN_LABELS, MOST_LABELS, TEMPLATES = 100, 2000, 8192
PARTS, STEPS = 5, 4
"""A slice is so many parts of so many steps."""
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "01_fsmol_chembl27"


@dataclass(frozen=True, slots=True)
class Real:
    """What is drawn from: fingerprints, each compound's number of labels, and all activities in random order."""

    fingerprints: sp.csr_matrix
    labels: NDArray[np.int64]
    task: NDArray[np.int64]
    value: NDArray[np.float32]
    tasks: int


def real_distributions(folder: Path) -> Real:
    """Return the distributions of the data in ``folder``."""
    rdBase.DisableLog("rdApp.*")
    draw = np.random.default_rng(SEED)
    table = pq.read_table(folder / "train.parquet", columns=["assay_chembl_id", "smiles", "log_value"])
    smiles, per_compound = np.unique(table["smiles"].to_numpy(zero_copy_only=False).astype(str), return_counts=True)
    _, task = np.unique(table["assay_chembl_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    value = np.nan_to_num(table["log_value"].to_numpy().astype(np.float32))
    order = draw.permutation(len(task))
    scale = MEAN_LABELS / per_compound.mean()
    for _ in range(20):
        labels = np.minimum(np.rint(per_compound * scale), MOST_LABELS)
        scale *= MEAN_LABELS / labels.mean()
    # A few structures of that data are ones that today's RDKit refuses.
    readable = (text for text in draw.permutation(smiles).tolist() if Chem.MolFromSmiles(text) is not None)
    return Real(
        fingerprints=fingerprints(list(islice(readable, TEMPLATES)), bits=BITS, radius=3),
        labels=labels.astype(np.int64),
        task=task[order].astype(np.int64),
        value=((value - value.mean()) / value.std())[order].astype(np.float32),
        tasks=int(task.max()) + 1,
    )


def generated(real: Real, compounds: int) -> Iterator[Records]:
    """Yield shards of ``compounds`` records in all."""
    for number, first in enumerate(range(0, compounds, SHARD)):
        draw = np.random.default_rng([SEED, number])
        count = min(SHARD, compounds - first)
        labels = draw.choice(real.labels, count)
        start = np.append(0, np.cumsum(labels))
        place = np.repeat(draw.integers(0, len(real.task), count) - start[:-1], labels) + np.arange(start[-1])
        place %= len(real.task)
        yield Records(
            fingerprints=real.fingerprints[draw.integers(0, TEMPLATES, count)],
            compound=np.arange(count, dtype=np.int32),
            start=start,
            task=real.task[place],
            target=real.value[place],
            relation=np.zeros(int(start[-1]), dtype=np.int8),
            binary=np.zeros(real.tasks, dtype=bool),
        )


def scaling_for(tasks: int) -> Scaling:
    """Return the scaling of tasks whose values are scaled already."""
    zeros, ones = np.zeros(tasks, dtype=np.float32), np.ones(tasks, dtype=np.float32)
    return Scaling(tasks=np.arange(tasks, dtype=np.int32), mean=zeros, std=ones, binary=zeros.astype(bool))


def measure_slice(folder: Path) -> dict[str, Any]:
    """Return what training on a slice of ``folder`` takes; run in a process of its own, whose peak memory this is."""
    limit_threads(1)
    begun = time.perf_counter()
    shards = open_shards(folder)
    checked = time.perf_counter() - begun
    trunk = Trunk(BITS, (HIDDEN,), generator=torch.Generator().manual_seed(SEED))
    heads = Heads(len(shards.scaling), HIDDEN)
    config = FederationConfig(batch=BATCH, local_steps=STEPS)
    trainer = PlainTrainer(Seat(partner=0, records=shards, seed=SEED), config=config)
    trainer.train_epoch(trunk, heads, shards)
    clock = [(time.perf_counter(), time.process_time())]
    for _ in range(PARTS):
        trainer.train_epoch(trunk, heads, shards)
        clock.append((time.perf_counter(), time.process_time()))
    begun = time.process_time()
    read = sum(len(batch) for batch, _ in shards.batches(BATCH, np.random.default_rng(SEED)))
    reading = time.process_time() - begun
    # Not getrusage: its maximum goes back to the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    steps = np.arange(PARTS + 1) * STEPS
    wall, cpu = (np.array([now[i] for now in clock]) - clock[0][i] for i in (0, 1))
    epoch = sum(-(-shard.records // BATCH) for shard in shards.manifest.shards)
    return {
        "compounds": len(shards), "cells": shards.cells, "shards": len(shards.manifest.shards), "bytes_on_disk": shards.size,
        "hash_check_s": checked, "records_read": read, "reading_an_epoch_cpu_s": reading,
        "peak_memory_bytes": peak, "steps_an_epoch": epoch, "steps_measured": int(steps[-1]),
        "wall": fitted(steps, wall, epoch), "cpu": fitted(steps, cpu, epoch),
    }  # fmt: skip


def fitted(steps: NDArray[np.int64], seconds: NDArray[np.float64], epoch: int) -> dict[str, float]:
    """Return the line through the measured parts, its residual, and what it says of a whole epoch."""
    slope, offset = np.polyfit(steps, seconds, 1)
    residual = float(np.sqrt(np.mean((seconds - slope * steps - offset) ** 2)))
    return {"step_s": float(slope), "epoch_by_fit_s": float(slope * epoch), "residual_s": residual}


def one_size(real: Real, compounds: int, where: Path) -> dict[str, Any]:
    """Write, train a slice in a fresh process, remove."""
    with tempfile.TemporaryDirectory(dir=where) as temporary:
        folder, begun = Path(temporary) / "shards", time.perf_counter()
        with writing_shards(folder, bits=BITS, scaling=scaling_for(real.tasks)) as writer:
            for records in generated(real, compounds):
                writer.add(records)
        written = time.perf_counter() - begun
        command = [sys.executable, "-m", "benchmarks.streaming", "--slice", str(folder)]
        found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return {**found, "generate_and_write_s": written}


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--where", type=Path, default=Path(tempfile.gettempdir()), help="needs 9.5 GB for 10^7")
    parser.add_argument("--slice", type=Path, help="measure one folder of shards and print the figures")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "streaming.json")
    options = parser.parse_args()
    if options.slice:
        print(json.dumps(measure_slice(options.slice)))
        return
    real = real_distributions(options.data)
    sizes = []
    for compounds in SIZES:
        if compounds <= options.largest:
            sizes.append(one_size(real, compounds, options.where))
            print(json.dumps(sizes[-1]), flush=True)
            peaks = [size["peak_memory_bytes"] for size in sizes]
            result = {
                "schema_version": "1.0", "seed": SEED, "hidden": HIDDEN, "batch": BATCH, "tasks": real.tasks,
                "on_bits_a_record": real.fingerprints.nnz / TEMPLATES,
                "environment": {**environment("torch"), "threads": 1},
                "sizes": sizes, "largest_over_smallest_peak_memory": max(peaks) / min(peaks),
            }  # fmt: skip
            options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
