"""Metrics that the consortium sees: sums and histograms over all partners' tasks, opened by secure aggregation alone.

Two sums an arm. The first opens, for each question (a metric, or its difference from the owner's standalone model), how many
partners and how many tasks have an answer. Every partner then keeps back what is under the minimum of partners or of tasks,
and what its ledger refuses (:mod:`securefl.evaluation.metric_ledger`); the second sum opens the rest: the sum of the values,
the number of better tasks, a histogram, and the sums of the bootstrap resamples, from which the interval follows. Operator and
partners see these numbers and nothing else; partners without an answer send zeros, which look like everybody else's.

The figures equal those computed in the clear: means to the quantiser's step (of values within +-16: one broken task must not
swamp the others), medians to a bin's width. Resamples draw the same clusters at every partner, here from a public seed over
the clusters of the simulation; partners that share the key of the folds can draw them from the keyed hash of the cluster.

NOT protected: the sums themselves. A bin of one task says that some partner has such a task, not which. How many partners and
tasks have an answer is opened always. A partner that lies about its metrics is believed. Of ``min_partners`` partners one that
shares its own figures with the operator leaves two mixed; all but one together read the last one's sums. An arm's epsilon
prices what its training compounds release, and no epsilon prices metrics: of an arm that promises privacy of private data they
are not opened at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.domain import Usage, tag
from securefl.errors import ParameterError, ProtocolAbort
from securefl.evaluation.bootstrap import interval_record
from securefl.evaluation.comparison import Contest, gain
from securefl.evaluation.metric_ledger import WIRE_ID, MetricLedger, Opening, lineage_of
from securefl.evaluation.metrics import Floats, Metric
from securefl.evaluation.task_scores import TaskScores
from securefl.measures import ConsortiumRecord, LedgerLineRecord, ReleasedMetricRecord
from securefl.quantize import Quantizer
from securefl.secagg import run_round
from securefl.secagg.masking.protocol import MaskingSetup, set_up
from securefl.types import ClientId, Rng

MIN_PARTNERS = 3
MIN_TASKS = 10
SCHEME = "masking"
VALUE_LIMIT = 16.0
"""A task's metric enters the sums clipped to +- this; the histogram counts it in its first or last bin."""
LARGEST = float(1 << 20)
"""No number that a partner puts in is larger: so many tasks, or sums of their metrics."""
_EDGES: Mapping[str, tuple[float, float, int]] = {
    "R2 about the training mean": (-1.0, 1.0, 40),
    "R2 about the test mean": (-1.0, 1.0, 40),
    "RMSE": (0.0, 3.0, 60),
    "Kendall": (-1.0, 1.0, 40),
    "ROC-AUC": (0.0, 1.0, 40),
    "PR-AUC": (0.0, 1.0, 40),
    "calibrated PR-AUC": (0.0, 1.0, 40),
    "log loss": (0.0, 2.0, 40),
}
"""Lowest and highest edge and the number of bins of each metric's histogram: fixed, so that no data decide them."""
_DELTA_EDGES = (-0.5, 0.5, 40)


