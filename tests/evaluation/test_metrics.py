"""Metrics against scikit-learn, scipy and hand-computed values; what is undefined is absent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from securefl.chem.dataset import TaskKind
from securefl.errors import ParameterError
from securefl.evaluation.metrics import (
    KENDALL,
    LOG_LOSS,
    METRICS,
    PR_AUC,
    PR_AUC_CALIBRATED,
    R2,
    R2_TRAINING,
    RMSE,
    ROC_AUC,
    Floats,
    Metric,
    counted,
    plain,
)


def cells(n: int = 200, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Return values, predictions and 0/1 labels; predictions are rounded, so that many are tied."""
    draw = np.random.default_rng(seed)
    value = draw.normal(6, 1, n)
    prediction = np.round(0.5 * value + draw.normal(3, 0.7, n), 1)
    return value, prediction, (value > 6).astype(np.float64)


def test_regression_metrics_agree_with_reference() -> None:
    value, prediction, _ = cells()
    assert plain(R2, value, prediction) == pytest.approx(reference.r2_score(value, prediction), abs=1e-12)
    assert plain(RMSE, value, prediction) == pytest.approx(reference.root_mean_squared_error(value, prediction), abs=1e-12)
    assert plain(KENDALL, value, prediction) == pytest.approx(stats.kendalltau(value, prediction).statistic, abs=1e-12)


def test_classification_metrics_agree_with_reference_and_count_ties() -> None:
    _, score, label = cells()
    probability = (score - score.min()) / np.ptp(score)
    assert len(np.unique(probability)) < len(probability) / 2
    assert plain(ROC_AUC, label, probability) == pytest.approx(reference.roc_auc_score(label, probability), abs=1e-12)
    expected = reference.average_precision_score(label, probability)
    assert plain(PR_AUC, label, probability) == pytest.approx(expected, abs=1e-12)
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    assert plain(LOG_LOSS, label, probability) == pytest.approx(reference.log_loss(label, clipped), rel=1e-9)


@pytest.mark.parametrize("chosen", [metric for metric in METRICS if metric is not R2_TRAINING], ids=lambda metric: metric.name)
def test_integer_weights_mean_repeated_cells(chosen: Metric) -> None:
    value, prediction, label = cells(60)
    target = label if chosen.kind is TaskKind.CLASSIFICATION else value
    score = (prediction - prediction.min()) / np.ptp(prediction)
    times = np.random.default_rng(1).integers(0, 4, (3, len(value)))
    weighted = chosen.of(target, score, times.astype(np.float64))
    for row, got in zip(times, weighted, strict=True):
        again = np.repeat(np.arange(len(value)), row)
        if chosen is R2:
            # the denominator stays that of the full sample, see the module's docstring
            want = 1 - np.mean((target[again] - score[again]) ** 2) / np.var(target)
        else:
            want = chosen.of(target[again], score[again], np.ones((1, len(again))))[0]
        assert got == pytest.approx(want, abs=1e-12)


def test_calibrated_pr_auc_is_average_precision_at_its_own_prevalence() -> None:
    """At 10 % actives the factor (P / N)(1 - p0) / p0 is 1; at 50 % it is 9, at 2 % 0.184 (the argument others got wrong)."""
    draw = np.random.default_rng(3)
    label = (np.arange(500) % 10 == 0).astype(np.float64)
    score = np.round(draw.normal(label, 1.0), 1)
    assert plain(PR_AUC_CALIBRATED, label, score) == pytest.approx(plain(PR_AUC, label, score), abs=1e-12)
    for prevalence, factor in ((0.5, 9.0), (0.02, 0.02 * 0.9 / (0.98 * 0.1))):
        actives = round(1000 * prevalence)
        label = np.repeat([1.0, 0.0], [actives, 1000 - actives])
        score = draw.normal(label, 1.0)
        order = np.argsort(-score)
        hits, misses = np.cumsum(label[order]), np.cumsum(1 - label[order])
        by_hand = float((hits / (hits + factor * misses))[label[order] == 1].mean())
        assert plain(PR_AUC_CALIBRATED, label, score) == pytest.approx(by_hand, abs=1e-12)


def test_calibrated_pr_auc_does_not_depend_on_prevalence() -> None:
    draw = np.random.default_rng(4)
    label = np.repeat([1.0, 0.0], [60, 140])
    score = draw.normal(label, 1.0)
    often = np.concatenate([np.flatnonzero(label == 1), np.tile(np.flatnonzero(label == 0), 7)])
    once = plain(PR_AUC_CALIBRATED, label, score)
    assert plain(PR_AUC_CALIBRATED, label[often], score[often]) == pytest.approx(once, abs=1e-12)
    # the negative control: plain average precision falls
    assert (plain(PR_AUC, label[often], score[often]) or 1.0) < (plain(PR_AUC, label, score) or 0.0) - 0.1
    assert plain(PR_AUC_CALIBRATED, label, label) == 1.0
    assert plain(PR_AUC_CALIBRATED, label, np.zeros(200)) == pytest.approx(0.1)


def test_kendall_compares_more_cells_than_fit_at_a_time() -> None:
    value, prediction, _ = cells(2500, seed=5)
    assert plain(KENDALL, value, prediction) == pytest.approx(stats.kendalltau(value, prediction).statistic, abs=1e-12)


def test_a_constant_or_tiny_task_has_no_value() -> None:
    value, prediction, label = cells()
    assert plain(R2, np.full(200, 6.0), prediction) is None
    assert plain(R2, value[:9], prediction[:9]) is None
    assert plain(ROC_AUC, np.ones(200), prediction) is None
    few = np.concatenate([np.ones(9), np.zeros(191)])
    assert plain(PR_AUC, few, prediction) is None
    assert plain(KENDALL, value, np.full(200, 1.0)) is None
    assert plain(ROC_AUC, label, np.full(200, 1.0)) == 0.5


def test_a_resample_with_one_class_is_undefined_not_zero() -> None:
    label = np.array([0.0, 0.0, 1.0, 1.0])
    weight = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0] * 4])
    for metric in (ROC_AUC, PR_AUC):
        assert np.isnan(metric.of(label, np.arange(4.0), weight)).all()


def test_log_loss_refuses_what_is_no_probability() -> None:
    _, prediction, label = cells()
    with pytest.raises(ParameterError, match="probability"):
        plain(LOG_LOSS, label, prediction)


def test_censored_and_unpredicted_cells_do_not_count() -> None:
    value = np.array([5, 6, 7, 8], dtype=np.float32)
    prediction = np.array([5, np.nan, 7, 8], dtype=np.float32)
    relation = np.array([0, 0, -1, 0], dtype=np.int8)
    assert counted(value, prediction, relation).tolist() == [True, False, False, True]


def test_gain_is_positive_where_ours_is_better() -> None:
    one, two = np.array([1.0]), np.array([2.0])
    assert R2.gain(two, one)[0] == 1
    assert RMSE.gain(one, two)[0] == 1
