"""What epsilon costs in performance, and which start makes it bearable: on public data, three seeds, tested once.

    python -m benchmarks.dp_utility --minutes 9      as often as it says that cells are left

Record-level arms at epsilon 1, 3, 8 and infinity (clipping alone). The trunk begins with fresh weights or those of a public
model; each partner's heads begin with zero or with a partner-local warm start (paid for by private steps); in the end heads
stay as the noise left them, or every partner fits its own once more without noise (they never leave it). The settings for
each start and epsilon are chosen among ``SETTINGS`` by the partners' VALIDATION fold with seed 0, on the mean of both kinds of
heads; the TEST fold is read once, by the report. Choosing among settings on private data is a release of its own, which
nothing here prices: a consortium would choose on public data.

Two of five scaffold clusters outside the test fold are the public data: the same targets, other compounds, as ChEMBL is to a
partner. References: every partner alone, the plain federation, and the trunk as it began (fresh or public) under heads that
every partner fits by itself, which costs no privacy at all: a private training that is not better has bought nothing.
Partner-level noise is beside them, at settings that nobody chose. Record-level sums are plaintext here, because every exact
scheme opens the same ones.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.environment import environment
from securefl.chem.dataset import Dataset, Fold
from securefl.chem.moleculeace import default_dataset
from securefl.config import DataConfig, DpConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import ParameterError
from securefl.evaluation.bootstrap import over_tasks_and_seeds
from securefl.evaluation.comparison import BOOTSTRAP_SEED, Contest
from securefl.evaluation.predictions import load_predictions, save_predictions
from securefl.evaluation.spending import arm_privacy
from securefl.evaluation.task_scores import main_metric, per_task
from securefl.federation.references import train_alone, train_pooled
from securefl.federation.starts import first_trunk
from securefl.federation.training import train_federated
from securefl.files import write_to_disk
from securefl.learning.cells import scaling_of
from securefl.learning.family import layout_of
from securefl.learning.local import limit_threads
from securefl.learning.model import Model, PartnerHeads, predict
from securefl.learning.private_heads import refitted
from securefl.learning.private_plan import record_counts
from securefl.recipes import recipe_of
from securefl.records import DpRecord
from securefl.types import SystemRng

SEEDS = (0, 1, 2)
EPSILONS = ("1", "3", "8", "inf")
STARTS = ("fresh", "local", "public")
"""Fresh weights and heads of zero; fresh weights and partner-local heads; a public trunk and heads of zero."""
HEADS = ("noisy", "refitted")
SETTINGS: dict[str, dict[str, float]] = {
    f"rate {rate:g}, {rounds} rounds": {"learning_rate": rate, "rounds": rounds}
    for rate, rounds in ((0.3, 8), (1.0, 8), (2.0, 24))
}
"""What validation chooses from; everything else is :data:`COMMON`."""
COMMON = DpConfig(batch=1024, clipping_norm=1.0)
LOCAL_EPOCHS = 4
DATA = DataConfig(bits=1024)
PARTNER_ARMS = ("masking+partner-dp=8", "plaintext+central-dp=8")
"""At partner level a local start costs nothing: the first of them tries it."""
RESULT = Path(__file__).parent / "results" / "dp_utility.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """One training of ``arm`` from ``start`` with ``seed``; ``setting`` is one of :data:`SETTINGS` where there is a choice."""

    arm: str
    start: str
    seed: int
    setting: str = ""

    @property
    def name(self) -> str:
        """The cell's file name."""
        return "--".join(part for part in (self.arm, self.start, self.setting, str(self.seed)) if part).replace(" ", "_")


def tuning() -> list[Cell]:
    """Return the cells that choose the settings."""
    return [Cell(record_arm(e), start, SEEDS[0], name) for e in EPSILONS for start in STARTS for name in SETTINGS]


def references() -> list[Cell]:
    """Return the cells that nothing is chosen for."""
    arms = [("standalone", "fresh"), ("plaintext", "fresh"), ("untrained", "fresh"), ("untrained", "public")]
    arms += [(PARTNER_ARMS[0], "fresh"), (PARTNER_ARMS[0], "local"), (PARTNER_ARMS[1], "fresh")]
    return [Cell(arm, start, seed) for arm, start in arms for seed in SEEDS]


def record_arm(epsilon: str) -> str:
    """Return the arm that protects records with ``epsilon``."""
    return f"plaintext+dp={epsilon}"


def config_of(cell: Cell) -> RunConfig:
    """Return what the cell trains with."""
    chosen = {**COMMON.model_dump(), **SETTINGS.get(cell.setting, {})}
    if cell.start == "local":
        chosen["local_start"] = LOCAL_EPOCHS
    config = RunConfig(
        data=DATA,
        model=ModelConfig(hidden=(128, 48)),
        federation=FederationConfig(rounds=24, patience=6, seeds=(cell.seed,)),
        dp=DpConfig.model_validate(chosen),
    )
    return config if cell.arm == "untrained" else config.for_arm(cell.arm)


