"""Every attack that runs on a view: adding one is a module and a line here."""

from __future__ import annotations

from typing import Any

from attacks import canary, differential, first_layer, membership, molecule_lookup, scramble_key, surrogate_head, trajectory
from attacks.interface import Attack

ATTACKS: tuple[Attack[Any], ...] = (
    membership.LOSS,
    membership.RMIA,
    membership.LIRA,
    membership.EXTREMITY,
    surrogate_head.SURROGATE,
    first_layer.UNION,
    first_layer.RECOVERY,
    first_layer.LABELS,
    molecule_lookup.MOLECULES,
    scramble_key.SCRAMBLE,
    trajectory.PROJECTION,
    trajectory.COSINE,
    trajectory.FEDMIA,
    differential.BITS,
    differential.COMPOUNDS,
    differential.RATIO,
    canary.CANARY,
)
NAMES = tuple(attack.name for attack in ATTACKS)
