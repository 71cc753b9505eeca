"""What a trained arm is worth: the summary, everything the auditor can compute, and what the consortium sees.

The first two read the TEST cells of all partners in one process, as only the auditor of a simulation can. The third is what
a consortium has: two rounds of secure aggregation over the partners' own metrics. It is left out under three partners, where a
sum tells one partner the other's figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Activities, Dataset
from securefl.config import SECURE_MINIMUM, MetricsConfig
from securefl.evaluation.applicability import similarity_records
from securefl.evaluation.artefacts import read_predictions, seed_folder
from securefl.evaluation.comparison import Contest, metric_records
from securefl.evaluation.conformal import conformal_records
from securefl.evaluation.performance import performance_record
from securefl.evaluation.secure_metrics import Terms, consortium_record
from securefl.evaluation.subgroups import subgroup_records
from securefl.evaluation.unannotated import Unannotated, load_pairs, predict_pairs, save_pairs, unannotated_pairs
from securefl.federation.releases import Trained
from securefl.measures import ConsortiumRecord, EvaluationRecord
from securefl.records import PerformanceRecord
from securefl.types import Rng

STANDALONE = "standalone"
SINGLE_TASK = "single-task"
PAIRS_FILE = "unannotated.npz"
LEDGERS = "metric-ledgers"
"""Folder of the run that stands for the partners' own disks: each one's ledger of opened metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A trained arm: its predictions of all cells, one vector a seed, and its models, seed after seed (none for forests).

    ``opened`` false keeps its metrics at the partners, with the auditor of the simulation.
    """

    dataset: Dataset
    arm: str
    arms: Path
    seeds: tuple[int, ...]
    predictions: Sequence[NDArray[np.float32]]
    trained: Sequence[Trained] = ()
    opened: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The three sections of an arm's record."""

    performance: PerformanceRecord
    evaluation: EvaluationRecord
    consortium: ConsortiumRecord | None


def assess(entry: Entry, *, config: MetricsConfig, rng: Rng) -> Assessment:
    """Return what the arm is worth, compared with the standalone and single-task arms of the run as far as they are finished.

    What its models say of unannotated pairs is kept beside its predictions: other arms are compared with standalone's.

    Raises:
        InputError: no task has enough TEST cells, or a file can't be read or written.
        ProtocolAbort: a party stopped a round of the secure metrics.
    """
    contest = Contest(
        dataset=entry.dataset,
        arm=entry.predictions,
        standalone=_rival(entry, STANDALONE),
        single_task=_rival(entry, SINGLE_TASK),
    )
    metrics = metric_records(contest)
    first = entry.trained[0] if entry.trained and entry.arm != STANDALONE else None
    return Assessment(
        performance=performance_record(
            contest,
            metrics=metrics,
            curve=first.curve if first else (),
            best_round=first.best_round if first else None,
        ),
        evaluation=EvaluationRecord(
            metrics=metrics,
            similarity=similarity_records(contest),
            subgroups=subgroup_records(contest),
            conformal=conformal_records(contest, _unannotated(entry)),
        ),
        consortium=_consortium(entry, contest, config, rng) if entry.opened else None,
    )


def _rival(entry: Entry, arm: str) -> Sequence[NDArray[np.float32]]:
    return () if entry.arm == arm else read_predictions(entry.arms / arm, entry.seeds, entry.dataset)


def _consortium(entry: Entry, contest: Contest, config: MetricsConfig, rng: Rng) -> ConsortiumRecord | None:
    if len(entry.dataset.partners) < SECURE_MINIMUM:
        return None
    ledgers = entry.arms.parent / LEDGERS
    terms = Terms(min_partners=config.min_partners, min_tasks=config.min_tasks, ledgers=ledgers)
    return consortium_record(contest, rng=rng, terms=terms)


def _unannotated(entry: Entry) -> Unannotated | None:
    """Return what the arm and standalone say of unannotated pairs; ``None`` for an arm without models."""
    if not entry.trained:
        return None
    pairs = unannotated_pairs(entry.dataset)
    each = len(entry.trained) // len(entry.seeds)
    arm = []
    for number, seed in enumerate(entry.seeds):
        models = [one.model for one in entry.trained[number * each : (number + 1) * each]]
        arm.append(predict_pairs(models, entry.dataset, pairs))
        save_pairs(seed_folder(entry.arms / entry.arm, seed) / PAIRS_FILE, pairs, arm[-1])
    return Unannotated(pairs=pairs, arm=arm, standalone=_said_alone(entry, pairs))


def _said_alone(entry: Entry, pairs: Activities) -> list[NDArray[np.float32]]:
    """Return what standalone said of the pairs, nothing unless every seed is there."""
    if entry.arm == STANDALONE:
        return []
    found = [load_pairs(seed_folder(entry.arms / STANDALONE, seed) / PAIRS_FILE, pairs) for seed in entry.seeds]
    known = [one for one in found if one is not None]
    return known if len(known) == len(entry.seeds) else []
