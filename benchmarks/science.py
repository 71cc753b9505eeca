"""Does the federation help, how near is it to pooled data, and is the gain real? On public data, three seeds, tested once.

    python -m benchmarks.science --minutes 9      as often as it says that cells are left

Each training is a cell, kept in ``--cache``; a call trains cells until its minutes are over, then writes what is known to
``results/science.json``. The recipe is chosen on a VALIDATION fold with seed 0 among ``LEVERS``: MoleculeACE's for partners
with assays of their own, for tox21 that of twenty partners with common tasks; networks without a federation train by the same
one. Sums are in the clear (``plaintext``): exact schemes open the same quantised sums, bit for bit.

tox21's compounds are divided at random, so each partner measures the same twelve assays on its share. ``private``: each keeps
heads of its own, which nobody else's labels reach. ``common``: the consortium shares the twelve outputs too, as kMoL's partners
do, who share every weight. A random forest for each task on all data says what the fingerprints give. The quorum holds for all
data together, before they are divided (a twentieth of a task has some ten actives, fewer than the default's 25); every partner
is tested on all test compounds, so with common tasks each of the twelve counts once for each partner.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.science_data import LOADERS, TOX21_PARTNERS, shuffled, tox21
from securefl.chem.dataset import Dataset
from securefl.config import FederationConfig, ModelConfig, RunConfig
from securefl.evaluation.applicability import similarity_records
from securefl.evaluation.comparison import Contest, metric_records
from securefl.evaluation.conformal import conformal_records
from securefl.evaluation.predictions import load_predictions, save_predictions
from securefl.evaluation.task_scores import main_metric
from securefl.evaluation.toolkit import toolkit_record
from securefl.evaluation.unannotated import predict_pairs
from securefl.federation.references import train_each_alone, train_pooled
from securefl.federation.releases import Trained
from securefl.federation.training import train_federated
from securefl.learning.baselines import SingleTaskParams, single_task_models
from securefl.learning.model import predict
from securefl.types import SystemRng

RESULT = Path(__file__).parent / "results" / "science.json"
SEEDS = (0, 1, 2)
REFERENCE = FederationConfig(rounds=24, patience=6)
HIDDEN = (200, 64)
LEVERS: dict[str, dict[str, object]] = {
    "24 rounds": {},
    "24 rounds, FedAdam": {"server_optimiser": "fedadam"},
    "24 rounds, batch 32": {"batch": 32},
    "60 rounds": {"rounds": 60},
    "60 rounds, 3 times the rate": {"rounds": 60, "learning_rate": 3e-3},
    "60 rounds, SGD at 1, batch 32": {"rounds": 60, "optimiser": "sgd", "learning_rate": 1.0, "batch": 32},
}
TUNED_ON: dict[str, tuple[str, tuple[str, ...]]] = {
    "assays": ("moleculeace", ("24 rounds", "24 rounds, FedAdam")),
    "panel": (
        "tox21-random-20-common",
        ("24 rounds", "24 rounds, batch 32", "60 rounds", "60 rounds, 3 times the rate", "60 rounds, SGD at 1, batch 32"),
    ),
}
"""By kind of consortium: on whose validation fold its recipe is chosen, and among which levers."""
KMOL = {"central": 0.869, "2": 0.838, "5": 0.832, "10": 0.831, "20": 0.822}


@dataclass(frozen=True, slots=True)
class Cell:
    """One training: of ``arm`` on ``data`` with ``seed``; ``recipe`` names a network's lever."""

    data: str
    arm: str
    seed: int
    recipe: str = ""

    @property
    def name(self) -> str:
        """The cell's file name."""
        return "--".join(part for part in (self.data, self.arm, self.recipe, str(self.seed)) if part).replace(" ", "_")


@cache
def dataset_of(name: str, folder: Path) -> Dataset:
    """Return the dataset ``name``: a loader's, or ``tox21-FOLDS-PARTNERS-HEADS``."""
    if name in LOADERS:
        return LOADERS[name](folder / "data")
    _, folds, partners, _ = name.split("-")
    return tox21(folds, int(partners), folder / "data")


def kind_of(data: str) -> str:
    """Return which kind of consortium has the dataset."""
    return "assays" if data in LOADERS else "panel"


def common_tasks(data: str, dataset: Dataset) -> tuple[str, ...]:
    """Return the names of the tasks that all partners share."""
    return tuple(sorted({task.name for task in dataset.tasks})) if data.endswith("-common") else ()


def config_of(cell: Cell, dataset: Dataset) -> RunConfig:
    """Return what the cell trains with."""
    federation = REFERENCE.model_copy(update={"seeds": (cell.seed,)})
    if cell.recipe:
        federation = FederationConfig.model_validate({**federation.model_dump(), **LEVERS[cell.recipe]})
    model = ModelConfig(hidden=HIDDEN, common=common_tasks(cell.data, dataset))
    return RunConfig(arms=("plaintext",), model=model, federation=federation)


