"""Builds the views of the count of contributing partners, which a guarded arm may open before its first round.

V1 is the partner with the most compounds, which takes its own claims off the counts. V2 has the counts in a bit order that it
can't read: positions, and no substructures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.course.differential import COUNTS, Differences
from attacks.first_layer.released import Released
from attacks.interface import AdversaryView
from attacks.jobs import Desk, Job, not_run
from attacks.target import Target
from securefl.records import View

NO_COUNT = "no count of contributing partners was opened"
NOBODY = -1


def claims_of(released: Released, *, k: int) -> dict[int, NDArray[np.bool_]]:
    """Return by partner, bool (bits,), the bits that at least ``k`` of its training compounds have."""
    rows = {partner: released.fingerprints[part.compounds] > 0 for partner, part in released.parts.items()}
    return {partner: np.asarray(bits.sum(axis=0)).ravel() >= k for partner, bits in rows.items()}


def put_counts(target: Target, desk: Desk, released: Released, *, attacker: int, scramble: np.random.Generator) -> None:
    """Put the counts that the arm opened on the desk, as ``attacker`` (V1) and the operator (V2) see them, or say why not.

    ``scramble`` draws the bit order that the operator doesn't know.
    """
    about: dict[str, object] = {"arm": target.arm, "release": released.name}
    counts = released.contributors
    if counts is None:
        desk.put_records(not_run((COUNTS,), desk.wanted, COUNTS.views, reason=NO_COUNT, about=about))
        return
    claims = claims_of(released, k=target.config.guard.k)
    clear = np.arange(len(counts))
    seats: tuple[tuple[View, int, NDArray[np.int64]], ...] = (
        ("V1", attacker, clear), ("V2", NOBODY, scramble.permutation(clear)),
    )  # fmt: skip
    for view, own, order in seats:
        others = [claim for partner, claim in claims.items() if partner != own]
        mine = claims.get(own, np.zeros(len(counts), dtype=bool))
        tensors = {"counts": counts[order], "own": mine[order]}
        desk.put(
            Job(
                view=AdversaryView(view=view, tensors=tensors, facts={}),
                attacks=(COUNTS,),
                truth=Differences(bringer=np.where(np.sum(others, axis=0) == 1, clear, NOBODY)[order]),
                about={**about, "bits": len(counts), "coordinates": "clear" if view == "V1" else "scrambled"},
            )
        )
