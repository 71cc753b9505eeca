"""Conformal prediction: validity where compounds are exchangeable, against closed forms, and what it says without labels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from stand_ins import make_dataset

from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.evaluation.comparison import Contest
from securefl.evaluation.conformal import Calibration, calibration_of, class_sets, conformal_records, half_width
from securefl.evaluation.metrics import Floats
from securefl.evaluation.unannotated import Unannotated, unannotated_pairs


def classifier(n: int, draw: np.random.Generator, *, signal: float) -> tuple[Floats, Floats]:
    """Return labels, a fifth of them active, and scores from 0 to 1 that follow them with ``signal``."""
    label = (draw.random(n) < 0.2).astype(np.float64)
    return label, 1 / (1 + np.exp(-draw.normal(signal * (2 * label - 1), 1.0)))


@pytest.mark.statistical
def test_classes_are_valid_each_on_its_own_and_a_better_model_is_more_efficient() -> None:
    """100 calibrations of 200, 200 asked: coverage of each class within 0.015 of 0.9 or above (false alarm under 1e-4)."""
    single = {}
    for signal in (0.3, 2.0):
        draw = np.random.default_rng(5)
        covered: dict[int, list[bool]] = {0: [], 1: []}
        ones = []
        for _ in range(100):
            model = Calibration(TaskKind.CLASSIFICATION, *classifier(200, draw, signal=signal), 0.0)
            value, prediction = classifier(200, draw, signal=signal)
            inside = class_sets(model, prediction, error_rate=0.1)
            for label in (0, 1):
                covered[label] += inside[value == label, label].tolist()
            ones += (inside.sum(axis=1) == 1).tolist()
        for label in (0, 1):
            assert 0.885 <= float(np.mean(covered[label])) <= 0.935
        single[signal] = float(np.mean(ones))
    assert single[2.0] > single[0.3] + 0.3


@pytest.mark.statistical
def test_intervals_are_valid_and_a_shifted_model_is_caught() -> None:
    draw = np.random.default_rng(6)
    covered: dict[float, list[bool]] = {0.0: [], 2.0: []}
    for shift, found in covered.items():
        for _ in range(200):
            value = draw.normal(6, 1, 50)
            model = Calibration(TaskKind.REGRESSION, value, value + draw.normal(0, 0.5, 50), 6.0)
            asked = draw.normal(6, 1, 50)
            half = half_width(model, error_rate=0.2)
            found += (np.abs(asked - (asked + shift * 0.5 + draw.normal(0, 0.5, 50))) <= half).tolist()
    assert 0.78 <= float(np.mean(covered[0.0])) <= 0.84
    # the negative control: compounds that are not like the calibration's
    assert float(np.mean(covered[2.0])) < 0.4


def test_closed_forms() -> None:
    value = np.arange(9.0)
    model = Calibration(TaskKind.REGRESSION, value, value + np.arange(1, 10) / 10, 4.0)
    assert half_width(model, error_rate=0.1) == pytest.approx(0.9)
    assert half_width(model, error_rate=0.5) == pytest.approx(0.5)
    assert half_width(model, error_rate=0.05) == math.inf
    assert model.serves(0.1)
    assert not model.serves(0.05)
    said = model.answers(np.array([5.0, 4.5, 2.0]), np.array([5.8, np.nan, 4.0]), error_rate=0.1)
    assert said.single.tolist() == [True, False, True]
    assert said.holds.tolist() == [True, False, False]
    labels = np.repeat([0.0, 1.0], 4)
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    classes = Calibration(TaskKind.CLASSIFICATION, labels, scores, 0.0)
    assert class_sets(classes, np.array([0.05, 0.35, 0.5, 0.95]), error_rate=0.25).tolist() == [
        [True, False], [True, False], [False, False], [False, True]
    ]  # fmt: skip
    # a tie with a calibration compound looks exactly as strange as that one
    assert class_sets(classes, np.array([0.4]), error_rate=0.25).tolist() == [[True, False]]
    assert class_sets(classes, np.array([0.4]), error_rate=0.4).tolist() == [[False, False]]


def test_pairs_are_test_compounds_of_the_own_library_without_a_value(tiny_dataset: Dataset) -> None:
    pairs = unannotated_pairs(tiny_dataset)
    cells = tiny_dataset.activities
    measured = set(zip(cells.task.tolist(), cells.compound.tolist(), strict=True))
    owner = np.array([task.partner for task in tiny_dataset.tasks])
    library = {(int(owner[task]), compound) for task, compound in measured}
    found = list(zip(pairs.task.tolist(), pairs.compound.tolist(), strict=True))
    assert len(found) == len(set(found)) > 50
    assert np.isnan(pairs.value).all()
    expected = {
        (task, compound)
        for task in range(len(tiny_dataset.tasks))
        for partner, compound in library
        if partner == owner[task] and tiny_dataset.fold[compound] == Fold.TEST and (task, compound) not in measured
    }
    assert set(found) == expected
    few = unannotated_pairs(tiny_dataset, most=30)
    assert set(zip(few.task.tolist(), few.compound.tolist(), strict=True)) < expected
    assert len(few) == 30


def test_records_show_the_gain_on_pairs_that_nobody_measured() -> None:
    dataset = make_dataset(compounds=1500, tasks_each=4)
    cells, pairs = dataset.activities, unannotated_pairs(dataset)
    draw = np.random.default_rng(1)

    def said(noise: float) -> tuple[np.ndarray, np.ndarray]:
        classes = np.array([task.kind is TaskKind.CLASSIFICATION for task in dataset.tasks])
        spread = draw.normal(0, noise, len(cells))
        known = np.where(classes[cells.task], np.clip(cells.value + spread, 0, 1), cells.value + spread)
        unknown = np.where(classes[pairs.task], draw.random(len(pairs)).round(), 6 + draw.normal(0, 1, len(pairs)))
        return known.astype(np.float32), unknown.astype(np.float32)

    (good, good_pairs), (bad, bad_pairs) = said(0.2), said(1.2)
    contest = Contest(dataset=dataset, arm=[good, good], standalone=[bad, bad])
    records = conformal_records(
        contest, Unannotated(pairs=pairs, arm=[good_pairs, good_pairs], standalone=[bad_pairs, bad_pairs])
    )
    assert {(record.kind, record.on) for record in records} == {
        (kind, on) for kind in ("regression", "classification") for on in ("annotated", "unannotated")
    }
    for record in records:
        assert (record.validity is None) == (record.on == "unannotated")
        assert (record.half_width is None) == (record.kind == "classification")
        assert record.delta is not None
        if record.kind == "regression":
            assert record.delta.low > 0.1
            assert record.validity is None or record.validity > 1 - record.error_rate - 0.1
    alone = conformal_records(Contest(dataset=dataset, arm=[good]))
    assert all(record.on == "annotated" and record.delta is None for record in alone)


def test_tasks_that_are_not_judged_enter_no_efficiency() -> None:
    dataset = make_dataset(compounds=1500, tasks_each=4)
    dataset = replace(dataset, tasks=tuple(replace(task, judged=number % 4 != 1) for number, task in enumerate(dataset.tasks)))
    values = dataset.activities.value
    pairs = unannotated_pairs(dataset)
    unknown = np.full(len(pairs), 6.0, dtype=np.float32)
    records = conformal_records(Contest(dataset=dataset, arm=[values]), Unannotated(pairs=pairs, arm=[unknown]))
    regressions = [record.n_tasks for record in records if record.kind == "regression" and record.error_rate == 0.2]
    assert regressions == [6, 6]  # of nine; each partner has one that only helps


def test_tasks_with_too_few_calibration_compounds_are_left_out(tiny_dataset: Dataset) -> None:
    values = tiny_dataset.activities.value.copy()
    none = replace(tiny_dataset, fold=np.where(tiny_dataset.fold == Fold.VALIDATION, Fold.AUDIT, tiny_dataset.fold))
    assert conformal_records(Contest(dataset=none, arm=[values])) == ()
    assert len(calibration_of(none, 1, values).value) == 0
