"""Metrics against scikit-learn, scipy and hand-computed values; what is undefined is absent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from securefl.errors import ParameterError
from securefl.evaluation.metrics import KENDALL, LOG_LOSS, METRICS, PR_AUC, R2, RMSE, ROC_AUC, Floats, counted, plain


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


@pytest.mark.parametrize("metric", [R2, RMSE, ROC_AUC, PR_AUC, LOG_LOSS, KENDALL], ids=lambda metric: metric.name)
def test_integer_weights_mean_repeated_cells(metric: object) -> None:
    value, prediction, label = cells(60)
    chosen = next(m for m in METRICS if m is metric)
    target = label if chosen in (ROC_AUC, PR_AUC, LOG_LOSS) else value
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
