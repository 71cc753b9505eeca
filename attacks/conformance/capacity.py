"""Wrap-around: values whose sum leaves the ring, so that the opened sum is another one, silently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attacks.conformance.lab import PROTECTING, Deviation, Lab, Outcome, updates_of
from securefl.quantize import Quantizer
from securefl.secagg import schemes
from securefl.secagg.rounds import run_round
from securefl.types import ClientId

TESTS = "tests/attacks/test_conformance_sums.py"
PARTIES = 5


def narrow(quantizer: Quantizer) -> Quantizer:
    """Return a quantiser under which one value fits the ring and five don't."""
    return replace(quantizer, scale_bits=quantizer.ring_bits - 2, clip=1.0, max_weight=1)


def wrap_around(lab: Lab) -> Outcome:
    """Set a run up whose sum does not fit, let everybody send the largest value, and see whether anybody notices."""
    clients = [ClientId(i) for i in range(1, PARTIES + 1)]
    quantizer = narrow(lab.quantizer())
    setup = schemes()[lab.scheme](
        clients, quantizer=quantizer, run_id=lab.rng.bytes(32), rng=lab.rng, options=lab.options
    )
    updates = dict.fromkeys(clients, np.ones(len(updates_of()[ClientId(1)])))
    result = run_round(
        setup, updates, weights=dict.fromkeys(clients, 1), round=1, model_hash=bytes(32), rng=lab.rng, quantizer=quantizer
    )
    wrong = result.max_abs_error > result.quantization_bound
    return Outcome("succeeded" if wrong else "failed", f"the opened sum is off by {result.max_abs_error:.3g}, unnoticed")


WRAP = Deviation(
    name="wrap_around",
    view="V5",
    against=PROTECTING,
    anybody=True,
    run=wrap_around,
    broken=f"{TESTS}::test_a_ring_that_is_too_small_wraps_silently",
)
