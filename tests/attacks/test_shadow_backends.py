"""Shadow models by joblib: the same ones wherever they are trained, and each one kept as soon as it is there."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pytest

from attacks.membership_views import Shadow
from attacks.shadow_losses import Shadows
from attacks.shadows import shadows_of
from securefl.chem.dataset import Dataset
from securefl.config import parse_config
from securefl.types import SystemRng

CONFIG = parse_config(
    {"data": {"bits": 256, "partners": 3}, "model": {"hidden": [16, 8]}, "federation": {"rounds": 1, "batch": 64}},
    source="test",
)


def trained(folder: Path, dataset: Dataset, seen: list[int] | None = None) -> Shadows:
    """Four shadows of a small recipe; ``seen`` hears how many are done."""

    def progress(what: str, done: int, total: int) -> None:
        if seen is not None:
            seen.append(done)

    train = Shadow(config=CONFIG, private=False, rng=SystemRng())
    return shadows_of(folder, dataset, config=CONFIG, recipe="plain", count=4, train=train, progress=progress)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_every_backend_trains_the_same_shadows(tmp_path: Path, tiny_dataset: Dataset, backend: str) -> None:
    """Two workers against none: the same losses to the last bit, and progress for each."""
    here = trained(tmp_path / "here", tiny_dataset)
    seen: list[int] = []
    with joblib.parallel_config(backend=backend, n_jobs=2):
        there = trained(tmp_path / "there", tiny_dataset, seen)
    assert np.array_equal(here.inside, there.inside)
    assert np.array_equal(there.losses, here.losses)
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_dask_workers_train_the_same_shadows_to_the_last_bit(tmp_path: Path, tiny_dataset: Dataset) -> None:
    """Two processes of a Dask cluster, as on two machines: bit by bit what one process trains, and progress for each."""
    distributed = pytest.importorskip("distributed")
    here = trained(tmp_path / "here", tiny_dataset)
    seen: list[int] = []
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        there = trained(tmp_path / "there", tiny_dataset, seen)
        # The cluster did it: its scheduler has moved tasks.
        assert cluster.scheduler.transition_counter > 0
    assert np.array_equal(here.inside, there.inside)
    assert np.array_equal(here.losses, there.losses)
    assert seen == [0, 1, 2, 3, 4]
