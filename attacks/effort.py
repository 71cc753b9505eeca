"""How much an audit may spend: the demo's minutes, or as long as it needs (``securefl attack RUN --budget full``)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

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
        "full": Effort(budget="full", longer=20.0, shadows=16, library=100_000, targets=32, evaluations=5_000),
    }
)
"""What each budget buys, by its name."""
DEFAULT = EFFORTS["default"]
