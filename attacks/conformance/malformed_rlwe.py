"""A malformed RLWE ciphertext that extracts the round's key, played on toy parameters (:mod:`attacks.conformance.rlwe_toy`).

It succeeds: encryptors of every lattice sum here are assumed honest, and nothing proves that an upload is well formed. What the
schemes do is to give every round a key of its own, so that the next round's uploads stay shut. The toy has the arithmetic of
the threshold scheme; BFV and CKKS rest on the same assumption, so its success is held against them too.
"""

from __future__ import annotations

import numpy as np

from attacks.conformance.lab import Deviation, Lab, Outcome
from attacks.conformance.rlwe_toy import extract_secret, make_toy, malformed_upload, open_single, secret_score
from securefl.crypto.rlwe.budget import CANARIES
from securefl.errors import DecodeError

ELEMENTS = 1500
HOLDERS, THRESHOLD, MEMBERS = 3, 2, (1, 3)


def malformed_ciphertext(lab: Lab) -> Outcome:
    """Send one malformed upload beside two honest ones, read the key off the opened sum, and open the victim's upload."""
    key = make_toy(holders=HOLDERS, threshold=THRESHOLD, elements=ELEMENTS, rng=lab.rng)
    draw = np.random.default_rng(13)
    plain = draw.integers(-(1 << 18), 1 << 18, (2, ELEMENTS, 64))
    plain[:, :, -CANARIES:] = 0
    honest = [key.encrypt(one, rng=lab.rng) for one in plain]
    total = key.total([*honest, malformed_upload(key.budget, ELEMENTS)], MEMBERS, rng=lab.rng)
    guess = extract_secret(total, key.budget)
    score = secret_score(guess, key)
    try:
        opened = open_single(honest[0], guess, key.budget)
    except DecodeError:
        return Outcome("failed", f"{score.k} of {score.n} coefficients of the toy key, not enough to open an upload")
    if not np.array_equal(opened, plain[0]):
        return Outcome("failed", f"{score.k} of {score.n} coefficients of the toy key, and a wrong vector")
    return Outcome(
        "succeeded",
        f"{score.k} of {score.n} coefficients of the round's toy key, and a single upload; encryptors are assumed honest here",
    )


MALFORMED = Deviation(
    name="malformed_rlwe_ciphertext",
    view="V5",
    against=("rlwe", "bfv", "ckks"),
    run=malformed_ciphertext,
    broken="tests/attacks/test_rlwe_toy.py::test_one_malformed_upload_extracts_the_key_unnoticed_and_opens_single_uploads",
)
