"""Protocol conformance: attacks on the protocols themselves, played against the code that every party runs.

``conformance_of`` plays every deviation that applies to a scheme and says of each whether it was refused (with the typed
reason), failed, or succeeded. A list of refusals is no proof: it covers these deviations, played this way. Beside each stands
the test in which the same attack succeeds against a variant with the defence taken out.

Not in the list, because it succeeds and nothing promises otherwise: a partner that drops out of one round shows its scaled
sample count (:data:`attacks.conformance.differencing.WEIGHING`). Sizes of partners are public here; a roster with a fixed
cohort refuses it all the same. Not played: an operator that hands *all* partners the same trap weights. The protocols make
sure that all saw one model; that it is the last one plus what was opened, every partner works out for itself
(:mod:`securefl.federation.shared_trunk`).
"""

from __future__ import annotations

import time

from attacks.conformance import (
    batch_of_one,
    capacity,
    ciphertexts,
    ckks_raw,
    collusion,
    differencing,
    identities,
    malformed_rlwe,
    masks,
    three_sums,
    unmasking,
)
from attacks.conformance.lab import Deviation, Lab, Outcome, play
from securefl.recipes import BUILT_IN, traits_of
from securefl.records import ConformanceRecord
from securefl.types import Progress, Rng, silent

DEVIATIONS: tuple[Deviation, ...] = (
    collusion.TWO,
    collusion.ALL_BUT_ONE,
    differencing.COHORTS,
    differencing.COUNTING,
    three_sums.STAGED,
    masks.REUSE,
    masks.FLOATS,
    masks.SEEDED,
    masks.CIPHERS,
    unmasking.BOTH_SHARES,
    unmasking.SPLITTING,
    unmasking.MIXED,
    identities.KEYS,
    identities.SYBILS,
    identities.MODELS,
    capacity.WRAP,
    ciphertexts.SINGLE,
    ciphertexts.COPIED,
    ciphertexts.NEGATED,
    ciphertexts.TWO_SETS,
    ciphertexts.LENGTHS,
    ckks_raw.RAW,
    batch_of_one.ONE,
    malformed_rlwe.MALFORMED,
    malformed_rlwe.PART,
)

__all__ = ["DEVIATIONS", "Deviation", "Lab", "Outcome", "conformance_of", "play"]


def conformance_of(arm: str, scheme: str, *, rng: Rng, progress: Progress = silent) -> tuple[ConformanceRecord, ...]:
    """Return what every deviation that applies to ``scheme`` comes to; none applies to a scheme that protects nothing."""
    brought = scheme not in BUILT_IN and traits_of(scheme).opener != "open"
    applying = [deviation for deviation in DEVIATIONS if scheme in deviation.against or (brought and deviation.anybody)]
    records = []
    for number, deviation in enumerate(applying):
        progress("protocol deviations", number, len(applying))
        begin = time.monotonic()
        outcome = play(deviation, Lab.of(scheme, rng=rng))
        records.append(
            ConformanceRecord(
                name=deviation.name,
                view=deviation.view,
                arm=arm,
                scheme=scheme,
                outcome=outcome.result,
                reason=outcome.reason,
                broken_variant=deviation.broken,
                seconds=time.monotonic() - begin,
            )
        )
    progress("protocol deviations", len(applying), len(applying))
    return tuple(records)
