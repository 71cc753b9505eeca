"""Three sums over the same updates that show two partners, though nobody takes part in all three.

Any two of them show nothing, so no single partner's or decryptor's own record tells what the operator stages: partners must
tell each other of earlier sums, and decryptors, who hear nothing of each other, must open a model for one cohort alone.
"""

from __future__ import annotations

import numpy as np

from attacks.conformance.lab import PROTECTING, Deviation, Lab, Outcome, reached, updates_of
from securefl.secagg.rounds import run_round
from securefl.types import ClientId

PARTIES = 8
SAME_MODEL = b"m" * 32
COHORTS = ((1, 2, 3, 4, 5), (4, 5, 6, 7, 8), (1, 2, 3, 6, 7, 8))
"""The first and the second without the third are partners 4 and 5, twice."""


def three_sums(lab: Lab) -> Outcome:
    """Open a sum of each cohort over the same updates, as an operator does that declares the others dropped."""
    setup, updates = lab.set_up(PARTIES), updates_of(PARTIES)
    first, second, third = (
        run_round(
            setup,
            {ClientId(client): updates[ClientId(client)] for client in cohort},
            weights={ClientId(client): 1 for client in cohort},
            round=number,
            model_hash=SAME_MODEL,
            rng=lab.rng,
            quantizer=lab.quantizer(PARTIES),
        )
        for number, cohort in enumerate(COHORTS, start=1)
    )
    bound = sum(result.quantization_bound for result in (first, second, third))
    shown = (first.total + second.total - third.total) / 2
    both = np.asarray(updates[ClientId(4)] + updates[ClientId(5)])
    return reached(both, shown, "the sum of two partners, from three sums that nobody has all of", within=bound)


STAGED = Deviation(
    name="three_staged_sums",
    view="V5",
    against=PROTECTING,
    run=three_sums,
    broken="tests/attacks/test_conformance_sums.py::test_three_staged_sums_show_two_partners",
)
