"""The cluster bootstrap and the performance record: coverage, pairing, and a negative control for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import make_dataset

from securefl.chem.dataset import Dataset, Fold, Relation, TaskKind
from securefl.errors import InputError, ParameterError
from securefl.evaluation.bootstrap import interval_record, mean_over_tasks, resample_clusters
from securefl.evaluation.comparison import Contest
from securefl.evaluation.metrics import R2_TRAINING, ROC_AUC
from securefl.evaluation.performance import performance_record
from securefl.evaluation.predictions import load_predictions, save_arrays, save_predictions
from securefl.evaluation.task_scores import main_metric, per_task
from securefl.records import PerformanceRecord


def noisy(dataset: Dataset, noise: float, seed: int) -> NDArray[np.float32]:
    """Return the true values with added noise; for classification, probabilities that lean the right way."""
    cells = dataset.activities
    draw = np.random.default_rng(seed)
    spread = draw.normal(0, noise, len(cells))
    classes = np.array([task.kind is TaskKind.CLASSIFICATION for task in dataset.tasks])[cells.task]
    return np.where(classes, np.clip(0.25 + cells.value / 2 + spread / 4, 0, 1), cells.value + spread).astype(np.float32)


def judged(
    dataset: Dataset, arm: list[NDArray[np.float32]], *, standalone: list[NDArray[np.float32]] | None = None, resamples: int
) -> PerformanceRecord:
    """Return the record of an arm on the test fold."""
    return performance_record(Contest(dataset=dataset, arm=arm, standalone=standalone or [], resamples=resamples))


def test_resamples_draw_whole_clusters() -> None:
    cluster = np.array([4, 4, 9, 9, 9, 2], dtype=np.int32)
    draws = resample_clusters(cluster, generator=np.random.default_rng(0), resamples=50)
    assert (draws.times.sum(axis=1) == 3).all()
    weights = draws.weights(cluster)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, 0] != weights[:, 2]).any()


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ParameterError, match="clusters=0"):
        resample_clusters(np.zeros(0, dtype=np.int32), generator=np.random.default_rng(0))
    with pytest.raises(ParameterError, match="defined resamples=0"):
        interval_record(1.0, np.full(3, np.nan))


def test_undefined_tasks_are_left_out_of_a_resamples_mean() -> None:
    samples = np.array([[1.0, np.nan], [1.0, 3.0], [np.nan, np.nan]])
    assert mean_over_tasks(samples)[:2].tolist() == [1.0, 2.0]
    assert np.isnan(mean_over_tasks(samples)[2])


@pytest.mark.statistical
def test_cluster_intervals_cover_and_cell_intervals_do_not() -> None:
    """95 % intervals of a mean of clustered values: 200 trials, coverage 0.88 to 1 (false alarm under 1 in 10,000)."""
    draw = np.random.default_rng(7)
    covered = {"cluster": 0, "cell": 0}
    trials = 200
    for trial in range(trials):
        cluster = np.repeat(np.arange(40), 10).astype(np.int32)
        value = np.repeat(draw.normal(0, 1, 40), 10) + draw.normal(0, 0.3, 400)
        for unit, groups in (("cluster", cluster), ("cell", np.arange(400, dtype=np.int32))):
            weight = resample_clusters(groups, generator=np.random.default_rng(trial), resamples=200).weights(groups)
            interval = interval_record(float(value.mean()), weight @ value / weight.sum(axis=1))
            covered[unit] += interval.low <= 0 <= interval.high
    assert covered["cluster"] / trials >= 0.88
    assert covered["cell"] / trials <= 0.7


def test_record_compares_with_standalone_on_the_same_cells(tiny_dataset: Dataset) -> None:
    good, bad = noisy(tiny_dataset, 0.4, 1), noisy(tiny_dataset, 0.9, 2)
    record = judged(tiny_dataset, [good], standalone=[bad], resamples=200)
    assert record.metric == "R2 about the training mean"
    assert record.ci_low < record.mean < record.ci_high
    assert record.delta_vs_standalone is not None
    assert record.delta_ci_low is not None
    assert record.delta_ci_low > 0
    assert record.tasks_better == 1.0
    assert set(record.per_partner) <= set(tiny_dataset.partners)
    assert {"RMSE", "Kendall", "ROC-AUC", "log loss"} <= set(record.others)
    expected = per_task(R2_TRAINING, tiny_dataset, good)
    assert record.n_tasks == len(expected)
    assert record.mean == pytest.approx(np.mean(list(expected.values())))


def test_an_arm_against_itself_gains_nothing(tiny_dataset: Dataset) -> None:
    same = noisy(tiny_dataset, 0.5, 3)
    record = judged(tiny_dataset, [same], standalone=[same], resamples=50)
    assert (record.delta_vs_standalone, record.delta_ci_low, record.delta_ci_high) == (0.0, 0.0, 0.0)
    assert record.tasks_better == 0.0


def test_pairing_narrows_the_interval_of_the_difference(tiny_dataset: Dataset) -> None:
    one = noisy(tiny_dataset, 0.8, 4)
    two = (one + np.float32(0.1) * noisy(tiny_dataset, 0.8, 5)).astype(np.float32) / np.float32(1.1)
    record = judged(tiny_dataset, [two], standalone=[one], resamples=200)
    assert record.delta_ci_low is not None
    assert record.delta_ci_high is not None
    assert record.delta_ci_high - record.delta_ci_low < 0.5 * (record.ci_high - record.ci_low)


def test_seeds_are_averaged_per_task(tiny_dataset: Dataset) -> None:
    seeds = [noisy(tiny_dataset, 0.5, seed) for seed in range(3)]
    together = judged(tiny_dataset, seeds, resamples=20).mean
    alone = [judged(tiny_dataset, [one], resamples=20).mean for one in seeds]
    assert together == pytest.approx(np.mean(alone))


def test_only_the_asked_fold_and_uncensored_cells_count(tiny_dataset: Dataset) -> None:
    prediction = noisy(tiny_dataset, 0.5, 6)
    before = judged(tiny_dataset, [prediction], resamples=20)
    cells = tiny_dataset.activities
    elsewhere = tiny_dataset.fold[cells.compound] != Fold.TEST
    censored = cells.relation != Relation.EQUAL
    spoiled = prediction.copy()
    spoiled[elsewhere | censored] = 0.5
    after = judged(tiny_dataset, [spoiled], resamples=20)
    assert after.mean == before.mean
    spoiled[~elsewhere & ~censored] = 0.5
    assert judged(tiny_dataset, [spoiled], resamples=20).mean < before.mean


def test_mostly_classification_is_judged_by_roc_auc() -> None:
    dataset = make_dataset(tasks_each=1)
    assert main_metric(dataset) is ROC_AUC
    record = judged(dataset, [noisy(dataset, 0.5, 0)], resamples=20)
    assert record.metric == "ROC-AUC"
    assert 0.5 < record.mean <= 1


def test_auxiliary_tasks_have_no_say_in_the_metric(tiny_dataset: Dataset) -> None:
    """Three of four tasks measure, and help in training alone: what is judged are classes."""
    helping = tuple(replace(task, judged=task.kind is TaskKind.CLASSIFICATION) for task in tiny_dataset.tasks)
    dataset = replace(tiny_dataset, tasks=helping)
    assert main_metric(dataset) is ROC_AUC
    assert judged(dataset, [noisy(dataset, 0.5, 0)], resamples=20).metric == "ROC-AUC"


def test_no_task_with_enough_cells_is_an_error(tiny_dataset: Dataset) -> None:
    nothing = replace(tiny_dataset, fold=np.zeros_like(tiny_dataset.fold))
    with pytest.raises(InputError, match="enough measured cells in the test fold"):
        judged(nothing, [noisy(nothing, 0.5, 0)], resamples=5)


def test_the_order_of_arrays_is_no_part_of_a_file(tmp_path: Path) -> None:
    """A resumed arm collects its release in another order than one that nobody interrupted."""
    arrays = {"update_0": np.zeros(3), "initial": np.ones(2)}
    save_arrays(tmp_path / "a.npz", arrays)
    save_arrays(tmp_path / "b.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_predictions_survive_their_file_and_other_cells_are_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    prediction = noisy(tiny_dataset, 0.5, 7)
    prediction[3] = np.nan
    path = tmp_path / "seed-0" / "predictions.npz"
    save_predictions(path, tiny_dataset, prediction)
    np.testing.assert_array_equal(load_predictions(path, tiny_dataset), prediction)
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["fold"], tiny_dataset.fold[tiny_dataset.activities.compound])
    with pytest.raises(InputError, match="other cells"):
        load_predictions(path, make_dataset(seed=1))
    with pytest.raises(InputError, match="must be"):
        save_predictions(path, tiny_dataset, prediction[1:])
    path.write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"can't read .*predictions"):
        load_predictions(path, tiny_dataset)
