"""A sweep's points and steps: what moves, what is refused, and that deltas are those of the measurements."""

from __future__ import annotations

import numpy as np
import pytest

from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.errors import InputError
from securefl.evaluation.sweep import Measured, Point, difference, parse_vary, points, sweep_record


def stations(*varies: str, arm: str = "masking") -> tuple[Point, ...]:
    return points(RunConfig(), arm, [parse_vary(text) for text in varies])


def test_one_parameter_moves_at_a_time() -> None:
    found = stations("guard.k=0,2,5", "federation.local_epochs=1,3")
    assert [(p.arm, p.config.guard.k, p.config.federation.local_epochs) for p in found] == [
        ("masking", 3, 1),
        ("masking+guard", 2, 1),
        ("masking+guard", 5, 1),
        ("masking", 3, 1),
        ("masking", 3, 3),
    ]
    assert found[0].config.arms == ("masking",)


def test_the_partners_of_a_row_move_under_a_guard() -> None:
    found = stations("guard.partners=1,2,3")
    assert [(p.arm, p.config.guard.k, p.config.guard.partners) for p in found] == [
        ("masking+guard", 3, n) for n in (1, 2, 3)
    ]


def test_privacy_and_homomorphic_arms_get_what_they_need() -> None:
    assert [p.arm for p in stations("dp.epsilon=1,inf")] == ["masking+dp=1", "masking+dp=inf"]
    assert stations("guard.k=0,2", arm="bfv")[1].config.arms == ("masking+guard", "bfv+guard")


def test_every_seed_is_a_run_of_its_own() -> None:
    point = stations("guard.k=0,2")[0]
    assert point.with_seed(1).sha256 != point.with_seed(2).sha256
    assert point.with_seed(1).federation.seeds == (1,)
    assert point.with_seed(1).attacks.seed == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("guard.k", "must be section.key"),
        ("guard.k=2", "two different values"),
        ("guard.k=2,2", "two different values"),
        ("guard=1,2", "must be section.key"),
        ("guard.m=1,2", "no such key"),
        ("guard.k=1,2", "greater than or equal to 2"),
        ("guard.partners=2,9", r"guard\.partners=9 must be <= data\.partners=5"),
        ("dp.epsilon=0,1", "must be > 0"),
        ("dp.epsilon=low,1", "is no number"),
        ("data.partners=3,5", "of the data only data.bits and data.radius can move"),
        ("federation.rounds=some,2", "valid integer"),
    ],
)
def test_what_can_not_move_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        stations(text)


def test_a_reference_has_nothing_to_sweep() -> None:
    with pytest.raises(InputError, match="trains without a protocol"):
        stations("guard.k=0,2", arm="pooled")


def measured(dataset: Dataset, noise: float, leak: tuple[int, int]) -> Measured:
    """Three seeds of predictions that are off by ``noise``; those of classes stay probabilities."""
    draw = np.random.default_rng(3)
    value = dataset.activities.value
    off = [(value + noise * draw.normal(size=len(value))).astype(np.float32) for _ in range(3)]
    return Measured([np.where(value <= 1, np.clip(one, 0, 1), one) for one in off], {"leak": leak})


def test_steps_are_the_differences_of_their_ends(tiny_dataset: Dataset) -> None:
    first, second = stations("guard.k=0,2")
    record = sweep_record(
        tiny_dataset,
        [(first, measured(tiny_dataset, 0.1, (90, 100))), (second, measured(tiny_dataset, 0.5, (10, 100)))],
        leaks=["leak"],
    )
    (option,) = record.options
    low, high = option.intervals["delta_performance"]
    before, after = (point.performance for point in record.points)
    assert before is not None
    assert after is not None
    assert option.delta_performance == pytest.approx(after.mean - before.mean)
    assert low <= option.delta_performance <= high < 0
    assert option.delta_leak == pytest.approx(-0.8)
    assert option.intervals["delta_leak"][1] < 0
    assert (option.origin, option.target, option.n) == ("0", "2", 3)


def test_two_parameters_have_no_step_between_them_and_no_change_is_none(tiny_dataset: Dataset) -> None:
    found = stations("guard.k=0,2", "federation.local_epochs=1,3")
    same = measured(tiny_dataset, 0.3, (5, 100))
    record = sweep_record(tiny_dataset, [(point, same) for point in found], leaks=["leak"])
    assert [option.parameter for option in record.options] == ["guard.k", "federation.local_epochs"]
    for option in record.options:
        assert option.delta_performance == 0
        assert option.intervals["delta_leak"][0] < 0 < option.intervals["delta_leak"][1]


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe 1998, table II, examples (a) and (e) under method 10.
    assert difference((56, 70), (48, 80)) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert difference((5, 56), (0, 29)) == pytest.approx((0.0893, -0.0381, 0.1926), abs=5e-5)


@pytest.mark.statistical
def test_the_interval_covers_as_often_as_it_says_and_a_naive_one_does_not() -> None:
    draw, p, q, trials = np.random.default_rng(5), 0.05, 0.02, 800
    covered = naive = 0
    for _ in range(trials):
        new, old = int(draw.binomial(60, p)), int(draw.binomial(60, q))
        _, low, high = difference((new, 60), (old, 60))
        covered += low <= p - q <= high
        a, b = new / 60, old / 60
        reach = 1.96 * np.sqrt(a * (1 - a) / 60 + b * (1 - b) / 60)
        naive += a - b - reach <= p - q <= a - b + reach
    assert covered / trials > 0.935
    assert naive < covered

