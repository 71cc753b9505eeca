"""Every error ends the command line with the code that the README documents, and says what broke which bound."""

from __future__ import annotations

import pytest

from securefl import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.SecureFLError, 1),
        (errors.ParameterError, 2),
        (errors.InputError, 2),
        (errors.MissingExtraError, 2),
        (errors.CapacityError, 2),
        (errors.DecodeError, 3),
        (errors.ProtocolAbort, 3),
        (errors.TooFewClients, 3),
        (errors.BudgetExceededError, 4),
        (errors.VerificationError, 5),
    ],
)
def test_exit_codes(kind: type[errors.SecureFLError], code: int) -> None:
    assert kind.exit_code == code


def test_an_abort_names_round_party_and_reason() -> None:
    abort = errors.ProtocolAbort(errors.AbortReason.WRONG_MODEL, round=4, party=2, detail="ab != cd")
    assert str(abort) == "round 4, party 2: message is bound to another model: ab != cd"
    assert abort.reason is errors.AbortReason.WRONG_MODEL
    assert str(errors.TooFewClients(round=1, have=2, need=3)) == "round 1: too few clients: survivors=2 must be >= 3"


def test_reasons_are_distinct() -> None:
    values = [reason.value for reason in errors.AbortReason]
    assert len(values) == len(set(values))
