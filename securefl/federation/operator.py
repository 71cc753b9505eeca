"""The operator: the shared trunk, and the decision when to stop. It sees what aggregation opens, and nothing else.

It holds no record, no head and no key. The validation scores reach it as one weighted sum over all partners, through the
same protocol as the updates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from securefl.federation.server_optimiser import ServerOptimiser
from securefl.federation.shared_trunk import SharedTrunk
from securefl.learning.layout import TensorLayout
from securefl.learning.train_state import Arrays, part, prefixed
from securefl.secagg import RoundResult


class Operator:
    """Keeps the trunk of the current and of the best round. ``aggregated`` lists the tensors that a round moves.

    ``server`` turns the opened mean into the trunk's move, federated averaging unless told.
    """

    def __init__(
        self,
        trunk: Mapping[str, NDArray[np.float32]],
        *,
        layout: TensorLayout,
        aggregated: TensorLayout,
        patience: int,
        server: ServerOptimiser | None = None,
    ) -> None:
        self.shared = SharedTrunk(trunk, layout=layout, aggregated=aggregated, server=server)
        self.best = dict(self.trunk)
        self.best_round = 0
        self.curve: tuple[float, ...] = ()
        self._patience = patience

    @property
    def trunk(self) -> dict[str, NDArray[np.float32]]:
        """The current trunk."""
        return self.shared.tensors

    @property
    def model_hash(self) -> bytes:
        """32 bytes over architecture and weights, to which the round is bound."""
        return self.shared.model_hash

    @property
    def score_hash(self) -> bytes:
        """32 bytes that bind the sum of scores: other inputs than the updates that are trained from the same trunk."""
        return hashlib.sha256(b"securefl/score/1" + self.model_hash).digest()

    def apply(self, result: RoundResult, *, round: int) -> None:
        """Move the trunk by what the server optimiser makes of the weighted mean of the opened updates.

        Raises:
            ProtocolAbort: the opened weight is not positive, so there is no mean.
        """
        self.shared.apply(result, round=round)

    def judge(self, score: float, *, round: int) -> bool:
        """Take the opened validation score of this round's trunk; return whether it is the best so far."""
        self.curve = (*self.curve, score)
        better = self.best_round == 0 or score > max(self.curve[:-1])
        if better:
            self.keep(round)
        return better

    def keep(self, round: int) -> None:
        """Make the current trunk the one that the run ends with."""
        self.best, self.best_round = dict(self.trunk), round

    def arrays(self) -> Arrays:
        """Return the current and the best trunk, and the server optimiser's moments."""
        return {**self.shared.arrays(), **prefixed("best", self.best)}

    def restore(self, arrays: Arrays, *, best_round: int, curve: Sequence[float]) -> None:
        """Go on from what :meth:`arrays` returned."""
        self.shared.restore(arrays)
        self.best, self.best_round, self.curve = part("best", arrays), best_round, tuple(curve)

    def should_stop(self, round: int) -> bool:
        """Return whether the score has not risen for ``patience`` rounds."""
        return bool(self.curve) and round - self.best_round >= self._patience
