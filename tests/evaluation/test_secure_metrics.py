"""Metrics through secure aggregation: equal to the clear ones, suppressed where there are too few, not to be differenced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import CountingRng, make_dataset

from securefl.chem.dataset import TaskKind
from securefl.errors import AbortReason, InputError, ParameterError, ProtocolAbort
from securefl.evaluation.comparison import Contest, metric_records
from securefl.evaluation.metric_ledger import MetricLedger, lineage_of, smallest_cut
from securefl.evaluation.metrics import RMSE
from securefl.evaluation.secure_metrics import Answer, Answers, Question, Release, Terms, consortium_record, questions
from securefl.measures import ConsortiumRecord, ReleasedMetricRecord
from securefl.secagg.policy import Policy
from securefl.types import ClientId

WORTH = Question(RMSE, "value")


def noisy_contest(*, noise: float = 0.5) -> Contest:
    """Return a contest of 3 partners with 10 tasks each, one of each classifying."""
    dataset = make_dataset(compounds=900, tasks_each=10)
    cells = dataset.activities
    classes = np.array([task.kind is TaskKind.CLASSIFICATION for task in dataset.tasks])[cells.task]

    def said(seed: int, noise: float) -> NDArray[np.float32]:
        spread = np.random.default_rng(seed).normal(0, noise, len(cells))
        return np.where(classes, np.clip(0.3 + 0.4 * cells.value + spread / 2, 0, 1), cells.value + spread).astype(np.float32)

    return Contest(
        dataset=dataset, arm=[said(1, noise), said(2, noise)], standalone=[said(3, 2 * noise), said(4, 2 * noise)], resamples=60
    )


def answers_of(values: Mapping[int, Sequence[float]]) -> Answers:
    """Return each partner's answers from plain values, tasks numbered on."""
    found, first = {}, 0
    for client, own in values.items():
        tasks = frozenset(range(first, first + len(own)))
        found[ClientId(client)] = Answer(tasks, np.array(own), np.array([own, own]).reshape(2, len(own)))
        first += len(own)
    return found


def opened(record: ConsortiumRecord, metric: str, of: str) -> ReleasedMetricRecord:
    """Return the one release of that kind."""
    (found,) = (one for one in record.metrics if (one.metric, one.of) == (metric, of))
    return found


def test_every_released_figure_equals_the_clear_one() -> None:
    contest = noisy_contest()
    record = consortium_record(contest, rng=CountingRng(), terms=Terms(min_tasks=5))
    clear = {one.name: one for one in metric_records(contest)}
    asked = questions(contest)
    released = [one for one in record.metrics if one.released]
    assert {one.metric for one in released} == {name for name in clear if clear[name].kind == "regression"}
    for one in released:
        question = next(q for q in asked if (q.metric.name, q.of) == (one.metric, one.of))
        values = np.concatenate([answer.value for answer in asked[question].values()])
        width = one.edges[1] - one.edges[0]
        inside = np.clip(values, one.edges[0], one.edges[-1])
        assert one.mean is not None
        assert one.mean.mean == pytest.approx(values.mean(), abs=1e-6)
        assert one.median == pytest.approx(float(np.median(inside)), abs=width)
        assert list(one.counts) == np.histogram(inside, one.edges)[0].tolist()
        assert (one.tasks, one.partners) == (len(values), 3)
        expected = clear[one.metric].value if one.of == "value" else clear[one.metric].delta
        assert expected is not None
        assert one.mean.mean == pytest.approx(expected.mean, abs=1e-6)
        assert (one.mean.low, one.mean.high) == pytest.approx((expected.low, expected.high), abs=1e-5)
        if one.of == "delta":
            assert one.better == pytest.approx(float(np.mean(values > 0)))


def test_too_few_tasks_or_partners_are_suppressed_before_their_sum_is_opened() -> None:
    record = consortium_record(noisy_contest(), rng=CountingRng(), terms=Terms(min_tasks=5))
    few = opened(record, "ROC-AUC", "value")
    assert not few.released
    assert "tasks=3 must be >= 5" in few.reason or "partners=" in few.reason
    assert (few.mean, few.median, few.counts, few.tasks) == (None, None, (), None)
    asked = [line.question for line in record.ledger]
    assert "counts of ROC-AUC: value" in asked
    assert "figures of ROC-AUC: value" not in asked
    assert "figures of RMSE: value" in asked
    one_sided = answers_of({1: np.linspace(0.2, 0.9, 12).tolist(), 2: [0.5] * 3, 3: []})
    alone = opened(Release(3, rng=CountingRng(), terms=Terms()).of({WORTH: one_sided}), "RMSE", "value")
    assert alone.reason == "partners=2 must be >= 3"


def test_the_ledger_has_a_line_for_each_opened_sum() -> None:
    record = consortium_record(noisy_contest(), rng=CountingRng(), terms=Terms(min_tasks=5))
    released = {f"figures of {one.metric}: {one.of}" for one in record.metrics if one.released}
    assert {line.question for line in record.ledger if line.round == 2} == released
    counted = {line.question for line in record.ledger if line.round == 1}
    assert counted == {f"counts of {one.metric}: {one.of}" for one in record.metrics}
    for line in record.ledger:
        assert line.cohort == (1, 2, 3)
        # sum, better, bins, then two numbers a resample
        assert line.numbers in (2, 2 + 40 + 120, 2 + 60 + 120)


