"""A federation as a :class:`~securefl.federation.keeper.Snapshot`, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from securefl.federation.collected import Collected
from securefl.federation.contributors import Contributors
from securefl.federation.keeper import Snapshot
from securefl.federation.operator import Operator
from securefl.federation.participation import Decision, Departure
from securefl.federation.partner import Partner
from securefl.learning.train_state import Arrays
from securefl.types import ClientId


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What the partners are about to put into a round's sum: float32 ``updates``, and where there is noise the noised steps."""

    updates: Mapping[ClientId, NDArray[np.float32]]
    inputs: Mapping[ClientId, NDArray[np.int64]]


class Parties(Protocol):
    """The parties of a run, as a snapshot sees them."""

    partners: Sequence[Partner]
    operator: Operator
    present: Sequence[Partner]
    departures: list[Departure]
    contributors: Contributors | None

    @property
    def gone(self) -> frozenset[int]:
        """The partners that have stopped or withdrawn."""
        ...


def snapshot(round: int, outgoing: Outgoing, parties: Parties, collected: Collected) -> Snapshot:
    """Return the run before the sum of ``round``."""
    operator, counted = parties.operator, parties.contributors
    return Snapshot(
        round=round,
        shared={
            **operator.arrays(), **collected.shared_arrays(), **({"contributors": counted.counts} if counted else {}),
        },
        partners={partner.number: _own(partner, outgoing, collected) for partner in parties.partners},
        facts={
            "best_round": operator.best_round,
            "curve": list(operator.curve),
            "cohort": sorted(counted.cohort) if counted else [],
            "present": [partner.number for partner in parties.present],
            "departures": [[one.round, one.partner, one.decision.value] for one in parties.departures],
            **collected.facts(),
        },
    )


def _own(partner: Partner, outgoing: Outgoing, collected: Collected) -> Arrays:
    client, found = ClientId(partner.number + 1), {**partner.state(), **collected.own_arrays(partner.number)}
    if client in outgoing.updates:
        found["update"] = outgoing.updates[client]
    if client in outgoing.inputs:
        found["input"] = outgoing.inputs[client]
    return found


def restored(saved: Snapshot, parties: Parties, collected: Collected) -> Outgoing:
    """Put the run back to where ``saved`` is, and return what its partners were about to send.

    Raises:
        ProtocolAbort: a partner had worked out another trunk than the one that was kept.
    """
    facts: dict[str, Any] = saved.facts
    parties.operator.restore(saved.shared, best_round=facts["best_round"], curve=facts["curve"])
    parties.departures[:] = [Departure(round, partner, Decision(said)) for round, partner, said in facts["departures"]]
    for partner in parties.partners:
        partner.restore(saved.partners[partner.number], None if partner.number in parties.gone else saved.shared)
    parties.present = [partner for partner in parties.partners if partner.number in facts["present"]]
    if "contributors" in saved.shared:
        # Counted once in a training: a second count would be a second release.
        parties.contributors = Contributors(saved.shared["contributors"], frozenset(map(ClientId, facts["cohort"])))
    collected.restore(facts, saved.shared, saved.partners, parties.partners)
    return Outgoing(_sent("update", saved), _sent("input", saved))


def _sent(name: str, saved: Snapshot) -> dict[ClientId, NDArray[Any]]:
    return {ClientId(number + 1): arrays[name] for number, arrays in saved.partners.items() if name in arrays}
