"""How the opened mean of the updates moves the shared trunk: federated averaging, or Adam on it ([RCZ+21] algorithm 2).

The moments are a function of the first trunk and of the sums that the protocol opened, which every party of the round sees:
each partner can keep them itself and get the same trunk bit for bit (a test does), so no new information leaves anybody.
In this engine the operator's object keeps them once instead of one equal copy at each partner. Where the operator must not
see the sum, the partners keep them.

What it does NOT protect: Adam makes small coordinates of the opened sum visible in the trunk. They were public before.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from securefl.config import FederationConfig
from securefl.errors import ParameterError

Vector = NDArray[np.float64]
FEDAVG_RATE = 1.0
FEDADAM_RATE = 3e-3
BETA1, BETA2 = 0.9, 0.99
"""Decay of the two moments, [RCZ+21] section 5."""
TAU = 1e-3
"""Adaptivity: added to the root of the second moment, so that a coordinate that nobody moves does not move."""


class ServerOptimiser(Protocol):
    """Turns the mean update of a round into what the trunk moves by. One object lasts for a run."""

    def step(self, mean: Vector) -> Vector:
        """Return the move, float64, shape (d,), for the weighted ``mean`` of the round's updates."""
        ...

    def moments(self) -> dict[str, Vector]:
        """Return the state by name: public, as the sums are."""
        ...

    def restore(self, moments: dict[str, Vector]) -> None:
        """Go on from the state of an earlier run.

        Raises:
            ParameterError: it is another optimiser's.
        """
        ...


class FedAvg:
    """The mean itself, times a rate: 1 is federated averaging [MMR+17]."""

    def __init__(self, *, rate: float = FEDAVG_RATE) -> None:
        self._rate = rate

    def step(self, mean: Vector) -> Vector:
        """Return the scaled mean."""
        return mean if self._rate == 1.0 else self._rate * mean

    def moments(self) -> dict[str, Vector]:
        """Return nothing: there is no state."""
        return {}

    def restore(self, moments: dict[str, Vector]) -> None:
        """Accept an empty state only."""
        if moments:
            raise ParameterError(f"state holds {sorted(moments)}, federated averaging has none")


class FedAdam:
    """Adam with the mean update as its (negative) gradient, without bias correction, as published."""

    def __init__(self, *, rate: float = FEDADAM_RATE) -> None:
        self._rate = rate
        self._moments: dict[str, Vector] = {}

    def step(self, mean: Vector) -> Vector:
        """Return the move, and keep both moments."""
        zero = np.zeros_like(mean, dtype=np.float64)
        first = BETA1 * self._moments.get("first", zero) + (1 - BETA1) * mean
        second = BETA2 * self._moments.get("second", zero) + (1 - BETA2) * np.square(mean)
        self._moments = {"first": first, "second": second}
        return np.asarray(self._rate * first / (np.sqrt(second) + TAU))

    def moments(self) -> dict[str, Vector]:
        """Return both moments, or nothing before the first round."""
        return dict(self._moments)

    def restore(self, moments: dict[str, Vector]) -> None:
        """Take both moments, or none."""
        if set(moments) not in (set(), {"first", "second"}):
            raise ParameterError(f"state holds {sorted(moments)}, must be first and second")
        self._moments = dict(moments)


def server_optimiser(config: FederationConfig) -> ServerOptimiser:
    """Return the optimiser that ``config`` names, with its rate or the default one."""
    if config.server_optimiser == "fedadam":
        return FedAdam(rate=config.server_learning_rate or FEDADAM_RATE)
    return FedAvg(rate=config.server_learning_rate or FEDAVG_RATE)
