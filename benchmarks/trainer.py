"""The production training step against a SparseChem-style one, and against what the machine's memory allows.

Batch 4,096, ECFP6 of 32,768 bits of real compounds (the default dataset), hidden 2,000, 1,000 tasks with 1 % labels, Adam,
float32, one core. The reference is SparseChem's way: a COO product, all outputs, a masked dense loss, torch's default Adam.
Both start from the same weights, and their weights after one step are compared. Everything is thread CPU time, and in every
repeat the machine's peaks, the reference and the production step are measured one after the other, so that load on a shared
machine meets all of them.

The roofline adds up the phases of the step, each at the larger of its flops at the measured peak and its bytes at the measured
bandwidth of the level that they come from. Gathers count at the bandwidth of rows in the second cache, the fastest that any
order of the same gathers could reach; weights, moments and activations at that of updating memory in place. ``roofline``
writes the table's gradient once and reads it once, as every step does that hands a gradient to an optimiser;
``roofline_strict`` does not, because the production step keeps it in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.environment import environment
from securefl.chem.fingerprint import fingerprints
from securefl.chem.moleculeace import load_table
from securefl.config import FederationConfig
from securefl.learning.cells import Records
from securefl.learning.heads import Heads
from securefl.learning.local import keep_freed_memory, limit_threads
from securefl.learning.step import TrainingStep
from securefl.learning.trunk import Trunk

SEED = 20240607
"""Any number: fixed so that the same compounds and labels are drawn every time."""
RECORDS, BITS, HIDDEN, TASKS, LABELLED = 4096, 32768, 2000, 1000, 0.01
FEWEST, MOST = 48, 76
"""On-bits of the compounds that are used: 65 on average, where the whole dataset has 77."""
SMALL_BATCH = 128
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
SPEEDUP, SHARE = 3.0, 0.55
"""The bars: times faster than the reference, and share of the roofline."""


def made_records() -> Records:
    """Return a batch of real fingerprints with random binary labels."""
    draw = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as cache:
        smiles = sorted(load_table(Path(cache)).smiles.names)
    drawn = fingerprints(draw.choice(np.array(smiles), 3 * RECORDS, replace=False).tolist(), bits=BITS, radius=3)
    size = np.diff(drawn.indptr)
    rows = drawn[np.flatnonzero((size >= FEWEST) & (size <= MOST))[:RECORDS]]
    place = np.sort(draw.choice(RECORDS * TASKS, int(RECORDS * TASKS * LABELLED), replace=False))
    return Records(
        fingerprints=rows,
        compound=np.arange(RECORDS, dtype=np.int32),
        start=np.searchsorted(place // TASKS, np.arange(RECORDS + 1)).astype(np.int64),
        task=(place % TASKS).astype(np.int64),
        target=draw.integers(0, 2, len(place)).astype(np.float32),
        relation=np.zeros(len(place), dtype=np.int8),
        binary=np.ones(TASKS, dtype=bool),
    )


def network() -> tuple[Trunk, Heads]:
    """Return the same weights every time."""
    trunk = Trunk(BITS, (HIDDEN,), generator=torch.Generator().manual_seed(SEED))
    heads = Heads(TASKS, HIDDEN)
    nn.init.normal_(heads.weight, std=0.02, generator=torch.Generator().manual_seed(SEED))
    return trunk, heads


class SparseChemStyle:
    """COO product, all outputs, dense labels and mask, torch's default Adam."""

    def __init__(self, records: Records) -> None:
        self.trunk, self.heads = network()
        self._optimiser = torch.optim.Adam([*self.trunk.parameters(), *self.heads.parameters()], lr=1e-3)
        rows = records.fingerprints.tocoo()
        place = torch.from_numpy(np.stack([rows.row, rows.col]).astype(np.int64))
        self._inputs = torch.sparse_coo_tensor(place, torch.ones(rows.nnz), rows.shape, check_invariants=False).coalesce()
        self._target, self._mask = torch.zeros(RECORDS, TASKS), torch.zeros(RECORDS, TASKS)
        row = np.repeat(np.arange(RECORDS), np.diff(records.start))
        self._target[row, records.task] = torch.from_numpy(records.target)
        self._mask[row, records.task] = 1.0

    def step(self) -> None:
        """Take one step."""
        self._optimiser.zero_grad(set_to_none=True)
        hidden = torch.relu(torch.sparse.mm(self._inputs, self.trunk.first.weight) + self.trunk.first.bias)
        output = hidden @ self.heads.weight.t() + self.heads.bias
        losses = functional.binary_cross_entropy_with_logits(output, self._target, reduction="none")
        ((losses * self._mask).sum() / RECORDS).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()


