"""Builds view V1 of a trained trunk: what it makes of the other partners' candidates, with their measured values."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.interface import AdversaryView
from attacks.jobs import Desk, Job, not_run
from attacks.membership.candidates import Candidates, candidates_of
from attacks.membership.on_views import membership_of
from attacks.membership.surrogate_head import SURROGATE
from attacks.target import Target
from securefl.chem.dataset import Dataset, Fold
from securefl.errors import InputError
from securefl.evaluation.artefacts import MODEL_FILE, seed_folder
from securefl.learning.family import inputs_of
from securefl.learning.model import Model
from securefl.learning.sparse import batch_of
from securefl.learning.trunk import Trunk

NOTE = "the attacker is the partner with the most compounds; it knows the candidates' measured values, not whose they are"


def attacker_of(dataset: Dataset) -> int:
    """Return the partner with the most training compounds: it has most to fit with."""
    return int(np.argmax([len(np.unique(dataset.cells(p, Fold.TRAIN).compound)) for p in range(len(dataset.partners))]))


def without_attacker(dataset: Dataset, attacker: int) -> Dataset:
    """Return ``dataset`` with the cells of the others' tasks on compounds that the attacker doesn't have."""
    cells = dataset.activities
    owner = np.array([task.partner for task in dataset.tasks], dtype=np.int64)[cells.task]
    own = np.isin(cells.compound, cells.compound[owner == attacker])
    return dataclasses.replace(dataset, activities=cells.select((owner != attacker) & ~own))


@torch.no_grad()
def _outputs(trunk: Trunk, dataset: Dataset, rows: NDArray[np.int32]) -> NDArray[np.float32]:
    return np.asarray(trunk.eval()(batch_of(dataset.fingerprints, rows)).numpy(), dtype=np.float32)


def attack_surrogate(target: Target, desk: Desk) -> None:
    """Put the trunk's view on the desk, or say why there is none.

    Raises:
        InputError: the arm's model can't be read.
    """
    if not desk.wanted(SURROGATE.name, "V1"):
        return
    others = without_attacker(target.dataset, attacker_of(target.dataset))
    candidates = candidates_of(others, "consortium", seed=target.config.attacks.seed)
    about: dict[str, object] = {
        "arm": target.arm,
        "release": "model",
        "member_of": "consortium",
        "optimiser": "private sgd" if target.record.dp else target.config.federation.optimiser,
        "bits": target.dataset.bits,
        "compounds": len(candidates.member),
    }
    try:
        if target.record.scheme is None:
            raise InputError(f"{target.arm} shares no trunk: there is nothing to attack")
        if target.config.model.family != "mlp":
            raise InputError("the surrogate head is fitted on a fingerprint network")
        if candidates.member.all() or not candidates.member.any():
            raise InputError("members and non-members are needed on both sides")
        view = _view(target, others, candidates)
    except InputError as error:
        desk.put_records(not_run((SURROGATE,), desk.wanted, ("V1",), reason=str(error), about=about))
        return
    truth = membership_of(target.dataset, candidates, of_partner=False)
    desk.put(Job(view=view, attacks=(SURROGATE,), truth=truth, about=about, notes=(NOTE,)))


def _view(target: Target, others: Dataset, candidates: Candidates) -> AdversaryView:
    path = seed_folder(target.run / "arms" / target.arm, target.record.seeds[0]) / MODEL_FILE
    trunk = Model.load(path).network()
    dataset = inputs_of(others, target.config.model)
    drawn = torch.Generator().manual_seed(target.config.attacks.seed)
    untrained = Trunk(dataset.bits, target.config.model.hidden, generator=drawn)
    # Cells of the validation and test folds belong to no candidate and are not in sight.
    used = np.flatnonzero(candidates.of_cell >= 0)
    cells = others.activities.select(used)
    rows, place = np.unique(cells.compound, return_inverse=True)
    return AdversaryView(
        view="V1",
        tensors={
            "compound": candidates.compound,
            "partner": candidates.partner,
            "of_cell": candidates.of_cell[used],
            "hidden.trained": _outputs(trunk, dataset, rows.astype(np.int32)),
            "hidden.untrained": _outputs(untrained, dataset, rows.astype(np.int32)),
            "cell_row": place.astype(np.int64),
            "cell_task": cells.task.astype(np.int64),
            "cell_value": cells.value.astype(np.float64),
        },
        facts={},
    )
