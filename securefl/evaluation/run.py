"""A whole run: the folder that belongs to one config and one dataset, and every arm in it.

A run that was killed resumes from its last finished arm, and inside a federated arm from its last kept round
(:mod:`securefl.federation.keeper`): an arm is finished when its ``record.json`` is there, which is written last. A folder that
holds anything else is refused and left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from securefl.chem.dataset import Dataset, Fold
from securefl.config import RunConfig
from securefl.errors import InputError
from securefl.evaluation.arms import run_arm
from securefl.evaluation.artefacts import ARM_FILE as ARM_FILE
from securefl.evaluation.artefacts import PREDICTIONS_FILE, seed_folder
from securefl.evaluation.artefacts import RUN_FILE as RUN_FILE
from securefl.evaluation.toolkit import toolkit_record
from securefl.federation.gate import Audit, require_clearance
from securefl.files import exists, in_memory
from securefl.learning.family import with_graphs
from securefl.recipes import needed_arm
from securefl.records import ArmRecord, DataRecord, PartnerRecord, RunRecord, read_record, write_record
from securefl.types import Progress, Rng, silent

GRAPHS_FILE = "graphs.npz"
"""The molecules as graphs, kept between training and attacks where the model's family reads them."""
PREPARATION = ("data", "timing.json")
"""What a folder may hold before it is a run: the demo prepares its data there."""


def data_record(dataset: Dataset) -> DataRecord:
    """Return what the report says of ``dataset``."""
    folds = {fold.name.lower(): int((dataset.fold == fold).sum()) for fold in Fold}
    return DataRecord(
        name=dataset.name,
        sha256=dataset.sha256,
        licence=dataset.licence,
        citation=dataset.citation,
        compounds=len(dataset.inchikeys),
        tasks=len(dataset.tasks),
        activities=len(dataset.activities),
        rejects=dataset.rejects,
        folds=folds,
        bits=dataset.bits,
    )


def partner_records(dataset: Dataset) -> tuple[PartnerRecord, ...]:
    """Return the size of each partner: what the consortium edition shows of it."""
    records = []
    for partner, name in enumerate(dataset.partners):
        cells = dataset.cells(partner)
        records.append(
            PartnerRecord(
                name=name,
                compounds=len(np.unique(cells.compound)),
                tasks=len(dataset.tasks_of(partner)),
                activities=len(cells),
            )
        )
    return tuple(records)


def open_run(out: Path, dataset: Dataset, config: RunConfig, *, ephemeral: bool = False) -> RunRecord:
    """Return the record of the run in ``out``, made there if the folder is new or empty.

    Raises:
        InputError: the folder holds something else, or a run of another config or other data; or a partner that is to leave is
            not among the data's.
    """
    path, parties = out / RUN_FILE, len(dataset.partners)
    last = max((one.partner for one in config.federation.departures), default=0)
    if last > parties:
        raise InputError(f"federation.departures: partner={last} must be <= {parties}, the partners of the data")
    if path.exists():
        found = read_record(RunRecord, path)
        for what, have, want in (
            ("config", found.config_sha256, config.sha256),
            ("data", found.data.sha256, dataset.sha256),
        ):
            if have != want:
                raise InputError(f"{out} holds a run of another {what} ({have[:12]}, not {want[:12]}): choose a new folder")
        if found.ephemeral != ephemeral:
            raise InputError(f"{out} holds a run with ephemeral={found.ephemeral}, not {ephemeral}: choose a new folder")
        return found
    if out.exists() and (not out.is_dir() or any(p.name not in PREPARATION for p in out.iterdir())):
        raise InputError(f"{out} holds something that is not a run: choose a new folder")
    record = RunRecord(
        toolkit=toolkit_record(),
        config=config.model_dump(mode="json"),
        config_sha256=config.sha256,
        data=data_record(dataset),
        partners=partner_records(dataset),
        ephemeral=ephemeral,
    )
    write_record(record, path)
    return record


def ordered(arms: Sequence[str]) -> tuple[str, ...]:
    """Return ``arms`` so that each comes after the arms that it needs: standalone and single-task first, masking before heirs.

    Raises:
        InputError: an arm needs another one that is not in the list.
    """
    for arm in arms:
        needed = needed_arm(arm)
        if needed is not None and needed not in arms:
            raise InputError(f"arm {arm!r} starts from the checkpoint of {needed!r}: add it to the arms")
    first = ("standalone", "single-task")
    return tuple(sorted(arms, key=lambda arm: (first.index(arm) if arm in first else len(first), needed_arm(arm) is not None)))


def run(
    dataset: Dataset,
    config: RunConfig,
    out: Path,
    *,
    rng: Rng,
    only: Sequence[str] | None = None,
    audit: Audit | None = None,
    ephemeral: bool = False,
    progress: Progress = silent,
) -> tuple[ArmRecord, ...]:
    """Train the arms of ``config`` (or ``only`` some of them) into the folder ``out`` and return their records.

    Finished arms are read, not trained again. An ``ephemeral`` run keeps models, predictions, updates and transcripts in memory
    and leaves records without single partners and assays (:mod:`securefl.evaluation.ephemeral`); interrupted, it begins
    again. Call it inside ``securefl.files.in_memory(out / "arms")`` to train the arms in several calls.

    Raises:
        InputError: the folder or the arms can't be used (see :func:`open_run`, :func:`ordered`).
        ProtocolAbort: a protocol stopped; nothing of that arm is kept as finished.
        VerificationError: the data are private and ``audit`` does not clear this config; nothing was begun.
    """
    require_clearance(config, audit)
    arms = ordered(config.arms)
    open_run(out, dataset, config, ephemeral=ephemeral)
    complete = all((arm_folder(out, arm) / ARM_FILE).exists() for arm in arms)
    records = []
    with in_memory(out / "arms") if ephemeral else nullcontext():
        dataset = with_graphs(dataset, config.model, None if ephemeral else out / GRAPHS_FILE, progress)
        for arm in arms:
            if only is not None and arm not in only:
                continue
            folder = arm_folder(out, arm)
            if complete or _finished(folder, config):
                records.append(read_record(ArmRecord, folder / ARM_FILE))
            else:
                records.append(run_arm(dataset, arm, config=config, arms=out / "arms", rng=rng, progress=progress))
    return tuple(records)


def _finished(folder: Path, config: RunConfig) -> bool:
    """Return whether an arm has its record and what later arms read of it, which an ephemeral run loses with its process."""
    predictions = seed_folder(folder, config.federation.seeds[-1]) / PREDICTIONS_FILE
    return (folder / ARM_FILE).exists() and exists(predictions)


def arm_folder(out: Path, arm: str) -> Path:
    """Return the folder of an arm inside a run."""
    if not re.fullmatch(r"[a-z][a-z0-9+=.-]*", arm):
        raise InputError(f"arm {arm!r} is not a name of letters, digits, +, =, . and -")
    return out / "arms" / arm