class Production:
    """What the plain trainer runs for every batch, its assembly included; the table stays divided between steps."""

    def __init__(self, records: Records) -> None:
        self.trunk, self.heads = network()
        self._records, self._order = records, np.arange(RECORDS)
        self.training = TrainingStep(self.trunk, self.heads, FederationConfig(batch=RECORDS, learning_rate=1e-3))

    def step(self) -> None:
        """Take one step."""
        self.training.step(*self._records.batch(self._order), denominator=RECORDS)


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this thread in ``work``."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


@dataclass(frozen=True, slots=True)
class Peaks:
    """What the machine reached: ``flops`` and bytes a second, of rows ``gathered`` in cache and of memory ``updated``."""

    flops: float
    gathered: float
    updated: float


class PeakProbe:
    """Measures the machine with plain torch operations."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        self._a, self._b = (torch.randn(1536, 1536, generator=generator) for _ in range(2))
        # 2,048 rows of 64 floats, 0.5 MB: inside the second cache of every server of the last ten years.
        self._table = torch.randn(2048, 64, generator=generator)
        self._rows = torch.randint(2048, (65 * 16384,), generator=generator)
        self._starts = torch.arange(0, len(self._rows), 65)
        self._memory = torch.zeros(1 << 26)

    def measure(self) -> Peaks:
        """Return the peaks, the best of three each."""
        product = min(seconds(lambda: self._a @ self._b) for _ in range(3))
        gather = min(
            seconds(lambda: functional.embedding_bag(self._rows, self._table, self._starts, mode="sum")) for _ in range(3)
        )
        update = min(seconds(lambda: self._memory.add_(1.0)) for _ in range(3))
        return Peaks(2 * 1536**3 / product, len(self._rows) * 256 / gather, 2 * 4 * len(self._memory) / update)


def phases(on_bits: int, labels: int, peaks: Peaks) -> dict[str, float]:
    """Return the least seconds of each phase of the step."""
    table, hidden = 4.0 * BITS * HIDDEN, 4.0 * RECORDS * HIDDEN
    gathered, sums = 4.0 * on_bits * HIDDEN / peaks.gathered, on_bits * HIDDEN / peaks.flops
    dots = max(4.0 * labels * HIDDEN / peaks.gathered, 2.0 * labels * HIDDEN / peaks.flops)
    return {
        "first_layer": max(gathered, sums, table / peaks.updated),
        "first_layer_gradient": max(gathered, sums),
        "heads_forward_and_two_gradients": 3 * dots,
        # Written, read by the heads, read as the mask; their errors written and read.
        "activations": 5 * hidden / peaks.updated,
        # Weights and two moments, read and written.
        "adam": 6 * table / peaks.updated,
        "gradient_through_memory": 2 * table / peaks.updated,
    }


def one_repeat(probe: PeakProbe, reference: SparseChemStyle, production: Production, records: Records) -> dict[str, Any]:
    """Return the peaks and both steps' seconds, measured one after the other."""
    before = probe.measure()
    slow, fast = seconds(reference.step), min(seconds(production.step) for _ in range(2))
    after = probe.measure()
    # The better of both: a roofline must not be lowered by what else ran.
    peaks = Peaks(*(max(getattr(before, name), getattr(after, name)) for name in ("flops", "gathered", "updated")))
    parts = phases(records.fingerprints.nnz, records.cells, peaks)
    roofline = sum(parts.values())
    strict = roofline - parts["gradient_through_memory"]
    return {
        "reference_s": slow, "production_s": fast, "speedup": slow / fast, "roofline_s": roofline,
        "share_of_roofline": roofline / fast, "roofline_strict_s": strict, "share_of_strict_roofline": strict / fast,
        "peak_gflops": peaks.flops / 1e9, "peak_gathered_gb_s": peaks.gathered / 1e9,
        "peak_updated_gb_s": peaks.updated / 1e9, "phases_s": parts,
    }  # fmt: skip


