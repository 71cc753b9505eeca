"""What an arm's predictions are worth, as records: the sections of an :class:`~securefl.records.ArmRecord` that a report draws.

Three readers. ``EvaluationRecord`` is what the auditor of a simulation computes from everybody's cells. ``BaselineRecord``
tells the single-task models apart. ``ConsortiumRecord`` is what a consortium sees of a real run: sums and histograms that came
out of secure aggregation, nothing of one partner or one task. Differences are positive where the arm is better, whatever the
metric.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from securefl.record_base import Record

Kind = Literal["regression", "classification"]


class IntervalRecord(Record):
    """An estimate with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


class EcdfRecord(Record):
    """A distribution as steps: ``share[i]`` of the ``n`` units have a value <= ``x[i]``; ``x`` ascends, the last share is 1.

    ``over``: the units are partner-tasks ("assays") or partners (each the mean of its tasks). ``of``: the metric itself, its
    difference from standalone ("delta"), or the relative improvement of proximity to perfection ("riptop").
    """

    over: Literal["assays", "partners"]
    of: Literal["value", "delta", "riptop"]
    n: int
    x: tuple[float, ...]
    share: tuple[float, ...]


class MetricRecord(Record):
    """One metric over the partner-tasks of its kind, seeds averaged in each task.

    ``value`` and ``delta`` have cluster-bootstrap intervals (which test compounds were drawn); ``delta_over_tasks`` is the same
    difference with an interval over tasks and seeds (which assays were drawn, and chance in training): both are paired.
    ``riptop`` is (arm - standalone) / (perfect - standalone) of the means, 1 is perfect, with a cluster-bootstrap interval;
    ``riptop_median`` the median of the tasks' own. Comparisons are null where there is nothing to compare with.
    """

    name: str
    kind: Kind
    higher_is_better: bool
    n_tasks: int
    value: IntervalRecord
    delta: IntervalRecord | None = None
    delta_over_tasks: IntervalRecord | None = None
    delta_vs_single_task: IntervalRecord | None = None
    riptop: IntervalRecord | None = None
    riptop_median: float | None = None
    tasks_better: float | None = Field(None, description="share of partner-tasks that beat standalone, 0 to 1")
    ecdf: tuple[EcdfRecord, ...] = ()


class SimilarityBinRecord(Record):
    """Test cells whose compound has its nearest training compound (same task, same owner) at Tanimoto in [low, high).

    The last bin includes 1. ``metric`` is over the cells of the bin together: RMSE, or log loss for classification.
    """

    metric: str
    kind: Kind
    low: float
    high: float
    n_cells: int
    n_compounds: int
    value: IntervalRecord
    delta: IntervalRecord | None = Field(None, description="improvement over standalone, positive is better")


class SubgroupRecord(Record):
    """Tasks whose ``group`` figure (training values of the task, or of its owner) lies in [low, high)."""

    group: str
    metric: str
    low: int
    high: int
    n_tasks: int
    value: IntervalRecord
    delta: IntervalRecord | None = Field(None, description="difference from standalone, positive is better")


class ConformalRecord(Record):
    """Mondrian conformal prediction at one allowed error rate, calibrated on the VALIDATION fold.

    ``efficiency`` is the share of (compound, task) pairs that get one answer: a single class, or for regression an interval
    that lies on one side of the owner's training median. ``validity`` is the share of pairs whose set holds the measured value
    (1 - ``error_rate`` is nominal), null on unannotated pairs: nobody measured them. ``half_width`` is the mean over pairs of
    half the interval, in units of pX. ``delta`` is the gain in efficiency over standalone on the same pairs.
    """

    kind: Kind
    on: Literal["annotated", "unannotated"]
    error_rate: float
    n_tasks: int
    n_pairs: int
    efficiency: IntervalRecord
    validity: float | None = None
    half_width: float | None = None
    delta: IntervalRecord | None = None


class EvaluationRecord(Record):
    """Everything that is computed from the TEST cells in the clear: for the auditor of a simulation."""

    metrics: tuple[MetricRecord, ...] = ()
    similarity: tuple[SimilarityBinRecord, ...] = ()
    subgroups: tuple[SubgroupRecord, ...] = ()
    conformal: tuple[ConformalRecord, ...] = ()


class BaselineRecord(Record):
    """One family of single-task models: its TEST figure, and for how many tasks the VALIDATION fold chose it."""

    model: str
    metric: str
    n_tasks: int
    value: IntervalRecord
    chosen: int


class ReleasedMetricRecord(Record):
    """One metric as secure aggregation opened it, or why it was not opened.

    ``of``: the metric itself, or its difference from the owner's standalone model. ``counts[i]`` tasks lie in
    [edges[i], edges[i + 1]); values outside are counted in the first or last bin. ``mean`` is exact to the quantiser's step
    for tasks within +-16, ``median`` to a bin's width. ``better`` is the share of tasks with a positive difference.
    """

    metric: str
    kind: Kind
    of: Literal["value", "delta"]
    higher_is_better: bool
    released: bool
    reason: str = Field("", description="why nothing was released")
    partners: int | None = None
    tasks: int | None = None
    mean: IntervalRecord | None = None
    median: float | None = None
    better: float | None = None
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


class LedgerLineRecord(Record):
    """One opened sum of metrics: what was asked, of which model (hex SHA-256), who was in it, how many numbers it opened."""

    round: int
    question: str
    lineage: str
    cohort: tuple[int, ...] = Field(description="the partners' numbers on the roster, from 1")
    numbers: int


class ConsortiumRecord(Record):
    """What the consortium sees of an arm's performance: the output of secure aggregation and nothing else.

    ``min_partners`` and ``min_tasks``: a metric of fewer is suppressed, before its sum is opened. ``error_bound`` is the most
    that an opened number differs from the true sum. ``ledger`` lists every opened sum in order.
    """

    scheme: str
    min_partners: int
    min_tasks: int
    error_bound: float
    metrics: tuple[ReleasedMetricRecord, ...]
    ledger: tuple[LedgerLineRecord, ...]
