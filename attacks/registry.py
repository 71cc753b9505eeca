"""Every attack that runs on a view: adding one is a module and a line here."""

from __future__ import annotations

from typing import Any

from attacks.course import differential, source_inference, trajectory
from attacks.epsilon import canary
from attacks.first_layer import on_views as first_layer
from attacks.first_layer import partner_grouping, scramble_key
from attacks.interface import Attack
from attacks.membership import analogue_range, surrogate_head
from attacks.membership import on_views as membership
from attacks.molecules import lookup as molecule_lookup
from attacks.parties import property_inference, quality_inference

ATTACKS: tuple[Attack[Any], ...] = (
    membership.LOSS,
    membership.RMIA,
    membership.LIRA,
    membership.EXTREMITY,
    analogue_range.ANALOGUE,
    surrogate_head.SURROGATE,
    first_layer.UNION,
    first_layer.RECOVERY,
    first_layer.LABELS,
    partner_grouping.GROUPING,
    molecule_lookup.MOLECULES,
    scramble_key.SCRAMBLE,
    property_inference.PROPERTY,
    quality_inference.QUALITY,
    trajectory.PROJECTION,
    trajectory.COSINE,
    trajectory.FEDMIA,
    source_inference.SOURCE,
    differential.BITS,
    differential.COUNTS,
    differential.COMPOUNDS,
    differential.RATIO,
    canary.CANARY,
)
NAMES = tuple(attack.name for attack in ATTACKS)
