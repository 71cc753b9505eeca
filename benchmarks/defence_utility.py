"""What each first-layer defence costs in performance, beside what it leaves of the leak: writes ``defence_utility.json``.

    python -m benchmarks.defence_utility [--minutes 10]      as often as it says that cells are left

A cell is one federation of ``ROUNDS`` rounds by the library's own recipe (Adam, one local epoch) on the twelve smallest
targets of the default data, with one defence of :mod:`benchmarks.defences` on what every partner sends of its first layer, and
one seed.
Nothing is chosen on any fold: no early stopping, the last round counts. References are no defence (``none``) and every partner
alone for as many epochs. The TEST fold is read for the report alone.

``lost`` is the share of the federated gain that a defence costs: (none - defence) / (none - alone), from the mean over
partner-tasks, seeds averaged, with a percentile bootstrap over partner-tasks; below zero where it did no harm. A training whose
loss was not finite counts as ``diverged``, without a figure. The leaks are those that ``benchmarks/results/defences.json``
measured in the worst case, one step of 40 compounds at 32,768 bits; the performance is that of thousands of compounds at 4,096
bits, so a small partner pays more than this table says. ``passes`` asks for both: every leak at chance, and the whole interval
of ``lost`` under one per cent. ``plain SGD`` is at a rate that nobody tuned.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks.defences import RESULT as LEAKS
from benchmarks.environment import environment
from benchmarks.first_layer_defences import DEFENCES, Defence, Part
from securefl.chem.dataset import Dataset, Fold
from securefl.chem.moleculeace import default_dataset
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import InputError
from securefl.evaluation.task_scores import main_metric, per_task
from securefl.federation.guards import FIRST_WEIGHT
from securefl.federation.partner import Partner, Terms
from securefl.federation.starts import first_trunk
from securefl.files import write_to_disk
from securefl.learning.family import inputs_of, layout_of
from securefl.learning.layout import TensorLayout
from securefl.learning.local import limit_threads
from securefl.learning.model import Model, predict

SEEDS = (0, 1, 2)
ROUNDS, WARM_UP = 12, 3
DATA = DataConfig(targets=12, bits=4096)
CONFIG = RunConfig(data=DATA, model=ModelConfig(hidden=(128, 48)), federation=FederationConfig(rounds=ROUNDS))
LARGE = 16
"""Times the default batch, as the large step of the leak has so many times the compounds."""
ALONE, NONE = "every partner alone", "none"
RESAMPLES = 4000
RESULT = Path(__file__).with_name("results") / "defence_utility.json"
Trunk = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One line of the table: a training under a ``defence``, and the ``leak`` of :mod:`benchmarks.defences` that goes with it.

    The recipe steps by Adam: the leak is that of an Adam step where it was measured, else that of plain SGD, which shows more.
    """

    name: str
    defence: Defence = DEFENCES[0]
    leak: str | None = None
    federation: FederationConfig = CONFIG.federation
    frozen_after: int = ROUNDS
    alone: bool = False


def arms() -> tuple[Arm, ...]:
    """Return all lines; defences that differ by the step alone are one training."""
    names = {defence.name for defence in DEFENCES}
    plain = FederationConfig(rounds=ROUNDS, optimiser="sgd", learning_rate=0.1)
    found = [
        Arm(name=ALONE, alone=True),
        Arm(name=NONE, leak="Adam step"),
        Arm(name="plain SGD", leak="none", federation=plain),
        Arm(name="first layer frozen after warm-up", frozen_after=WARM_UP),
    ]
    for defence in DEFENCES[1:]:
        stepped = f"{defence.name}, Adam step"
        same = defence.name.removesuffix(", Adam step")
        if defence.adam and (same in names or same == "Adam step"):
            continue
        batch = CONFIG.federation.batch * (LARGE if defence.each > DEFENCES[0].each else 1)
        leak = stepped if stepped in names else defence.name
        found.append(Arm(name=same, defence=defence, leak=leak, federation=FederationConfig(rounds=ROUNDS, batch=batch)))
    return tuple(found)


