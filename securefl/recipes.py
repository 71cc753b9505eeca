"""What the name of an arm means: ``<scheme>[+guard][+dp | +partner-dp | +central-dp][=EPSILON]``.

A name is the whole recipe, so that a config, a folder and a report say the same thing. ``dp`` is short for ``masking+dp``, as
``partner-dp`` is; ``central-dp`` for ``plaintext+central-dp``. The references train without a protocol and have no recipe.

What a scheme may be combined with follows from its :class:`Traits`: securefl's own stand here, so that nothing is imported to
read a name; another package's (:mod:`securefl.plugins`) are what its ``set_up`` declares.

>>> recipe_of("bfv+guard")
Recipe(scheme='bfv', guarded=True, privacy=None)
>>> recipe_of("dp=3").privacy
Privacy(unit=<Unit.RECORD: 'record'>, epsilon=3.0)
>>> recipe_of("pooled") is None
True
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from securefl.errors import ParameterError
from securefl.plugins import Plugin, plugin_of, plugins

Opener = Literal["open", "none", "single", "threshold"]
SetUp = TypeVar("SetUp", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a scheme says of itself. Over the ``set_up`` of another package, ``@Traits(...)`` declares it.

    Attributes:
        exact: the sum is the integer sum itself: noise in the ring has a statement there.
        opener: who can open what a client uploads: the operator as it comes ("open"), nobody, one party, or a threshold.
        homomorphic: heavy, so that an arm may continue masking's checkpoint for its last rounds.
    """

    exact: bool
    opener: Opener
    homomorphic: bool = False

    def __post_init__(self) -> None:
        if self.opener not in get_args(Opener):
            raise ParameterError(f"opener={self.opener!r} must be one of {', '.join(get_args(Opener))}")

    def __call__(self, set_up: SetUp) -> SetUp:
        """Declare the traits of a scheme that is set up by ``set_up``."""
        vars(set_up)["traits"] = self
        return set_up


BUILT_IN: Mapping[str, Traits] = MappingProxyType(
    {
        "plaintext": Traits(exact=True, opener="open"),
        "masking": Traits(exact=True, opener="none"),
        "masking-static": Traits(exact=True, opener="none"),
        "paillier": Traits(exact=True, opener="threshold", homomorphic=True),
        "ckks": Traits(exact=False, opener="single", homomorphic=True),
        "bfv": Traits(exact=True, opener="single", homomorphic=True),
        "rlwe": Traits(exact=True, opener="threshold", homomorphic=True),
    }
)
REFERENCES = ("standalone", "single-task", "pooled")
"""Arms without a protocol: each partner alone, a forest a task, and the pooled data that nobody may have."""
_SCHEME = "[a-z][a-z0-9-]*"
_NAME = re.compile(
    rf"(?P<scheme>{_SCHEME})(?P<guard>\+guard)?(?:\+(?P<unit>(?:partner-|central-)?dp)(?:=(?P<epsilon>\d+(?:\.\d+)?|inf))?)?"
)


class Unit(Enum):
    """What differential privacy protects: one record, one partner's update, or that by a trusted aggregator's noise."""

    RECORD = "record"
    PARTNER = "partner"
    CENTRAL = "central"


_SHORT = re.compile("^(?:partner-|central-)?dp(?==|$)")
_LONG = {"dp": "masking+dp", "partner-dp": "masking+partner-dp", "central-dp": "plaintext+central-dp"}
_UNITS = {"dp": Unit.RECORD, "partner-dp": Unit.PARTNER, "central-dp": Unit.CENTRAL}
RESERVED = (*REFERENCES, *_LONG, "guard")
"""What the grammar of arms uses itself: no scheme can be called so."""


