"""What every client enforces by itself, whatever the operator says: thresholds, and a round number that only grows.

With at most ``colluders`` partners on the operator's side, 2t > n + c means that no two unmasking requests of one round can
both find t answers unless they are the same request (proofs: Quorum.v; the bound is tight). ``minimum + colluders``
survivors mean that a sum hides each partner among at least ``minimum`` honest ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from securefl.errors import ParameterError

MAX_PARTIES = 999
"""Client numbers stay below those of decryptors."""


class ExposureRule(Enum):
    """What a client does when different rounds' updates, if they were equal, would expose too few partners."""

    WARN = "warn"
    FIXED_COHORT = "fixed-cohort"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Thresholds for ``parties`` clients, of whom ``colluders`` may work with the operator.

    >>> Policy.smallest(5).threshold, Policy.smallest(3).threshold, Policy.smallest(3, colluders=0).threshold
    (4, 3, 2)
    """

    parties: int
    threshold: int
    colluders: int = 1
    minimum: int = 2

    def __post_init__(self) -> None:
        if not 2 <= self.parties <= MAX_PARTIES:
            raise ParameterError(f"parties={self.parties} must be in 2..{MAX_PARTIES}")
        if self.colluders < 0:
            raise ParameterError(f"colluders={self.colluders} must be >= 0")
        if self.minimum < 2:
            raise ParameterError(f"minimum={self.minimum} must be >= 2: a sum over one partner is that partner's update")
        if not 2 * self.threshold > self.parties + self.colluders:
            raise ParameterError(
                f"threshold={self.threshold} must be > (n + c) / 2 (n={self.parties}, c={self.colluders})"
            )
        if self.required > self.parties:
            raise ParameterError(
                f"n={self.parties} must be >= max(threshold={self.threshold}, minimum={self.minimum} + c={self.colluders})"
            )

    @classmethod
    def smallest(cls, parties: int, *, colluders: int = 1, minimum: int = 2) -> Policy:
        """Return the policy with the smallest threshold that 2t > n + c allows: it tolerates the most dropouts."""
        return cls(parties=parties, threshold=(parties + colluders) // 2 + 1, colluders=colluders, minimum=minimum)

    @property
    def required(self) -> int:
        """The fewest survivors whose sum a client helps to open: max(t, minimum + c)."""
        return max(self.threshold, self.minimum + self.colluders)