def sent(partner: Partner, matrix: sp.csr_matrix, arm: Arm, layout: TensorLayout, draw: np.random.Generator) -> Trunk:
    """Return what ``partner`` sends after its local epoch, tensor by tensor, with the defence on the first layer."""
    change = {name: np.asarray(value, dtype=np.float32) for name, value in layout.unflatten(partner.update()).items()}
    labels = np.zeros(matrix.shape[0], dtype=np.int8)
    change[FIRST_WEIGHT] = arm.defence.applied(Part((), matrix, labels, change[FIRST_WEIGHT]), draw)
    return change


def mean_of(changes: list[Trunk], weights: list[int], owners: int) -> Trunk:
    """Return the weighted mean of the partners' changes; first-layer rows that fewer than ``owners`` moved stay."""
    total = {
        name: np.average([change[name] for change in changes], axis=0, weights=weights).astype(np.float32)
        for name in changes[0]
    }
    movers = np.sum([change[FIRST_WEIGHT].any(axis=1) for change in changes], axis=0)
    total[FIRST_WEIGHT][movers < owners] = 0.0
    return total


def trained(dataset: Dataset, arm: Arm, seed: int) -> list[Model]:
    """Return the model after the last round, or every partner's own model."""
    config = CONFIG.model_copy(update={"federation": arm.federation})
    dataset = inputs_of(dataset, config.model)
    layout, draw = layout_of(dataset, config.model), np.random.default_rng([seed, 12])
    terms = Terms(layout=layout, config=config, seed=seed)
    partners = [Partner(dataset, number, terms) for number in range(len(dataset.partners))]
    support = [dataset.fingerprints[np.unique(dataset.cells(p.number, Fold.TRAIN).compound)] for p in partners]
    trunk = first_trunk(dataset, config, seed)
    for number in range(ROUNDS):
        if arm.alone:
            for partner in partners:
                partner.receive(trunk if number == 0 else partner.trunk_tensors())
                partner.update()
            continue
        for partner in partners:
            partner.receive(trunk)
        changes = [sent(p, matrix, arm, layout, draw) for p, matrix in zip(partners, support, strict=True)]
        moved = mean_of(changes, [partner.records for partner in partners], arm.defence.owners)
        if number >= arm.frozen_after:
            moved[FIRST_WEIGHT][:] = 0.0
        trunk = {name: trunk[name] + moved[name] for name in trunk}
    if arm.alone:
        return [Model(trunk=p.trunk_tensors(), heads={p.number: p.heads()}) for p in partners]
    return [Model(trunk=trunk, heads={partner.number: partner.heads() for partner in partners})]


def cell(dataset: Dataset, arm: Arm, seed: int) -> dict[str, Any]:
    """Return the test performance of every partner-task."""
    begin = time.process_time()
    owner = np.array([task.partner for task in dataset.tasks])[dataset.activities.task]
    predictions = np.full(len(owner), np.nan, dtype=np.float32)
    try:
        models = trained(dataset, arm, seed)
    except InputError as error:
        return {"arm": arm.name, "seed": seed, "scores": {}, "failed": str(error), "cpu_seconds": time.process_time() - begin}
    for model in models:
        mine = np.flatnonzero(np.isin(owner, list(model.heads)))
        predictions[mine] = predict(model, dataset, dataset.activities.select(mine))
    scores = per_task(main_metric(dataset), dataset, predictions)
    return {
        "arm": arm.name, "seed": seed, "scores": {str(task): value for task, value in scores.items()},
        "cpu_seconds": time.process_time() - begin,
    }  # fmt: skip


def interval(values: NDArray[np.float64]) -> list[float]:
    """Return the middle 95 %."""
    return [float(end) for end in np.quantile(values, [0.025, 0.975])]


