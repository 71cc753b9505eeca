"""Metrics through secure aggregation: equal to the clear ones, suppressed where there are too few, not to be differenced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import CountingRng, make_dataset

from securefl.chem.dataset import TaskKind
from securefl.errors import AbortReason, InputError, ParameterError, ProtocolAbort
from securefl.evaluation.comparison import Contest, metric_records
from securefl.evaluation.metric_ledger import OPENED_FILE, MetricLedger, Opening, lineage_of
from securefl.evaluation.metrics import RMSE
from securefl.evaluation.secure_metrics import Answer, Answers, Question, Release, Terms, consortium_record, questions
from securefl.measures import ConsortiumRecord, ReleasedMetricRecord
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
    """Return each partner's answers from plain values: client 2's tasks are 200, 201, and so on."""
    return {
        ClientId(client): Answer(tuple(range(100 * client, 100 * client + len(own))), np.array(own), np.array([own, own]))
        for client, own in values.items()
    }


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


def totals(record: ConsortiumRecord) -> tuple[float, int]:
    """Return the opened sum of the one question, and its number of tasks."""
    one = opened(record, "RMSE", "value")
    assert one.mean is not None
    assert one.tasks is not None
    return one.mean.mean * one.tasks, one.tasks


@pytest.mark.parametrize("left", [7, 0], ids=["without a task", "without a partner"])
def test_a_second_sum_over_the_same_values_is_refused_and_nothing_of_it_opened(left: int) -> None:
    values = {client: np.linspace(0.3, 0.9, 8).tolist() for client in (1, 2, 3, 4)}
    less = answers_of(values | {1: values[1][:left]})
    terms = Terms(min_tasks=3)
    release = Release(4, rng=CountingRng(), terms=terms)
    whole = release.of({WORTH: answers_of(values)})
    refused = opened(release.of({WORTH: less}), "RMSE", "value")
    # neither whose ledger it was nor what the two would have shown
    assert refused.reason == "a partner's ledger refuses it: an earlier sum over the same values differs from it"
    assert opened(release.of({WORTH: answers_of(values)}), "RMSE", "value") == opened(whole, "RMSE", "value")
    # the control: without the ledgers the difference of the two sums is what is in one of them alone
    second = Release(4, rng=CountingRng(), terms=terms).of({WORTH: less})
    assert totals(whole)[0] - totals(second)[0] == pytest.approx(sum(values[1][left:]), abs=1e-6)


def contest_of_four(*, withdrawn: bool) -> Contest:
    """Return a contest with standalone; of a partner that has withdrawn the arm predicts nothing."""
    dataset = make_dataset(compounds=900, tasks_each=6, partners=4)
    cells = dataset.activities
    classes = np.array([task.kind is TaskKind.CLASSIFICATION for task in dataset.tasks])[cells.task]
    spread = np.random.default_rng(3).normal(0, 0.5, (2, len(cells)))
    ours, theirs = np.where(classes, 0.5, cells.value + spread).astype(np.float32)
    ours = np.where(np.isin(cells.task, dataset.tasks_of(2)), np.nan, ours) if withdrawn else 0.9 * ours
    return Contest(dataset=dataset, arm=[ours], standalone=[theirs], resamples=10)


def test_who_withdraws_is_not_the_difference_of_two_releases(tmp_path: Path) -> None:
    """A gain tells standalone's sum over those who stayed, and standalone's own release has it over all."""
    terms = Terms(min_tasks=5, ledgers=tmp_path)
    staying, leaving = contest_of_four(withdrawn=False), contest_of_four(withdrawn=True)
    alone = Contest(dataset=staying.dataset, arm=staying.standalone, resamples=10)
    whole = consortium_record(alone, rng=CountingRng(), terms=terms)
    rest = consortium_record(leaving, rng=CountingRng(), terms=terms)
    assert opened(rest, "RMSE", "value").released
    assert "earlier sum over the same values" in opened(rest, "RMSE", "delta").reason
    # the control: without the ledgers it is the withdrawn partner's own figure
    control = consortium_record(leaving, rng=CountingRng(), terms=Terms(min_tasks=5))
    gain = opened(control, "RMSE", "delta")
    assert gain.mean is not None
    assert gain.tasks is not None
    of_others = totals(control)[0] + gain.mean.mean * gain.tasks
    own = questions(alone)[WORTH][ClientId(3)].value
    assert totals(whole)[0] - of_others == pytest.approx(own.sum(), abs=1e-5)
    # and where nobody leaves both are opened
    both = consortium_record(staying, rng=CountingRng(), terms=terms)
    assert opened(both, "RMSE", "value").released
    assert opened(both, "RMSE", "delta").released


def test_a_ledger_is_kept_and_takes_the_same_sum_again(tmp_path: Path) -> None:
    opening = Opening(cohort=tuple(map(ClientId, (1, 2, 3))), own=(4, 5), partners=3, tasks=12)
    lineage, other = (lineage_of("RMSE: value", np.array(values)) for values in ([0.25, -0.0], [0.25, 0.5]))
    MetricLedger(tmp_path).admit([lineage], opening, round=1)
    again = MetricLedger(tmp_path)
    again.admit([lineage_of("RMSE: value", np.array([0.25 + 1e-9, 0.0]))], opening, round=2)
    for changed in ({"cohort": opening.cohort[:2]}, {"own": (4, 6)}, {"partners": 2}, {"tasks": 11}):
        with pytest.raises(ProtocolAbort, match=f"opened with other {next(iter(changed))}") as stopped:
            again.admit([other, lineage], replace(opening, **changed), round=2)
        assert stopped.value.reason is AbortReason.DIFFERENCING
    # nothing of what was refused is on record
    again.admit([other], replace(opening, tasks=11), round=2)
    (tmp_path / OPENED_FILE).write_text("[1", encoding="utf-8")
    with pytest.raises(InputError, match="can't be read"):
        MetricLedger(tmp_path)


def test_what_could_not_be_written_is_written_at_the_next_try(tmp_path: Path) -> None:
    opening = Opening(cohort=tuple(map(ClientId, (1, 2, 3))), own=(4, 5), partners=3, tasks=12)
    lineage = lineage_of("RMSE: value", np.array([0.25, 0.5]))
    ledger = MetricLedger(tmp_path / "own")
    (tmp_path / "own").rmdir()
    with pytest.raises(InputError):
        ledger.admit([lineage], opening, round=1)
    (tmp_path / "own").mkdir()
    ledger.admit([lineage], opening, round=1)
    with pytest.raises(ProtocolAbort, match="opened with other tasks"):
        MetricLedger(tmp_path / "own").admit([lineage], replace(opening, tasks=11), round=2)


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
