"""The errors of securefl, one tree, and the exit code that each one means on the command line.

A step of a protocol gives the next state or raises one of these; it never returns ``None`` or ``False``.
Every message names the value and the bound that it broke, in one line, because the command line prints it as it is.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class SecureFLError(Exception):
    """Root of every error that securefl raises on purpose; ``exit_code`` is what the command line ends with."""

    exit_code: ClassVar[int] = 1


class ParameterError(SecureFLError, ValueError):
    """A parameter is outside its bound; nothing was computed."""

    exit_code = 2


class InputError(SecureFLError):
    """Something that a person handed in (a table, a folder, a config) can't be used; nothing of it was changed."""

    exit_code = 2


class MissingExtraError(InputError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class DecodeError(SecureFLError):
    """Bytes from outside are not the canonical encoding of what was expected."""

    exit_code = 3


class CapacityError(ParameterError):
    """A sum could wrap around its ring, or noise could pass its bound; refused before anything is sent."""


class BudgetExceededError(SecureFLError):
    """The release would spend more privacy than the ledger has left; raised before the release."""

    exit_code = 4


class VerificationError(SecureFLError):
    """A hash, a signature or a chain does not hold, or a gate refuses."""

    exit_code = 5


class AbortReason(Enum):
    """Why a party stopped a protocol round. Each refusal has a reason of its own, so that a test can tell them apart."""

    TOO_FEW_CLIENTS = "too few clients"
    BAD_SIGNATURE = "signature does not verify"
    BAD_KEY = "public key is unusable"
    BAD_SHARE = "share does not verify"
    BAD_COMMITMENT = "secret does not match its commitment"
    BAD_CIPHERTEXT = "ciphertext does not verify"
    UNKNOWN_PARTY = "party is not on the roster"
    DUPLICATE_PARTY = "party appears twice"
    MISSING_SELF = "own message is missing from what the server relayed"
    WRONG_ROUND = "message is of another run, round or phase"
    WRONG_ROSTER = "message is bound to another roster"
    INCONSISTENT_VIEW = "parties were shown different messages"
    BROKEN_CHAIN = "envelope does not follow its sender's previous one"
    WRONG_MODEL = "message is bound to another model"
    ROUND_REUSED = "round number was used before"
    SECOND_UNMASKING = "a second, different unmasking request"
    SECOND_SET = "a second set of decryptors for one sum"
    NO_ATTEMPT_LEFT = "no attempt is left to open this sum"
    THRESHOLD_LOWERED = "survivor set is under the threshold that the roster fixes"
    INCONSISTENT_SURVIVORS = "parties signed different survivor sets"
    DIFFERENCING = "sum over repeated inputs would expose too few partners"
    BAD_TAG = "opened sum does not match its tag"
    MALFORMED = "message is malformed"
    VETOED = "a partner vetoed the round"


class ProtocolAbort(SecureFLError):
    """A party stops the round: ``reason`` says why, ``party`` who caused it (``None`` for nobody in particular)."""

    exit_code = 3

    def __init__(self, reason: AbortReason, *, round: int, party: int | None = None, detail: str = "") -> None:
        self.reason, self.round, self.party, self.detail = reason, round, party, detail
        who = "" if party is None else f", party {party}"
        super().__init__(f"round {round}{who}: {reason.value}{': ' + detail if detail else ''}")


class TooFewClients(ProtocolAbort):
    """Fewer clients are left than the threshold, or than the minimum of survivors."""

    def __init__(self, *, round: int, have: int, need: int) -> None:
        super().__init__(AbortReason.TOO_FEW_CLIENTS, round=round, detail=f"survivors={have} must be >= {need}")


class InvalidSignature(ProtocolAbort):
    """A signature does not verify under the key that the roster lists."""

    def __init__(self, *, round: int, party: int | None = None, detail: str = "") -> None:
        super().__init__(AbortReason.BAD_SIGNATURE, round=round, party=party, detail=detail)


class InvalidShare(ProtocolAbort):
    """A share is outside its field, comes from the wrong party, or does not give the committed secret."""

    def __init__(self, *, round: int, party: int | None = None, detail: str = "") -> None:
        super().__init__(AbortReason.BAD_SHARE, round=round, party=party, detail=detail)
