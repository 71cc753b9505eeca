"""What the name of an arm means: ``<scheme>[+guard][+dp | +partner-dp | +central-dp][=EPSILON]``.

A name is the whole recipe, so that a config, a folder and a report say the same thing. ``dp`` is short for ``masking+dp``, as
``partner-dp`` is; ``central-dp`` for ``plaintext+central-dp``. The references train without a protocol and have no recipe.

>>> recipe_of("bfv+guard")
Recipe(scheme='bfv', guarded=True, privacy=None)
>>> recipe_of("dp=3").privacy
Privacy(unit=<Unit.RECORD: 'record'>, epsilon=3.0)
>>> recipe_of("pooled") is None
True
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Literal, get_args

SchemeName = Literal["plaintext", "masking", "masking-static", "paillier", "ckks", "bfv", "rlwe"]
REFERENCES = ("standalone", "single-task", "pooled")
"""Arms without a protocol: each partner alone, a forest a task, and the pooled data that nobody may have."""
HOMOMORPHIC = frozenset({"paillier", "ckks", "bfv", "rlwe"})
APPROXIMATE = frozenset({"ckks"})
"""Schemes whose sum is not exact: noise in the ring has no statement there."""
_NAME = re.compile(
    r"(?P<scheme>[a-z-]+?)(?P<guard>\+guard)?(?:\+(?P<unit>(?:partner-|central-)?dp)(?:=(?P<epsilon>\d+(?:\.\d+)?|inf))?)?"
)


class Unit(Enum):
    """What differential privacy protects: one record, one partner's update, or that by a trusted aggregator's noise."""

    RECORD = "record"
    PARTNER = "partner"
    CENTRAL = "central"


_SHORT = re.compile("^(?:partner-|central-)?dp")
_LONG = {"dp": "masking+dp", "partner-dp": "masking+partner-dp", "central-dp": "plaintext+central-dp"}
_UNITS = {"dp": Unit.RECORD, "partner-dp": Unit.PARTNER, "central-dp": Unit.CENTRAL}


@dataclass(frozen=True, slots=True)
class Privacy:
    """An arm's differential privacy; ``epsilon`` is the config's where the name gives none, infinity adds no noise."""

    unit: Unit
    epsilon: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a federated arm sums: scheme, support guard, differential privacy."""

    scheme: SchemeName
    guarded: bool = False
    privacy: Privacy | None = None

    @property
    def arm(self) -> str:
        """The arm's name in full: :func:`recipe_of` gives the recipe back."""
        parts: list[str] = [self.scheme, *(["guard"] if self.guarded else [])]
        if self.privacy is not None:
            unit = next(name for name, unit in _UNITS.items() if unit is self.privacy.unit)
            parts.append(unit if self.privacy.epsilon is None else f"{unit}={self.privacy.epsilon:g}")
        return "+".join(parts)

    @property
    def warm_start(self) -> str | None:
        """The arm whose checkpoint a homomorphic arm may continue; a private one must not: that would be unpriced."""
        if self.scheme not in HOMOMORPHIC or self.privacy is not None:
            return None
        return "masking+guard" if self.guarded else "masking"


def recipe_of(arm: str) -> Recipe | None:
    """Return the recipe that ``arm`` names, ``None`` for a reference.

    Raises:
        ValueError: the name is not one, or it promises what no scheme keeps.
    """
    if arm in REFERENCES:
        return None
    parts = _NAME.fullmatch(_SHORT.sub(lambda found: _LONG[found[0]], arm))
    scheme = _scheme(parts["scheme"]) if parts else None
    if parts is None or scheme is None:
        schemes = ", ".join(get_args(SchemeName))
        raise ValueError(
            f"arm {arm!r} is unknown: one of {', '.join(REFERENCES)}, or SCHEME[+guard][+dp|+partner-dp|+central-dp][=EPSILON] "
            f"with SCHEME one of {schemes}"
        )
    recipe = Recipe(scheme, parts["guard"] is not None, _privacy(arm, parts["unit"], parts["epsilon"]))
    _check(arm, recipe)
    return recipe


def _scheme(name: str) -> SchemeName | None:
    return next((scheme for scheme in get_args(SchemeName) if scheme == name), None)


def _privacy(arm: str, unit: str | None, epsilon: str | None) -> Privacy | None:
    if unit is None:
        return None
    value = None if epsilon is None else float(epsilon)
    if value is not None and not value > 0:
        raise ValueError(f"arm {arm!r}: epsilon={value} must be > 0")
    return Privacy(_UNITS[unit], value)


def _check(arm: str, recipe: Recipe) -> None:
    unit = recipe.privacy.unit if recipe.privacy else None
    if unit is Unit.PARTNER and recipe.scheme in APPROXIMATE:
        raise ValueError(f"arm {arm!r}: noise in the ring needs an exact sum, {recipe.scheme} is approximate")
    if unit is Unit.CENTRAL and recipe.scheme != "plaintext":
        raise ValueError(f"arm {arm!r}: central noise is a reference on plaintext sums, write plaintext+central-dp")


def check_arm(arm: str) -> str:
    """Return ``arm`` if it is one; errors as for :func:`recipe_of`."""
    recipe_of(arm)
    return arm


def needed_arm(arm: str) -> str | None:
    """Return the arm that must be trained before ``arm``, ``None`` if there is none."""
    recipe = recipe_of(arm)
    return recipe.warm_start if recipe else None