def train(cell: Cell, dataset: Dataset) -> tuple[list[Trained], NDArray[np.float32]]:
    """Return what the cell's training gave, and a prediction of every cell of ``dataset``."""
    config, cells = config_of(cell, dataset), dataset.activities
    if cell.arm == "forest":
        return [], single_task_models(dataset, params=SingleTaskParams(seed=cell.seed))
    if cell.arm == "pooled":
        found = [train_pooled(dataset, config=config, seed=cell.seed)]
        return found, predict(found[0].model, dataset, cells)
    if cell.arm == "standalone":
        found = train_each_alone(dataset, config=config, seed=cell.seed)
        return found, predict_pairs([one.model for one in found], dataset, cells)
    source = dataset if cell.arm == "federated" else shuffled(dataset, kept_in(cell, dataset), seed=cell.seed)
    one = train_federated(source, config=config, scheme="plaintext", seed=cell.seed, rng=SystemRng())
    return [one], predict(one.model, dataset, cells)


def kept_in(cell: Cell, dataset: Dataset) -> int:
    """Return the partner whose labels stay true in a control: another one for each seed, never the last, small one."""
    return cell.seed % max(1, len(dataset.partners) - 1)


def run_cell(cell: Cell, folder: Path) -> None:
    """Train the cell and keep its predictions and its curve; nothing is done where they are there."""
    path = folder / "cells" / cell.name
    if path.with_suffix(".json").exists():
        return
    dataset, started = dataset_of(cell.data, folder), time.process_time()
    trained, prediction = train(cell, dataset)
    save_predictions(path.with_suffix(".npz"), dataset, prediction)
    content = {
        "rounds": [one.rounds for one in trained],
        "best_round": [one.best_round for one in trained],
        "best_validation": [max(one.curve) for one in trained],
        "curve": [one.curve for one in trained],
        "cpu_seconds": time.process_time() - started,
    }
    path.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")


