"""The statistics of the attacks against known answers, and the direction in which a score points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from attacks.score import (
    auc,
    clopper_pearson,
    clustered,
    membership_scores,
    min_certifiable_fpr,
    proportion,
    roc_points,
    tpr_at_fpr,
    untold_rates,
)
from securefl.errors import ParameterError


def drawn(shift: float, m: int = 400, n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of members, shifted, and of non-members."""
    draw = np.random.default_rng(seed)
    return draw.normal(shift, 1, m), draw.normal(0, 1, n)


def test_positive_scores_mean_member() -> None:
    """A member that scores higher raises every figure; with the signs turned, the figures fall below chance."""
    members, others = drawn(1.5)
    assert auc(members, others).low > 0.8
    assert auc(-members, -others).high < 0.2
    assert tpr_at_fpr(members, others, fpr=0.01).value > tpr_at_fpr(-members, -others, fpr=0.01).value


def test_auc_equals_an_independent_implementation_with_ties() -> None:
    """Rounded scores have ties, which count half."""
    members, others = (np.round(x, 1) for x in drawn(0.5))
    truth = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    assert auc(members, others).value == pytest.approx(roc_auc_score(truth, np.concatenate([members, others])), abs=1e-12)


def test_delong_error_on_the_published_example_formula() -> None:
    """Hanley and McNeil's closed form for exponential scores is close to DeLong's estimate on a large sample."""
    draw = np.random.default_rng(5)
    members, others = draw.exponential(2.0, 4000), draw.exponential(1.0, 3000)
    a = 2 / 3
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + 3999 * (q1 - a * a) + 2999 * (q2 - a * a)) / (4000 * 3000))
    found = auc(members, others)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.05)


@pytest.mark.statistical
def test_auc_interval_covers_the_truth_as_often_as_it_says() -> None:
    """400 draws at mu = 1: the 95 % interval misses 0.760 in 2 to 9 % of them; a half as wide one misses far more often."""
    truth, missed, missed_half = 0.7602, 0, 0
    for seed in range(400):
        score = auc(*drawn(1.0, 120, 80, seed=seed))
        missed += not score.low <= truth <= score.high
        narrow = auc(*drawn(1.0, 120, 80, seed=seed), confidence=0.6)
        missed_half += not narrow.low <= truth <= narrow.high
    assert 8 <= missed <= 36
    assert missed_half > 80


@pytest.mark.statistical
def test_clustered_interval_is_wider_when_rows_repeat() -> None:
    """Every compound stands in four rows: only the clustered interval knows that there are four times fewer of them."""
    members, others = drawn(0.3)
    plain = auc(members, others)
    repeated = tuple(np.repeat(x, 4) for x in (members, others))
    clusters = (np.repeat(np.arange(400), 4), np.repeat(np.arange(300), 4))
    naive, clustered = auc(*repeated), auc(*repeated, clusters=clusters)
    assert clustered.high - clustered.low == pytest.approx(plain.high - plain.low, rel=0.02)
    assert naive.high - naive.low < 0.6 * (clustered.high - clustered.low)


@pytest.mark.statistical
def test_rate_interval_covers_the_rate_although_the_threshold_moves() -> None:
    """300 draws: the truth at the threshold's mean rate lies inside in 95 % of them; counting members alone misses it often."""
    truth = float(norm.sf(norm.isf(6 / 501) - 1.0))
    missed = missed_by_count = 0
    for seed in range(300):
        score = tpr_at_fpr(*drawn(1.0, 2000, 500, seed=seed), fpr=0.01)
        missed += not score.low <= truth <= score.high
        low, high = clopper_pearson(score.k or 0, score.n or 0)
        missed_by_count += not low <= truth <= high
    assert missed <= 20
    assert missed_by_count > 120


@pytest.mark.statistical
@pytest.mark.parametrize("fpr", [0.0, 0.001, 0.01])
def test_no_rate_is_beyond_guessing_where_nothing_is(fpr: float) -> None:
    """300 draws without a difference: the interval lies above what the non-members certify in 2.5 % of them at most."""
    found = [tpr_at_fpr(*drawn(0.0, 5000, 1000, seed=seed), fpr=fpr) for seed in range(300)]
    assert sum(score.low > (score.min_certifiable_fpr or 0.0) for score in found) <= 12
    assert sum(clopper_pearson(score.k or 0, 5000)[0] > score.chance for score in found) > 12
    assert tpr_at_fpr(*drawn(2.0, 5000, 1000), fpr=fpr).low > (found[0].min_certifiable_fpr or 1.0)