def table(cells: list[dict[str, Any]], leaks: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a line for each arm that has all its seeds."""
    by_arm = {arm.name: [c["scores"] for c in cells if c["arm"] == arm.name] for arm in arms()}
    # A training that diverged has no performance: its line says so, and no figure of it enters another's.
    done = {name: seeds for name, seeds in by_arm.items() if len(seeds) == len(SEEDS) and all(seeds)}
    if not {ALONE, NONE} <= set(done):
        return []
    tasks = sorted(set.intersection(*(set(scores) for seeds in done.values() for scores in seeds)))
    mean = {name: np.mean([[scores[task] for task in tasks] for scores in seeds], axis=0) for name, seeds in done.items()}
    rows = np.random.default_rng(0).integers(0, len(tasks), (RESAMPLES, len(tasks)))
    gain = mean[NONE] - mean[ALONE]
    found: list[dict[str, Any]] = []
    for arm in arms():
        if arm.name not in done and len(by_arm[arm.name]) == len(SEEDS):
            found.append({"arm": arm.name, "leak": arm.leak, "diverged": sum(not s for s in by_arm[arm.name]), "passes": False})
        elif arm.name in done:
            cost = mean[NONE] - mean[arm.name]
            lost = interval(cost[rows].mean(axis=1) / gain[rows].mean(axis=1))
            leak = leaks.get(arm.leak or "")
            found.append({
                "arm": arm.name, "leak": arm.leak, "performance": float(mean[arm.name].mean()),
                "interval": interval(mean[arm.name][rows].mean(axis=1)), "n_tasks": len(tasks), "n_seeds": len(SEEDS),
                "cost": float(cost.mean()), "cost_interval": interval(cost[rows].mean(axis=1)),
                "lost": float(cost.mean() / gain.mean()), "lost_interval": lost,
                "leaks_at_chance": None if leak is None else sum(one["at_chance"] for one in leak["leaks"].values()),
                "leaks": None if leak is None else len(leak["leaks"]),
                "leaks_left": None if leak is None else [n for n, one in leak["leaks"].items() if not one["at_chance"]],
                "passes": leak is not None and leak["all_at_chance"] and lost[1] < 0.01,
            })  # fmt: skip
    return found


def content(dataset: Dataset, cells: list[dict[str, Any]]) -> bytes:
    """Return the whole file."""
    leaks = {row["defence"]: row for row in json.loads(LEAKS.read_text(encoding="utf-8"))["defences"]}
    found = {
        "schema_version": "1.0", "environment": environment("torch"), "data": dataset.name, "seeds": list(SEEDS),
        "rounds": ROUNDS, "metric": main_metric(dataset).name, "table": table(cells, leaks), "cells": cells,
    }  # fmt: skip
    return (json.dumps(found, indent=1) + "\n").encode()


def main() -> None:
    """Train the cells that are missing until the minutes are over, and write what is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "securefl-defence-utility")
    options = parser.parse_args()
    limit_threads(1)
    begin, dataset = time.monotonic(), default_dataset(DATA, options.cache)
    cells = json.loads(options.out.read_text(encoding="utf-8"))["cells"] if options.out.exists() else []
    done = {(one["arm"], one["seed"]) for one in cells}
    missing = [(arm, seed) for arm in arms() for seed in SEEDS if (arm.name, seed) not in done]
    for number, (arm, seed) in enumerate(missing):
        if time.monotonic() - begin > 60 * options.minutes:
            print(f"{len(missing) - number} cells are left: call again")
            break
        cells.append(cell(dataset, arm, seed))
        write_to_disk(options.out, content(dataset, cells))
        print(json.dumps({"arm": arm.name, "seed": seed, "cpu_seconds": round(cells[-1]["cpu_seconds"])}), flush=True)
    write_to_disk(options.out, content(dataset, cells))


if __name__ == "__main__":
    main()