def known(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """Return what a finished cell said, ``None`` for one that is not."""
    path = folder / "cells" / f"{cell.name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def tuning() -> list[Cell]:
    """Return the cells that choose the recipes."""
    return [Cell(data, "federated", 0, recipe) for data, recipes in TUNED_ON.values() for recipe in recipes]


def chosen(folder: Path) -> dict[str, str]:
    """Return for each kind of consortium the lever with the best validation score, nothing until all are trained."""
    found: dict[str, dict[str, float]] = {kind: {} for kind in TUNED_ON}
    for cell in tuning():
        if (content := known(cell, folder)) is None:
            return {}
        found[kind_of(cell.data)][cell.recipe] = content["best_validation"][0]
    return {kind: max(scores, key=lambda recipe: scores[recipe]) for kind, scores in found.items()}


def studies() -> list[tuple[str, tuple[str, ...]]]:
    """Return each dataset with its arms, in the order of training: tox21 by scaffold last, with common tasks alone.

    Of twenty partners one would have a task of a single class by scaffold, so ten are the most there.
    """
    arms = ("standalone", "federated", "pooled", "control")
    assays = [(data, arms) for data in LOADERS]
    return [assays[0], *panels("random", ("common", "private")), *assays[1:], *panels("scaffold", ("common",), most=10)]


def panels(folds: str, heads: tuple[str, ...], *, most: int = TOX21_PARTNERS[-1]) -> list[tuple[str, tuple[str, ...]]]:
    """Return tox21 under one rule for folds: all data in one place, then divided among ``most`` at most, by kind of heads."""
    counts = [count for count in TOX21_PARTNERS if count <= most]
    divided = [(f"tox21-{folds}-{count}-{kind}", ("federated",)) for kind in heads for count in counts]
    return [(f"tox21-{folds}-1-central", ("pooled", "forest")), *divided]


def cell_of(data: str, arm: str, seed: int, recipes: dict[str, str]) -> Cell:
    """Return the cell; every network uses the recipe of its kind."""
    return Cell(data, arm, seed, "" if arm == "forest" else recipes[kind_of(data)])


def cells(recipes: dict[str, str]) -> list[Cell]:
    """Return every cell of the bar."""
    return [cell_of(data, arm, seed, recipes) for data, arms in studies() for arm in arms for seed in seeds_of(arm)]


def seeds_of(arm: str) -> tuple[int, ...]:
    """Return the seeds of an arm: one for the forests, which are hundreds of trees each."""
    return SEEDS[:1] if arm == "forest" else SEEDS


def predictions(data: str, arm: str, recipes: dict[str, str], folder: Path) -> list[NDArray[np.float32]]:
    """Return the arm's predictions of each seed, nothing until all seeds are trained."""
    cells = [cell_of(data, arm, seed, recipes) for seed in seeds_of(arm)]
    if any(known(cell, folder) is None for cell in cells):
        return []
    return [load_predictions(folder / "cells" / f"{cell.name}.npz", dataset_of(data, folder)) for cell in cells]


def compared(dataset: Dataset, arm: list[NDArray[np.float32]], rival: list[NDArray[np.float32]]) -> dict[str, Any]:
    """Return the arm's metrics and its paired differences from the rival, with intervals."""
    records = metric_records(Contest(dataset=dataset, arm=arm, standalone=rival))
    return {
        record.name: record.model_dump(mode="json", exclude={"ecdf", "kind", "name", "delta_vs_single_task"}, exclude_none=True)
        for record in records
    }


def study(data: str, recipes: dict[str, str], folder: Path) -> dict[str, Any] | None:
    """Return a main study's comparisons, ``None`` until all of its cells are there."""
    arms = {arm: predictions(data, arm, recipes, folder) for arm in ("standalone", "federated", "pooled", "control")}
    if not all(arms.values()):
        return None
    dataset = dataset_of(data, folder)
    contest = Contest(dataset=dataset, arm=arms["federated"], standalone=arms["standalone"])
    return {
        "data": {"sha256": dataset.sha256, "compounds": len(dataset.inchikeys), "tasks": len(dataset.tasks)},
        "federated_by_similarity": [record.model_dump(mode="json") for record in similarity_records(contest)],
        "federated_conformal": [record.model_dump(mode="json") for record in conformal_records(contest)],
        "main_metric": main_metric(dataset).name,
        "federated_against_standalone": compared(dataset, arms["federated"], arms["standalone"]),
        "pooled_against_standalone": compared(dataset, arms["pooled"], arms["standalone"]),
        "federated_against_pooled": compared(dataset, arms["federated"], arms["pooled"]),
        "control_against_standalone": control(data, arms, folder),
    }


def control(data: str, arms: dict[str, list[NDArray[np.float32]]], folder: Path) -> dict[str, Any]:
    """Return the control's comparison over the partners whose labels stayed true, beside the real federation's there."""
    dataset = dataset_of(data, folder)
    owner = np.array([task.partner for task in dataset.tasks])[dataset.activities.task]
    merged = {}
    for arm, found in arms.items():
        # One vector: of each kept partner the seed in which it was kept.
        merged[arm] = np.full(len(owner), np.nan, dtype=np.float32)
        for seed, prediction in zip(SEEDS, found, strict=True):
            mine = owner == kept_in(Cell(data, arm, seed), dataset)
            merged[arm][mine] = prediction[mine]
    return {
        "shuffled": compared(dataset, [merged["control"]], [merged["standalone"]]),
        "true": compared(dataset, [merged["federated"]], [merged["standalone"]]),
    }


def dense(recipes: dict[str, str], folder: Path) -> dict[str, Any]:
    """Return tox21's metrics for each rule of folds, kind of heads and number of partners that is finished."""
    table: dict[str, Any] = {"published kMoL (random split, best checkpoint on test)": KMOL}
    for data, arms in studies():
        if kind_of(data) != "panel":
            continue
        for arm in arms:
            found = predictions(data, arm, recipes, folder)
            if found:
                _, folds, count, heads = data.split("-")
                row = table.setdefault(folds, {}).setdefault(arm if heads == "central" else heads, {})
                row["central" if heads == "central" else count] = panel_row(data, found, folder)
    return table


def panel_row(data: str, found: list[NDArray[np.float32]], folder: Path) -> dict[str, Any]:
    """Return each metric's mean over tasks, its interval, and how many tasks had it."""
    records = metric_records(Contest(dataset=dataset_of(data, folder), arm=found))
    return {record.name: {**record.value.model_dump(), "n_tasks": record.n_tasks} for record in records}


def report(folder: Path) -> dict[str, Any]:
    """Return everything that is known so far."""
    recipes = chosen(folder)
    content: dict[str, Any] = {
        "seeds": SEEDS,
        "levers_on_validation": {cell.name: known(cell, folder) for cell in tuning()},
        "recipes": recipes,
        "toolkit": toolkit_record().model_dump(mode="json"),
    }
    if not recipes:
        return content
    every = {*tuning(), *cells(recipes)}
    spent = [found["cpu_seconds"] for cell in every if (found := known(cell, folder))]
    return content | {
        "studies": {data: study(data, recipes, folder) for data in LOADERS},
        "tox21": dense(recipes, folder),
        "cells": {"finished": len(spent), "of": len(every), "cpu_seconds": round(sum(spent))},
    }


def main() -> None:
    """Train what is left for so many minutes, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--only", default="", help="train only cells whose name begins so")
    parser.add_argument("--cache", type=Path, default=Path("runs/science"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    deadline = time.monotonic() + 60 * arguments.minutes
    left = tuning()
    while left and time.monotonic() < deadline:
        cell = left.pop(0)
        run_cell(cell, arguments.cache)
        if not left and (recipes := chosen(arguments.cache)):
            left = [cell for cell in cells(recipes) if known(cell, arguments.cache) is None]
            left = [cell for cell in left if cell.name.startswith(arguments.only)]
    RESULT.write_text(json.dumps(report(arguments.cache), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(left)} cells left")


if __name__ == "__main__":
    main()
