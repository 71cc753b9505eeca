"""What epsilon costs in performance: ``python -m benchmarks.dp_utility`` writes ``benchmarks/results/dp_utility.json``.

Record-level arms at epsilon 1, 3, 8 and infinity (clipping alone), each from fresh weights and from a public warm start, with
noisy heads and with heads that every partner fits by itself at the end, and partner-level noise at epsilon 8, on the twelve
smallest targets of the default data. Two of five scaffold clusters outside the test fold are the public data: the same targets,
other compounds, as ChEMBL is to a partner. References: the plain federation and every partner alone, on the partners' data.
Test-fold performance, mean over seeds with a t interval.

The sums are plaintext here, because every exact scheme opens the same ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.environment import environment
from securefl.chem.dataset import Dataset, Fold
from securefl.chem.moleculeace import default_dataset
from securefl.config import DataConfig, DpConfig, FederationConfig, ModelConfig, RunConfig
from securefl.evaluation.arms import run_arm
from securefl.federation.references import train_pooled
from securefl.learning.local import limit_threads
from securefl.learning.model import Model
from securefl.records import ArmRecord
from securefl.types import SystemRng

SEEDS = (0, 1, 2)
EPSILONS = ("1", "3", "8", "inf")
OPTIONS = (("none", False), ("none", True), ("public", True))
"""Warm start of the trunk, and whether every partner fits its own heads at the end."""
DATA = DataConfig(targets=12, bits=1024)
RESULT = Path(__file__).parent / "results" / "dp_utility.json"


def config_of(seed: int, *, start: Path | None = None, refit: bool = False) -> RunConfig:
    """Return the config of one seed; a trunk that begins with public knowledge takes smaller steps."""
    return RunConfig(
        data=DATA,
        model=ModelConfig(hidden=(128, 48)),
        federation=FederationConfig(rounds=12, seeds=(seed,)),
        dp=DpConfig(
            rounds=8,
            batch=512,
            learning_rate=0.3 if start else 1.0,
            start=str(start) if start else None,
            refit_heads=refit,
        ),
    )


def divided(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Return the partners' dataset and the public one: the same targets, and no scaffold cluster in both.

    Two of five clusters of the training and validation folds are public; the test fold stays the partners'.
    """
    public = (dataset.cluster % 5 < 2) & np.isin(dataset.fold, (Fold.TRAIN, Fold.VALIDATION))
    ours, theirs = of_compounds(dataset, ~public), of_compounds(dataset, public)
    # Public data have no partners: one owner, whose trunk everybody may have.
    return ours, replace(theirs, partners=("public",), tasks=tuple(replace(task, partner=0) for task in theirs.tasks))


def of_compounds(dataset: Dataset, wanted: NDArray[np.bool_]) -> Dataset:
    """Return ``dataset`` with the cells of ``wanted`` compounds, and the tasks that still have training cells."""
    cells = dataset.activities
    cells = cells.select(np.flatnonzero(wanted[cells.compound]))
    training = np.bincount(cells.task[dataset.fold[cells.compound] == Fold.TRAIN], minlength=len(dataset.tasks)) > 0
    cells = cells.select(np.flatnonzero(training[cells.task]))
    number = np.cumsum(training) - 1
    tasks = tuple(task for task, kept in zip(dataset.tasks, training, strict=True) if kept)
    return replace(dataset, tasks=tasks, activities=replace(cells, task=number[cells.task].astype(np.int32)))


def trained(dataset: Dataset, arm: str, config: RunConfig, folder: Path) -> ArmRecord:
    """Return the record of one arm with one seed."""
    return run_arm(dataset, arm, config=config, arms=folder / "arms", rng=SystemRng())


def row(name: str, records: Sequence[ArmRecord]) -> dict[str, object]:
    """Return one point of the curve: mean over seeds with its 95 % t interval."""
    means = np.array([record.performance.mean for record in records])
    half = float(stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    dp = records[0].dp
    return {
        "arm": name,
        "metric": records[0].performance.metric,
        "n_seeds": len(means),
        "mean": float(means.mean()),
        "ci_low": float(means.mean()) - half,
        "ci_high": float(means.mean()) + half,
        "unit": dp.unit if dp else None,
        "epsilon": dp.epsilon if dp else None,
        "epsilon_lower": dp.epsilon_lower if dp else None,
        "delta": dp.delta if dp else None,
        "neighbouring": dp.neighbouring if dp else None,
        "noise_multiplier": dp.noise_multiplier if dp else None,
    }


def curve(private: Dataset, public: Dataset, scratch: Path) -> list[dict[str, object]]:
    """Train everything and return the rows."""
    starts: dict[int, Path] = {}
    for seed in SEEDS:
        model: Model = train_pooled(public, config=config_of(seed), seed=seed).model
        starts[seed] = scratch / f"public-{seed}.safetensors"
        model.save(starts[seed])
    rows = []
    plain = ("standalone", "plaintext", "masking+partner-dp=8", "plaintext+central-dp=8")
    points = [(arm, "none", False) for arm in plain]
    points += [(f"plaintext+dp={epsilon}", *option) for epsilon in EPSILONS for option in OPTIONS]
    for arm, start, refit in points:
        records = []
        for seed in SEEDS:
            config = config_of(seed, start=starts[seed] if start == "public" else None, refit=refit)
            records.append(trained(private, arm, config, scratch / f"{start}-{refit}" / str(seed)))
        rows.append({**row(arm, records), "start": start, "refit_heads": refit})
        print(json.dumps(rows[-1]))
    return rows


def main() -> None:
    """Measure the curve and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "securefl-dp-utility")
    arguments = parser.parse_args()
    limit_threads(1)
    private, public = divided(default_dataset(DATA, arguments.cache))
    with tempfile.TemporaryDirectory() as scratch:
        rows = curve(private, public, Path(scratch))
    result = {
        "environment": environment("torch"),
        "seeds": list(SEEDS),
        "data": private.name,
        "partners": len(private.partners),
        "public_compounds": len(np.unique(public.activities.compound)),
        "private_compounds": len(np.unique(private.activities.compound)),
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
