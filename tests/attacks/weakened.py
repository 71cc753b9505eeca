"""One defence at a time taken out of the real protocols: what the attacks on them must then break through."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import CountingRng

from attacks.conformance import Deviation, Lab, Outcome, play
from securefl.quantize import Quantizer
from securefl.secagg.base import Continue
from securefl.secagg.journal import MemoryJournal
from securefl.secagg.ledger import Ledger
from securefl.secagg.masking.client import Checked, Unmasked
from securefl.secagg.masking.member import Answered
from securefl.secagg.masking.messages import Phase, encode_released
from securefl.secagg.policy import Policy
from securefl.types import RingVector, Secret


def lab(scheme: str, *, options: object | None = None) -> Lab:
    """A lab with predictable secrets, and the options that a run uses unless others are given."""
    made = Lab.of(scheme, rng=CountingRng(5))
    return made if options is None else Lab(scheme=scheme, rng=made.rng, options=options)


def outcome(deviation: Deviation, scheme: str, *, options: object | None = None) -> Outcome:
    """What a deviation comes to against a scheme, as it is or as a test has weakened it."""
    return play(deviation, lab(scheme, options=options))


def no_policy(patch: pytest.MonkeyPatch) -> None:
    """A roster of any thresholds: nobody checks 2t > n + c, nor a minimum."""
    patch.setattr(Policy, "__post_init__", lambda self: None)


def no_memory(patch: pytest.MonkeyPatch) -> None:
    """Parties that forget which round they began, what they answered, and what they opened."""
    patch.setattr(MemoryJournal, "begin", lambda self, round: None)
    patch.setattr(MemoryJournal, "answer", lambda self, round, request: None)
    no_ledger(patch)


def no_ledger(patch: pytest.MonkeyPatch) -> None:
    """Parties that forget which sums they helped to open."""
    for check in ("require", "admit", "require_cohort"):
        patch.setattr(Ledger, check, lambda self, lineage, survivors, *, round: None)


def no_telling(patch: pytest.MonkeyPatch) -> None:
    """Parties that keep to their own record of opened sums: partners tell nothing, decryptors open what theirs allows."""
    patch.setattr(Ledger, "told", lambda self, lineage, survivors: ())
    patch.setattr(Ledger, "require_cohort", lambda self, lineage, survivors, *, round: None)


def no_signatures(patch: pytest.MonkeyPatch) -> None:
    """Envelopes that nobody checks the signature of."""
    patch.setattr("securefl.secagg.envelope.verify_signature", lambda key, message, signature: None)


def no_capacity(patch: pytest.MonkeyPatch) -> None:
    """A quantiser that does not ask whether the sum fits the ring."""
    patch.setattr(Quantizer, "require_capacity", lambda self, n: None)


def one_key(secret: Secret, tag: bytes) -> Secret:
    """A key derivation that forgets what its key is for."""
    return Secret(hashlib.sha256(b"one key for everything").digest())


def float_masked(deviation: float) -> Callable[[NDArray[np.float64]], RingVector]:
    """A client that masks by Gaussian noise of so many times its update's own size: it hides a value, not a vector."""
    draw = np.random.default_rng(1)

    def send(update: NDArray[np.float64]) -> RingVector:
        noise = draw.normal(0, deviation, len(update))
        return np.rint((update + noise) * 2**20).astype(np.int32).view("<u4")

    return send


def unchecked_survivors(self: Checked, inbound: bytes) -> Continue[Unmasked, bytes]:
    """A client that releases its shares without comparing what the others signed."""
    view = hashlib.sha256(inbound).digest()
    payload = [encode_released(self._release(owner) for owner in self.held)]
    sent = self.member.write(Phase.UNMASK, payload, self.answered.sent.digest, view)
    return Continue(Unmasked(self.member, self.check, self.survivors, Answered(view, sent, {})), sent.message)
