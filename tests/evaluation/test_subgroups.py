"""Subgroups: the mean of a group is that of its tasks, no size falls outside of all groups, small groups are left out."""

from __future__ import annotations

import numpy as np
import pytest

from securefl.chem.dataset import Dataset, TaskKind
from securefl.evaluation.comparison import Contest
from securefl.evaluation.subgroups import EDGES, MIN_TASKS, OWNER, TASK, subgroup_records, training_values
from securefl.evaluation.task_scores import Predictions, main_metric


@pytest.fixture
def contest(tiny_dataset: Dataset) -> Contest:
    draw, cells = np.random.default_rng(0), tiny_dataset.activities
    classes = np.array([task.kind is TaskKind.CLASSIFICATION for task in tiny_dataset.tasks])[cells.task]

    def off_by(noise: float) -> Predictions:
        made = cells.value + noise * draw.normal(size=len(cells))
        return np.where(classes, np.clip(made, 0, 1), made).astype(np.float32)

    arm, alone = off_by(0.2), off_by(0.6)
    return Contest(dataset=tiny_dataset, arm=[arm], standalone=[alone], resamples=50)


def test_groups_are_means_of_their_tasks(contest: Contest) -> None:
    duel = contest.with_standalone[main_metric(contest.dataset)]
    ours, theirs = duel.ours, duel.theirs
    size = training_values(contest.dataset)[ours.tasks]
    found = [record for record in subgroup_records(contest) if record.group == TASK]
    assert found
    for record in found:
        inside = (size >= record.low) & (size < record.high)
        assert record.n_tasks == inside.sum() >= MIN_TASKS
        assert record.value.mean == pytest.approx(ours.value[inside].mean())
        assert record.delta is not None
        assert record.delta.mean == pytest.approx((ours.value - theirs.value)[inside].mean())
        assert record.delta.low <= record.delta.mean <= record.delta.high


def test_edges_leave_nobody_out(contest: Contest) -> None:
    for edges in EDGES.values():
        assert list(edges) == sorted(set(edges))
        assert edges[0] == 0
        assert edges[-1] > len(contest.dataset.activities)
    groups = {record.group for record in subgroup_records(contest)}
    assert groups <= {TASK, OWNER}


def test_without_standalone_there_is_no_difference(contest: Contest) -> None:
    records = subgroup_records(Contest(dataset=contest.dataset, arm=contest.arm, resamples=20))
    assert records
    assert all(record.delta is None for record in records)
