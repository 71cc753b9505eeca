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
    """Two workers against none: the same losses to float32's last bits, and progress for each."""
    here = trained(tmp_path / "here", tiny_dataset)
    seen: list[int] = []
    with joblib.parallel_config(backend=backend, n_jobs=2):
        there = trained(tmp_path / "there", tiny_dataset, seen)
    assert np.array_equal(here.inside, there.inside)
    assert there.losses == pytest.approx(here.losses, rel=1e-4, abs=1e-6)
    assert seen == [0, 1, 2, 3, 4]
