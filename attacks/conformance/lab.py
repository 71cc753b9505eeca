"""What a protocol deviation is, what it can come to, and the lab in which it is tried.

A deviation is an attack on the protocol itself, played by an operator, a partner or both against the code that a party would
run. It has a goal (a victim's vector, a key, a false sum) and *succeeds* only if it reached it; it is *refused* if a party
stopped with a typed reason, and *fails* if it ran through and got nothing. Each one also has to succeed against a variant of
the same code with one defence taken out: those variants live in the tests, and a record names the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl.errors import AbortReason, ProtocolAbort, SecureFLError
from securefl.quantize import Quantizer
from securefl.records import View
from securefl.secagg import schemes
from securefl.secagg.base import RoundContext, Setup
from securefl.secagg.paillier_sum import Decryption, PaillierOptions
from securefl.types import ClientId, RingVector, Rng

Result = Literal["refused", "failed", "succeeded"]
Vectors: TypeAlias = dict[ClientId, NDArray[np.float64]]
RUN_ID_SIZE = 32
PARTIES = 5
LENGTH = 24
TOY_BITS = 2048
"""Paillier's modulus here, with one decryptor where a deviation needs no more: the checks are those of any length."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a deviation came to, and why, in one clause."""

    result: Result
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """One scheme as a run sets it up, with a generator for every secret.

    ``make`` is the scheme's real set-up, or a weakened one in a test; ``options`` are the scheme's own.
    """

    scheme: str
    rng: Rng = field(repr=False)
    options: object | None = None

    @classmethod
    def of(cls, scheme: str, *, rng: Rng) -> Lab:
        """Return the lab of a scheme with the options that a run uses, Paillier's key shortened."""
        single = PaillierOptions(bits=TOY_BITS, decryption=Decryption.SINGLE)
        return cls(scheme=scheme, rng=rng, options=single if scheme == "paillier" else None)

    def quantizer(self, parties: int = PARTIES) -> Quantizer:
        """Return a quantiser for ``parties`` with weights up to 8."""
        return Quantizer.for_sum(parties, clip=1.0, max_weight=8)

    def set_up(self, parties: int = PARTIES, *, options: object | None = None) -> Setup:
        """Return a run for ``parties`` clients.

        Raises:
            ParameterError: the scheme refuses so few, or the options.
        """
        clients = [ClientId(i) for i in range(1, parties + 1)]
        return schemes()[self.scheme](
            clients,
            quantizer=self.quantizer(parties),
            run_id=self.rng.bytes(RUN_ID_SIZE),
            rng=self.rng,
            options=self.options if options is None else options,
        )


def context_of(setup: Setup, round: int, model: bytes = bytes(32)) -> RoundContext:
    """Return what a round of ``setup`` is bound to."""
    return RoundContext(run_id=setup.run_id, round=round, roster_hash=setup.roster_hash, model_hash=model)


def updates_of(parties: int = PARTIES, *, seed: int = 7) -> Vectors:
    """Return an update for each client: 24 values in -1..1 on the quantiser's own grid, so that nothing is rounded."""
    draw = np.random.default_rng(seed)
    return {ClientId(i): draw.integers(-1000, 1001, LENGTH) / 1024 for i in range(1, parties + 1)}


def ring_of(update: NDArray[np.float64], quantizer: Quantizer, *, weight: int = 1) -> RingVector:
    """Return the ring vector of an update with its weight behind it, as a client encodes it."""
    steps = np.append(quantizer.quantize(update).steps.astype(np.int64) * weight, weight)
    signed = steps.astype(np.int32 if quantizer.ring_bits == 32 else np.int64)
    return signed.view(quantizer.dtype)


def reached(goal: NDArray[np.generic], got: NDArray[np.generic], what: str, *, within: float = 0.0) -> Outcome:
    """Return success if ``got`` is the ``goal`` up to ``within`` (a scheme's own stated error), failure otherwise."""
    if goal.shape == got.shape and bool((np.abs(got.astype(np.float64) - goal.astype(np.float64)) <= within).all()):
        return Outcome("succeeded", f"recovered {what}")
    return Outcome("failed", f"did not recover {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """An attack on the protocol.

    Attributes:
        name: as the record names it. view: who could play it. against: the schemes that it applies to.
        anybody: it needs no more than a scheme's interface, so that another package's scheme meets it too.
        run: plays it in a lab; a SecureFLError that it raises is a refusal.
        broken: the test in which the same code succeeds against a variant without the defence.
    """

    name: str
    view: View
    against: tuple[str, ...]
    run: Callable[[Lab], Outcome]
    broken: str
    anybody: bool = False


def play(deviation: Deviation, lab: Lab) -> Outcome:
    """Return what ``deviation`` comes to in ``lab``."""
    try:
        return deviation.run(lab)
    except ProtocolAbort as error:
        return Outcome("refused", refusal(error.reason, error.party))
    except SecureFLError as error:
        return Outcome("refused", f"{type(error).__name__}: {error}")


def refusal(reason: AbortReason, party: int | None) -> str:
    """Return an abort's reason as records say it.

    >>> refusal(AbortReason.BAD_SIGNATURE, 2)
    'BAD_SIGNATURE, names party 2: signature does not verify'
    """
    who = "" if party is None else f", names party {party}"
    return f"{reason.name}{who}: {reason.value}"


MASKING = ("masking",)
MASKED = ("masking", "masking-static")
ENCRYPTED = ("paillier", "ckks", "bfv", "rlwe")
PROTECTING = (*MASKED, *ENCRYPTED)