@pytest.mark.statistical
def test_auc_interval_knows_that_a_series_leaks_as_a_whole() -> None:
    """Each series leaks by its own amount: with series the interval covers the truth, with compounds alone it doesn't."""
    series = np.repeat(np.arange(40), 10), np.repeat(np.arange(40), 5)
    truth, missed, missed_alone = float(norm.cdf(0.5 / np.sqrt(3.0))), 0, 0
    for seed in range(150):
        draw = np.random.default_rng(seed)
        members = draw.normal(0.5 + draw.normal(0, 1, 40)[series[0]], 1)
        others = draw.normal(0, 1, 200)
        together, alone = auc(members, others, clusters=series), auc(members, others)
        missed += not together.low <= truth <= together.high
        missed_alone += not alone.low <= truth <= alone.high
    assert missed <= 15
    assert missed_alone > 25
    hard = np.random.default_rng(0).normal(0, 3, 40)
    members, others = (draw.normal(hard[side], 1) for side in series)
    narrow, wide = auc(members, others, clusters=series), auc(members, others)
    # What is hard is hard on both sides: it cancels.
    assert narrow.high - narrow.low < 0.7 * (wide.high - wide.low)


def test_perfect_separation_keeps_an_interval() -> None:
    """Ten against ten can't certify an AUC of one."""
    score = auc(np.arange(10.0) + 10, np.arange(10.0))
    assert score.value == 1.0
    assert 0.7 < score.low < 0.8
    assert auc(np.arange(10.0), np.arange(10.0) + 10).high == pytest.approx(1 - score.low)


def test_true_positives_at_zero_count_only_above_every_non_member() -> None:
    """A tie with the best non-member is not caught; the rate is a fraction and its name says so."""
    members, others = np.array([5.0, 3.0, 3.0, 1.0]), np.array([3.0, 2.0, 0.0])
    score = tpr_at_fpr(members, others, fpr=0.0)
    assert (score.k, score.n, score.metric) == (1, 4, "tpr_at_fpr_0")
    assert tpr_at_fpr(members, others, fpr=0.34).k == 3
    assert tpr_at_fpr(members, others, fpr=0.01).k == 1


def test_certifiable_rate_of_the_published_audit() -> None:
    """430 non-members certify a false positive rate of 0.7 %, not 0; 11 of 859 is 0.64 to 2.28 %."""
    assert min_certifiable_fpr(430) == pytest.approx(0.00694, abs=1e-5)
    assert min_certifiable_fpr(0) == 1.0
    assert clopper_pearson(11, 859) == pytest.approx((0.0064, 0.0228), abs=1e-4)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_bad_counts_and_scores_are_refused() -> None:
    """Each refusal names what is wrong."""
    ones = np.ones(3)
    with pytest.raises(ParameterError, match=r"k=4 must be in 0\.\.n=3"):
        clopper_pearson(4, 3)
    with pytest.raises(ParameterError, match="n=0"):
        proportion("recall", 0, 0, chance=0.0)
    with pytest.raises(ParameterError, match="non-members=0"):
        auc(ones, np.zeros(0))
    with pytest.raises(ParameterError, match="NaN"):
        auc(ones, np.array([np.nan]))
    with pytest.raises(ParameterError, match="fpr=1"):
        tpr_at_fpr(ones, ones, fpr=1.0)
    score = proportion("recall", 3, 4, chance=0.1)
    assert (score.value, score.k, score.n, score.chance) == (0.75, 3, 4, 0.1)
    assert (score.low, score.high) == pytest.approx((0.194, 0.994), abs=1e-3)


def test_the_roc_curve_rises_to_one_and_its_points_hold_in_the_data() -> None:
    draw = np.random.default_rng(5)
    members, non_members = draw.normal(0.5, 1.0, 400), draw.normal(0.0, 1.0, 300)
    points = roc_points(members, non_members)
    assert [p.fpr for p in points] == sorted({p.fpr for p in points})
    assert points[0].fpr == 0.0
    assert all(p.low <= p.tpr <= p.high for p in points)
    for point in points:
        threshold = np.sort(non_members)[::-1][round(point.fpr * 300)]
        assert point.tpr == pytest.approx((members > threshold).mean(), abs=1e-6)
    area = np.trapezoid([*(p.tpr for p in points), 1.0], [*(p.fpr for p in points), 1.0])
    assert area == pytest.approx(auc(members, non_members).value, abs=0.03)


@pytest.mark.parametrize(
    ("non_members", "told"),
    [
        (99, ["auc", "tpr_at_fpr_0"]),
        (100, ["auc", "tpr_at_fpr_0", "tpr_at_fpr_1pct"]),
        (999, ["auc", "tpr_at_fpr_0", "tpr_at_fpr_1pct"]),
        (1000, ["auc", "tpr_at_fpr_0", "tpr_at_fpr_0_1pct", "tpr_at_fpr_1pct"]),
    ],
)
def test_a_rate_below_one_non_member_is_not_told_and_the_note_says_so(non_members: int, told: list[str]) -> None:
    """0.1 % of 999 is nobody: the figure would be that at zero under another name."""
    draw = np.random.default_rng(0)
    assert [s.metric for s in membership_scores(draw.normal(size=50), draw.normal(size=non_members))] == told
    assert (untold_rates(non_members) == "") == (non_members >= 1000)
    assert str(non_members) in untold_rates(non_members) or non_members >= 1000


