"""The scientific bar's data: who gets which compounds, what a control shuffles, and what chooses the recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from stand_ins import make_dataset

from benchmarks import science
from benchmarks.science_data import divided, shuffled
from securefl.chem.dataset import Dataset, Fold, Task


def whole() -> Dataset:
    """Return a dataset of one owner."""
    dataset = make_dataset(partners=1)
    return replace(dataset, tasks=tuple(Task(0, task.name, task.kind) for task in dataset.tasks))


def test_training_compounds_have_one_owner_and_test_compounds_all() -> None:
    dataset, parts = whole(), divided(whole(), 4, seed=4)
    cells = parts.activities
    owner = np.array([task.partner for task in parts.tasks])[cells.task]
    tested = parts.fold[cells.compound] == Fold.TEST
    for compound in np.unique(cells.compound):
        owners = set(owner[cells.compound == compound].tolist())
        assert len(owners) == (4 if parts.fold[compound] == Fold.TEST else 1)
    assert tested.sum() == 4 * (dataset.fold[dataset.activities.compound] == Fold.TEST).sum()
    assert (~tested).sum() == (dataset.fold[dataset.activities.compound] != Fold.TEST).sum()
    assert divided(whole(), 4, seed=4).sha256 == parts.sha256 != dataset.sha256


def test_a_control_permutes_the_others_training_labels_within_their_tasks_and_nothing_else(tiny_dataset: Dataset) -> None:
    control = shuffled(tiny_dataset, 1, seed=3)
    owner = np.array([task.partner for task in tiny_dataset.tasks])

    def values(dataset: Dataset, task: int, fold: Fold) -> list[float]:
        cells = dataset.activities
        return [float(v) for v in cells.value[(cells.task == task) & (dataset.fold[cells.compound] == fold)]]

    for task in range(len(tiny_dataset.tasks)):
        before, after = (values(one, task, Fold.TRAIN) for one in (tiny_dataset, control))
        assert sorted(before) == sorted(after)
        assert (before == after) == (owner[task] == 1)
        assert values(control, task, Fold.TEST) == values(tiny_dataset, task, Fold.TEST)
        assert bool(values(control, task, Fold.VALIDATION)) == (owner[task] == 1)


def test_validation_chooses_the_recipe_once_every_lever_is_trained(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    cells = science.tuning()
    for number, cell in enumerate(cells):
        assert science.chosen(tmp_path) == {}
        content = {"best_validation": [0.5 if number in (1, 3) else 0.4]}
        (tmp_path / "cells" / f"{cell.name}.json").write_text(json.dumps(content), encoding="utf-8")
    chosen = science.chosen(tmp_path)
    assert chosen == {"assays": cells[1].recipe, "panel": cells[3].recipe}
    recipes = {(science.kind_of(cell.data), cell.recipe) for cell in science.cells(chosen) if cell.recipe}
    assert recipes == set(chosen.items())
    # Alone, pooled and federated differ in the data that they see, not in how they train.
    assert {cell.arm for cell in science.cells(chosen) if not cell.recipe} == {"forest"}
    names = [cell.name for cell in science.cells(chosen)]
    assert len(names) == len(set(names)) == 3 * (3 * 4 + 2 + 2 * 4 + 3) + 2


def test_common_tasks_are_those_of_the_whole_panel() -> None:
    dataset = divided(whole(), 4, seed=4)
    assert science.common_tasks("tox21-random-4-common", dataset) == tuple(f"assay {i}" for i in range(4))
    assert science.common_tasks("tox21-random-4-private", dataset) == ()
