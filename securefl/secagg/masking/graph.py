"""Who shares masks and secrets with whom: everyone on the complete graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from securefl.secagg.policy import Policy
from securefl.types import ClientId


@dataclass(frozen=True, slots=True)
class Graph:
    """``circles`` gives each client's neighbours with itself; ``threshold`` shares of a circle give a secret back."""

    circles: Mapping[ClientId, frozenset[ClientId]] = field(repr=False)
    threshold: int


def complete(clients: frozenset[ClientId], policy: Policy) -> Graph:
    """Return the graph on which everyone is everyone's neighbour: the right one for 3 to 50 partners."""
    return Graph(dict.fromkeys(clients, clients), policy.threshold)
