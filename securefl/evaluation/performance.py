"""Performance of an arm on one fold: the mean of the main metric over partner-tasks, and everything beside it.

The summary that arms are ranked by is one metric; :mod:`securefl.evaluation.comparison` has all of them with their rivals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from securefl.errors import InputError
from securefl.evaluation.comparison import Contest, metric_records
from securefl.evaluation.task_scores import main_metric, per_partner
from securefl.measures import MetricRecord
from securefl.records import PerformanceRecord


def performance_record(
    contest: Contest,
    *,
    metrics: Sequence[MetricRecord] | None = None,
    curve: tuple[float, ...] = (),
    best_round: int | None = None,
) -> PerformanceRecord:
    """Return the summary of an arm: its main metric, per partner too, and the means of the others.

    Args:
        metrics: what :func:`metric_records` gave for ``contest``, where that is known already.

    Raises:
        InputError: no task has enough cells in the fold.
    """
    main = main_metric(contest.dataset)
    found = {record.name: record for record in (metric_records(contest) if metrics is None else metrics)}
    record = found.pop(main.name, None)
    if record is None:
        raise InputError(f"no {main.kind.value} task has enough measured cells in the {contest.fold.name.lower()} fold")
    tested = [cells.compound for cells in contest.tasks(main.kind, contest.standalone)]
    scores, delta = contest.with_standalone[main].alone, record.delta
    return PerformanceRecord(
        metric=record.name,
        mean=record.value.mean,
        ci_low=record.value.low,
        ci_high=record.value.high,
        n_tasks=record.n_tasks,
        n_compounds=len(np.unique(np.concatenate(tested))),
        delta_vs_standalone=delta.mean if delta else None,
        delta_ci_low=delta.low if delta else None,
        delta_ci_high=delta.high if delta else None,
        tasks_better=record.tasks_better,
        per_partner=per_partner(contest.dataset, scores.tasks, scores.value),
        others={name: other.value.mean for name, other in found.items()},
        curve=curve,
        best_round=best_round,
    )
