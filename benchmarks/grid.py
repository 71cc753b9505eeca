"""What a whole round of each protocol costs: coordinates against clients, every scheme on the same made-up updates.

    python -m benchmarks.grid [--only SCHEME] [--largest 1000000] [--out benchmarks/results/grid.json]

Each cell is a process of its own, so that its peak memory is its own. A cell is listed with the reason, and not run, where a
smaller one of its scheme lets expect more than ten CPU minutes or more than the memory limit (cost in proportion to coordinates
and clients); one that exceeds a limit all the same is ended and listed, and so are the larger ones of its scheme. Cells that
are already in the result are kept: an interrupted grid goes on where it stopped, and each cell names its processor and load.
Seconds are CPU seconds (medians over clients); all parties live in the cell's one process, so its peak memory is that of all
of them together with the transcript, and ``cpu_seconds`` are those of all of them with the making of the updates.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import environment
from securefl.quantize import Quantizer
from securefl.secagg import run_round, schemes
from securefl.secagg.paillier_sum import Decryption, PaillierOptions, shipped_options
from securefl.types import ClientId, SystemRng

SEED = 20261121
"""Figures of two commits compare only on the same updates."""
LENGTHS = (10**4, 10**5, 10**6, 10**7)
CLIENTS = (3, 10, 30)
CELL_SECONDS = 600
MEMORY_GB = 10
ENDED = "ended: over"
"""How the reason begins of a cell that was tried."""
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Line:
    """A line of the chart: a scheme with its options, and the largest vector that its benchmark takes on."""

    scheme: str
    options: object | None = None
    largest: int = LENGTHS[-1]


LINES = {
    "plaintext": Line("plaintext"),
    "masking": Line("masking"),
    "masking-static": Line("masking-static"),
    "rlwe": Line("rlwe"),
    "bfv": Line("bfv"),
    "ckks": Line("ckks"),
    "paillier single-decryptor": Line("paillier", PaillierOptions(decryption=Decryption.SINGLE), 10**6),
    # Ten core-minutes a decryptor at 10^6: the threshold's grid stops at 10^5.
    "paillier": Line("paillier", shipped_options(), 10**5),
}


def measure(name: str, d: int, n: int) -> dict[str, Any]:
    """Run one round of the line ``name`` with ``n`` clients of ``d`` coordinates and return its cost and error."""
    line, rng, clients = LINES[name], SystemRng(), tuple(ClientId(i) for i in range(1, n + 1))
    quantizer, draw = Quantizer.for_sum(n, clip=1.0), np.random.default_rng(SEED)
    updates = {me: draw.normal(0, 0.05, d).astype(np.float32) for me in clients}
    setup = schemes()[line.scheme](clients, quantizer=quantizer, run_id=rng.bytes(32), rng=rng, options=line.options)
    result = run_round(
        setup, updates, weights=dict.fromkeys(clients, 255), round=1, model_hash=bytes(32), rng=rng, quantizer=quantizer
    )
    cost = result.cost
    return {
        "setup_seconds": cost.setup_seconds,
        "key_seconds": cost.key_seconds,
        "client_seconds": cost.client_seconds,
        "server_seconds": cost.server_seconds,
        "decryptor_seconds": cost.decryptor_seconds,
        "bytes_up_per_parameter": cost.bytes_up_per_client / d,
        "bytes_down_per_parameter": cost.bytes_down_per_client / d,
        "max_abs_error": result.max_abs_error,
        "error_bound": result.quantization_bound,
        "cpu_seconds": time.process_time(),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "warnings": list(result.warnings),
    }


def cell(name: str, d: int, n: int) -> dict[str, Any]:
    """Return the record of one cell, measured in a process of its own, or the reason why there is none."""
    record: dict[str, Any] = {"scheme": name, "d": d, "n": n, "load": os.getloadavg()[0], "cpu": environment()["cpu"]}
    command = [sys.executable, "-m", "benchmarks.grid", "--cell", name, str(d), str(n)]
    started = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        if error.returncode == -signal.SIGXCPU:
            return {**record, "skipped": f"{ENDED} {CELL_SECONDS} CPU seconds"}
        if "MemoryError" not in error.stderr and error.returncode >= 0:
            raise SystemExit(f"{name} d={d} n={n}: {error.stderr}") from error
        return {**record, "skipped": f"{ENDED} {MEMORY_GB} GB for all parties together"}
    return {**record, **json.loads(done.stdout), "wall_seconds": time.perf_counter() - started}


def grid(wanted: list[tuple[str, int, int]], out: Path) -> None:
    """Measure the ``wanted`` cells that ``out`` does not have yet; it is written after each."""
    content: dict[str, Any] = {"schema_version": "1.0", "cells": []}
    if out.exists():
        content = json.loads(out.read_text(encoding="utf-8"))
    here, cells = environment("numpy", "tenseal", "gmpy2"), content["cells"]
    for name, d, n in wanted:
        if any((c["scheme"], c["d"], c["n"]) == (name, d, n) for c in cells):
            continue
        cells.append(refusal(cells, name, d, n) or cell(name, d, n))
        print(json.dumps(cells[-1]), flush=True)
        content.update(seed=SEED, environment=here)
        fresh = out.with_suffix(".partial")
        fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        fresh.replace(out)


def refusal(cells: list[dict[str, Any]], name: str, d: int, n: int) -> dict[str, Any] | None:
    """Return why a cell need not be tried: it is over the line's largest, or a smaller one lets expect too much."""
    record = {"scheme": name, "d": d, "n": n}
    if d > LINES[name].largest:
        return {**record, "skipped": f"stops at {LINES[name].largest} coordinates: decryption takes a power a ciphertext"}
    smaller = [one for one in cells if one["scheme"] == name and one["d"] <= d and one["n"] <= n]
    for other in smaller:
        if other.get("skipped", "").startswith(ENDED):
            return {**record, "skipped": f"{other['skipped']} at d={other['d']}, n={other['n']}"}
    measured = [one for one in smaller if "skipped" not in one]
    # As many clients tell best: what one decryptor spends does not grow with them.
    nearest = max(measured, key=lambda one: (one["n"] == n, one["d"] * one["n"]), default=None)
    why = _too_much(nearest, d, n) if nearest else None
    return {**record, "skipped": why} if why else None