@cache
def datasets(folder: Path) -> tuple[Dataset, Dataset]:
    """Return the partners' dataset and the public one."""
    return divided(default_dataset(DATA, folder / "data"))


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


def start_of(cell: Cell, folder: Path) -> Model | None:
    """Return the public model that the cell's trunk begins with, trained once a seed; ``None`` for fresh weights."""
    if cell.start != "public":
        return None
    path = folder / f"public-{cell.seed}.safetensors"
    if not path.exists():
        train_pooled(datasets(folder)[1], config=config_of(cell), seed=cell.seed).model.save(path)
    return replace(Model.load(path), heads={})


def train(cell: Cell, folder: Path) -> tuple[dict[str, NDArray[np.float32]], DpRecord | None]:
    """Return predictions of every cell of the partners' data, by whose heads give them, and what was spent."""
    dataset, _ = datasets(folder)
    config, start = config_of(cell), start_of(cell, folder)
    if cell.arm == "standalone":
        return {"own": alone(dataset, config, cell.seed)}, None
    if cell.arm == "untrained":
        models, spent = {"refitted": untrained(dataset, first_trunk(dataset, config, cell.seed, start))}, None
    else:
        models, spent = federated(dataset, cell, config, start)
    return {heads: predict(model, dataset, dataset.activities) for heads, model in models.items()}, spent


def alone(dataset: Dataset, config: RunConfig, seed: int) -> NDArray[np.float32]:
    """Return what every partner's own training predicts."""
    cells = dataset.activities
    owner = np.array([task.partner for task in dataset.tasks])[cells.task]
    prediction = np.full(len(cells), np.nan, dtype=np.float32)
    for partner in range(len(dataset.partners)):
        mine = np.flatnonzero(owner == partner)
        model = train_alone(dataset, partner, config=config, seed=seed).model
        prediction[mine] = predict(model, dataset, cells.select(mine))
    return prediction


def untrained(dataset: Dataset, trunk: dict[str, NDArray[np.float32]]) -> Model:
    """Return ``trunk`` as it is under heads that every partner fits by itself."""
    heads = {}
    for partner in range(len(dataset.partners)):
        scaling = scaling_of(dataset, partner)
        zero = np.zeros((len(scaling), config_of(Cell("untrained", "fresh", 0)).model.hidden[-1]), dtype=np.float32)
        heads[partner] = PartnerHeads(weight=zero, bias=zero[:, 0], scaling=scaling)
    return refitted(Model(trunk=trunk, heads=heads), dataset)


def federated(dataset: Dataset, cell: Cell, config: RunConfig, start: Model | None) -> tuple[dict[str, Model], DpRecord | None]:
    """Return the models of a federated arm, by whose heads they have, and what it spent."""
    recipe, rng = recipe_of(cell.arm), SystemRng()
    if recipe is None:
        raise ParameterError(f"arm {cell.arm!r} trains without a protocol")
    privacy = arm_privacy(recipe, dataset, config=config, length=layout_of(dataset, config.model).size, rng=rng)
    rounds = config.dp.rounds if recipe.privacy else config.federation.rounds
    model = train_federated(
        dataset, config=config, scheme=recipe.scheme, seed=cell.seed, rng=rng, private=privacy.private, noise=privacy.noise,
        start=start, rounds=rounds,
    ).model  # fmt: skip
    return ({"noisy": model, "refitted": refitted(model, dataset)} if recipe.privacy else {"own": model}), privacy.record


def run_cell(cell: Cell, folder: Path) -> None:
    """Train the cell and keep its predictions and its validation scores; nothing is done where they are there."""
    if known(cell, folder) is not None:
        return
    dataset, started = datasets(folder)[0], time.process_time()
    predictions, spent = train(cell, folder)
    metric = main_metric(dataset)
    scores = {
        heads: float(np.mean(list(per_task(metric, dataset, found, fold=Fold.VALIDATION).values())))
        for heads, found in predictions.items()
    }
    for heads, found in predictions.items():
        save_predictions(path_of(cell, folder, heads), dataset, found)
    content = {
        "validation": scores,
        "dp": spent.model_dump(mode="json") if spent else None,
        "cpu_seconds": time.process_time() - started,
    }
    write_to_disk(path_of(cell, folder), (json.dumps(content) + "\n").encode())


def path_of(cell: Cell, folder: Path, heads: str | None = None) -> Path:
    """Return where a cell's figures are, or the predictions of some of its heads."""
    return folder / "cells" / (f"{cell.name}.json" if heads is None else f"{cell.name}--{heads}.npz")