@pytest.mark.statistical
def test_a_share_over_dependent_rows_covers_the_truth_and_a_plain_count_does_not() -> None:
    """Twelve groups of ten that are right or wrong nearly as a whole: 300 draws around 0.6."""
    group, missed, missed_plain = np.repeat(np.arange(12), 10), 0, 0
    for seed in range(300):
        draw = np.random.default_rng(seed)
        hits = draw.random(120) < np.where(draw.random(12) < 0.6, 0.95, 0.075)[group]
        score = clustered("right", hits, group, chance=0.5)
        low, high = clopper_pearson(score.k or 0, 120)
        missed += not score.low <= 0.6 <= score.high
        missed_plain += not low <= 0.6 <= high
    assert missed <= 18
    assert missed_plain > 100


def test_rows_that_agree_or_stand_in_one_group_are_worth_their_groups() -> None:
    """Nothing shows how alike a group is: twenty right in two groups are two; independent rows are what they are."""
    group = np.repeat(np.arange(2), 10)
    assert clustered("right", np.ones(20, dtype=bool), group, chance=0.5).low == pytest.approx(clopper_pearson(2, 2)[0])
    assert clustered("right", np.arange(20) < 10, np.zeros(20, np.int64), chance=0.5).low < 0.02
    alone = clustered("right", np.arange(200) < 60, np.arange(200), chance=0.5)
    assert (alone.low, alone.high) == pytest.approx(clopper_pearson(60, 200), abs=1e-3)
    with pytest.raises(ParameterError, match="n=0"):
        clustered("right", np.zeros(0, dtype=bool), np.zeros(0, np.int64), chance=0.5)


def test_all_of_the_rows_are_worth_all_of_them_whatever_that_is() -> None:
    """With k * size / n, 83 of 83 that are worth 51.58536585365854 came out above their own number."""
    worths = [51.58536585365854, *np.random.default_rng(0).uniform(1, 60, 50)]
    for n in range(1, 90):
        for worth in worths:
            assert proportion("share", n, n, chance=0.5, size=worth).high == 1.0
            assert proportion("share", 0, n, chance=0.5, size=worth).low == 0.0


def test_one_series_a_side_tells_nothing_and_a_perfect_separation_counts_series() -> None:
    """Thirty compounds of one series are one observation: before, 0.7 stood there without any width."""
    draw, one = np.random.default_rng(0), np.zeros(30, np.int64)
    score = auc(draw.normal(1, 1, 30), draw.normal(0, 1, 30), clusters=(one, one))
    assert (score.low, score.high) == (0.0, 1.0)
    three = np.repeat(np.arange(3), 10)
    apart = auc(np.arange(30.0) + 30, np.arange(30.0), clusters=(three, three + 3))
    assert apart.value == 1.0
    assert apart.low == pytest.approx(auc(np.arange(3.0) + 3, np.arange(3.0)).low)


@pytest.mark.statistical
def test_auc_interval_of_three_series_is_as_wide_as_it_must_be() -> None:
    """300 draws without any leak: the interval excludes one half in 5 % of them at most (with a normal's width in 9 %)."""
    series, missed, missed_alone = np.repeat(np.arange(3), 12), 0, 0
    for seed in range(300):
        draw = np.random.default_rng(seed)
        members, others = (draw.normal(draw.normal(0, 1, 3)[series], 1) for _ in range(2))
        together, alone = auc(members, others, clusters=(series, series + 3)), auc(members, others)
        missed += not together.low <= 0.5 <= together.high
        missed_alone += not alone.low <= 0.5 <= alone.high
    assert missed <= 15
    assert missed_alone > 100


@pytest.mark.statistical
def test_rate_interval_knows_that_a_series_is_caught_as_a_whole() -> None:
    """300 draws: a fifth of the series is caught whole; with series the interval holds the rate, alone it doesn't."""
    series, missed, missed_alone = np.repeat(np.arange(50), 20), 0, 0
    truth = 0.2 + 0.8 * float(norm.sf(norm.isf(11 / 1001)))
    for seed in range(300):
        draw = np.random.default_rng(seed)
        members = draw.normal(np.where(draw.random(50) < 0.2, 8.0, 0.0)[series], 1)
        others = draw.normal(0, 1, 1000)
        together = tpr_at_fpr(members, others, fpr=0.01, clusters=(series, 50 + np.arange(1000)))
        alone = tpr_at_fpr(members, others, fpr=0.01)
        missed += not together.low <= truth <= together.high
        missed_alone += not alone.low <= truth <= alone.high
    assert missed <= 20
    assert missed_alone > 80
