"""Views: what an adversary holds. The framework builds them from a run; an attack gets a view and nothing else.

==  ========================================================================================================
V1  a partner: the opened sum, its own update and compounds (so the sum without itself), the trunk, the bit order
V2  the operator: the opened sum and the trunk, in a bit order that a key it lacks has scrambled
V2c the operator with colluding partners: the sum without theirs, their compounds, the trunk, the bit order
V3  whoever sees one partner's update: no secure aggregation, or all other partners work together
V4  the auditor: everything, see :mod:`attacks.membership.candidates`
==  ========================================================================================================

A :class:`Case` pairs a view with its truth: the view is packed into a file for the attack's process, the truth stays here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.first_layer.label_inference import Layer
from attacks.first_layer.released import Contribution, Released
from attacks.first_layer.rows import Delta
from attacks.interface import AdversaryView, Fact
from attacks.molecules.library import Molecules
from securefl.errors import ParameterError
from securefl.records import View

SCRAMBLED: Literal["scrambled"] = "scrambled"
CLEAR: Literal["clear"] = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLayerView:
    """What a first-layer attack may read.

    Attributes:
        delta: (bits, h), an update or a sum of updates. noise: standard deviation of an entry, from public parameters;
            ``None`` where the attacker has to estimate it.
        layers: the public trunk, rows of its first layer in the same order as ``delta``'s.
        own: the bits of the attacker's own compounds, int64, empty for outsiders.
    """

    view: View
    coordinates: Literal["clear", "scrambled"]
    delta: Delta
    noise: float | None
    layers: tuple[Layer, ...]
    own: NDArray[np.int64]

    def pack(self, *, seconds: float) -> AdversaryView:
        """Return the view as the tensors and facts that an attack's process gets; recovery stops after ``seconds``."""
        tensors: dict[str, NDArray[np.generic]] = {"delta": self.delta, "own": self.own}
        for number, (weight, bias) in enumerate(self.layers):
            tensors |= {f"layer.{number}.weight": weight, f"layer.{number}.bias": bias}
        facts: dict[str, Fact] = {"coordinates": self.coordinates, "noise": self.noise, "seconds": seconds}
        return AdversaryView(view=self.view, tensors=tensors, facts=facts)


def layers_in(view: AdversaryView) -> tuple[Layer, ...]:
    """Return the public trunk's layers in ``view``, as far as it may read them."""
    found: list[Layer] = []
    while (stem := f"layer.{len(found)}") + ".weight" in view.tensors:
        found.append((view.tensors[f"{stem}.weight"], view.tensors[f"{stem}.bias"]))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the scorer compares with.

    Attributes:
        fingerprints: CSR (n, bits) in the view's bit order. label: int8 (n,). library: CSR, compounds that nobody trained on.
        known: bits that the attacker could not have missed (its own), int64; finding those counts for nothing.
        compounds: rows of the dataset, int64 (n,). molecules: what they are, where molecules are looked for.
        owner: int64 (n,), whose part of the release each compound is in, counted from 0.
    """

    fingerprints: sp.csr_matrix
    label: NDArray[np.int8]
    library: sp.csr_matrix
    known: NDArray[np.int64]
    compounds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    molecules: Molecules | None = None
    owner: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A view with its truth, and what the record says about the release."""

    view: FirstLayerView
    truth: Truth
    released: Released
    compounds: int


NOBODY = np.zeros(0, dtype=np.int64)


def _truth(
    released: Released,
    parts: list[Contribution],
    *,
    order: NDArray[np.int64] | None = None,
    known: NDArray[np.int64] = NOBODY,
) -> Truth:
    compounds = np.concatenate([part.compounds for part in parts])
    label = np.concatenate([part.label for part in parts])
    fingerprints, library = released.fingerprints[compounds], released.library
    if released.bits is not None:
        fingerprints, library = fingerprints[:, released.bits], library[:, released.bits]
    if order is not None:
        fingerprints, library = fingerprints[:, order], library[:, order]
    owner = np.repeat(np.arange(len(parts)), [len(part.compounds) for part in parts])
    return Truth(
        fingerprints=fingerprints.tocsr(), label=label, library=library.tocsr(), known=known, compounds=compounds, owner=owner
    )