def largest_difference(reference: SparseChemStyle, production: Production) -> float:
    """Return the largest difference of any weight after one step of each, in units of the learning rate."""
    reference.step()
    with production.training.working():
        production.step()
    pairs: list[tuple[Tensor, Tensor]] = [
        (reference.trunk.first.weight, production.trunk.first.weight), (reference.heads.weight, production.heads.weight)
    ]  # fmt: skip
    return max(float((one.detach() - other.detach()).abs().max()) for one, other in pairs) / 1e-3


def small_batches(records: Records, repeats: int) -> dict[str, float]:
    """Return the median seconds of a step of 128 records under Adam and under lazy Adam."""
    found = {}
    batch, cells = records.batch(np.arange(SMALL_BATCH))
    for name in ("adam", "lazy-adam"):
        config = FederationConfig.model_validate({"optimiser": name, "batch": SMALL_BATCH})
        training = TrainingStep(*network(), config)
        with training.working():
            training.step(batch, cells, denominator=SMALL_BATCH)
            took = [seconds(partial(training.step, batch, cells, denominator=SMALL_BATCH)) for _ in range(repeats)]
        found[f"{name}_s"] = statistics.median(took)
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Return the median, and the least and largest of the repeats."""
    return {"median": statistics.median(values), "least": min(values), "largest": max(values), "n": len(values)}


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    found = torch.cpu.get_capabilities()
    native = bool(found.get("amx_bf16") or found.get("avx512_bf16"))
    return {
        **environment("torch", "rdkit"), "threads": 1, "huge_pages": os.environ[HUGE_PAGES], "bf16_products": False,
        "native_bf16": native,
    }  # fmt: skip


def measure(repeats: int) -> dict[str, Any]:
    """Return all figures."""
    limit_threads(1)
    # As the command line does; reference and peaks have it too.
    keep_freed_memory()
    records, probe = made_records(), PeakProbe()
    reference, production = SparseChemStyle(records), Production(records)
    difference = largest_difference(reference, production)
    with production.training.working():
        production.step()
        runs = [one_repeat(probe, reference, production, records) for _ in range(repeats)]
    del reference
    names = [name for name in runs[0] if name != "phases_s"]
    figures: dict[str, Any] = {name: spread([run[name] for run in runs]) for name in names}
    figures["phases_s"] = {name: statistics.median(run["phases_s"][name] for run in runs) for name in runs[0]["phases_s"]}
    bars = {
        f"at least {SPEEDUP:g} times the reference": figures["speedup"]["median"] >= SPEEDUP,
        f"at least {SHARE:.0%} of the roofline": figures["share_of_roofline"]["median"] >= SHARE,
    }
    return {
        "schema_version": "1.0", "seed": SEED, "environment": machine(),
        "workload": {
            "batch": RECORDS, "bits": BITS, "on_bits_a_record": records.fingerprints.nnz / RECORDS, "hidden": HIDDEN,
            "tasks": TASKS, "labels": records.cells,
        },
        "largest_weight_difference_after_a_step_in_learning_rates": difference, "figures": figures,
        "step_of_128_records": small_batches(records, repeats), "bars": bars,
    }  # fmt: skip


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "trainer.json")
    options = parser.parse_args()
    if HUGE_PAGES not in os.environ:
        # As the command line does; torch reads it when it starts. The reference and the peaks have it too.
        os.execve(  # noqa: S606 (our own arguments)
            sys.executable, [sys.executable, "-m", "benchmarks.trainer", *sys.argv[1:]], {**os.environ, HUGE_PAGES: "1"}
        )
    result = measure(options.repeats)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
