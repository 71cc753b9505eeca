"""Sums over too few: two partners, and a consortium in which all but one work together.

No scheme hides a summand from those who know all others. What a scheme can do is to refuse the configuration: fewer than
three partners, and a promise to stand as many colluders as would leave one.
"""

from __future__ import annotations

from dataclasses import replace

from attacks.conformance.lab import PARTIES, PROTECTING, Deviation, Lab, Outcome, reached, updates_of
from securefl.secagg.bfv_sum import BfvOptions
from securefl.secagg.ckks_sum import CkksOptions
from securefl.secagg.masking import MaskingOptions
from securefl.secagg.paillier_sum import PaillierOptions, shipped_options
from securefl.secagg.policy import Policy
from securefl.secagg.rounds import run_round
from securefl.types import ClientId

TESTS = "tests/attacks/test_conformance_sums.py"
VICTIM = ClientId(1)


def _others_known(lab: Lab, parties: int, options: object | None) -> Outcome:
    """Run an honest round; everybody but the victim works together, and subtracts what it knows."""
    setup, updates = lab.set_up(parties, options=options), updates_of(parties)
    opened = run_round(
        setup, updates, weights=dict.fromkeys(updates, 1), round=1, model_hash=bytes(32), rng=lab.rng,
        quantizer=lab.quantizer(parties),
    )  # fmt: skip
    left = opened.total - sum(update for client, update in updates.items() if client != VICTIM)
    return reached(updates[VICTIM], left, "the victim's update", within=opened.quantization_bound)


def two_partners(lab: Lab) -> Outcome:
    """Found a consortium of two: the other one subtracts its own update from the sum."""
    return _others_known(lab, 2, None)


def tolerating(lab: Lab, colluders: int) -> object:
    """Return the scheme's options with a roster that promises to stand ``colluders``.

    Raises:
        ParameterError: no such promise can be kept.
    """
    if lab.scheme in ("masking", "masking-static"):
        return lab.options or MaskingOptions(colluders=colluders, threshold=PARTIES)
    policy = Policy(parties=PARTIES, threshold=PARTIES, colluders=colluders)
    if lab.scheme == "ckks":
        return CkksOptions(policy=policy)
    if lab.scheme == "bfv":
        return BfvOptions(policy=policy)
    paillier = lab.options if isinstance(lab.options, PaillierOptions) else shipped_options()
    return replace(paillier, policy=policy)


def all_but_one(lab: Lab) -> Outcome:
    """Ask for a roster that stands all but one colluding, then let them collude."""
    return _others_known(lab, PARTIES, tolerating(lab, PARTIES - 1))


TWO = Deviation(
    name="two_partners",
    view="V1",
    against=PROTECTING,
    anybody=True,
    run=two_partners,
    broken=f"{TESTS}::test_a_sum_of_two_gives_the_other_one_away",
)
ALL_BUT_ONE = Deviation(
    name="all_but_one_colluding",
    view="V2c",
    against=PROTECTING,
    run=all_but_one,
    broken=f"{TESTS}::test_a_promise_that_no_sum_keeps_is_broken",
)