def _layers(released: Released, order: NDArray[np.int64] | None = None) -> tuple[Layer, ...]:
    (weight, bias), *rest = released.layers
    if released.bits is not None:
        weight = weight[released.bits]
    return ((weight if order is None else weight[order], bias), *rest)


def single_update(released: Released, partner: int) -> Case:
    """Return V3: the update of ``partner`` as it was handed to secure aggregation.

    Raises:
        ParameterError: the release has no update of that partner.
    """
    part = released.parts.get(partner)
    if part is None or part.update is None:
        raise ParameterError(f"the release {released.name!r} has no update of partner {partner}")
    view = FirstLayerView(
        view="V3", coordinates=CLEAR, delta=part.update, noise=released.noise, layers=_layers(released), own=NOBODY
    )
    return Case(view=view, truth=_truth(released, [part]), released=released, compounds=len(part.compounds))


def _sum_noise(released: Released, parts: list[Contribution]) -> float | None:
    """Return the noise of a quantised weighted sum: each weight multiplies a rounding error of one step's width."""
    if released.step <= 0 or released.noise is None:
        return None
    reach = float(np.sqrt(sum(part.weight**2 for part in parts)))
    rounding = reach * float(np.hypot(released.step / np.sqrt(12), released.noise))
    return float(np.hypot(rounding, released.sum_noise))


def opened_sum(released: Released, *, scramble: np.random.Generator) -> Case:
    """Return V2: the opened sum in an order of bits that ``scramble`` draws and the attack doesn't get.

    Raises:
        ParameterError: the release has no sum.
    """
    if released.total is None:
        raise ParameterError(f"the release {released.name!r} has no sum")
    parts = list(released.parts.values())
    order = scramble.permutation(len(released.total))
    view = FirstLayerView(
        view="V2",
        coordinates=SCRAMBLED,
        delta=released.total[order],
        noise=_sum_noise(released, parts),
        layers=_layers(released, order),
        own=NOBODY,
    )
    return Case(
        view=view, truth=_truth(released, parts, order=order), released=released, compounds=sum(len(p.compounds) for p in parts)
    )


def sum_minus_own(released: Released, attacker: int) -> Case:
    """Return V1: the opened sum without the attacker's own weighted update, in the clear bit order.

    Raises:
        ParameterError: the release has no sum, or no update of the attacker.
    """
    return _sum_minus(released, [attacker], "V1")


def sum_minus_colluders(released: Released, colluders: Sequence[int]) -> Case:
    """Return V2c: the opened sum without the updates of the partners that work with the operator, in their bit order.

    Raises:
        ParameterError: the release has no sum, no update of one of them, or fewer than two partners are left: that is V3.
    """
    if len(released.parts) - len(set(colluders)) < 2:
        raise ParameterError(f"colluders={len(colluders)} must be <= {len(released.parts) - 2}: one partner alone is V3")
    return _sum_minus(released, colluders, "V2c")


def _without(released: Released, partners: Sequence[int]) -> NDArray[np.float64]:
    """Return the opened sum without what ``partners`` sent, which they know to the last bit."""
    if released.total is None:
        raise ParameterError(f"the release {released.name!r} has no sum")
    left = released.total.copy()
    for partner in partners:
        mine = released.parts.get(partner)
        if mine is None or mine.update is None:
            raise ParameterError(f"the release {released.name!r} has no update of partner {partner}")
        rows = np.flatnonzero(mine.update.any(axis=1))
        own = mine.update[rows].astype(np.float64)
        if released.step > 0:
            # A partner knows its own rounding too, so that it subtracts exactly what it sent.
            own = np.rint(own / released.step) * released.step
        left[rows] -= mine.weight * own
    return left


def _sum_minus(released: Released, known_to: Sequence[int], name: View) -> Case:
    left = _without(released, known_to)
    others = [part for partner, part in released.parts.items() if partner not in known_to]
    known = released.fingerprints[np.concatenate([released.parts[partner].compounds for partner in known_to])]
    if released.bits is not None:
        known = known[:, released.bits]
    own = np.unique(known.indices).astype(np.int64)
    view = FirstLayerView(
        view=name,
        coordinates=CLEAR,
        delta=left,
        noise=_sum_noise(released, others),
        layers=_layers(released),
        own=own,
    )
    return Case(
        view=view,
        truth=_truth(released, others, known=own),
        released=released,
        compounds=sum(len(p.compounds) for p in others),
    )