def _too_much(measured: dict[str, Any], d: int, n: int) -> str | None:
    """Return what of a cell is over its limit, by the ``measured`` one's cost in proportion; ``None`` if nothing is."""
    times = d * n / (measured["d"] * measured["n"])
    expected, gigabytes = _spent(measured) * times, measured["peak_rss_mb"] * times / 1024
    told = f"by d={measured['d']}, n={measured['n']}"
    if expected > CELL_SECONDS:
        return f"not run: estimated {expected:.0f} CPU seconds {told}"
    return f"not run: estimated {gigabytes:.0f} GB for all parties together {told}" if gigabytes > MEMORY_GB else None


def _spent(measured: dict[str, Any]) -> float:
    """Return the CPU seconds of all parties of a cell; of one that doesn't state them, what its parts are together at least."""
    parts = measured["n"] * measured["client_seconds"] + measured["server_seconds"] + measured["decryptor_seconds"]
    return float(measured.get("cpu_seconds", parts))


def main() -> None:
    """Measure the grid, or one cell of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(LINES), help="this line alone; repeatable")
    parser.add_argument("--largest", type=int, default=LENGTHS[-1])
    parser.add_argument("--clients", type=int, default=CLIENTS[-1], help="at most so many")
    parser.add_argument("--cell", nargs=3, metavar=("SCHEME", "D", "N"), help="print one cell's figures as JSON")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "grid.json")
    options = parser.parse_args()
    if options.cell:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_GB << 30, MEMORY_GB << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (CELL_SECONDS, CELL_SECONDS + 5))
        name, d, n = options.cell
        print(json.dumps(measure(name, int(d), int(n))))
        return
    names = options.only or [name for name, line in LINES.items() if line.scheme in schemes()]
    lengths = [d for d in LENGTHS if d <= options.largest]
    grid([(name, d, n) for d in lengths for n in CLIENTS if n <= options.clients for name in names], options.out)


if __name__ == "__main__":
    main()