def known(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """Return what a finished cell said, ``None`` for one that is not."""
    path = path_of(cell, folder)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def chosen(start: str, epsilon: str, folder: Path) -> str | None:
    """Return the setting with the best validation score, the mean of both kinds of heads; ``None`` until all were tried."""
    cells = {name: Cell(record_arm(epsilon), start, SEEDS[0], name) for name in SETTINGS}
    scores = {name: found["validation"] for name, cell in cells.items() if (found := known(cell, folder))}
    if len(scores) < len(SETTINGS):
        return None
    return max(scores, key=lambda name: sum(scores[name][heads] for heads in HEADS))


def points(folder: Path) -> Iterator[tuple[Cell, ...]]:
    """Yield the cells of each point whose setting is chosen, one a seed."""
    for start in STARTS:
        for epsilon in EPSILONS:
            setting = chosen(start, epsilon, folder)
            if setting is not None:
                yield tuple(Cell(record_arm(epsilon), start, seed, setting) for seed in SEEDS)


def left(folder: Path) -> list[Cell]:
    """Return the cells that are not trained yet, in their order; those of a point are known once its setting is chosen."""
    wanted = [*references(), *tuning(), *(cell for point in points(folder) for cell in point)]
    return [cell for cell in dict.fromkeys(wanted) if known(cell, folder) is None]


def row(cells: Sequence[Cell], heads: str, folder: Path) -> dict[str, Any] | None:
    """Return what one point is worth on the TEST fold, ``None`` until all its seeds are trained.

    Two intervals: over seeds (Student's t on their means), and of the paired difference from standalone over tasks and seeds.
    """
    found = [known(cell, folder) for cell in cells]
    rivals = [Cell("standalone", "fresh", seed) for seed in SEEDS]
    if None in found or any(known(rival, folder) is None for rival in rivals):
        return None
    dataset = datasets(folder)[0]
    arm, rival = (
        [load_predictions(path_of(cell, folder, name), dataset) for cell in which]
        for which, name in ((cells, heads), (rivals, "own"))
    )
    metric = main_metric(dataset)
    duel = Contest(dataset=dataset, arm=arm, standalone=rival, resamples=1).with_standalone[metric]
    gain = over_tasks_and_seeds(duel.ours.of_seeds - duel.theirs.of_seeds, generator=np.random.default_rng(BOOTSTRAP_SEED))
    means = duel.alone.of_seeds.mean(axis=1)
    half = float(stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return {
        "arm": cells[0].arm,
        "start": cells[0].start,
        "heads": heads,
        "setting": cells[0].setting,
        "metric": metric.name,
        "n_seeds": len(means),
        "n_tasks": len(duel.alone.tasks),
        "mean": float(means.mean()),
        "ci_low": float(means.mean()) - half,
        "ci_high": float(means.mean()) + half,
        "delta_vs_standalone": gain.model_dump() if list(cells) != rivals else None,
        "dp": found[0]["dp"] if found[0] else None,
    }


def report(folder: Path) -> dict[str, Any]:
    """Return everything that is known so far."""
    private, public = datasets(folder)
    rows = [row(point, heads, folder) for point in points(folder) for heads in HEADS]
    starts = dict.fromkeys((cell.arm, cell.start) for cell in references())
    beside = [
        row([Cell(arm, start, seed) for seed in SEEDS], heads, folder) for arm, start in starts for heads in heads_of(arm)
    ]
    spent = [found["cpu_seconds"] for path in (folder / "cells").glob("*.json") if (found := json.loads(path.read_text()))]
    return {
        "environment": environment("torch", "opacus", "dp-accounting"),
        "seeds": SEEDS,
        "data": private.name,
        "partners": len(private.partners),
        "records": record_counts(private),
        "public_compounds": len(np.unique(public.activities.compound)),
        "settings": {name: {**COMMON.model_dump(), **SETTINGS[name]} for name in SETTINGS},
        "local_epochs": LOCAL_EPOCHS,
        "validation": {cell.name: found["validation"] for cell in tuning() if (found := known(cell, folder))},
        "rows": [one for one in rows if one],
        "references": [one for one in beside if one],
        "cells": {"finished": len(spent), "left": len(left(folder)), "cpu_seconds": round(sum(spent))},
    }


def heads_of(arm: str) -> tuple[str, ...]:
    """Return whose heads a reference is judged with."""
    return HEADS if arm in PARTNER_ARMS else ("refitted",) if arm == "untrained" else ("own",)


def main() -> None:
    """Train what is left for so many minutes, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--cache", type=Path, default=Path("runs/dp_utility"))
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    limit_threads(1)
    deadline = time.monotonic() + 60 * options.minutes
    while (cells := left(options.cache)) and time.monotonic() < deadline:
        run_cell(cells[0], options.cache)
    write_to_disk(options.out, (json.dumps(report(options.cache), indent=1, sort_keys=True) + "\n").encode())
    print(f"{len(cells)} cells left")


if __name__ == "__main__":
    main()
