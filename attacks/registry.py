"""Every attack that runs on a view: adding one is a module and a line here."""

from __future__ import annotations

from typing import Any

from attacks import (
    analogue_range,
    canary,
    differential,
    first_layer,
    membership,
    molecule_lookup,
    partner_grouping,
    property_inference,
    quality_inference,
    scramble_key,
    source_inference,
    surrogate_head,
    trajectory,
)
from attacks.interface import Attack

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