@dataclass(frozen=True, slots=True)
class Privacy:
    """An arm's differential privacy; ``epsilon`` is the config's where the name gives none, infinity adds no noise."""

    unit: Unit
    epsilon: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a federated arm sums: scheme, support guard, differential privacy."""

    scheme: str
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
    def traits(self) -> Traits:
        """What its scheme says of itself; errors as for :func:`traits_of`."""
        return traits_of(self.scheme)

    @property
    def warm_start(self) -> str | None:
        """The arm whose checkpoint a homomorphic arm may continue; a private one must not: that would be unpriced."""
        if self.privacy is not None or not self.traits.homomorphic:
            return None
        return "masking+guard" if self.guarded else "masking"


def scheme_names() -> tuple[str, ...]:
    """Return securefl's own schemes, then those of installed packages, which are not imported for it."""
    return (*BUILT_IN, *sorted({plugin.name for plugin in plugins()} - BUILT_IN.keys()))


def scheme_plugin(scheme: str) -> Plugin | None:
    """Return the plug-in that ``scheme`` is, ``None`` for securefl's own and for one that nobody has.

    Raises:
        ParameterError: two packages claim the name, or it is none for a scheme.
    """
    plugin = plugin_of(scheme, own=BUILT_IN)
    if plugin is not None and (re.fullmatch(_SCHEME, scheme) is None or scheme in RESERVED):
        rule = f"must match {_SCHEME} and be none of {', '.join(RESERVED)}"
        raise ParameterError(f"scheme {scheme!r} of package {plugin.origin}: a scheme's name {rule}")
    return plugin


def traits_of(scheme: str) -> Traits:
    """Return what ``scheme`` says of itself; another package's is imported for it.

    Raises:
        ParameterError: there is no such scheme, its name is claimed twice, or it can't be imported or declares nothing.
    """
    plugin = scheme_plugin(scheme)
    if plugin is None:
        if scheme not in BUILT_IN:
            raise ParameterError(f"scheme={scheme!r} must be one of {', '.join(scheme_names())}")
        return BUILT_IN[scheme]
    found = getattr(plugin.load(), "traits", None)
    if not isinstance(found, Traits):
        raise ParameterError(f"scheme {scheme!r} of package {plugin.origin}: {plugin.entry.value} declares no Traits")
    return found


def parsed(arm: str) -> Recipe | None:
    """Return what ``arm`` says by its form alone, whether or not there is such a scheme; ``None`` for a reference.

    Raises:
        ValueError: it has not the form of an arm.
    """
    if arm in REFERENCES:
        return None
    parts = _NAME.fullmatch(_SHORT.sub(lambda found: _LONG[found[0]], arm))
    if parts is None:
        raise ValueError(_unknown(arm))
    return Recipe(parts["scheme"], parts["guard"] is not None, _privacy(arm, parts["unit"], parts["epsilon"]))


def recipe_of(arm: str) -> Recipe | None:
    """Return the recipe that ``arm`` names, ``None`` for a reference.

    Raises:
        ValueError: the name is not one, or it promises what no scheme keeps; a plug-in is not what it must be.
    """
    recipe = parsed(arm)
    if recipe is None:
        return None
    if recipe.scheme not in scheme_names():
        raise ValueError(_unknown(arm))
    _check(arm, recipe)
    return recipe


def _unknown(arm: str) -> str:
    return (
        f"arm {arm!r} is unknown: one of {', '.join(REFERENCES)}, or SCHEME[+guard][+dp|+partner-dp|+central-dp][=EPSILON] "
        f"with SCHEME one of {', '.join(scheme_names())}"
    )


def _privacy(arm: str, unit: str | None, epsilon: str | None) -> Privacy | None:
    if unit is None:
        return None
    value = None if epsilon is None else float(epsilon)
    if value is not None and not value > 0:
        raise ValueError(f"arm {arm!r}: epsilon={value} must be > 0")
    return Privacy(_UNITS[unit], value)


def _check(arm: str, recipe: Recipe) -> None:
    unit, traits = recipe.privacy.unit if recipe.privacy else None, recipe.traits
    if unit is Unit.PARTNER and not traits.exact:
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
