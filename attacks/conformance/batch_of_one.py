"""A partner with a single compound: its update is that compound's fingerprint, whatever the optimiser.

A secure sum hides whose it is and not that it is there, so a partner refuses to take part with so few records.
"""

from __future__ import annotations

import hashlib

import numpy as np
import scipy.sparse as sp

from attacks.conformance.lab import PROTECTING, Deviation, Lab, Outcome, reached
from attacks.first_layer.bit_union import union_of_bits
from securefl.chem.dataset import Activities, Dataset, Fold, Task
from securefl.config import ModelConfig, RunConfig
from securefl.federation.guards import FIRST_WEIGHT
from securefl.federation.partner import Partner, Terms
from securefl.federation.starts import first_trunk
from securefl.learning.layout import trunk_layout
from securefl.learning.local import PlainTrainer, PrivateTraining
from securefl.learning.private_step import public_scaling

BITS, HIDDEN, COMPOUNDS = 64, (16, 8), 6


def lonely_dataset() -> Dataset:
    """Return a dataset whose one partner has one training compound, and validation compounds that are not trained on."""
    draw = np.random.default_rng(11)
    fold = np.full(COMPOUNDS, Fold.VALIDATION, dtype=np.int8)
    fold[0] = Fold.TRAIN
    values = np.array([9.0, 5.0, 6.0, 7.0, 8.0, 5.5], dtype=np.float32)
    rows = np.arange(COMPOUNDS, dtype=np.int32)
    return Dataset(
        inchikeys=tuple(f"{i:014d}-UHFFFAOYSA-N" for i in range(COMPOUNDS)),
        smiles=tuple("C" * (i + 1) for i in range(COMPOUNDS)),
        fingerprints=sp.csr_matrix((draw.random((COMPOUNDS, BITS)) < 0.2).astype(np.uint8)),
        fold=fold,
        cluster=rows,
        tasks=(Task(0, "assay"), Task(0, "second assay")),
        partners=("lonely",),
        activities=Activities(
            np.repeat(np.arange(2, dtype=np.int32), COMPOUNDS), np.tile(rows, 2), np.tile(values, 2),
            np.zeros(2 * COMPOUNDS, dtype=np.int8),
        ),
        sha256=hashlib.sha256(b"one compound").hexdigest(),
    )  # fmt: skip


def batch_of_one(lab: Lab) -> Outcome:
    """Let a partner with one training compound take part, and read the rows that its third update moved."""
    dataset, config = lonely_dataset(), RunConfig(arms=("plaintext",), model=ModelConfig(hidden=HIDDEN, dropout=0.0))
    layout = trunk_layout(BITS, HIDDEN)
    # Targets scaled by constants, as under privacy: by its own mean a single value would be zero, and so would the update.
    constants = PrivateTraining(trainers=lambda seat: PlainTrainer(seat, config=config.federation), scaling=public_scaling)
    partner = Partner(dataset, 0, Terms(layout=layout, config=config, seed=0, private=constants))
    trunk = first_trunk(dataset, config, 0)
    moved = np.zeros(layout.size, dtype=np.float32)
    for _ in range(3):
        # A fresh head is zero and sends nothing back: a later update is the first that moves the trunk.
        partner.receive(trunk)
        moved = partner.update()
    found = np.zeros(BITS)
    found[union_of_bits(layout.unflatten(moved)[FIRST_WEIGHT])] = 1.0
    return reached(dataset.fingerprints[0].toarray()[0].astype(np.float64), found, "the compound's whole fingerprint")


ONE = Deviation(
    name="batch_of_one",
    view="V3",
    against=PROTECTING,
    anybody=True,
    run=batch_of_one,
    broken="tests/attacks/test_conformance_sums.py::test_a_partner_that_takes_part_with_one_compound_shows_it",
)
