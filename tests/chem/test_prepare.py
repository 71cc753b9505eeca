"""Preparation end to end on a small table: what is kept, what is rejected, resume, and that names decide nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from molecules import long_table, structures

from securefl.chem.compounds import Description, Recipe, describe
from securefl.chem.dataset import Dataset, Fold, Relation, TaskKind
from securefl.chem.folder import load, load_rejects, read_manifest
from securefl.chem.keyed import bit_order, public_key
from securefl.chem.prepare import prepare
from securefl.chem.rejects import Stage
from securefl.chem.table import Columns, Table, table_of
from securefl.config import DataConfig
from securefl.errors import InputError
from securefl.types import Secret

KEY = public_key(0)
CONFIG = DataConfig(bits=256, radius=2, partners=3, small_partner_compounds=0, min_train=10, min_test=2, min_test_class=5)


def table(content: pa.Table) -> Table:
    return table_of(content, Columns(), name="test")


def column(content: pa.Table, name: str, values: list[object]) -> pa.Table:
    return content.set_column(content.column_names.index(name), name, pa.array(values))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this module keeps described structures, which take the most time."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Dataset:
    return prepare(table(long_table()), CONFIG, tmp_path_factory.mktemp("data") / "small", key=KEY, cache=cache)


def same_content(one: Dataset, other: Dataset) -> None:
    """Fail unless every array and the order of the tasks agree; names may differ."""
    np.testing.assert_array_equal(one.fingerprints.toarray(), other.fingerprints.toarray())
    np.testing.assert_array_equal(one.fold, other.fold)
    np.testing.assert_array_equal(one.cluster, other.cluster)
    for name in ("task", "compound", "value", "relation"):
        np.testing.assert_array_equal(getattr(one.activities, name), getattr(other.activities, name))
    assert one.inchikeys == other.inchikeys
    assert [(task.partner, task.kind) for task in one.tasks] == [(task.partner, task.kind) for task in other.tasks]


def test_every_row_is_kept_merged_or_rejected(tmp_path: Path, cache: Path) -> None:
    dataset = prepare(table(long_table()), CONFIG, tmp_path / "d", key=KEY, cache=cache)
    about = read_manifest(tmp_path / "d").about
    assert about["rows"] == 1500
    assert about["rows"] == len(dataset.activities) + about["rejects"] + about["merged"]
    # 20 compounds occur twice in each of three tasks; some of the pairs contradict each other and are rejected.
    assert 50 <= about["merged"] <= 60
    assert dataset.rejects == about["rejects"] == len(load_rejects(tmp_path / "d"))


def test_shapes_and_order(small: Dataset) -> None:
    assert list(small.inchikeys) == sorted(set(small.inchikeys))
    assert small.bits == 256
    assert set(np.unique(small.fold)) == set(Fold)
    assert len(small.partners) == 3
    assert set(np.unique(small.activities.compound)) == set(range(len(small.inchikeys)))
    pairs = list(zip(small.activities.task, small.activities.compound, strict=True))
    assert pairs == sorted(set(pairs))
    assert {task.kind for task in small.tasks} == {TaskKind.REGRESSION}
    assert (small.activities.relation == Relation.LESS).any()


def test_a_cluster_has_one_fold_beside_audit(small: Dataset) -> None:
    for cluster in np.unique(small.cluster):
        assert len(set(small.fold[small.cluster == cluster]) - {Fold.AUDIT}) <= 1


def test_a_series_has_one_owner(small: Dataset) -> None:
    # Within one assay of the table, no scaffold is at two partners; across assays compounds recur.
    owner = np.array([task.partner for task in small.tasks])[small.activities.task]
    name = np.array([task.name for task in small.tasks])[small.activities.task]
    cluster = small.cluster[small.activities.compound]
    for one in np.unique(name):
        for group in np.unique(cluster[name == one]):
            assert len(np.unique(owner[(name == one) & (cluster == group)])) == 1
    holders = [set(small.cells(partner).compound.tolist()) for partner in range(3)]
    assert holders[0] & holders[1]


def test_renaming_and_reordering_change_no_array(small: Dataset, tmp_path: Path, cache: Path) -> None:
    content = long_table()
    # New names sort in the opposite order, and the rows come in another one.
    names = {f"assay-{i}": f"{'zyx'[i]}-{i}" for i in range(3)}
    renamed = column(content, "task", [names[name] for name in content["task"].to_pylist()])
    same_content(prepare(table(renamed), CONFIG, tmp_path / "a", key=KEY, cache=cache), small)
    shuffled = renamed.take(np.random.default_rng(1).permutation(len(renamed)))
    same_content(prepare(table(shuffled), CONFIG, tmp_path / "b", key=KEY, cache=cache), small)


def test_renaming_partners_of_a_column_changes_no_array(tmp_path: Path, cache: Path) -> None:
    content, config = long_table(), CONFIG.model_copy(update={"split": "column"})
    first = prepare(table(content), config, tmp_path / "a", key=KEY, cache=cache)
    names = {"site-0": "zeta", "site-1": "alpha", "site-2": "0"}
    renamed = column(content, "partner", [names[name] for name in content["partner"].to_pylist()])
    second = prepare(table(renamed), config, tmp_path / "b", key=KEY, cache=cache)
    same_content(first, second)
    assert [names[name] for name in first.partners] == list(second.partners)


def test_another_value_does_change_the_content(small: Dataset, tmp_path: Path, cache: Path) -> None:
    values = long_table()["value"].to_pylist()
    content = column(long_table(), "value", [values[0] + 1, *values[1:]])
    changed = prepare(table(content), CONFIG, tmp_path / "a", key=KEY, cache=cache)
    assert not np.array_equal(changed.activities.value, small.activities.value)


def test_the_same_task_name_at_two_partners_is_two_tasks(tmp_path: Path, cache: Path) -> None:
    config = CONFIG.model_copy(update={"split": "column"})
    dataset = prepare(table(long_table(tasks=1)), config, tmp_path / "a", key=KEY, cache=cache)
    assert [task.name for task in dataset.tasks] == ["assay-0"] * 3
    assert sorted(task.partner for task in dataset.tasks) == [0, 1, 2]


def test_folds_and_bits_follow_the_key_alone(small: Dataset, tmp_path: Path, cache: Path) -> None:
    part = prepare(table(long_table(n=400)), CONFIG, tmp_path / "a", key=KEY, cache=cache)
    where = {key: i for i, key in enumerate(small.inchikeys)}
    rows = [where[key] for key in part.inchikeys]
    np.testing.assert_array_equal(part.fold, small.fold[rows])
    np.testing.assert_array_equal(part.fingerprints.toarray(), small.fingerprints[rows].toarray())
    other = prepare(table(long_table()), CONFIG, tmp_path / "b", key=Secret(bytes(range(32))), cache=cache)
    assert not np.array_equal(other.fold, small.fold)
    back = other.fingerprints.toarray()[:, bit_order(Secret(bytes(range(32))), 256)]
    kept = [i for i, key in enumerate(other.inchikeys) if key in where]
    mine = [where[other.inchikeys[i]] for i in kept]
    np.testing.assert_array_equal(back[kept], small.fingerprints.toarray()[mine][:, bit_order(KEY, 256)])


def test_a_second_run_resumes_and_any_other_content_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "d"
    first = prepare(table(long_table()), CONFIG, out, key=KEY)
    stamp = (out / "manifest.json").stat().st_mtime_ns
    steps: list[str] = []
    again = prepare(table(long_table()), CONFIG, out, key=KEY, progress=lambda what, done, total: steps.append(what))
    assert again.sha256 == first.sha256 == load(out).sha256
    assert steps == []
    assert (out / "manifest.json").stat().st_mtime_ns == stamp
    others: list[tuple[Table, DataConfig, Secret]] = [
        (table(long_table(seed=1)), CONFIG, KEY),
        (table(long_table()), CONFIG.model_copy(update={"bits": 128}), KEY),
        (table(long_table()), CONFIG, public_key(1)),
    ]
    for source, config, key in others:
        with pytest.raises(InputError, match="holds another dataset"):
            prepare(source, config, out, key=key)
    assert load(out).sha256 == first.sha256


def test_the_cache_gives_the_same_dataset(small: Dataset, tmp_path: Path) -> None:
    cache = tmp_path / "own"
    for name in ("a", "b"):
        dataset = prepare(table(long_table()), CONFIG, tmp_path / name, key=KEY, cache=cache)
        assert dataset.sha256 == small.sha256
    [kept] = cache.iterdir()
    kept.write_bytes(b"damaged")
    assert prepare(table(long_table()), CONFIG, tmp_path / "c", key=KEY, cache=cache).sha256 == small.sha256


def test_classes_are_detected_and_one_class_is_rejected(tmp_path: Path, cache: Path) -> None:
    content = pa.concat_tables([long_table(tasks=1, classes=True), column(long_table(tasks=1), "task", ["ones"] * 500)])
    values = content["value"].to_pylist()[:500] + [1.0] * 500
    dataset = prepare(table(column(content, "value", values)), CONFIG, tmp_path / "d", key=KEY, cache=cache)
    assert {task.name for task in dataset.tasks} == {"assay-0"}
    assert all(task.judged and task.weight == 1 for task in dataset.tasks)
    assert {task.kind for task in dataset.tasks} == {TaskKind.CLASSIFICATION}
    assert set(np.unique(dataset.activities.value)) == {0.0, 1.0}
    assert not dataset.activities.relation.any()
    assert read_manifest(tmp_path / "d").about["qualifiers_of_classes_ignored"] == content["relation"].to_pylist().count(
        "<"
    ) + content["relation"].to_pylist().count(">")
    reasons = {reject.reason for reject in load_rejects(tmp_path / "d") if reject.stage is Stage.TASK}
    assert reasons == {"task: one class only"}


def test_one_class_everywhere_is_an_error(tmp_path: Path, cache: Path) -> None:
    content = column(long_table(tasks=1), "value", [1.0] * 500)
    with pytest.raises(InputError, match="no task is left: task: one class only"):
        prepare(table(content), CONFIG, tmp_path / "d", key=KEY, cache=cache)
    assert list(tmp_path.iterdir()) == []


def test_bad_structures_are_rejected_and_all_bad_is_an_error(tmp_path: Path, cache: Path) -> None:
    content = long_table(tasks=1)
    smiles = ["nonsense" if i % 10 == 0 else one for i, one in enumerate(content["smiles"].to_pylist())]
    prepare(table(column(content, "smiles", smiles)), CONFIG, tmp_path / "d", key=KEY, cache=cache)
    bad = [reject for reject in load_rejects(tmp_path / "d") if reject.stage is Stage.STRUCTURE]
    assert [reject.row for reject in bad] == list(range(1, 501, 10))
    assert {reject.reason for reject in bad} == {"SMILES can't be parsed"}
    with pytest.raises(InputError, match=r"no parsable SMILES: SMILES can't be parsed \(500 rows\)"):
        prepare(table(column(content, "smiles", ["nonsense"] * 500)), CONFIG, tmp_path / "e", key=KEY, cache=cache)
    assert not (tmp_path / "e").exists()


def test_the_quorum_names_what_is_lacking(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match=r"no task is left: .* exact training values, must be >= 400"):
        prepare(table(long_table()), CONFIG.model_copy(update={"min_train": 400}), tmp_path / "d", key=KEY, cache=cache)
    six = CONFIG.model_copy(update={"partners": 6, "min_train": 60})
    with pytest.raises(InputError, match=r"partners=6: only . of them have a task left .* use fewer partners"):
        prepare(table(long_table()), six, tmp_path / "d", key=KEY, cache=cache)


def test_a_column_split_needs_its_column(tmp_path: Path, cache: Path) -> None:
    content = long_table().drop_columns(["partner"])
    with pytest.raises(InputError, match="needs a partner column"):
        prepare(table(content), CONFIG.model_copy(update={"split": "column"}), tmp_path / "d", key=KEY, cache=cache)


def test_folds_by_chance_and_by_time(small: Dataset, tmp_path: Path, cache: Path) -> None:
    chance = CONFIG.model_copy(update={"folds": "random"})
    by_chance = prepare(table(long_table()), chance, tmp_path / "a", key=KEY, cache=cache)
    assert not np.array_equal(by_chance.fold, small.fold)
    config = CONFIG.model_copy(update={"folds": "time"})
    with pytest.raises(InputError, match="folds 'time' need a time column"):
        prepare(table(long_table()), config, tmp_path / "b", key=KEY, cache=cache)
    content = long_table()
    years = [2000 + structures().index(one) % 20 for one in content["smiles"].to_pylist()]
    dated = table(content.append_column("time", pa.array(years)))
    dataset = prepare(dated, config, tmp_path / "c", key=KEY, cache=cache)
    share = [float(np.mean(dataset.fold == fold)) for fold in (Fold.TRAIN, Fold.VALIDATION, Fold.TEST)]
    assert share == pytest.approx([0.63, 0.135, 0.135], abs=0.06)


def test_stated_licence_and_citation_travel(tmp_path: Path, cache: Path) -> None:
    source = replace(table(long_table()), licence="CC BY-SA 3.0", citation="Someone 2020")
    prepare(source, CONFIG, tmp_path / "d", key=KEY, cache=cache)
    dataset = load(tmp_path / "d")
    assert (dataset.name, dataset.licence, dataset.citation) == ("test", "CC BY-SA 3.0", "Someone 2020")


def test_the_structures_that_the_tests_use_are_enough() -> None:
    assert len(structures()) == len(set(structures())) == 500


class Killed(BaseException):
    """What a test raises in the middle of the structures."""


def test_a_killed_run_keeps_its_finished_blocks(small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securefl.chem.cache.BLOCK", 100)
    monkeypatch.setattr("securefl.chem.compounds.CHUNK", 50)
    described: list[str] = []

    def counted(one: str, recipe: Recipe) -> Description:
        described.append(one)
        return describe(one, recipe)

    monkeypatch.setattr("securefl.chem.compounds.describe", counted)

    def kill(what: str, done: int, total: int) -> None:
        if done == 350:
            raise Killed

    with pytest.raises(Killed):
        prepare(table(long_table()), CONFIG, tmp_path / "d", key=KEY, progress=kill)
    assert len(described) == 350
    assert len(list((tmp_path / "d.unfinished").iterdir())) == 3
    # A file that was damaged on the way is computed again.
    next((tmp_path / "d.unfinished").iterdir()).write_bytes(b"damaged")
    seen: list[int] = []

    def watch(what: str, done: int, total: int) -> None:
        seen.append(done)

    dataset = prepare(table(long_table()), CONFIG, tmp_path / "d", key=KEY, progress=watch)
    assert len(described) == 350 + 300
    assert seen[0] == 200
    assert seen[-1] == 500
    assert dataset.sha256 == small.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_what_nobody_can_use_is_one_clear_line_and_leaves_no_dataset(tmp_path: Path, cache: Path) -> None:
    content = long_table(tasks=1)
    huge = column(content, "smiles", ["C" * (101 + i) for i in range(500)])
    with pytest.raises(InputError, match=r"no parsable SMILES: 101 heavy atoms, must be 1 to 100 \(1 row\); .*"):
        prepare(table(huge), CONFIG, tmp_path / "d", key=KEY)
    mixed = column(content, "relation", [("<", ">")[i % 2] for i in range(500)])
    with pytest.raises(InputError, match=r"no task is left: task: 0 exact training values, must be >= 10"):
        prepare(table(mixed), CONFIG, tmp_path / "d", key=KEY, cache=cache)
    doubled = pa.concat_tables([column(content, "relation", ["<"] * 500), column(content, "relation", [">"] * 500)])
    with pytest.raises(InputError, match=r"contradicting < and > for one compound"):
        prepare(table(doubled), CONFIG, tmp_path / "d", key=KEY, cache=cache)
    unknown = column(content, "relation", ["about"] * 500)
    with pytest.raises(InputError, match=r"no usable row of 500: unknown relation \(500 rows\)"):
        table(unknown)
    assert not (tmp_path / "d").exists()
