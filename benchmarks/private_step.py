"""What a private step costs beside the plain one: ``python -m benchmarks.private_step`` writes ``results/private_step.json``.

Model 32,768 -> 2,000 -> 1,000 tasks, batch 1,000, about 70 on-bits and 10 labels a record, one core. Plain is the plain
trainer's step with SGD, private the sampled Gaussian step of :mod:`securefl.learning.private_step`, whole: Poisson sampling,
exact norms, clipping, secure noise on every coordinate, descent. Bar: private <= 3 x plain. Opacus's ghost clipping on a dense
input layer is run beside them on a smaller model (its noise included), where both fit; per-sample gradients would need 262 GB.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.environment import environment
from securefl.config import FederationConfig
from securefl.learning.cells import Records
from securefl.learning.heads import Heads
from securefl.learning.local import PlainTrainer, Seat, limit_threads
from securefl.learning.private_noise import normal_chunks
from securefl.learning.private_step import PrivateSteps, PrivateTrainer, clipped_sum
from securefl.learning.trunk import Trunk
from securefl.types import SystemRng

SEED = 20261121  # any: values change no timing
BAR = 3.0
RESULT = Path(__file__).parent / "results" / "private_step.json"
RNG = SystemRng()


def make_records(records: int, bits: int, tasks: int, *, on_bits: int = 70, labels: int = 10) -> Records:
    """Return records with bits drawn by a falling frequency, as those of fingerprints are, and labels at random."""
    draw = np.random.default_rng(SEED)
    weight = 1.0 / np.arange(1, bits + 1) ** 0.7
    rows = [np.sort(draw.choice(bits, on_bits, replace=False, p=weight / weight.sum())) for _ in range(records)]
    pointers = np.arange(records + 1) * on_bits
    fingerprints = sp.csr_matrix((np.ones(records * on_bits, np.uint8), np.concatenate(rows), pointers), (records, bits))
    cells = records * labels
    task = np.concatenate([np.sort(draw.choice(tasks, labels, replace=False)) for _ in range(records)])
    return Records(
        fingerprints=fingerprints,
        compound=np.arange(records, dtype=np.int32),
        start=np.arange(records + 1, dtype=np.int64) * labels,
        task=task.astype(np.int64),
        target=draw.normal(0, 1, cells).astype(np.float32),
        relation=np.zeros(cells, np.int8),
        binary=np.zeros(tasks, np.bool_),
    )


def network(bits: int, hidden: int, tasks: int) -> tuple[Trunk, Heads]:
    """Return a fresh trunk with one hidden layer, and heads."""
    return Trunk(bits, (hidden,), generator=torch.Generator().manual_seed(SEED)), Heads(tasks, hidden)


def seconds(work: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each piece of work, the pieces taking turns; the first turn only warms up."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, call in work.items():
            started = time.process_time()
            call()
            if turn:
                found[name].append(time.process_time() - started)
    return found


def ours(bits: int, hidden: int, tasks: int, batch: int, repeats: int) -> dict[str, object]:
    """Return the times of a plain and a private step, and of the private one's parts."""
    records = make_records(4 * batch, bits, tasks)
    size = (bits + 1) * hidden + (hidden + 1) * tasks
    rows = np.arange(batch, dtype=np.int64)
    plain, private, parts = network(bits, hidden, tasks), network(bits, hidden, tasks), network(bits, hidden, tasks)
    one_batch, cells = records.batch(rows)
    plan = PrivateSteps(
        records=len(records), sampling_rate=batch / len(records), steps_each=1, steps=1 << 30,
        noise_multiplier=1.0, clipping_norm=1.0, learning_rate=0.1,
    )  # fmt: skip
    sgd = FederationConfig(optimiser="sgd", batch=batch, learning_rate=0.1, local_steps=1)
    seat = Seat(partner=0, records=records, seed=0)
    plain_trainer, private_trainer = PlainTrainer(seat, config=sgd), PrivateTrainer(seat, plan=plan, rng=RNG)
    times = seconds(
        {
            "plain": lambda: plain_trainer.train_epoch(*plain, records),
            "private": lambda: private_trainer.train_epoch(*private, records),
            "private, norms and clipped sum": lambda: clipped_sum(*parts, one_batch, cells, clipping_norm=1.0),
            "private, noise drawn": lambda: sum(len(chunk) for chunk in normal_chunks(size, rng=RNG)),
        },
        repeats,
    )
    return {"bits": bits, "hidden": hidden, "tasks": tasks, "batch": batch, "parameters": size, **summary(times)}


def summary(times: Mapping[str, list[float]]) -> dict[str, object]:
    """Return the best and the median times, and the ratio of the best to the plain step's best: other work only slows down."""
    best = {name: min(values) for name, values in times.items()}
    return {
        "n": len(times["plain"]),
        "cpu_seconds": best,
        "median": {name: float(np.median(values)) for name, values in times.items()},
        "max": {name: max(values) for name, values in times.items()},
        "ratio_to_plain": {name: value / best["plain"] for name, value in best.items()},
    }


class SquaredError(nn.Module):
    """Mean squared error of a record over its tasks: what Opacus needs is a loss for each record."""

    reduction = "mean"

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the losses, shape (B,), or their mean."""
        each = (output - target).square().mean(1)
        return each if self.reduction == "none" else each.mean()


def opacus_dense(bits: int, hidden: int, tasks: int, batch: int, repeats: int) -> dict[str, object]:
    """Return the times of Opacus's ghost clipping on a dense input layer, and of the same plain model."""
    draw = torch.Generator().manual_seed(SEED)
    inputs = (torch.rand(2 * batch, bits, generator=draw) < 70 / bits).float()
    targets = torch.randn(2 * batch, tasks, generator=draw)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=batch)

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(bits, hidden), nn.ReLU(), nn.Linear(hidden, tasks))

    plain = build()
    plain_optimiser = torch.optim.SGD(plain.parameters(), lr=0.1, fused=True)

    def plain_step() -> None:
        plain_optimiser.zero_grad()
        SquaredError()(plain(inputs[:batch]), targets[:batch]).backward()
        plain_optimiser.step()

    wrapped = build()
    with warnings.catch_warnings():
        # Opacus warns that its generator is not a secure one: here only its time counts.
        warnings.simplefilter("ignore")
        module, optimiser, criterion, _ = PrivacyEngine().make_private(
            module=wrapped, optimizer=torch.optim.SGD(wrapped.parameters(), lr=0.1), criterion=SquaredError(),
            data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0, grad_sample_mode="ghost", poisson_sampling=False,
        )  # fmt: skip

        def ghost_step() -> None:
            optimiser.zero_grad()
            criterion(module(inputs[:batch]), targets[:batch]).backward()
            optimiser.step()

        times = seconds({"plain": plain_step, "opacus ghost": ghost_step}, repeats)
    return {"bits": bits, "hidden": hidden, "tasks": tasks, "batch": batch, **summary(times)}


def main() -> None:
    """Run the grid and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    limit_threads(1)
    repeats = arguments.repeats
    result = {
        "environment": environment("torch", "numpy", "opacus"),
        "seed": SEED,
        "bar": BAR,
        "full": ours(32_768, 2_000, 1_000, 1_000, repeats),
        "small": ours(4_096, 400, 100, 256, repeats),
        "opacus_small": opacus_dense(4_096, 400, 100, 256, repeats),
    }
    arguments.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for name in ("full", "small", "opacus_small"):
        print(name, json.dumps(result[name]))


if __name__ == "__main__":
    main()
