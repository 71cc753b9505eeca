"""Who shares masks and secrets with whom: everyone, or k neighbours on a random ring (Bell et al. 2020) for large consortia.

The complete graph is the default for 3 to 50 partners. On the ring, clients sit in a random order that nobody chose (a
commit-reveal of all partners) and each has the k/2 nearest on both sides as neighbours. :func:`plan_graph` computes the
smallest k and the threshold for which one union bound, over all restarts of the choice, stays below 2^-40:

- every honest client's circle (its k neighbours and itself, c_u colluders among them) keeps 2t > k + 1 + c_u;
- every client keeps t surviving neighbours;
- the honest survivors are connected: no k/2 consecutive places are all colluders or dropouts.

Assumed: colluders and dropouts do not depend on the ring. A party that corrupts partners after it has seen the ring is outside
the bound; so is a ring that was used before for the same partners.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from securefl.crypto.domain import Usage, tag
from securefl.errors import ParameterError
from securefl.secagg.policy import Policy
from securefl.types import ClientId

SECURITY_BITS = 40
MAX_RESTARTS = 3
"""A partner that likes no ring could make the others draw again: so often at most, and the bound pays for it."""


@dataclass(frozen=True, slots=True)
class Graph:
    """``circles`` gives each client's neighbours with itself; ``threshold`` shares of a circle give a secret back."""

    circles: Mapping[ClientId, frozenset[ClientId]] = field(repr=False)
    threshold: int


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """``neighbours`` (even) and share ``threshold`` with the base-2 logarithm of the bound on their failure."""

    neighbours: int
    threshold: int
    log2_failure: float


def complete(clients: frozenset[ClientId], policy: Policy) -> Graph:
    """Return the graph on which everyone is everyone's neighbour."""
    return Graph(dict.fromkeys(clients, clients), policy.threshold)


def ring(clients: frozenset[ClientId], neighbours: int, threshold: int, *, seed: bytes) -> Graph:
    """Return the graph on which each client has the ``neighbours`` nearest in an order that ``seed`` fixes.

    The order is by a hash of seed and client: uniform over all orders if the seed is, and the same for everybody.
    """
    def place_of(client: ClientId) -> bytes:
        return hashlib.sha256(tag(b"", Usage.GRAPH, seed, client.to_bytes(2, "little"))).digest()

    order = sorted(clients, key=place_of)
    reach, n = neighbours // 2, len(order)
    circles = {
        client: frozenset(order[(place + step) % n] for step in range(-reach, reach + 1)) for place, client in enumerate(order)
    }
    return Graph(circles, threshold)


def plan_graph(n: int, *, colluders: int, dropouts: int, bits: int = SECURITY_BITS) -> GraphPlan:
    """Return the smallest ring that fails with probability at most 2^-bits, restarts included.

    Args:
        colluders: partners that may work with the operator.
        dropouts: partners that may drop out of a round.

    Raises:
        ParameterError: no ring below the complete graph is good enough; use the complete graph.
    """
    if colluders < 0 or dropouts < 0 or colluders + dropouts >= n:
        raise ParameterError(f"colluders={colluders} and dropouts={dropouts} must be >= 0 and below n={n} together")
    for neighbours in range(2, n - 1, 2):
        plans = [
            GraphPlan(neighbours, threshold, log2_failure(n, neighbours, threshold, colluders=colluders, dropouts=dropouts))
            for threshold in range(neighbours // 2 + 1, neighbours + 1)
        ]
        best = min(plans, key=lambda plan: plan.log2_failure)
        if best.log2_failure <= -bits:
            return best
    raise ParameterError(f"n={n}: no ring fails with probability <= 2^-{bits}; use the complete graph")


def log2_failure(n: int, neighbours: int, threshold: int, *, colluders: int, dropouts: int) -> float:
    """Return the base-2 logarithm of the union bound of the module's docstring (0.0 where it says nothing)."""
    too_many = 2 * threshold - (neighbours + 1)  # 2t > k + 1 + c_u fails from this many colluders on
    captured = (n - colluders) * _tail(n - 1, colluders, neighbours, too_many)
    starved = n * _tail(n - 1, dropouts, neighbours, neighbours - threshold + 1)
    cut = n * _tail(n, colluders + dropouts, neighbours // 2, neighbours // 2)
    total = (1 + MAX_RESTARTS) * (captured + starved + cut)
    return 0.0 if total >= 1 else math.log2(total) if total > 0 else -math.inf


def _tail(population: int, marked: int, drawn: int, least: int) -> float:
    """Return the probability that at least ``least`` of ``drawn`` without replacement are among the ``marked``."""
    if least <= 0:
        return 1.0
    ways = sum(
        math.comb(marked, hits) * math.comb(population - marked, drawn - hits) for hits in range(least, min(drawn, marked) + 1)
    )
    # Exact integers until here: a float would lose the small tails that matter.
    whole = math.comb(population, drawn)
    return ways / whole
