"""The guard of the first layer, enforced by each partner itself: minimum support, and a minimum of contributing partners.

The first layer is linear in binary inputs: the row of a bit that one compound alone has changes by that compound's own
error signal, and shows it. The guard withholds a bit's row unless at least ``k`` of the partner's own training compounds
have it, each fingerprint counted once: three stereoisomers, or one molecule under three names, are one pattern that the row
would show. The row's delta is absent (exactly zero in what enters aggregation), and the partner's local row goes back to the
shared one, every round, so that no later round releases what an earlier one withheld. Where the number of partners that
contribute to each row is known (:mod:`securefl.federation.contributors`), rows with too few of them are withheld alike.

What it does NOT protect: bits that ``k`` or more fingerprints have (a sum over several rare bits still shows combinations,
and a series of analogues what it shares), the other layers and the bias, on which the withheld compounds were trained too,
and membership. Fingerprints that differ in one bit count as different: whoever can put compounds into the partner's table
supports all bits of one that is there by ``k`` - 1 near-copies. It is not differential privacy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from securefl.errors import ParameterError

FIRST_WEIGHT = "first.weight"
"""The trunk's tensor that has a row for each bit."""


def distinct_support(fingerprints: sp.csr_matrix) -> NDArray[np.int64]:
    """Return how many different rows of ``fingerprints``, binary CSR (n, bits), have each bit, int64 (bits,).

    >>> distinct_support(sp.csr_matrix([[1, 1, 0], [1, 1, 0], [1, 0, 0]])).tolist()
    [2, 1, 0]
    """
    table = fingerprints.sorted_indices()
    different = {row.tobytes(): row for row in np.split(table.indices, table.indptr[1:-1])}
    return np.bincount(np.concatenate(list(different.values())), minlength=table.shape[1])


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
        """Return the guard for a partner of whose compounds ``support[b]`` have bit ``b``.

        Raises:
            ParameterError: ``k`` is under 2, which would withhold nothing.
        """
        if k < 2:
            raise ParameterError(f"guard k={k} must be >= 2")
        return cls(k, (support > 0) & (support < k), support >= k)

    @classmethod
    def on(cls, fingerprints: sp.csr_matrix, *, k: int) -> SupportGuard:
        """Return the guard for a partner with training ``fingerprints``, CSR (n, bits); errors as for :meth:`of`."""
        return cls.of(distinct_support(fingerprints), k=k)

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
