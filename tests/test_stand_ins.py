"""What other tests rely on: the stand-in generator repeats, and the synthetic data has a signal and honest folds."""

from __future__ import annotations

import numpy as np
from stand_ins import CountingRng

from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.types import Rng


def test_counting_rng_repeats_and_does_not_depend_on_the_request_sizes(rng: Rng) -> None:
    pieces = b"".join(rng.bytes(size) for size in (1, 31, 0, 40, 100))
    assert pieces == CountingRng().bytes(172)
    assert CountingRng(1).bytes(32) != CountingRng(0).bytes(32)


def test_tiny_dataset_has_a_small_partner_and_both_kinds_of_task(tiny_dataset: Dataset) -> None:
    sizes = [len(set(tiny_dataset.cells(partner).compound.tolist())) for partner in range(3)]
    assert sizes[2] < sizes[0] / 2
    assert {task.kind for task in tiny_dataset.tasks} == set(TaskKind)
    assert (tiny_dataset.activities.relation != 0).any()


def test_tiny_dataset_folds_are_whole_clusters_but_for_the_audit(tiny_dataset: Dataset) -> None:
    kept = tiny_dataset.fold != Fold.AUDIT
    for cluster in np.unique(tiny_dataset.cluster):
        assert len(set(tiny_dataset.fold[kept & (tiny_dataset.cluster == cluster)].tolist())) <= 1
    assert (tiny_dataset.fold == Fold.AUDIT).mean() > 0.05
