"""What shadow models say: their losses on every cell, and which compounds each one trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadows:
    """``losses`` float64 (k, cells) of each shadow on each cell; ``inside`` bool (k, compounds), whether it trained on it."""

    losses: NDArray[np.float64]
    inside: NDArray[np.bool_]
