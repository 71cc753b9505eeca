"""Differences of sums: cohorts that change over rounds, counts that don't, and the weights that travel with every update.

One sum over all and one without the victim give the victim. Updates of different models are different inputs; what never
changes (counts, sample sizes) is the same input in every round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.conformance.lab import PROTECTING, Deviation, Lab, Outcome, Vectors, reached, updates_of
from securefl.secagg.base import Setup
from securefl.secagg.rounds import RoundResult, run_round
from securefl.types import ClientId

TESTS = "tests/attacks/test_conformance_sums.py"
VICTIM = ClientId(5)
SAME_MODEL = b"m" * 32
COUNTS = b"c" * 32
WEIGHT = "the scaled sample count of a partner that dropped out of one round; a roster with a fixed cohort refuses that"
WEIGHTS = {ClientId(1): 3, ClientId(2): 5, ClientId(3): 8, ClientId(4): 2, VICTIM: 7}


def _round(
    lab: Lab, setup: Setup, number: int, model: bytes, *, absent: frozenset[ClientId], updates: Vectors
) -> RoundResult:
    """Run a round that the clients ``absent`` leave before they send their vectors."""
    return run_round(
        setup,
        updates,
        weights={client: WEIGHTS[client] for client in updates},
        round=number,
        model_hash=model,
        rng=lab.rng,
        quantizer=lab.quantizer(),
        dropouts=dict.fromkeys(absent),
    )


def disaggregated(results: Sequence[RoundResult], clients: Sequence[ClientId]) -> NDArray[np.float64]:
    """Return each client's weighted update as the sums over changing cohorts determine it, shape (clients, d).

    Least squares on the matrix of who took part: a client that the sums determine comes out exactly.
    """
    took_part = np.array([[float(client in result.survivors) for client in clients] for result in results])
    return np.asarray(np.linalg.lstsq(took_part, np.stack([result.total for result in results]), rcond=None)[0])


def changing_cohorts(lab: Lab) -> Outcome:
    """Open sums over the same updates with another partner missing each time, and solve for the single ones."""
    setup, updates = lab.set_up(), updates_of()
    clients = sorted(updates)
    results = [
        _round(lab, setup, number, SAME_MODEL, absent=frozenset(absent), updates=updates)
        for number, absent in enumerate([[], *([client] for client in reversed(clients))], start=1)
    ]
    found = disaggregated(results, clients)[clients.index(VICTIM)]
    bound = 4 * max(result.quantization_bound for result in results)
    what = "every partner's update from sums over changing cohorts"
    return reached(WEIGHTS[VICTIM] * updates[VICTIM], found, what, within=bound)


def static_counts(lab: Lab) -> Outcome:
    """Open the same secure count twice, once without the victim."""
    setup = lab.set_up()
    counts = {client: np.round(64 * update) / 64 for client, update in updates_of().items()}
    full, less = (
        _round(lab, setup, number, COUNTS, absent=frozenset(absent), updates=counts)
        for number, absent in ((1, []), (2, [VICTIM]))
    )
    bound = full.quantization_bound + less.quantization_bound
    return reached(WEIGHTS[VICTIM] * counts[VICTIM], full.total - less.total, "the victim's counts", within=bound)


def static_weights(lab: Lab) -> Outcome:
    """Take the opened weights of two rounds of training, once with the victim and once without."""
    setup = lab.set_up()
    full, less = (
        _round(lab, setup, number, bytes([number]) * 32, absent=frozenset(absent), updates=updates_of(seed=number))
        for number, absent in ((1, []), (2, [VICTIM]))
    )
    found = np.array([full.weight - less.weight])
    return reached(np.array([WEIGHTS[VICTIM]]), found, WEIGHT)


COHORTS = Deviation(
    name="changing_cohorts",
    view="V2",
    against=PROTECTING,
    anybody=True,
    run=changing_cohorts,
    broken=f"{TESTS}::test_sums_over_changing_cohorts_are_solved",
)
COUNTING = Deviation(
    name="differencing_of_static_counts",
    view="V2",
    against=PROTECTING,
    anybody=True,
    run=static_counts,
    broken=f"{TESTS}::test_counts_are_differenced",
)
# Known to succeed where the roster lets cohorts change: sizes of partners are public, so no scheme is asked to refuse it.
WEIGHING = Deviation(
    name="differencing_of_sample_weights",
    view="V2",
    against=PROTECTING,
    run=static_weights,
    broken=f"{TESTS}::test_sample_weights_are_differenced",
)
