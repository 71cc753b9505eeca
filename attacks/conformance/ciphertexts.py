"""Homomorphic sums: one ciphertext as the sum, copies and negatives, two sets of decryptors, lengths that differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.conformance.ballots import Ballots
from attacks.conformance.lab import ENCRYPTED, TOY_BITS, Deviation, Lab, Outcome, reached
from securefl.crypto.paillier import add_ciphertexts, decode_ciphertexts, encode_ciphertexts
from securefl.crypto.plaintext_proof import proof_size
from securefl.secagg.committed_messages import Upload, commit, upload
from securefl.secagg.paillier_sum import shipped_options
from securefl.types import ClientId

TESTS = "tests/attacks/test_conformance_sums.py"
VICTIM, CHEAT = ClientId(1), ClientId(5)
ASKED_ONCE = ("paillier", "ckks", "bfv")
"""Schemes whose decryptors answer one request; threshold RLWE's sign the set first, which these attacks don't play."""


def steps_of(ballots: Ballots, client: ClientId) -> NDArray[np.float64]:
    """Return a client's vector in steps."""
    return ballots.inputs[client].view(np.int32).astype(np.float64)


def single_ciphertext(lab: Lab) -> Outcome:
    """Ask the decryptors for the "sum" of the victim alone, then of the victim five times."""
    ballots = Ballots(lab, lab.set_up())
    uploads = ballots.uploads()
    opened = ballots.open({VICTIM: uploads[VICTIM]})
    return reached(steps_of(ballots, VICTIM)[:-1], opened.total[:-1], "the victim's vector", within=opened.error_bound)


def replaced(ballots: Ballots, body: bytes) -> dict[ClientId, Upload]:
    """Return all uploads with the cheat's ciphertexts replaced, signed with its real key, after it saw the others'."""
    terms, uploads, listed = ballots.scheme.terms, ballots.uploads(), ballots.commitments()
    signer = ballots.scheme.parties[CHEAT].signer
    message = upload(terms, listed.by_sender[CHEAT], signer, commitments=listed, body=body)
    return {**uploads, CHEAT: Upload(CHEAT, memoryview(body), message)}


def copied_ciphertext(lab: Lab) -> Outcome:
    """Send the victim's ciphertexts as one's own: the sum then holds the victim twice."""
    ballots = Ballots(lab, lab.set_up())
    honest = sum(steps_of(ballots, client) for client in ballots.clients if client != CHEAT)
    opened = ballots.open(replaced(ballots, ballots.body(VICTIM)))
    left = opened.total.astype(np.float64) - honest
    return reached(steps_of(ballots, VICTIM)[:-1], left[:-1], "a sum that counts the victim twice", within=opened.error_bound)


def negated_ciphertexts(lab: Lab) -> Outcome:
    """Send the negative of everybody else's ciphertexts but the victim's: the sum is then the victim alone."""
    ballots = Ballots(lab, lab.set_up())
    cipher: Any = ballots.cipher
    public, count = cipher.encryptor.public, cipher.packing.plaintexts(ballots.length)
    others = [client for client in ballots.clients if client not in (VICTIM, CHEAT)]
    start = proof_size(cipher.encryptor)
    bodies = [decode_ciphertexts(public, ballots.body(client)[start:], count=count) for client in others]
    total = add_ciphertexts(public, bodies)
    negated = encode_ciphertexts(public, [pow(int(c), -1, int(public.n_squared)) for c in total])
    opened = ballots.open(replaced(ballots, ballots.body(CHEAT)[:start] + negated))
    return reached(steps_of(ballots, VICTIM), opened.total.astype(np.float64), "the victim's vector")


def two_decryptor_sets(lab: Lab) -> Outcome:
    """Have one set of decryptors open the sum of all, and another one, in the same round, the sum without the victim."""
    # Paillier with a decryptor for each partner; the others have one decryptor, which is then asked twice.
    ballots = Ballots(lab, lab.set_up(options=shipped_options(TOY_BITS) if lab.scheme == "paillier" else None))
    uploads = ballots.uploads()
    parties, answers = sorted(ballots.decryptors), ballots.scheme.terms.answers
    full = ballots.open(uploads, parties[:answers])
    less = ballots.open({c: u for c, u in uploads.items() if c != VICTIM}, parties[-answers:])
    found = full.total.astype(np.float64) - less.total
    return reached(steps_of(ballots, VICTIM), found, "the victim's vector", within=full.error_bound + less.error_bound)


def length_that_differs(lab: Lab) -> Outcome:
    """Commit to a vector of another length than everybody else's: chunks of the sum then belong to different coordinates."""
    ballots = Ballots(lab, lab.set_up())
    terms, signer = ballots.scheme.terms, ballots.scheme.parties[CHEAT].signer
    longer = np.concatenate([ballots.inputs[CHEAT][:-1], ballots.inputs[CHEAT]])
    body = ballots.cipher.encrypt(longer, me=CHEAT, rng=lab.rng)
    own = commit(terms, CHEAT, signer, length=2 * ballots.length - 1, body=body)
    ballots.commits[CHEAT] = own.encoded
    honest = [client for client in ballots.clients if client != CHEAT]
    uploads = ballots.uploads(honest)
    return Outcome("succeeded" if uploads else "failed", "vectors of different lengths are summed")


SINGLE = Deviation(
    name="one_ciphertext_as_the_sum",
    view="V5",
    against=ASKED_ONCE,
    run=single_ciphertext,
    broken=f"{TESTS}::test_decryptors_without_a_minimum_open_one_ciphertext",
)
COPIED = Deviation(
    name="copied_ciphertexts",
    view="V5",
    against=ASKED_ONCE,
    run=copied_ciphertext,
    broken=f"{TESTS}::test_without_commitments_ciphertexts_are_copied",
)
NEGATED = Deviation(
    name="negated_ciphertexts",
    view="V5",
    against=("paillier",),
    run=negated_ciphertexts,
    broken=f"{TESTS}::test_without_commitments_ciphertexts_are_negated",
)
TWO_SETS = Deviation(
    name="two_decryptor_sets",
    view="V5",
    against=ASKED_ONCE,
    run=two_decryptor_sets,
    broken=f"{TESTS}::test_decryptors_that_forget_open_two_sums",
)
LENGTHS = Deviation(
    name="length_that_differs",
    view="V5",
    against=ENCRYPTED,
    run=length_that_differs,
    broken=f"{TESTS}::test_lengths_that_nobody_compares_differ",
)
