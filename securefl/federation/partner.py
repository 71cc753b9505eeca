"""A partner: its records, its heads, its trainer and its guard. Only :meth:`Partner.update` and a score leave it.

The update is flattened by the trunk's layout, which names no head, no optimiser state and no target; the guard acts here,
before anything is handed over. What the update itself says about the records is not hidden here.

A federated partner holds its records in memory (of the default bits some 300 bytes a compound). Records that are streamed from
shards are for an owner that trains alone (:mod:`securefl.learning.streaming`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset, Fold
from securefl.config import RunConfig
from securefl.errors import AbortReason, InputError, ProtocolAbort
from securefl.federation.guards import SupportGuard
from securefl.federation.shared_trunk import SharedTrunk
from securefl.learning.cells import records_of, scaling_of
from securefl.learning.family import fresh_heads, trunk_of
from securefl.learning.layout import TensorLayout
from securefl.learning.local import LocalTrainer, PlainTrainer, PrivateTraining, Seat
from securefl.learning.model import PartnerHeads
from securefl.learning.train_state import Arrays, array_of, part, prefixed
from securefl.learning.validation import NullModel, explained_deviance
from securefl.secagg import RoundResult

FEWEST_RECORDS = 2
"""An update on a single compound is that compound's fingerprint."""


def partner_seed(seed: int, partner: int) -> int:
    """Return a partner's own seed of a run: shuffling and dropout of two partners are independent."""
    digest = hashlib.sha256(b"securefl/partner-seed/1" + seed.to_bytes(8, "little") + partner.to_bytes(4, "little")).digest()
    return int.from_bytes(digest[:7], "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all partners of a run agree on beside the config.

    ``layout`` lists the tensors that are aggregated; the others of the trunk are frozen. ``private`` replaces the plain
    trainer and the plain scaling of targets.
    """

    layout: TensorLayout
    config: RunConfig
    seed: int
    guard_k: int | None = None
    private: PrivateTraining | None = None
    device: str = "cpu"


class Partner:
    """One partner's side of a run; ``number`` counts from 0.

    ``expected`` is its own copy of the shared trunk: it trains on no other. Without one (a partner by itself, not in a
    federation) it trains on what it is given.
    """

    def __init__(self, dataset: Dataset, number: int, terms: Terms, expected: SharedTrunk | None = None) -> None:
        config, device = terms.config, torch.device(terms.device)
        self.number = number
        self.name = dataset.partners[number]
        self._layout = terms.layout
        self._epochs = config.federation.local_epochs
        self._scaling = terms.private.scaling(dataset, number) if terms.private else scaling_of(dataset, number)
        self._train = records_of(dataset, self._scaling, dataset.cells(number, Fold.TRAIN))
        self._validation = records_of(dataset, self._scaling, dataset.cells(number, Fold.VALIDATION))
        if len(self._train) < FEWEST_RECORDS:
            have = f"{len(self._train)} training cells" if not len(self._train) else "1 training compound"
            raise InputError(f"partner {self.name!r} has {have}, must have >= {FEWEST_RECORDS}: an update on one shows it")
        self._null = NullModel.of(self._train)
        self._trunk = trunk_of(dataset, config.model).to(device)
        for name, parameter in self._trunk.named_parameters():
            parameter.requires_grad_(name in terms.layout.names)
        self._heads = fresh_heads(dataset, self._scaling, config.model).to(device)
        seat = Seat(partner=number, records=self._train, seed=partner_seed(terms.seed, number))

        self._trainer: LocalTrainer
        if terms.private:
            self._trainer = self._starter = terms.private.trainers(seat)
        else:
            # A plain trainer's optimiser is of the parameters that its first step finds: a start has one of its own. A private
            # trainer counts what was paid for, and is the same one throughout.
            self._trainer, self._starter = (PlainTrainer(seat, config=config.federation, device=device) for _ in range(2))
        self.guard = SupportGuard.on(self._train.fingerprints, k=terms.guard_k) if terms.guard_k is not None else None
        self.expected = expected
        self._shared: dict[str, NDArray[np.float32]] = {}
        self.seconds = 0.0

    @property
    def records(self) -> int:
        """Number of its training compounds: its weight in the sum, before scaling."""
        return len(self._train)

    @property
    def validation_cells(self) -> int:
        """Number of its validation cells: its weight in the score."""
        return self._validation.cells

    def receive(self, trunk: Mapping[str, NDArray[np.float32]], *, round: int = 0) -> None:
        """Take the shared trunk; the local one is overwritten, so a withheld row is the shared one again.

        Raises:
            ProtocolAbort: it is not the trunk that this partner worked out; nothing was taken.
        """
        if self.expected is not None:
            self.expected.require(trunk, round=round, party=self.number + 1)
        self._shared = dict(trunk)
        self._trunk.load(trunk)

    def narrow(self, contributors: NDArray[np.int64], *, partners: int) -> None:
        """Withhold from now on also what fewer than ``partners`` of the ``contributors``, int64 (bits,), would move."""
        if self.guard is not None:
            self.guard = self.guard.narrowed(contributors, partners=partners)

    def warm_up(self, epochs: int) -> None:
        """Train its own heads alone for ``epochs`` on the shared trunk: its warm start. Nothing of it is sent.

        Raises:
            InputError: the loss is not finite.
            BudgetExceededError: a private trainer was not paid for these epochs.
        """
        trained = [parameter for parameter in self._trunk.parameters() if parameter.requires_grad]
        started = time.thread_time()
        for parameter in trained:
            parameter.requires_grad_(False)
        for _ in range(epochs):
            self._starter.train_epoch(self._trunk, self._heads, self._train)
        for parameter in trained:
            parameter.requires_grad_(True)
        self.seconds += time.thread_time() - started

    def follow(self, result: RoundResult, *, round: int) -> None:
        """Work out the next trunk from what ``round`` opened, also where this partner was absent.

        Raises:
            ProtocolAbort: the opened weight is not positive.
        """
        if self.expected is not None:
            self.expected.apply(result, round=round)

    def update(self) -> NDArray[np.float32]:
        """Train locally and return the delta of the aggregated tensors, float32, shape (layout.size,).

        Raises:
            InputError: the loss or a weight is not finite.
        """
        started = time.thread_time()
        for _ in range(self._epochs):
            self._trainer.train_epoch(self._trunk, self._heads, self._train)
        self.seconds += time.thread_time() - started
        local = {name: value for name, value in self.trunk_tensors().items() if name in self._layout.names}
        if self.guard is not None:
            local = self.guard.released(local, self._shared)
            self._trunk.load(local)
        shared = {name: self._shared[name] for name in self._layout.names}
        delta = self._layout.flatten(local) - self._layout.flatten(shared)
        if not np.isfinite(delta).all():
            raise InputError(f"partner {self.name!r}: the update is not finite: lower federation.learning_rate")
        return delta

    def trunk_tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of the local trunk's tensors."""
        return self._trunk.tensors()

    def score(self) -> float:
        """Return the explained deviance of its validation cells under the shared trunk and its heads, within [-1, 1]."""
        score = explained_deviance(self._trunk, self._heads, self._validation, self._null)
        return min(1.0, max(-1.0, score))

    def heads(self) -> PartnerHeads:
        """Return a copy of its heads: for the partner itself, never for a message."""
        return PartnerHeads(
            weight=self._heads.weight.detach().cpu().numpy().copy(),
            bias=self._heads.bias.detach().cpu().numpy().copy(),
            scaling=self._scaling,
        )

    def state(self) -> Arrays:
        """Return its heads, its trainer's state, and what it works out of the shared trunk: for its own folder alone."""
        heads = {"weight": array_of(self._heads.weight), "bias": array_of(self._heads.bias)}
        expected = "" if self.expected is None else self.expected.digest()
        noted = {"seconds": np.array(self.seconds), "expected": np.frombuffer(expected.encode(), dtype=np.uint8)}
        return {**prefixed("heads", heads), **prefixed("trainer", self._trainer.state()), **noted}

    def restore(self, state: Arrays, shared: Arrays | None) -> None:
        """Go on from what :meth:`state` returned; ``shared`` are the operator's trunk and moments, ``None`` for who has left.

        Raises:
            ProtocolAbort: they are not those that this partner had worked out.
        """
        heads = PartnerHeads(weight=state["heads.weight"], bias=state["heads.bias"], scaling=self._scaling)
        heads.load_into(self._heads)
        self._trainer.restore(part("trainer", state), self._trunk, self._heads)
        self.seconds = float(state["seconds"])
        if self.expected is not None and shared is not None:
            self.expected.restore(shared)
            if self.expected.digest().encode() != state["expected"].tobytes():
                detail = "the trunk on disk is not the one that this partner worked out"
                raise ProtocolAbort(AbortReason.WRONG_MODEL, round=0, party=self.number + 1, detail=detail)

    def take_heads(self, heads: PartnerHeads) -> None:
        """Start from heads of an earlier run of its own."""
        heads.load_into(self._heads)