@dataclass(frozen=True, slots=True)
class Question:
    """A metric (``of`` "value"), or the difference of it from standalone ("delta"), over all tasks of its kind."""

    metric: Metric
    of: str

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        return f"{self.metric.name}: {self.of}"

    @property
    def edges(self) -> Floats:
        """The histogram's edges, shape (bins + 1,)."""
        low, high, bins = _EDGES[self.metric.name] if self.of == "value" else _DELTA_EDGES
        return np.linspace(low, high, bins + 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """One partner's own ``tasks`` under one question: values, shape (k,), and those of every resample, shape (b, k).

    ``sides`` of a difference are the values of both models, shape (k,) each.
    """

    tasks: tuple[int, ...]
    value: Floats
    resampled: Floats
    sides: tuple[Floats, ...] = ()

    def lineages(self, question: Question) -> tuple[bytes, ...]:
        """Return what the ledger calls all values that the sum shows."""
        of_sides = (lineage_of(Question(question.metric, "value").name, side) for side in self.sides)
        return (lineage_of(question.name, self.value), *of_sides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every partner enforces by itself, and where the partners' ledgers lie (none: in memory)."""

    min_partners: int = MIN_PARTNERS
    min_tasks: int = MIN_TASKS
    ledgers: Path | None = None

    def __post_init__(self) -> None:
        if self.min_partners < MIN_PARTNERS or self.min_tasks < 2:
            raise ParameterError(
                f"min_partners={self.min_partners} must be >= {MIN_PARTNERS} and min_tasks={self.min_tasks} >= 2"
            )


Answers = Mapping[ClientId, Answer]


def consortium_record(contest: Contest, *, rng: Rng, terms: Terms | None = None) -> ConsortiumRecord:
    """Return what the consortium sees of an arm: every question opened by secure aggregation, or why it was not.

    Raises:
        ParameterError: there are too few partners for the protocol.
        ProtocolAbort: a party stopped a round.
    """
    return Release(len(contest.dataset.partners), rng=rng, terms=terms or Terms()).of(questions(contest))


def questions(contest: Contest) -> dict[Question, Answers]:
    """Return every partner's own answers to every question that some task of the fold can answer."""
    found: dict[Question, Answers] = {}
    owner = np.array([task.partner for task in contest.dataset.tasks])
    for metric, duel in contest.with_standalone.items():
        asked: dict[Question, tuple[TaskScores, ...]] = {Question(metric, "value"): (duel.alone,)}
        if len(duel.ours.tasks):
            asked[Question(metric, "delta")] = (gain(metric, duel.ours, duel.theirs), duel.ours, duel.theirs)
        for question, scores in asked.items():
            found[question] = {
                ClientId(partner + 1): _own(*(one.select(owner[one.tasks] == partner) for one in scores))
                for partner in range(len(contest.dataset.partners))
            }
    return found


def _own(scores: TaskScores, *sides: TaskScores) -> Answer:
    return Answer(tuple(scores.tasks.tolist()), scores.value, scores.resampled, tuple(side.value for side in sides))


class Release:
    """One opening of a consortium's metrics: a fresh masking set-up, and the ledgers of all partners."""

    def __init__(self, partners: int, *, rng: Rng, terms: Terms) -> None:
        """Set the protocol up for ``partners`` clients.

        Raises:
            ParameterError: there are too few of them.
            InputError: a ledger can't be read.
        """
        clients = [ClientId(partner + 1) for partner in range(partners)]
        self._quantizer = Quantizer.for_sum(partners, clip=LARGEST, ring_bits=64, max_weight=1)
        self._setup: MaskingSetup = set_up(clients, quantizer=self._quantizer, run_id=rng.bytes(32), rng=rng)
        self._ledgers = {
            client: MetricLedger(terms.ledgers / f"partner-{client}" if terms.ledgers else None) for client in clients
        }
        self._terms, self._rng, self._round = terms, rng, 0
        self._lines: list[LedgerLineRecord] = []

    def of(self, asked: Mapping[Question, Answers]) -> ConsortiumRecord:
        """Return the record of all questions.

        Raises:
            ProtocolAbort: a party stopped a round.
        """
        counts = self._open("counts", {question: _counts(answers) for question, answers in asked.items()})
        records, opened = {}, {}
        for question, answers in asked.items():
            partners, tasks = (round(number) for number in counts[question])
            reason = self._refusal(question, answers, partners=partners, tasks=tasks)
            if reason:
                records[question] = _suppressed(question, reason)
            else:
                opened[question] = {client: _figures(question, answer) for client, answer in answers.items()}
        totals = self._open("figures", opened) if opened else {}
        records |= {question: _released(question, counts[question], total) for question, total in totals.items()}
        return ConsortiumRecord(
            scheme=SCHEME,
            min_partners=self._terms.min_partners,
            min_tasks=self._terms.min_tasks,
            error_bound=self._quantizer.error_bound(len(self._ledgers)),
            metrics=tuple(records[question] for question in asked),
            ledger=tuple(self._lines),
        )

    def _refusal(self, question: Question, answers: Answers, *, partners: int, tasks: int) -> str:
        """Return why the partners keep a question back, empty if they don't; their ledgers then have it."""
        if partners < self._terms.min_partners:
            return f"partners={partners} must be >= {self._terms.min_partners}"
        if tasks < self._terms.min_tasks:
            return f"tasks={tasks} must be >= {self._terms.min_tasks}"
        # Whoever has no answer has nothing to keep back: its zeros are the same in every sum.
        own = {client: answer for client, answer in answers.items() if answer.tasks}
        try:
            for client, answer in own.items():
                opening = Opening(cohort=tuple(self._ledgers), own=answer.tasks, partners=partners, tasks=tasks)
                self._ledgers[client].admit(answer.lineages(question), opening, round=self._round + 1)
        except ProtocolAbort:
            # Whose ledger it was, and what the sums would have shown together, is what the refusal keeps back.
            return "a partner's ledger refuses it: an earlier sum over the same values differs from it"
        return ""

    def _open(self, what: str, vectors: Mapping[Question, Mapping[ClientId, Floats]]) -> dict[Question, Floats]:
        """Return the sum over all partners of each question's vector, opened in one round."""
        self._round += 1
        updates = {client: np.concatenate([vector[client] for vector in vectors.values()]) for client in self._ledgers}
        lineage = hashlib.sha256(tag(WIRE_ID, Usage.METRIC, what.encode(), *(one.name.encode() for one in vectors))).digest()
        result = run_round(
            self._setup,
            updates,
            weights=dict.fromkeys(self._ledgers, 1),
            round=self._round,
            model_hash=lineage,
            rng=self._rng,
            quantizer=self._quantizer,
        )
        edges = np.cumsum([len(next(iter(vector.values()))) for vector in vectors.values()])
        parts = np.split(result.total, edges[:-1])
        cohort = tuple(sorted(result.survivors))
        self._lines += [
            LedgerLineRecord(
                round=self._round,
                question=f"{what} of {question.name}",
                lineage=lineage.hex(),
                cohort=cohort,
                numbers=len(part),
            )
            for question, part in zip(vectors, parts, strict=True)
        ]
        return dict(zip(vectors, parts, strict=True))


def _counts(answers: Answers) -> dict[ClientId, Floats]:
    """Return for each partner whether it has an answer, and how many tasks."""
    return {client: np.array([float(bool(answer.tasks)), float(len(answer.tasks))]) for client, answer in answers.items()}


def _figures(question: Question, answer: Answer) -> Floats:
    """Return the partner's sum, better tasks, histogram, and each resample's sum and number of defined tasks."""
    edges = question.edges
    value = np.clip(answer.value, -VALUE_LIMIT, VALUE_LIMIT)
    resampled = np.clip(answer.resampled, -VALUE_LIMIT, VALUE_LIMIT)
    defined = np.isfinite(resampled)
    return np.concatenate(
        [
            [value.sum(), float((value > 0).sum())],
            np.histogram(np.clip(value, edges[0], edges[-1]), edges)[0].astype(np.float64),
            np.where(defined, resampled, 0.0).sum(axis=1),
            defined.sum(axis=1).astype(np.float64),
        ]
    )


def _released(question: Question, counts: Floats, total: Floats) -> ReleasedMetricRecord:
    """Return the record of an opened sum."""
    edges, tasks = question.edges, round(counts[1])
    bins = len(edges) - 1
    histogram = np.rint(total[2 : 2 + bins]).astype(np.int64)
    sums, defined = np.split(total[2 + bins :], 2)
    means = np.divide(sums, np.rint(defined), out=np.full_like(sums, np.nan), where=np.rint(defined) > 0)
    return _record(
        question,
        released=True,
        partners=round(counts[0]),
        tasks=tasks,
        mean=interval_record(float(total[0] / tasks), means),
        median=_median(edges, histogram),
        better=float(np.rint(total[1]) / tasks) if question.of == "delta" else None,
        edges=tuple(np.round(edges, 6).tolist()),
        counts=tuple(histogram.tolist()),
    )


def _median(edges: Floats, histogram: NDArray[np.int64]) -> float:
    """Return the median as the histogram knows it: within its bin the tasks are taken as evenly spread."""
    half, below = histogram.sum() / 2, np.cumsum(histogram)
    number = int(np.searchsorted(below, half))
    before = below[number] - histogram[number]
    return float(edges[number] + (edges[number + 1] - edges[number]) * (half - before) / histogram[number])


def _suppressed(question: Question, reason: str) -> ReleasedMetricRecord:
    return _record(question, released=False, reason=reason)


def _record(question: Question, **fields: object) -> ReleasedMetricRecord:
    head = {
        "metric": question.metric.name,
        "kind": question.metric.kind.value,
        "of": question.of,
        "higher_is_better": question.metric.higher_is_better,
    }
    return ReleasedMetricRecord.model_validate(head | fields)
