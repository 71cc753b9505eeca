"""What two model families reach and what they leak: ``python -m benchmarks.families`` writes the JSON.

The fingerprint network (mlp) and the graph network are trained alone, pooled and federated with masking in every round, on
the same prepared default data (the smallest targets), and the masking arm is attacked by the same attacks. Each family has a
recipe of its own, chosen on the VALIDATION fold of seed 0; figures are the TEST fold's of seed 1. Small: it says which leaks
exist and how the families differ in them, not how good a graph network can be.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from attacks.audit import audit
from attacks.isolation.pool import Pool
from securefl.chem.dataset import Dataset
from securefl.chem.moleculeace import default_dataset
from securefl.config import AttackConfig, DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.evaluation.run import run
from securefl.evaluation.toolkit import toolkit_record
from securefl.learning.family import with_graphs
from securefl.records import ArmRecord, AttackRecord
from securefl.types import SystemRng

RESULT = Path(__file__).parent / "results" / "families.json"
SEED = 1  # not the seed that the recipes were chosen on
ATTACKS = ("membership_loss", "membership_rmia", "union_of_bits", "fingerprint_recovery")
MODELS = {
    "mlp": ModelConfig(hidden=(128, 48)),
    "graph": ModelConfig(family="graph", hidden=(128, 48), dropout=0.1, graph_width=64, graph_steps=2),
}


def config_of(family: str, *, targets: int, rounds: int) -> RunConfig:
    """Return the run of one family."""
    return RunConfig(
        arms=("standalone", "pooled", "masking"),
        data=DataConfig(targets=targets, bits=1024),
        model=MODELS[family],
        federation=FederationConfig(rounds=rounds, batch=64, seeds=(SEED,)),
        attacks=AttackConfig(seconds_per_recovery=3.0),
    )


def performance_row(record: ArmRecord) -> dict[str, object]:
    """Return an arm's TEST figure with its interval."""
    performance = record.performance
    return {
        "metric": performance.metric,
        "mean": performance.mean,
        "interval": [performance.ci_low, performance.ci_high],
        "tasks": performance.n_tasks,
        "delta_vs_standalone": performance.delta_vs_standalone,
        "delta_interval": [performance.delta_ci_low, performance.delta_ci_high],
        "rounds": record.rounds,
        "parameters": record.parameters,
        "training_seconds": record.cost.training_seconds,
    }


def attack_row(record: AttackRecord) -> dict[str, object]:
    """Return one score of one attack."""
    return {
        "attack": record.name,
        "view": record.view,
        "release": record.release,
        "metric": record.metric,
        "value": record.value,
        "interval": [record.ci_low, record.ci_high],
        "k": record.k,
        "n": record.n,
        "chance": record.chance,
        "member_of": record.member_of,
        "rows": record.bits,
        "reason": record.reason,
    }


def measured(family: str, dataset: Dataset, config: RunConfig, folder: Path) -> dict[str, object]:
    """Train and attack one family in ``folder``."""
    began = time.perf_counter()
    records = run(dataset, config, folder, rng=SystemRng())
    trained = time.perf_counter()
    complete = with_graphs(dataset, config.model, folder / "graphs.npz")
    with Pool() as pool:
        found = [
            audit(folder, complete, config=config, arm="masking", rng=SystemRng(), only=name, pool=pool) for name in ATTACKS
        ]
    return {
        "arms": {record.name: performance_row(record) for record in records},
        "attacks": [attack_row(record) for one in found for record in one.attacks],
        "controls": {control.name: control.held for one in found for control in one.controls},
        "seconds": {"training": trained - began, "attacks": time.perf_counter() - trained},
    }


def main() -> None:
    """Train, attack, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=4, help="the smallest targets of the default data")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--cache", type=Path, default=Path("runs/families-data"), help="where the prepared data are kept")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    configs = {family: config_of(family, targets=arguments.targets, rounds=arguments.rounds) for family in MODELS}
    dataset = default_dataset(configs["mlp"].data, arguments.cache)
    found = {}
    for family, config in configs.items():
        with TemporaryDirectory() as folder:
            found[family] = measured(family, dataset, config, Path(folder) / "run")
    content = {
        "families": found,
        "data": {"sha256": dataset.sha256, "compounds": len(dataset.inchikeys), "tasks": len(dataset.tasks)},
        "seed": SEED,
        "targets": arguments.targets,
        "rounds": arguments.rounds,
        "load_average": os.getloadavg(),
        "toolkit": toolkit_record().model_dump(mode="json"),
    }
    arguments.out.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for family, figures in found.items():
        print(family, json.dumps(figures["arms"]["masking"]["mean"]))  # type: ignore[index]


if __name__ == "__main__":
    main()
