"""Which tasks are trained and which are judged: the quorum of values and classes, auxiliary tasks, weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from molecules import long_table, structures

from securefl.chem.compounds import Description, Recipe, describe_all
from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.chem.folder import load, save
from securefl.chem.keyed import public_key
from securefl.chem.prepare import build
from securefl.chem.rejects import Reject
from securefl.chem.standardise import Rules
from securefl.chem.table import Columns, Role, Table, table_of
from securefl.config import DataConfig
from securefl.errors import InputError

KEY = public_key(0)
CONFIG = DataConfig(bits=128, radius=2, partners=1, small_partner_compounds=0)


@pytest.fixture(scope="module")
def described() -> dict[str, Description]:
    names = structures()
    return dict(zip(names, describe_all(names, Recipe(Rules(), 2), workers=1), strict=True))


def made(source: Table, described: dict[str, Description], **settings: object) -> tuple[Dataset, list[Reject]]:
    config = CONFIG.model_copy(update=settings)
    dataset, rejects, counts = build(source, [described[name] for name in source.smiles.names], config, key=KEY)
    assert counts["rows"] == len(dataset.activities) + counts["rejects"] + counts["merged"]
    return dataset, rejects


def classes(described: dict[str, Description], actives_in_test: int, actives_in_train: int) -> Table:
    """One task with so many actives in the two folds; the folds are found with a first preparation."""
    content = long_table(tasks=1).drop_columns(["partner", "relation"])
    first, _ = made(table_of(content, Columns(), name="t"), described)
    fold_of = {name: int(fold) for name, fold in zip(first.smiles, first.fold, strict=True)}
    left = {int(Fold.TEST): actives_in_test, int(Fold.TRAIN): actives_in_train}
    value: list[float] = []
    seen: dict[str, float] = {}
    for name in content["smiles"].to_pylist():
        key = described[name].smiles
        fold = fold_of[key]
        if key not in seen:
            seen[key] = 1.0 if left.get(fold, 0) > 0 else 0.0
            left[fold] = left.get(fold, 0) - 1
        value.append(seen[key])
    return table_of(content.set_column(2, "value", pa.array(value)), Columns(), name="t")


def test_each_class_has_its_quorum(described: dict[str, Description]) -> None:
    assert made(classes(described, 10, 25), described)[0].tasks[0].judged
    with pytest.raises(InputError, match="task: 9 test actives, must be >= 10"):
        made(classes(described, 9, 25), described)
    with pytest.raises(InputError, match="task: 24 training actives, must be >= 25"):
        made(classes(described, 10, 24), described)
    assert len(made(classes(described, 3, 7), described, min_train_class=7, min_test_class=3)[0].tasks) == 1
    few = classes(described, 9, 25)
    with pytest.raises(InputError, match="task: 9 test inactives, must be >= 10"):
        made(replace(few, value=1 - few.value), described)


def test_a_task_without_test_values_can_be_trained_and_is_not_judged(described: dict[str, Description]) -> None:
    source = classes(described, 0, 30)
    with pytest.raises(InputError, match="task: 0 test actives"):
        made(source, described)
    dataset, rejects = made(source, described, unjudged="train")
    assert [task.judged for task in dataset.tasks] == [False]
    assert not rejects


def test_auxiliary_tasks_need_no_test_values_and_keep_their_weight(described: dict[str, Description], tmp_path: Path) -> None:
    main = table_of(long_table(tasks=2).drop_columns(["partner"]), Columns(), name="t")
    source = replace(main, roles=(Role(3.0), Role(0.1, auxiliary=True)))
    dataset, _ = made(source, described)
    by_name = {task.name: task for task in dataset.tasks}
    assert (by_name["assay-0"].weight, by_name["assay-0"].judged) == (3.0, True)
    assert (by_name["assay-1"].weight, by_name["assay-1"].judged) == (0.1, False)
    saved = save(dataset, tmp_path / "d")
    assert load(tmp_path / "d").tasks == dataset.tasks
    plain = save(made(main, described)[0], tmp_path / "e")
    assert saved.sha256 != plain.sha256
    # The quorum of training holds for auxiliary tasks too.
    with pytest.raises(InputError, match="exact training values, must be >= 1000"):
        made(source, described, min_train=1000)


def test_thresholds_plausible_values_and_spread_reach_the_dataset(described: dict[str, Description]) -> None:
    source = table_of(long_table(tasks=1).drop_columns(["partner"]), Columns(), name="t")
    dataset, _ = made(source, described, thresholds=(6.0,), min_test_class=5, min_train_class=10)
    assert {(task.name, task.kind) for task in dataset.tasks} == {
        ("assay-0", TaskKind.REGRESSION), ("assay-0 >= 6", TaskKind.CLASSIFICATION),
    }  # fmt: skip
    only, _ = made(source, described, thresholds=(6.0,), keep_values=False, min_test_class=5, min_train_class=10)
    assert [task.kind for task in only.tasks] == [TaskKind.CLASSIFICATION]
    bounded, rejects = made(source, described, min_value=5.0, max_value=7.0)
    assert bounded.activities.value.min() >= 5
    assert bounded.activities.value.max() <= 7
    outside = int(((source.value < 5) | (source.value > 7)).sum())
    assert sum(reject.reason == "value outside 5..7" for reject in rejects) == outside > 50
    _, far = made(source, described, max_spread=0.5)
    assert {reject.reason for reject in far} >= {"replicates more than 0.5 apart"}
    assert not any("apart" in reject.reason for reject in made(source, described)[1])


def test_a_name_that_two_partners_use_makes_no_assay_of_two(described: dict[str, Description]) -> None:
    """One site classifies under the name under which others measure: its classes meet no threshold and no bound of theirs."""
    content = long_table(tasks=1)
    site = content["partner"].to_pylist()
    value = [float(v > 6) if who == "site-0" else v for who, v in zip(site, content["value"].to_pylist(), strict=True)]
    content = content.set_column(2, "value", pa.array(value))
    renamed = content.set_column(1, "task", pa.array([f"assay of {who}" for who in site]))
    settings = {
        "split": "column", "thresholds": (6.0,), "min_value": 5.0,
        "min_train": 10, "min_test": 2, "min_train_class": 10, "min_test_class": 2,
    }  # fmt: skip
    shared, own = (made(table_of(one, Columns(), name="t"), described, **settings)[0] for one in (content, renamed))
    kinds = sorted((shared.partners[task.partner], task.kind.value) for task in shared.tasks)
    assert kinds[:2] == [("site-0", "classification"), ("site-1", "classification")]
    assert len(kinds) == 5
    for name in ("task", "compound", "value", "relation"):
        np.testing.assert_array_equal(getattr(shared.activities, name), getattr(own.activities, name))


def test_counts_are_kept_on_request_and_come_back_from_disk(described: dict[str, Description], tmp_path: Path) -> None:
    source = table_of(long_table(tasks=1).drop_columns(["partner"]), Columns(), name="t")
    counted, bits = made(source, described, counts=True)[0], made(source, described)[0]
    assert counted.fingerprints.data.max() > 1
    np.testing.assert_array_equal(counted.fingerprints.indices, bits.fingerprints.indices)
    assert set(bits.fingerprints.data.tolist()) == {1}
    save(counted, tmp_path / "d")
    np.testing.assert_array_equal(load(tmp_path / "d").fingerprints.toarray(), counted.fingerprints.toarray())


def test_cluster_folds_keep_clusters_whole(described: dict[str, Description]) -> None:
    source = table_of(long_table(tasks=1).drop_columns(["partner"]), Columns(), name="t")
    dataset, _ = made(source, described, folds="cluster", min_test=0)
    assert len(np.unique(dataset.cluster)) > 10
    for cluster in np.unique(dataset.cluster):
        assert len(set(dataset.fold[dataset.cluster == cluster].tolist()) - {int(Fold.AUDIT)}) <= 1
    scaffold, _ = made(source, described)
    assert not np.array_equal(dataset.fold, scaffold.fold)
