"""An ephemeral run: the same figures as any other, and no head, prediction or update on the disk, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stand_ins import TINY_BITS, CountingRng

from securefl.chem.dataset import Dataset
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import InputError
from securefl.evaluation.artefacts import MODEL_FILE, PREDICTIONS_FILE, partner_folder, seed_folder
from securefl.evaluation.ephemeral import aggregated_only
from securefl.evaluation.run import run
from securefl.evaluation.subgroups import OWNER
from securefl.files import exists, in_memory, read_bytes, write_bytes
from securefl.learning.model import Model
from securefl.learning.owned import load_owned
from securefl.measures import SubgroupRecord
from securefl.records import ArmRecord

CONFIG = RunConfig(
    arms=("standalone", "masking"),
    data=DataConfig(bits=TINY_BITS, partners=3),
    model=ModelConfig(hidden=(16, 8)),
    federation=FederationConfig(rounds=2, batch=32, learning_rate=5e-3),
)
TIMINGS = {"cost"}
"""Sections that differ between any two runs: seconds and memory."""


def figures(records: tuple[ArmRecord, ...]) -> list[dict[str, object]]:
    return [aggregated_only(record).model_dump(mode="json", exclude=TIMINGS) for record in records]


def everything_under(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def heads_of(out: Path) -> list[bytes]:
    """The bytes of every head that an ordinary run kept, row by row."""
    model = Model.load(seed_folder(out / "arms" / "masking", 0) / MODEL_FILE)
    alone = [load_owned(partner_folder(out / "arms" / "standalone", 0, p)).model for p in range(3)]
    heads = [*model.heads.values(), *(head for one in alone for head in one.heads.values())]
    return [row.tobytes() for head in heads for row in head.weight]


def of_owners(record: ArmRecord) -> list[SubgroupRecord]:
    assert record.evaluation is not None
    return [group for group in record.evaluation.subgroups if group.group == OWNER]


@pytest.fixture(scope="module")
def both(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, tuple[ArmRecord, ...]]]:
    """An ordinary run and an ephemeral one of the same config."""
    found = {}
    for name in ("ordinary", "ephemeral"):
        out = tmp_path_factory.mktemp(name) / "run"
        found[name] = out, run(tiny_dataset, CONFIG, out, rng=CountingRng(), ephemeral=name == "ephemeral")
    return found


def test_every_aggregated_figure_is_that_of_an_ordinary_run(both: dict[str, tuple[Path, tuple[ArmRecord, ...]]]) -> None:
    ordinary, ephemeral = both["ordinary"][1], both["ephemeral"][1]
    assert figures(ephemeral) == figures(ordinary)
    assert ordinary[1].performance.per_partner
    assert all(not record.performance.per_partner for record in ephemeral)
    # a group of owners may be one partner
    assert of_owners(ordinary[1])
    assert not of_owners(ephemeral[1])
    assert ephemeral[1].performance.delta_vs_standalone is not None
    assert ephemeral[1].consortium is not None


def test_a_scan_of_the_disk_finds_no_head(both: dict[str, tuple[Path, tuple[ArmRecord, ...]]]) -> None:
    heads = heads_of(both["ordinary"][0])
    assert len(heads) == 24
    kept = everything_under(both["ordinary"][0])
    assert all(head in kept for head in heads)
    left = everything_under(both["ephemeral"][0])
    assert not any(head in left for head in heads)
    out = both["ephemeral"][0]
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    private = ("model", "trunk", "heads", "predictions", "release", "transcript", "unannotated")
    assert not [name for name in names if any(word in name for word in private)]
    assert "arms/masking/record.json" in names


def test_an_ephemeral_run_is_read_again_and_not_mixed_with_another(
    both: dict[str, tuple[Path, tuple[ArmRecord, ...]]], tiny_dataset: Dataset
) -> None:
    out, records = both["ephemeral"]
    assert run(tiny_dataset, CONFIG, out, rng=CountingRng(), ephemeral=True) == records
    with pytest.raises(InputError, match="holds a run with ephemeral=True, not False"):
        run(tiny_dataset, CONFIG, out, rng=CountingRng())
    with pytest.raises(InputError, match="holds a run with ephemeral=False, not True"):
        run(tiny_dataset, CONFIG, both["ordinary"][0], rng=CountingRng(), ephemeral=True)


def test_an_interrupted_run_begins_again_with_the_same_figures(
    both: dict[str, tuple[Path, tuple[ArmRecord, ...]]], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(tiny_dataset, CONFIG, out, rng=CountingRng(), ephemeral=True, only=("standalone",))
    # The process that had standalone's predictions is gone; masking is compared with them all the same.
    again = run(tiny_dataset, CONFIG, out, rng=CountingRng(), ephemeral=True)
    assert figures(again) == figures(both["ordinary"][1])


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from stand_ins import CountingRng, make_dataset
from test_ephemeral import CONFIG
from securefl.evaluation.run import run
def kill(what, done, total):
    if what.startswith("masking") and done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
run(make_dataset(), CONFIG, Path(sys.argv[1]), rng=CountingRng(), ephemeral=True, progress=kill)
"""


def test_a_killed_run_leaves_no_head(both: dict[str, tuple[Path, tuple[ArmRecord, ...]]], tmp_path: Path) -> None:
    """Killed in the last round of masking, when all heads have been trained."""
    here = Path(__file__).resolve().parent
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(here), str(here.parent)], env=environment, check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "arms" / "standalone" / "record.json").exists()
    left = everything_under(tmp_path)
    assert left
    assert not any(head in left for head in heads_of(both["ordinary"][0]))


def test_memory_is_like_a_folder_that_vanishes(tmp_path: Path) -> None:
    path = tmp_path / "private" / "deep" / "file"
    with in_memory(tmp_path / "private"):
        write_bytes(path, b"secret")
        with in_memory(tmp_path / "private"):
            assert read_bytes(path) == b"secret"
        assert exists(path)
        assert not exists(tmp_path / "private" / "other")
        with pytest.raises(FileNotFoundError):
            read_bytes(tmp_path / "private" / "other")
        write_bytes(tmp_path / "public", b"shown")
    assert not exists(path)
    assert (tmp_path / "public").read_bytes() == b"shown"
    assert not (tmp_path / "private").exists()


def test_predictions_stay_in_memory_too(both: dict[str, tuple[Path, tuple[ArmRecord, ...]]]) -> None:
    ordinary, ephemeral = (seed_folder(both[name][0] / "arms" / "masking", 0) for name in ("ordinary", "ephemeral"))
    with np.load(ordinary / PREDICTIONS_FILE, allow_pickle=False) as archive:
        assert len(archive["prediction"])
    assert not (ephemeral / PREDICTIONS_FILE).exists()
