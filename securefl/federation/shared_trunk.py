"""The shared trunk as every party works it out by itself: the first weights, moved by what each round opened.

The first trunk follows from the seed and the config, which every partner has, and each later one from the one before and the
opened sum, through the server optimiser, whose state is a function of the same sums. So nobody has to take the operator's word
for a model: a partner compares what it is handed with its own, bit for bit, and trains on nothing else. An operator that gives
the *same* trap weights to everybody (a first layer that writes single compounds into the update, [BDS+23], [FGC+22]) passes
every check that all partners saw one model; it does not pass this one.

What it does NOT protect: a sum that the operator made up. Where sums carry tags (masking) each client verifies the sum itself;
under the other protocols who opens the sum is believed. Nor trap weights that the partners agreed on: a seed or a start model
that somebody chose to be one. It costs every partner a copy of the trunk and of the server optimiser's moments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from securefl.errors import AbortReason, ProtocolAbort
from securefl.federation.server_optimiser import FedAvg, ServerOptimiser
from securefl.learning.layout import TensorLayout, model_hash
from securefl.learning.train_state import Arrays, part, prefixed
from securefl.secagg import RoundResult

Tensors = Mapping[str, NDArray[np.float32]]


class SharedTrunk:
    """One party's own copy; ``aggregated`` lists the tensors that a round moves, ``server`` turns a mean into the move."""

    def __init__(
        self, first: Tensors, *, layout: TensorLayout, aggregated: TensorLayout, server: ServerOptimiser | None = None
    ) -> None:
        self.tensors = {name: first[name].astype(np.float32) for name in layout.names}
        self.server: ServerOptimiser = server or FedAvg()
        self._layout, self._aggregated = layout, aggregated

    @property
    def model_hash(self) -> bytes:
        """32 bytes over architecture and weights, to which the round is bound."""
        return model_hash(self._layout, self.tensors)

    def apply(self, result: RoundResult, *, round: int) -> None:
        """Move by what the server optimiser makes of the weighted mean of the opened updates.

        Raises:
            ProtocolAbort: the opened weight is not positive, so there is no mean.
        """
        if result.weight < 1:
            raise ProtocolAbort(AbortReason.MALFORMED, round=round, detail=f"opened weight={result.weight} must be >= 1")
        move = self._aggregated.unflatten(self.server.step(result.total / result.weight))
        for name, delta in move.items():
            self.tensors[name] = (self.tensors[name] + delta).astype(np.float32)

    def arrays(self) -> Arrays:
        """Return the trunk and the server optimiser's moments: public, as the sums are."""
        return {**prefixed("trunk", self.tensors), **prefixed("moments", self.server.moments())}

    def restore(self, arrays: Arrays) -> None:
        """Go on from what :meth:`arrays` returned."""
        self.tensors = part("trunk", arrays)
        self.server.restore(part("moments", arrays))

    def digest(self) -> str:
        """Return the SHA-256 of trunk and moments, hex: what a party notes of a copy that it leaves with somebody else."""
        found = hashlib.sha256(b"securefl/shared-trunk/1")
        for name, value in sorted(self.arrays().items()):
            found.update(name.encode() + b"\x00" + np.ascontiguousarray(value).tobytes())
        return found.hexdigest()

    def require(self, received: Tensors, *, round: int, party: int | None = None) -> None:
        """Return if ``received``, which ``party`` was handed for ``round``, is this trunk bit for bit.

        Raises:
            ProtocolAbort: it is another one; the detail has both hashes.
        """
        same = received.keys() == self.tensors.keys() and all(
            np.array_equal(received[name], value) for name, value in self.tensors.items()
        )
        if not same:
            found, wanted = self._name_of(received), self.model_hash.hex()[:16]
            detail = f"handed out {found}, the last trunk and what was opened give {wanted}"
            raise ProtocolAbort(AbortReason.WRONG_MODEL, round=round, party=party, detail=detail)

    def _name_of(self, received: Tensors) -> str:
        shapes = {name: value.shape for name, value in received.items()}
        return model_hash(self._layout, received).hex()[:16] if shapes == dict(self._layout.tensors) else "another architecture"
