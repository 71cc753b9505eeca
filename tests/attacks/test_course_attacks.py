"""Trajectory and differential attacks: the statistics on updates whose members are known, and a course as it is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from stand_ins import CountingRng

from attacks.course.differential import new_bits
from attacks.course.rounds import HIDDEN, PARTNERS, ROUNDS, cast_of, course_key, halves_of, run_course
from attacks.course.trajectory import cosine, fedmia, head_signals, projection
from attacks.score import auc
from attacks.target import Target
from securefl.chem.dataset import Dataset
from securefl.config import RunConfig, parse_config
from securefl.errors import InputError
from securefl.records import ArmRecord, CostRecord, PerformanceRecord
from securefl.types import silent

BITS, UNITS = 400, 32


def fingerprints(count: int, seed: int) -> sp.csr_matrix:
    """Random sparse compounds."""
    return sp.csr_matrix((np.random.default_rng(seed).random((count, BITS)) < 0.05).astype(np.float64))


def test_projection_is_one_for_what_made_the_update_and_less_for_others() -> None:
    """Twenty compounds behind thirty-two units: members lie in the column space, others don't; an empty update says nothing."""
    members, others = fingerprints(20, 1), fingerprints(20, 2)
    update = members.T @ np.random.default_rng(3).normal(size=(20, UNITS))
    assert projection(update, members).min() > 0.98
    assert projection(update, others).max() < 0.7
    assert not projection(np.zeros((BITS, UNITS)), members).any()


def test_cosine_finds_the_gradient_and_ignores_its_sign() -> None:
    """One compound's own gradient has cosine 1 with itself, whatever the label's sign."""
    compounds = fingerprints(5, 4)
    signals = np.random.default_rng(5).normal(size=(5, 2, UNITS))
    update = -3.0 * compounds[2].toarray().T @ signals[2, 1][None, :]
    found = cosine(update, compounds, signals)
    assert found[2] == pytest.approx(1.0)
    assert np.delete(found, 2).max() < 0.9


def test_head_signals_are_the_gradient_of_a_head() -> None:
    """Against finite differences of head · relu(second · relu(first))."""
    draw = np.random.default_rng(6)
    first, second, heads = draw.normal(size=(3, 7)), draw.normal(size=(4, 7)), draw.normal(size=(2, 4))

    def outputs(at: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(np.maximum(at, 0) @ second.T, 0) @ heads.T)

    got, step = head_signals(first, second, heads), 1e-6
    for unit in range(7):
        moved = first.copy()
        moved[:, unit] += step
        assert np.allclose((outputs(moved) - outputs(first)) / step, got[:, :, unit], atol=1e-4)


@pytest.mark.statistical
def test_fedmia_tells_the_targets_members_from_the_others() -> None:
    """Members stand out against other partners' updates; without a member the score is chance (seeded, 99.9 % of draws)."""
    draw = np.random.default_rng(7)
    others = draw.normal(0, 0.1, (4, 3, 200))
    target = draw.normal(0, 0.1, (4, 200))
    nothing = fedmia(target, others)
    assert 0.37 < auc(nothing[:100], nothing[100:]).value < 0.63
    target[:, :100] += 0.2
    score = fedmia(target, others)
    assert auc(score[:100], score[100:]).value > 0.9


def test_bits_that_only_the_added_partner_has() -> None:
    """Rows that moved in one trunk and kept their value in the other, to the last bit."""
    start = np.random.default_rng(8).normal(size=(6, 4)).astype(np.float32)
    without, given = start.astype(np.float64), start.astype(np.float64)
    without[:2] += 0.1
    given[:4] += 0.2
    assert new_bits(start, without, given).tolist() == [2, 3]


@pytest.fixture(scope="module")
def config() -> RunConfig:
    """Small courses on the dataset's own bits."""
    return parse_config(
        {"data": {"bits": 256, "partners": 3}, "federation": {"batch": 16}, "attacks": {"exposed_each": 12}}, source="test"
    )


