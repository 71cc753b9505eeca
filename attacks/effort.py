"""How much an audit may spend: the demo's minutes, or as long as it needs (``securefl attack RUN --budget full``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from securefl.config import AttackConfig
from securefl.records import ArmRecord

Budget = Literal["default", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a budget buys.

    Attributes:
        longer: the recovery search may take so many times the config's seconds.
        shadows: so many times the config's shadow models.
        library: public compounds that molecules are looked up in.
        targets: recovered fingerprints without a match for which molecules are grown. evaluations: fingerprints for each.
    """

    budget: Budget
    longer: float
    shadows: int
    library: int
    targets: int
    evaluations: int


EFFORTS = MappingProxyType(
    {
        "default": Effort(budget="default", longer=1.0, shadows=1, library=1000, targets=2, evaluations=300),
        "full": Effort(budget="full", longer=20.0, shadows=16, library=100_000, targets=32, evaluations=1_000),
    }
)
"""What each budget buys, by its name."""
DEFAULT = EFFORTS["default"]
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Outlook:
    """Before an audit begins: how many ``shadows`` it trains, and about how many ``seconds`` of one core that takes."""

    shadows: int
    seconds: float


def outlook(arms: Iterable[ArmRecord], config: AttackConfig, effort: Effort) -> Outlook:
    """Return what the shadow models of ``arms`` will take, by the time that their training took on twice the compounds."""
    each: dict[str, float] = {}
    for arm in arms:
        if arm.scheme is not None and (arm.dp is None or arm.dp.unit == "record"):
            # One set serves all arms of a recipe; one that began from another's end trained less than a shadow will.
            recipe = PLAIN if arm.dp is None else str(arm.dp.epsilon)
            each[recipe] = max(each.get(recipe, 0.0), arm.cost.training_seconds / len(arm.seeds) / 2)
    counts = {recipe: effort.shadows * (config.shadows if recipe == PLAIN else config.dp_shadows) for recipe in each}
    return Outlook(sum(counts.values()), sum(counts[recipe] * each[recipe] for recipe in each))
