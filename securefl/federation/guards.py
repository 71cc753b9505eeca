"""The guard of the first layer, enforced by each partner itself: minimum support, and a minimum of contributing partners.

The first layer is linear in binary inputs: the row of a bit that one compound alone has changes by that compound's own
error signal, and shows it. The guard withholds a bit's row unless at least ``k`` of the partner's own training compounds
have it: the row's delta is absent (exactly zero in what enters aggregation), and the partner's local row goes back to the
shared one, every round, so that no later round releases what an earlier one withheld. Where the number of partners that
contribute to each row is known (:mod:`securefl.federation.contributors`), rows with too few of them are withheld alike.

What it does NOT protect: bits that ``k`` or more compounds have (a sum over several rare bits still shows combinations), the
other layers and the bias, on which the withheld compounds were trained too, and membership. It is not differential privacy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from securefl.errors import ParameterError

FIRST_WEIGHT = "first.weight"
"""The trunk's tensor that has a row for each bit."""


@dataclass(frozen=True, slots=True)
class SupportGuard:
    """``withheld`` and ``supported``, bool (bits,): the bits whose rows this partner does not release, and those that ``k``
    or more of its compounds have.

    A bit that none of its compounds has is not counted as withheld: its row never moves.
    """

    k: int
    withheld: NDArray[np.bool_]
    supported: NDArray[np.bool_]

    @classmethod
    def of(cls, support: NDArray[np.int64], *, k: int) -> SupportGuard:
        """Return the guard for a partner whose ``support[b]`` training compounds have bit ``b``.

        Raises:
            ParameterError: ``k`` is under 2, which would withhold nothing.
        """
        if k < 2:
            raise ParameterError(f"guard k={k} must be >= 2")
        return cls(k, (support > 0) & (support < k), support >= k)

    def narrowed(self, contributors: NDArray[np.int64], *, partners: int) -> SupportGuard:
        """Return the guard that also withholds the supported rows with fewer than ``partners`` ``contributors``, int64 (bits,).

        What an earlier count withheld is looked at anew.
        """
        few = self.supported & (contributors < partners)
        return replace(self, withheld=(self.withheld & ~self.supported) | few)

    def released(
        self, local: dict[str, NDArray[np.float32]], shared: dict[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the ``local`` tensors with the withheld rows of the first layer as they are in ``shared``.

        The partner loads the result back into its own trunk before it takes the difference.
        """
        if FIRST_WEIGHT not in local:
            return local
        rows = local[FIRST_WEIGHT].copy()
        rows[self.withheld] = shared[FIRST_WEIGHT][self.withheld]
        return {**local, FIRST_WEIGHT: rows}