def target(dataset: Dataset, config: RunConfig, arm: str) -> Target:
    """An arm that was never trained: a course needs nothing of its run."""
    performance = PerformanceRecord(metric="r2", mean=0.0, ci_low=0.0, ci_high=0.0, n_tasks=1, n_compounds=1)
    cost = CostRecord(
        setup_seconds=0.0, client_seconds=0.0, server_seconds=0.0, bytes_up_per_parameter=0.0, bytes_down_per_parameter=0.0,
        peak_rss_mb=0.0,
    )  # fmt: skip
    record = ArmRecord(
        name=arm, scheme=None, guard=None, dp=None, rounds=1, parameters=1, seeds=(0,), warm_start=None,
        performance=performance, cost=cost, max_abs_aggregate_error=None, quantization_bound=None, clipped=None,
    )  # fmt: skip
    return Target(run=Path(), dataset=dataset, config=config, record=record, rng=CountingRng(), progress=silent)


def test_members_of_a_course_are_drawn_by_a_coin(tiny_dataset: Dataset, config: RunConfig) -> None:
    """Half of each partner's candidates, another half for another number; nobody is a candidate twice."""
    cast = cast_of(tiny_dataset, config)
    assert len(np.unique(cast.compound)) == len(cast.compound)
    first, second = (halves_of(cast, seed=0, number=number) for number in (0, 1))
    assert not np.array_equal(first, second)
    for partner in range(PARTNERS):
        mine = cast.partner == partner
        assert first[mine].sum() == mine.sum() // 2


def test_a_course_trains_on_members_alone(tiny_dataset: Dataset, config: RunConfig) -> None:
    """Only members' bits move; the protocol's sum is that of the updates; the same course twice is the same."""
    cast = cast_of(tiny_dataset, config)
    member = halves_of(cast, seed=0, number=0)
    course = run_course(target(tiny_dataset, config, "masking"), cast, member)
    assert len(course.rounds) == ROUNDS
    assert course.rounds[0].total.shape == (256, HIDDEN[0])
    bits = np.asarray(tiny_dataset.fingerprints[cast.compound[member]].sum(axis=0)).ravel() > 0
    last = course.rounds[-1]
    assert not last.total[~bits].any()
    total = sum(last.weights[p] * last.updates[p].astype(np.float64) for p in last.updates)
    assert np.abs(last.total - total).max() < 1e-3
    again = run_course(target(tiny_dataset, config, "plaintext"), cast, member)
    assert np.array_equal(again.end, course.end)


def test_a_course_without_a_partner_leaves_it_out(tiny_dataset: Dataset, config: RunConfig) -> None:
    """The other two train; the victim's own bits keep their first value."""
    cast = cast_of(tiny_dataset, config)
    member = halves_of(cast, seed=0, number=0)
    member[cast.partner == 0] = False
    course = run_course(target(tiny_dataset, config, "masking"), cast, member, plain_sum=True)
    assert sorted(course.rounds[0].updates) == [0, 1]


@pytest.mark.parametrize("arm", ["pooled", "partner-dp"])
def test_arms_without_a_course_say_so(arm: str, tiny_dataset: Dataset, config: RunConfig) -> None:
    """A reference sends no update; partner-level noise has no course."""
    cast = cast_of(tiny_dataset, config)
    with pytest.raises(InputError, match=arm):
        run_course(target(tiny_dataset, config, arm), cast, halves_of(cast, seed=0, number=0))


def test_shadow_courses_are_shared_by_arms_of_one_guard_and_privacy(tiny_dataset: Dataset, config: RunConfig) -> None:
    """Protocols open the same sums; a guard, a privacy or another epsilon is another recipe."""
    keys = {arm: course_key(target(tiny_dataset, config, arm)) for arm in ("plaintext", "masking", "bfv", "ckks")}
    assert len(set(keys.values())) == 1
    others = {course_key(target(tiny_dataset, config, arm)) for arm in ("masking+guard", "dp", "dp=3", "masking+guard+dp")}
    assert len(others) == 4
    assert keys["masking"] not in others
