"""Shadow models by joblib: the same ones wherever they are trained, and each one kept as soon as it is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from session_processes import awaited, of_session

from attacks.membership.shadow_losses import Shadows
from attacks.membership.shadows import shadows_of
from attacks.membership.views import Shadow
from securefl.chem.dataset import Dataset
from securefl.config import parse_config
from securefl.types import SystemRng

CONFIG = parse_config(
    {"data": {"bits": 256, "partners": 3}, "model": {"hidden": [16, 8]}, "federation": {"rounds": 1, "batch": 64}},
    source="test",
)


def trained(folder: Path, dataset: Dataset, seen: list[int] | None = None, *, rounds: int = 1) -> Shadows:
    """Four shadows of a small recipe; ``seen`` hears how many are done."""
    federation = CONFIG.federation.model_copy(update={"rounds": rounds, "patience": rounds})
    config = CONFIG.model_copy(update={"federation": federation})

    def progress(what: str, done: int, total: int) -> None:
        if seen is not None:
            seen.append(done)

    train = Shadow(config=config, private=False, rng=SystemRng())
    return shadows_of(folder, dataset, config=config, recipe="plain", count=4, train=train, progress=progress)


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


INTERRUPTED = """
import signal, sys
sys.path[:0] = [{tests!r}, {here!r}]
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
import joblib
from stand_ins import make_dataset
from test_shadow_backends import trained
with joblib.parallel_config(backend="loky", n_jobs=2):
    trained(Path({folder!r}), make_dataset(), rounds=60)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")
@pytest.mark.parametrize("whole_group", [True, False])
def test_an_interrupted_training_leaves_no_process_and_keeps_what_it_has(
    tmp_path: Path, tiny_dataset: Dataset, whole_group: bool
) -> None:
    """Ctrl-C in a terminal reaches everybody, a scheduler's signal the command alone: both end it, and it goes on later."""
    here = Path(__file__).parent
    script = INTERRUPTED.format(tests=str(here.parent), here=str(here), folder=str(tmp_path))
    running = subprocess.Popen([sys.executable, "-c", script], start_new_session=True, stderr=subprocess.DEVNULL)
    kept = tmp_path / "shadows"
    try:
        assert awaited(lambda: any(kept.glob("*.npz")) or running.poll() is not None, 240)
        assert running.poll() is None
        os.kill(-running.pid if whole_group else running.pid, signal.SIGINT)
        running.wait(60)
        assert awaited(lambda: not of_session(running.pid), 60)
    finally:
        for process in of_session(running.pid):
            os.kill(process, signal.SIGKILL)
    seen: list[int] = []
    trained(tmp_path, tiny_dataset, seen, rounds=60)
    assert 0 < seen[0] < 4
    assert seen[-1] == 4
