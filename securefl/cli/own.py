"""``securefl attack RUN --own PARTNER``: the exposure of a partner's own compounds, for its eyes only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from attacks.effort import Effort
from attacks.own_exposure import EXPOSURE_FILE, OwnExposure, own_exposure, write_exposure
from attacks.target import Target
from securefl.chem.dataset import Dataset
from securefl.cli.pipeline import run_config
from securefl.errors import InputError
from securefl.evaluation.artefacts import ARM_FILE, partner_folder
from securefl.evaluation.run import GRAPHS_FILE, arm_folder
from securefl.learning.family import with_graphs
from securefl.records import ArmRecord, read_record
from securefl.types import Progress, Rng


def attack_own(
    dataset: Dataset, run: Path, *, partner: str, out: Path | None, rng: Rng, progress: Progress, effort: Effort
) -> list[dict[str, object]]:
    """Write each finished arm's exposure into the partner's folder of that arm, or all into ``out``; return a row an arm.

    Raises:
        InputError: no such partner, no finished arm, or a file can't be read or written.
    """
    number, config = dataset.partner_number(partner), run_config(run, dataset)
    dataset = with_graphs(dataset, config.model, run / GRAPHS_FILE, progress)
    found: dict[str, list[OwnExposure]] = {}
    for arm in config.arms:
        path = arm_folder(run, arm) / ARM_FILE
        if not path.exists():
            continue
        record = read_record(ArmRecord, path)
        target = Target(
            run=run, dataset=dataset, config=config, record=record, rng=rng, progress=progress, effort=effort
        )
        found[arm] = own_exposure(target, number)
        if out is None:
            write_exposure(found[arm], partner_folder(arm_folder(run, arm), record.seeds[0], number) / EXPOSURE_FILE)
    if not found:
        raise InputError(f"{run} has no finished arm")
    if out is not None:
        write_exposure([one for each in found.values() for one in each], out)
    return [_summary(arm, each) for arm, each in found.items()]


def _summary(arm: str, found: list[OwnExposure]) -> dict[str, object]:
    """Return counts of one arm, without a structure."""
    rows = [dataclasses.asdict(one) for one in found]
    rates = [row["accused_at_fpr"] for row in rows if row["accused_at_fpr"] is not None]
    return {
        "arm": arm,
        "compounds": len(rows),
        "read from the update as sent": _count(rows, "recovered"),
        "read from a small batch": _count(rows, "recovered_small_batch"),
        "accused at 5 % false positives": sum(rate <= 0.05 for rate in rates) if rates else "-",
    }


def _count(rows: list[dict[str, object]], name: str) -> object:
    said = [row[name] for row in rows if row[name] is not None]
    return sum(bool(one) for one in said) if said else "-"
