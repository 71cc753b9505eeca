"""Builds the operator's view of a run's progress: the score that was opened after each round, and who took part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.interface import AdversaryView
from attacks.jobs import Desk, Job, not_run
from attacks.parties.quality_inference import QUALITY
from attacks.target import Target
from securefl.chem.dataset import Fold
from securefl.records import ArmRecord


def presence(record: ArmRecord, partners: tuple[str, ...], rounds: int) -> NDArray[np.bool_]:
    """Return who took part in which of the first ``rounds`` rounds, bool (rounds, partners)."""
    present = np.ones((rounds, len(partners)), dtype=bool)
    for one in record.departures:
        until = one.round if one.decision == "absent" else rounds
        present[one.round - 1 : until, partners.index(one.partner)] = False
    return present


def attack_quality(target: Target, desk: Desk) -> None:
    """Put the progress of the arm on the desk, or say why none was opened."""
    if not desk.wanted(QUALITY.name, "V2"):
        return
    about: dict[str, object] = {"arm": target.arm, "release": "as-run"}
    curve = np.array(target.record.performance.curve, dtype=np.float64)
    if target.record.scheme is None or not len(curve):
        reason = f"{target.arm} opens no score after a round: there is nothing to attack"
        desk.put_records(not_run((QUALITY,), desk.wanted, ("V2",), reason=reason, about=about))
        return
    dataset = target.dataset
    records = [len(np.unique(dataset.cells(p, Fold.TRAIN).compound)) for p in range(len(dataset.partners))]
    tensors = {"score": curve, "present": presence(target.record, dataset.partners, len(curve))}
    view = AdversaryView(view="V2", tensors=tensors, facts={})
    desk.put(Job(view=view, attacks=(QUALITY,), truth=np.array(records, dtype=np.int64), about=about))
