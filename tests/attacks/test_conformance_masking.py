"""Each deviation from the masking protocol: refused by the real one, successful where one defence is taken out."""

from __future__ import annotations

import pytest
import weakened
from weakened import lab, outcome

from attacks.conformance import identities, masks, unmasking
from attacks.conformance.masks import SmallSeedRng, leak_of, low_entropy_seeds
from securefl.errors import VerificationError
from securefl.secagg.masking import MaskingOptions
from securefl.secagg.roster import Roster, SignedRoster


def test_clients_that_forget_release_both_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger and the journal each stop it; without both, two unmasking requests open the victim."""
    assert outcome(unmasking.BOTH_SHARES, "masking").result == "refused"
    with pytest.MonkeyPatch.context() as patch:
        weakened.no_ledger(patch)
        found = outcome(unmasking.BOTH_SHARES, "masking")
        assert (found.result, found.reason.split(":")[0]) == ("refused", "SECOND_UNMASKING")
    weakened.no_memory(monkeypatch)
    assert outcome(unmasking.BOTH_SHARES, "masking").result == "succeeded"


def test_a_threshold_under_half_lets_survivors_be_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """With t = 3 of 7 each half is enough for its own kind of share."""
    assert outcome(unmasking.SPLITTING, "masking").result == "refused"
    options = MaskingOptions(colluders=1, threshold=3)
    assert outcome(unmasking.SPLITTING, "masking", options=options).reason.startswith("ParameterError: threshold=3")
    weakened.no_policy(monkeypatch)
    assert outcome(unmasking.SPLITTING, "masking", options=options).result == "succeeded"


def test_without_the_consistency_check_signatures_are_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that don't compare what the others signed release different kinds of one partner's shares."""
    found = outcome(unmasking.MIXED, "masking")
    assert (found.result, found.reason.split(",")[0]) == ("refused", "INCONSISTENT_SURVIVORS")
    members = "securefl.secagg.masking.client.Checked.next"
    monkeypatch.setattr(members, weakened.unchecked_survivors)
    assert outcome(unmasking.MIXED, "masking").result == "succeeded"


def test_unsigned_keys_are_substituted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator whose adverts nobody verifies reads the victim's shares and its vector."""
    assert outcome(identities.KEYS, "masking").reason.startswith("BAD_SIGNATURE")
    weakened.no_signatures(monkeypatch)
    assert outcome(identities.KEYS, "masking").result == "succeeded"


def test_an_unverified_roster_takes_sybils(monkeypatch: pytest.MonkeyPatch) -> None:
    """A roster that the victim never signed puts it among four identities of the operator's."""
    assert outcome(identities.SYBILS, "masking").reason.startswith(VerificationError.__name__)
    monkeypatch.setattr(SignedRoster, "verify", lambda self: None)
    assert outcome(identities.SYBILS, "masking").result == "succeeded"


@pytest.mark.parametrize("scheme", ["masking", "bfv"])
def test_a_model_that_is_not_hashed_isolates_the_victim(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partners that take the operator's word for the model's hash sum zeros around the victim's update."""
    assert outcome(identities.MODELS, scheme).reason.startswith("WRONG_MODEL")
    monkeypatch.setattr("attacks.conformance.identities.shown_model", lambda model: b"as the operator says".ljust(32))
    assert outcome(identities.MODELS, scheme).result == "succeeded"


@pytest.mark.parametrize("scheme", ["masking", "masking-static"])
def test_masks_that_forget_the_round_are_reused(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key for every round: the difference of two messages is that of two updates."""
    assert outcome(masks.REUSE, scheme).reason.startswith("ROUND_REUSED")
    for module in ("securefl.secagg.masking.keys", "securefl.secagg.masking.static"):
        monkeypatch.setattr(f"{module}.derive", weakened.one_key)
    assert outcome(masks.REUSE, scheme).result == "succeeded"


@pytest.mark.statistical
@pytest.mark.parametrize("scheme", ["masking", "masking-static"])
def test_real_valued_masks_leak_the_update(scheme: str) -> None:
    """Ring masks show no correlation at six standard errors and an even ring (false alarm under 1e-8); Gaussian noise of ten
    times the update's size shows it at once."""
    assert outcome(masks.FLOATS, scheme).result == "failed"
    assert leak_of(weakened.float_masked(10.0)).result == "succeeded"


def test_a_small_seed_is_found() -> None:
    """The guesser's own generator, seeded by a clock's second or a rank."""
    assert outcome(masks.SEEDED, "masking").result == "failed"
    found = low_entropy_seeds(lab("masking"), rng_of=lambda client: SmallSeedRng(900 + client))
    assert found.result == "succeeded"
    assert "seed 905" in found.reason


def test_a_roster_hash_without_the_cipher_lets_it_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signed hash covers the cipher; where it doesn't, a client masks by another one unnoticed."""
    assert outcome(masks.CIPHERS, "masking").reason.startswith("WRONG_ROSTER")
    monkeypatch.setattr(Roster, "hash", b"names and keys alone".ljust(32))
    assert outcome(masks.CIPHERS, "masking").result == "succeeded"