def test_a_group_that_differs_in_few_own_tasks_is_refused_and_nothing_of_it_opened() -> None:
    values = {client: np.linspace(0.3, 0.9, 8).tolist() for client in (1, 2, 3)}
    answers = answers_of(values)
    release = Release(3, rng=CountingRng(), terms=Terms(min_tasks=3))
    whole = opened(release.of({WORTH: answers}), "RMSE", "value")
    assert whole.tasks == 24
    without_one = frozenset(range(24)) - {7}
    refused = opened(release.of({WORTH: answers}, groups={WORTH: without_one}), "RMSE", "value")
    # neither whose ledger it was nor how many tasks it would have shown
    assert refused.reason == "a partner's ledger refuses it: with earlier sums it would show too few tasks or partners"
    # the control: without the guard the difference of the two sums would be the one task's value
    mean = opened(Release(3, rng=CountingRng(), terms=Terms(min_tasks=3)).of({WORTH: answers}, groups={WORTH: without_one}),
                  "RMSE", "value").mean  # fmt: skip
    assert whole.mean is not None
    assert mean is not None
    assert whole.mean.mean * 24 - mean.mean * 23 == pytest.approx(values[1][7], abs=1e-6)
    halves = frozenset(task for task in range(24) if task % 8 < 4)
    assert opened(release.of({WORTH: answers}, groups={WORTH: halves}), "RMSE", "value").tasks == 12


def test_three_groups_that_single_a_task_out_together_are_refused() -> None:
    groups = [frozenset(range(8)), frozenset(range(4)), frozenset({0, 1, 2, 4, 5, 6, 7})]
    assert smallest_cut(groups[:2]) == frozenset(range(4))
    assert smallest_cut(groups) == frozenset({3})
    ledger = MetricLedger([ClientId(i) for i in (1, 2, 3)], Policy.smallest(3), min_tasks=2)
    lineage, everyone = lineage_of("RMSE: value", np.arange(8.0)), frozenset(ClientId(i) for i in (1, 2, 3))
    for group in groups[:2]:
        ledger.admit(lineage, cohort=everyone, tasks=group, round=1)
    with pytest.raises(ProtocolAbort) as stopped:
        ledger.admit(lineage, cohort=everyone, tasks=groups[2], round=1)
    assert stopped.value.reason is AbortReason.DIFFERENCING
    # the same group again says nothing new; other values are other inputs
    ledger.admit(lineage, cohort=everyone, tasks=groups[1], round=2)
    ledger.admit(lineage_of("RMSE: value", np.arange(9.0)), cohort=everyone, tasks=groups[2], round=2)


def test_a_cohort_without_one_partner_is_refused_over_the_same_values(tmp_path: Path) -> None:
    clients = [ClientId(i) for i in range(1, 6)]
    ledger = MetricLedger(clients, Policy.smallest(5), min_tasks=2, folder=tmp_path)
    lineage, tasks = lineage_of("RMSE: value", np.arange(4.0)), frozenset(range(4))
    ledger.admit(lineage, cohort=frozenset(clients), tasks=tasks, round=1)
    again = MetricLedger(clients, Policy.smallest(5), min_tasks=2, folder=tmp_path)
    with pytest.raises(ProtocolAbort) as stopped:
        again.admit(lineage, cohort=frozenset(clients[:4]), tasks=tasks, round=1)
    assert stopped.value.reason is AbortReason.DIFFERENCING
    with pytest.raises(ProtocolAbort, match="show 1 own tasks"):
        again.admit(lineage, cohort=frozenset(clients), tasks=frozenset(range(3)), round=1)
    (tmp_path / "tasks.json").write_text("[1", encoding="utf-8")
    with pytest.raises(InputError, match="can't be read"):
        MetricLedger(clients, Policy.smallest(5), min_tasks=2, folder=tmp_path)


def test_what_the_operator_relays_depends_on_no_single_partner() -> None:
    """Two worlds with other partners' values and the same sum open the same record."""
    one = answers_of({1: [0.2, 0.4, 0.6, 0.8], 2: [0.1, 0.3, 0.5, 0.7], 3: [0.3, 0.3, 0.9, 0.9]})
    other = answers_of({1: [0.1, 0.3, 0.5, 0.7], 2: [0.3, 0.3, 0.9, 0.9], 3: [0.2, 0.4, 0.6, 0.8]})
    found = [Release(3, rng=CountingRng(), terms=Terms()).of({WORTH: answers}) for answers in (one, other)]
    assert found[0] == found[1]
    assert found[0].metrics[0].released


def test_values_outside_the_edges_count_in_the_last_bins_and_broken_ones_do_not_swamp_the_mean() -> None:
    record = Release(3, rng=CountingRng(), terms=Terms(min_tasks=3)).of({WORTH: answers_of({1: [1e6], 2: [0.0], 3: [5.0]})})
    one = opened(record, "RMSE", "value")
    assert (one.counts[0], one.counts[-1], sum(one.counts)) == (1, 2, 3)
    assert one.mean is not None
    assert one.mean.mean == pytest.approx(21.0 / 3, abs=1e-6)


def test_terms_outside_their_bounds_are_refused() -> None:
    with pytest.raises(ParameterError, match="min_partners=2 must be >= 3"):
        Terms(min_partners=2)
    with pytest.raises(ParameterError, match="min_tasks=1"):
        Terms(min_tasks=1)
    with pytest.raises(ParameterError):
        Release(2, rng=CountingRng(), terms=Terms())
