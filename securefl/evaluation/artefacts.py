"""The files of an arm: models, predictions, the first layer's release, the transcript, and where each one lies.

``ARM/seed-<s>/partner-<k>`` is what partner k (from 1) owns after the run, a model folder (:mod:`securefl.learning.owned`).
The rest is the auditor's of a simulation: ``ARM/seed-<s>/model.safetensors`` with everybody's heads (not standalone's),
``ARM/seed-<s>/predictions.npz`` with measured values, ``ARM/seed-<s>/rounds`` where the config wants checkpoints, and for the
first seed of an aggregated arm ``release.npz`` with single partners' updates and ``transcript.jsonl``. ``ARM/record.json`` is
written last: an arm without it is not finished, and is trained again over what lies there.

An ephemeral run keeps all of this in memory (:mod:`securefl.files`) and leaves the record alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset
from securefl.errors import InputError
from securefl.evaluation.predictions import load_predictions, save_arrays
from securefl.federation.contributors import Contributors
from securefl.federation.releases import FirstLayerRelease, RoundTrace
from securefl.files import exists, is_in_memory, read_bytes, write_bytes
from securefl.learning.model import Model, model_tensors
from securefl.learning.owned import TRUNK, owned_by
from securefl.secagg.replay import transcript_head
from securefl.secagg.transcript import TranscriptWriter

RUN_FILE = "run.json"
ARM_FILE = "record.json"
MODEL_FILE = "model.safetensors"
PREDICTIONS_FILE = "predictions.npz"
RELEASE_FILE = "release.npz"
TRANSCRIPT_FILE = "transcript.jsonl"
CHECKPOINTS = "rounds"
RESUME = "resume"
"""While an arm is trained: what a killed one goes on from (:mod:`securefl.federation.keeper`)."""


def seed_folder(arm: Path, seed: int) -> Path:
    """Return the folder of one seed of an arm."""
    return arm / f"seed-{seed}"


def partner_folder(arm: Path, seed: int, partner: int) -> Path:
    """Return the model folder of ``partner`` (from 0); its name counts from 1, as the roster does."""
    return seed_folder(arm, seed) / f"partner-{partner + 1}"


def save_owned(arm: Path, seed: int, models: Iterable[Model], dataset: Dataset) -> None:
    """Write each partner's own model folder; a trunk that several of them have is one file where the disk allows links.

    Raises:
        InputError: a file can't be written.
    """
    for model in models:
        shared: Path | None = None
        for partner in sorted(model.heads):
            folder = partner_folder(arm, seed, partner)
            owned_by(model, dataset, partner, origin=f"{arm.name}, seed {seed}").save(folder, shared_trunk=shared)
            shared = shared or folder / TRUNK


def read_predictions(arm: Path, seeds: tuple[int, ...], dataset: Dataset) -> list[NDArray[np.float32]]:
    """Return a finished arm's predictions, one vector a seed; nothing if the arm is not finished.

    Raises:
        InputError: a file can't be read, or belongs to other data.
    """
    if not (arm / ARM_FILE).exists():
        return []
    return [load_predictions(seed_folder(arm, seed) / PREDICTIONS_FILE, dataset) for seed in seeds]


def read_start(arm: Path, seed: int) -> Model:
    """Return the checkpoint that another arm's seed starts from.

    Raises:
        InputError: that arm is not finished.
    """
    path = seed_folder(arm, seed) / MODEL_FILE
    if not (arm / ARM_FILE).exists():
        raise InputError(f"no finished arm {arm.name!r} to start from: {path} is missing or partial")
    return Model.load(path)


def save_release(path: Path, release: FirstLayerRelease, contributors: Contributors | None = None) -> None:
    """Write the first layer of the first round: what went into secure aggregation and what it opened, a count included.

    Raises:
        InputError: the file can't be written.
    """
    arrays: dict[str, NDArray[np.generic]] = {
        "initial": release.initial,
        "total": release.total,
        "optimiser": np.array(release.optimiser),
        "round": np.array(release.round),
    }
    arrays |= {f"update_{partner}": update for partner, update in release.updates.items()}
    arrays |= {f"weight_{partner}": np.array(weight) for partner, weight in release.weights.items()}
    arrays |= {f"withheld_{partner}": rows for partner, rows in release.withheld.items()}
    if contributors is not None:
        arrays["contributors"] = contributors.counts
    save_arrays(path, arrays)


class Checkpoints:
    """An observer of rounds that keeps the shared trunk with which each one begins: what every partner sees.

    ``round-<n>.safetensors``, and ``index.json`` with each file's SHA-256 and the model hash that the round's messages are
    bound to. They are for auditors and for warm starts; a killed arm goes on with its index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        index = folder / "index.json"
        found = json.loads(read_bytes(index)) if exists(index) else {}
        self._index: dict[str, dict[str, str]] = found

    def __call__(self, trace: RoundTrace) -> None:
        """Write the checkpoint of a round, then the index."""
        name = f"round-{trace.round}.safetensors"
        data = model_tensors(Model(trunk=trace.before, heads={}))
        write_bytes(self._folder / name, data)
        self._index[name] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "model_hash": trace.model_hash.hex(),
        }
        write_bytes(self._folder / "index.json", (json.dumps(self._index, indent=1, sort_keys=True) + "\n").encode())


def each_of(observers: Sequence[Callable[[RoundTrace], None]]) -> Callable[[RoundTrace], None]:
    """Return an observer that hands every round to all of ``observers``."""

    def observe(trace: RoundTrace) -> None:
        for observer in observers:
            observer(trace)

    return observe


class TranscriptFile:
    """An observer of rounds that writes the transcript which ``securefl transcript verify`` replays.

    Use it as a context: the file gets its name when the arm ends well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: TranscriptWriter | None = None

    def __enter__(self) -> Callable[[RoundTrace], None]:
        return self._take

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def _take(self, trace: RoundTrace) -> None:
        if is_in_memory(self._path):
            # Rounds are replayed by somebody who comes later; of an ephemeral run nothing is there for him.
            return
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = TranscriptWriter(self._path, transcript_head(trace.setup))
        for exchange in trace.exchanges:
            self._writer.add_round(exchange.round, model_hash=exchange.model_hash, messages=exchange.messages)
