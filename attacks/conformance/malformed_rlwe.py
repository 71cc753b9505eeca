"""Malformed RLWE ciphertexts and key parts, played on toy parameters (:mod:`attacks.conformance.rlwe_toy`).

Both succeed. *Ciphertexts*: one malformed upload extracts the round's key. Encryptors of every lattice sum here are assumed
honest, and nothing proves that an upload is well formed. What the schemes do is to give every round a key of its own, so that
the next round's uploads stay shut. The toy has the arithmetic of the threshold scheme; BFV and CKKS rest on the same
assumption, so its success is held against them too. *Key parts*: a decryptor that makes its part of a joint key with a large
error sees, with the operator, the sum of the uploads' ephemeral secrets (:mod:`attacks.conformance.rlwe_toy_part`).
"""

from __future__ import annotations

import numpy as np

from attacks.conformance.lab import Deviation, Lab, Outcome
from attacks.conformance.rlwe_toy import extract_secret, make_toy, malformed_upload, open_single, secret_score
from attacks.conformance.rlwe_toy_part import oversized_error, recover_ephemeral, summed_errors
from securefl.crypto.rlwe.budget import CANARIES
from securefl.crypto.rlwe.samplers import BINOMIAL_BITS
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


def oversized_part(lab: Lab) -> Outcome:
    """Make a part of the key with a large error, and read the sum of the uploads' ephemeral secrets off an opened sum."""
    elements = 4
    key = make_toy(holders=HOLDERS, threshold=THRESHOLD, elements=elements, rng=lab.rng, oversized=oversized_error)
    plain = np.zeros((elements, 64), np.int64)
    bodies = [key.encrypt(plain, rng=lab.rng) for _ in range(HOLDERS)]
    ephemeral = recover_ephemeral(key.total(bodies, MEMBERS, rng=lab.rng), key.budget)
    if np.abs(summed_errors(bodies, ephemeral, key)).max() > HOLDERS * BINOMIAL_BITS:
        return Outcome("failed", "did not find the sum of the uploads' ephemeral secrets")
    what = f"the sum of {HOLDERS} uploads' ephemeral secrets in {ephemeral.size} of {ephemeral.size} coefficients, toy key"
    return Outcome("succeeded", f"{what}: a hint about each; decryptors are assumed honest when they make the key")


MALFORMED = Deviation(
    name="malformed_rlwe_ciphertext",
    view="V5",
    against=("rlwe", "bfv", "ckks"),
    run=malformed_ciphertext,
    broken="tests/attacks/test_rlwe_toy.py::test_one_malformed_upload_extracts_the_key_unnoticed_and_opens_single_uploads",
)
PART = Deviation(
    name="oversized_rlwe_key_part",
    view="V5",
    against=("rlwe",),
    run=oversized_part,
    broken="tests/attacks/test_rlwe_toy.py::test_a_decryptor_whose_key_part_is_not_short_shows_the_sum_of_the_ephemeral_secrets",
)
