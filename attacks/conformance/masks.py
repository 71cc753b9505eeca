"""Masks that don't mask: used twice, not uniform on the ring, from a seed that can be guessed, by different ciphers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from attacks.conformance.lab import (
    LENGTH,
    MASKED,
    MASKING,
    Deviation,
    Lab,
    Outcome,
    context_of,
    reached,
    ring_of,
    updates_of,
)
from attacks.conformance.masking_stage import VICTIM, MaskingStage
from securefl.crypto import agreement
from securefl.crypto.keystream import Cipher
from securefl.secagg.base import Setup
from securefl.secagg.codec import Reader
from securefl.secagg.envelope import head_size
from securefl.secagg.masking.client import RoundSecrets
from securefl.secagg.masking.messages import Phase
from securefl.types import ClientId, RingVector

TESTS = "tests/attacks/test_conformance_masking.py"
SEEDS = 1 << 12
"""Seeds that a guesser tries: what a clock's seconds within an hour, a rank or a process number hold."""
TESTED = 1 << 14
"""Coordinates on which the masks' distribution is looked at."""
STEPS_APART = 1 << 20
SIGMAS = 6.0
RARE = 1e-9


def masked_vector(lab: Lab, setup: Setup, update: NDArray[np.float64], *, round: int) -> RingVector:
    """Return the victim's masked vector of a round, as it lies on the wire."""
    if lab.scheme == "masking":
        inputs = {**dict.fromkeys(updates_of(), np.zeros(len(update))), VICTIM: update}
        return MaskingStage(lab, setup, round=round, inputs=inputs).up_to(Phase.MASKED_INPUT).masked(VICTIM)
    scheme = setup.round(context_of(setup, round))
    step = scheme.client(VICTIM, ring_of(update, lab.quantizer()), rng=lab.rng)
    return Reader(step.outbound[head_size(scheme.wire_id) :]).vector(len(update) + 1, lab.quantizer().dtype).copy()


def mask_reuse(lab: Lab) -> Outcome:
    """Let the victim mask two updates, in two rounds and then in one, and subtract the messages."""
    first, second = updates_of(seed=1)[VICTIM], updates_of(seed=2)[VICTIM]
    quantizer = lab.quantizer()
    goal = ring_of(first, quantizer) - ring_of(second, quantizer)

    def tried(rounds: tuple[int, int]) -> Callable[[Lab], Outcome]:
        def run(inner: Lab) -> Outcome:
            setup = inner.set_up()
            sent = [masked_vector(inner, setup, u, round=r) for u, r in zip((first, second), rounds, strict=True)]
            return reached(goal, (sent[0] - sent[1])[: LENGTH + 1], "the difference of two updates under one mask")

        return run

    across = tried((1, 2))(lab)
    return across if across.result == "succeeded" else tried((1, 1))(lab)


def leak_of(send: Callable[[NDArray[np.float64]], RingVector]) -> Outcome:
    """Return whether masked vectors tell two inputs apart: by correlation with their difference, or by an uneven ring.

    Args:
        send: returns the victim's masked vector for an update, fresh masks every time.
    """
    pattern = np.where(np.random.default_rng(3).random(TESTED) < 0.5, -1.0, 1.0)
    words = send(pattern)[:TESTED]
    values = words.view(np.int32 if words.dtype.itemsize == 4 else np.int64).astype(np.float64)
    sigmas = float(values @ pattern / np.sqrt(TESTED) / max(float(values.std()), 1.0))
    top = np.bincount((words >> np.array(8 * words.dtype.itemsize - 8, words.dtype)).astype(np.int64), minlength=256)
    uneven = float(chi2.sf(float(((top - TESTED / 256) ** 2).sum() * 256 / TESTED), 255))
    figures = f"correlation of {sigmas:.1f} standard errors, uniformity p = {uneven:.2g} on {TESTED} words"
    return Outcome("succeeded" if abs(sigmas) > SIGMAS or uneven < RARE else "failed", figures)


def float_masks(lab: Lab) -> Outcome:
    """Look for the victim's update in its masked vector, as real-valued masks would leave it there."""
    setup = lab.set_up()
    return leak_of(lambda update: masked_vector(lab, setup, update, round=1))


class SmallSeedRng:
    """A stream from a small integer, as a generator has that is seeded by a rank, a clock or a constant. Never for secrets."""

    def __init__(self, seed: int) -> None:
        self._seed, self._block = seed, 0

    def bytes(self, size: int) -> bytes:
        """Return the next bytes of the stream."""
        out = b""
        while len(out) < size:
            out += hashlib.sha256(f"{self._seed} {self._block}".encode()).digest()
            self._block += 1
        return out[:size]


def low_entropy_seeds(lab: Lab, *, rng_of: Callable[[ClientId], SmallSeedRng] | None = None) -> Outcome:
    """Try every small seed against the public keys that the victim advertised, and open its vector with the right one."""
    stage = MaskingStage(lab, lab.set_up(), rng_of=rng_of).up_to(Phase.MASKED_INPUT)
    advertised = stage.advert(VICTIM).mask_key
    threshold = stage.setup.signed.roster.policy.threshold
    for seed in range(SEEDS):
        guess = RoundSecrets.draw(threshold, 0, rng=SmallSeedRng(seed))
        if agreement.public_key(guess.mask_key) == advertised:
            opened = stage.unmask(VICTIM, guess.seed, guess.mask_key)
            return reached(stage.inputs[VICTIM], opened, f"the victim's vector with seed {seed}")
    return Outcome("failed", f"none of {SEEDS} guessable seeds gives the advertised key")


def another_cipher(lab: Lab) -> Outcome:
    """Tell the victim that the masks are of another cipher: they don't cancel, and the sum is false."""
    setup = lab.set_up()
    stage = MaskingStage(lab, setup)
    honest = stage.scheme()
    roster = replace(honest.roster, cipher=Cipher.CHACHA20)
    # The victim is asked again, with the other roster in its hands and the same hash in the operator's message.
    step = replace(honest, roster=roster, context=replace(honest.context, round=2)).client(
        VICTIM, stage.inputs[VICTIM], rng=lab.rng
    )
    return Outcome("succeeded" if step.outbound else "failed", "the victim masks by another cipher than its peers")


REUSE = Deviation(
    name="mask_reuse", view="V2", against=MASKED, run=mask_reuse, broken=f"{TESTS}::test_masks_that_forget_the_round_are_reused"
)
FLOATS = Deviation(
    name="float_masks", view="V2", against=MASKED, run=float_masks, broken=f"{TESTS}::test_real_valued_masks_leak_the_update"
)
SEEDED = Deviation(
    name="low_entropy_seeds", view="V2", against=MASKING, run=low_entropy_seeds, broken=f"{TESTS}::test_a_small_seed_is_found"
)
CIPHERS = Deviation(
    name="another_cipher_or_chunk_length",
    view="V5",
    against=MASKING,
    run=another_cipher,
    broken=f"{TESTS}::test_a_roster_hash_without_the_cipher_lets_it_differ",
)
