"""How exposed each of a partner's own compounds is: for that partner's eyes only.

A partner may look up what an audit says of its own data compound by compound, which no report for others does. Four figures:
at which false positive rate the compound is accused by its loss (V4, the upper bound), how many of its bits no other compound
of the partner has (their rows are its own error signal), whether its fingerprint comes back from the partner's first update as
it was sent (V3), and whether it does so in the worst case, one step on a small batch, under the arm's own guard and privacy.

The file names structures: it belongs to the partner alone, in its own folder, readable by its owner.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.first_layer.exposed import Batch, Bench, Defence, refolded, step_of
from attacks.first_layer.fingerprint_recovery import Layer, fingerprint_recovery
from attacks.first_layer.on_views import patterns
from attacks.first_layer.released import layers_of, load_as_run, weight_rounding
from attacks.first_layer.rows import Delta
from attacks.membership.candidates import candidates_of, losses_with
from attacks.membership.loss import membership_loss
from attacks.target import Target
from securefl.chem.dataset import Fold
from securefl.errors import InputError
from securefl.learning.family import inputs_of

EXPOSURE_FILE = "exposure.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnExposure:
    """One compound of the partner's training fold under one arm.

    Attributes:
        accused_at_fpr: share of non-members that look as much like members as it does (its own score, by loss); ``None``
            without non-members. 1 / n is as certain as n non-members can be.
        own_bits: how many of its bits no other training compound of the partner has.
        recovered: its fingerprint was read exactly from the partner's first update. recovered_small_batch: the same from one
            step on a small batch. ``None`` where the arm sends no such update.
    """

    arm: str
    inchikey: str
    smiles: str
    accused_at_fpr: float | None
    own_bits: int
    recovered: bool | None
    recovered_small_batch: bool | None


def own_exposure(target: Target, partner: int) -> list[OwnExposure]:
    """Return the exposure of each training compound of ``partner`` under the target's arm, the most exposed first.

    Raises:
        InputError: a file of the arm can't be read.
    """
    dataset = target.dataset
    rows = np.unique(dataset.cells(partner, Fold.TRAIN).compound).astype(np.int64)
    matrix = dataset.fingerprints[rows]
    alone = np.asarray((matrix > 0).sum(axis=0)).ravel() == 1
    own_bits = np.asarray((matrix > 0) @ alone.astype(np.int64)).ravel()
    accused = _accused(target, partner)
    as_run, small = _as_run(target, partner, rows), _small_batches(target, partner, rows)
    found = [
        OwnExposure(
            arm=target.arm,
            inchikey=dataset.inchikeys[row],
            smiles=dataset.smiles[row],
            accused_at_fpr=accused.get(int(row)),
            own_bits=int(own_bits[i]),
            recovered=None if as_run is None else bool(as_run[i]),
            recovered_small_batch=None if small is None else bool(small[i]),
        )
        for i, row in enumerate(rows)
    ]
    return sorted(found, key=lambda one: (not one.recovered, not one.recovered_small_batch, one.accused_at_fpr or 0.0))


def _accused(target: Target, partner: int) -> dict[int, float]:
    """Return for each of the partner's training compounds the share of non-members with at least its score."""
    candidates = candidates_of(target.dataset, "partner", seed=target.config.attacks.seed, partner=partner)
    score = membership_loss(losses_with(target.dataset)(target.predictions()), candidates)
    inside, outside = candidates.split(score)
    if not len(outside):
        return {}
    above = len(outside) - np.searchsorted(np.sort(outside), inside, side="left")
    shares = np.maximum(above, 1) / len(outside)
    return dict(zip(candidates.compound[candidates.member].tolist(), shares.tolist(), strict=True))


def _recovered(
    target: Target, delta: Delta, layer: Layer | None, noise: float | None, truth: sp.csr_matrix
) -> NDArray[np.bool_]:
    """Return which rows of ``truth`` come back exactly from an update."""
    seconds = target.config.attacks.seconds_per_recovery * target.effort.longer
    found = set(patterns(fingerprint_recovery(delta, layer=layer, noise=noise, seconds=seconds).fingerprints))
    return np.array([pattern in found for pattern in patterns(truth)], dtype=bool)


def _as_run(target: Target, partner: int, rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Return which compounds come back from the update that the partner really sent in the first round."""
    dataset = inputs_of(target.dataset, target.config.model)
    released = load_as_run(target.run / "arms" / target.arm, dataset, step=0.0, noisy=target.record.noised)
    part = None if released is None else released.parts.get(partner)
    if released is None or part is None or part.update is None:
        return None
    return _recovered(target, part.update, None, released.noise, dataset.fingerprints[rows])


def _small_batches(target: Target, partner: int, rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Return which compounds come back when the partner steps on few at a time, each compound once."""
    record, config = target.record, target.config
    if record.scheme is None:
        return None
    guard_k = config.guard.k if record.guard is not None else None
    defence = Defence(scheme=record.scheme, guard_k=guard_k, dp=record.dp)
    bench = Bench.of(target.dataset, config=config, defence=defence, rng=target.rng)
    noise = None if record.noised else weight_rounding(bench.start["first.weight"])
    order = np.random.default_rng([config.attacks.seed, 11]).permutation(len(rows))
    batches = np.array_split(order, max(len(rows) // config.attacks.exposed_single, 1))
    found = np.zeros(len(rows), dtype=bool)
    for number, chosen in enumerate(batches):
        target.progress(f"{target.arm}: small batches", number, len(batches))
        batch = Batch(partner, np.sort(rows[chosen]))
        matrix = refolded(bench.dataset, batch.compounds, config)
        delta = step_of(bench, batch, matrix)["first.weight"]
        truth = matrix[batch.compounds].tocsr()
        found[np.searchsorted(rows, batch.compounds)] = _recovered(target, delta, layers_of(bench.start)[0], noise, truth)
    target.progress(f"{target.arm}: small batches", len(batches), len(batches))
    return found


def write_exposure(found: Sequence[OwnExposure], path: Path) -> None:
    """Write ``found`` as CSV that its owner alone may read, under a temporary name first.

    Raises:
        InputError: the file can't be written; what was there before is still there.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(OwnExposure)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in found)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text.getvalue())
        partial.replace(path)
    except OSError as error:
        raise InputError(f"can't write {path}: {error.strerror or error}") from error
