"""What a federated run collects on its way to its result: costs, the best heads, what was withheld, the first release."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from securefl.federation.guards import FIRST_WEIGHT
from securefl.federation.participation import Decision
from securefl.federation.partner import Partner
from securefl.federation.releases import FirstLayerRelease, RoundTrace
from securefl.learning.layout import TensorLayout
from securefl.learning.model import Model, PartnerHeads
from securefl.learning.train_state import Arrays, part, prefixed
from securefl.secagg import RoundCost, RoundResult


@dataclass(kw_only=True)
class Collected:
    """Filled round by round; ``heads``, ``withheld`` and ``left`` by partner."""

    results: list[RoundResult] = dataclasses.field(default_factory=list)
    heads: dict[int, PartnerHeads] = dataclasses.field(default_factory=dict)
    withheld: dict[int, NDArray[np.bool_]] = dataclasses.field(default_factory=dict)
    release: FirstLayerRelease | None = None
    left: dict[int, Model] = dataclasses.field(default_factory=dict)

    def let_go(self, partner: int, decision: Decision, trunk: Mapping[str, NDArray[np.float32]]) -> None:
        """Take a partner's heads out of the run's model; who stops keeps them, with the best trunk so far."""
        heads = self.heads.pop(partner, None)
        if heads is not None and decision is Decision.STOP:
            self.left[partner] = Model(trunk=dict(trunk), heads={partner: heads})

    def take(self, trace: RoundTrace, present: Sequence[Partner], layout: TensorLayout, *, optimiser: str) -> None:
        """Add a round that ``present`` took part in."""
        for partner in present:
            if partner.guard is not None:
                # A new array: the release that was taken in an earlier round keeps its own.
                self.withheld[partner.number] = partner.guard.withheld | self.withheld.get(partner.number, np.False_)
        # A fresh head is zero and sends nothing back: a partner with one batch moves its trunk from the second round on. The
        # release that the attacks read is the first one to which every partner contributed.
        if FIRST_WEIGHT in trace.names and not self._everyone_moved():
            self.release = _first_layer(trace, layout, dict(self.withheld), optimiser)
        # The transcript of a round holds every ciphertext: an observer may keep it, the result doesn't.
        self.results.append(dataclasses.replace(trace.result, transcript=(), total=trace.result.total[:0]))

    def _everyone_moved(self) -> bool:
        return self.release is not None and all(bool(update.any()) for update in self.release.updates.values())

    def keep_heads(self, partners: Sequence[Partner]) -> None:
        """Every partner that takes part keeps its heads of this round."""
        self.heads |= {partner.number: partner.heads() for partner in partners}

    def shared_arrays(self) -> Arrays:
        """Return what the auditor of the simulation collected."""
        release = self.release
        if release is None:
            return {}
        updates = {str(number): update for number, update in release.updates.items()}
        return {"release.initial": release.initial, "release.total": release.total, **prefixed("release.update", updates)}

    def own_arrays(self, partner: int) -> Arrays:
        """Return what belongs to ``partner``: its best heads, what it withheld, and its model if it has stopped."""
        found: Arrays = {}
        if partner in self.heads:
            found |= {"best.weight": self.heads[partner].weight, "best.bias": self.heads[partner].bias}
        if partner in self.withheld:
            found["withheld"] = self.withheld[partner]
        if partner in self.left:
            model = self.left[partner]
            heads = model.heads[partner]
            found |= prefixed("left.trunk", model.trunk) | {"left.weight": heads.weight, "left.bias": heads.bias}
        return found

    def facts(self) -> dict[str, Any]:
        """Return the rest, as JSON has it."""
        release = self.release
        return {
            "results": [_result_fact(result) for result in self.results],
            "release": None if release is None else {
                "weights": sorted(release.weights.items()), "optimiser": release.optimiser, "round": release.round,
                "withheld": sorted(release.withheld),
            },
        }  # fmt: skip

    def restore(self, facts: dict[str, Any], shared: Arrays, own: Mapping[int, Arrays], partners: Sequence[Partner]) -> None:
        """Take up what :meth:`facts`, :meth:`shared_arrays` and :meth:`own_arrays` returned."""
        self.results = [_result_of(fact) for fact in facts["results"]]
        for partner in partners:
            arrays, scaling = own[partner.number], partner.heads().scaling
            if "withheld" in arrays:
                self.withheld[partner.number] = arrays["withheld"]
            if "best.weight" in arrays:
                self.heads[partner.number] = PartnerHeads(
                    weight=arrays["best.weight"], bias=arrays["best.bias"], scaling=scaling
                )
            if "left.weight" in arrays:
                heads = PartnerHeads(weight=arrays["left.weight"], bias=arrays["left.bias"], scaling=scaling)
                self.left[partner.number] = Model(trunk=part("left.trunk", arrays), heads={partner.number: heads})
        if facts["release"] is not None:
            self.release = self._release_of(facts["release"], part("release", shared))

    def _release_of(self, fact: dict[str, Any], arrays: Arrays) -> FirstLayerRelease:
        return FirstLayerRelease(
            initial=arrays["initial"],
            updates={int(number): update for number, update in part("update", arrays).items()},
            total=arrays["total"],
            weights=dict(fact["weights"]),
            withheld={number: self.withheld[number] for number in fact["withheld"]},
            optimiser=fact["optimiser"],
            round=fact["round"],
        )


def _result_fact(result: RoundResult) -> dict[str, Any]:
    names = ("weight", "clipped", "max_abs_error", "quantization_bound")
    return {**{name: getattr(result, name) for name in names}, "cost": dataclasses.asdict(result.cost)}


def _result_of(fact: dict[str, Any]) -> RoundResult:
    cost = RoundCost(**fact["cost"])
    return RoundResult(**{**fact, "cost": cost}, total=np.zeros(0), survivors=frozenset(), transcript=())


def _first_layer(
    trace: RoundTrace, layout: TensorLayout, withheld: Mapping[int, NDArray[np.bool_]], optimiser: str
) -> FirstLayerRelease:
    updates = {client - 1: layout.unflatten(update)[FIRST_WEIGHT].copy() for client, update in trace.updates.items()}
    return FirstLayerRelease(
        initial=trace.before[FIRST_WEIGHT],
        updates={number: update.astype(np.float32, copy=False) for number, update in updates.items()},
        total=layout.unflatten(trace.result.total)[FIRST_WEIGHT].astype(np.float64),
        weights={client - 1: weight for client, weight in trace.weights.items()},
        withheld=withheld,
        optimiser=optimiser,
        round=trace.round,
    )
