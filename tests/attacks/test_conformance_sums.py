"""Deviations that concern every kind of sum: refused by the real schemes, successful where one defence is taken out."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import weakened
from weakened import outcome

from attacks.conformance import (
    DEVIATIONS,
    batch_of_one,
    capacity,
    ciphertexts,
    ckks_raw,
    collusion,
    conformance_of,
    differencing,
    three_sums,
)
from attacks.conformance.lab import PROTECTING
from securefl.secagg import schemes
from securefl.secagg.ckks_sum import CkksOptions
from securefl.secagg.committed_messages import Terms
from securefl.secagg.masking import MaskingOptions
from securefl.secagg.policy import ExposureRule
from securefl.types import SystemRng

ROOT = Path(__file__).parents[2]
FAST = [scheme for scheme in PROTECTING if scheme in schemes() and scheme not in ("paillier", "rlwe")]


@pytest.mark.parametrize("scheme", FAST)
def test_every_deviation_is_refused_or_fails(scheme: str) -> None:
    """Against the schemes as a run sets them up; lattice sums assume honest encryptors, which one deviation is not."""
    found = {record.name: record for record in conformance_of("arm", scheme, rng=SystemRng())}
    succeeded = {name for name, record in found.items() if record.outcome == "succeeded"}
    assert succeeded == ({"malformed_rlwe_ciphertext"} if scheme in ("bfv", "ckks") else set())
    assert all(record.reason for record in found.values())


@pytest.mark.slow
def test_every_deviation_from_paillier_is_refused_or_fails() -> None:
    """With a decryptor for each partner where the deviation needs them."""
    found = conformance_of("arm", "paillier", rng=SystemRng())
    assert not {record.name for record in found if record.outcome == "succeeded"}


def test_every_deviation_names_the_test_of_its_broken_variant() -> None:
    """The test is there: a success against a weakened variant stands beside every refusal."""
    for deviation in DEVIATIONS:
        path, name = deviation.broken.split("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), deviation.name
    assert len({deviation.name for deviation in DEVIATIONS}) == len(DEVIATIONS) >= 22


def test_nothing_is_claimed_of_a_scheme_that_protects_nothing() -> None:
    """Plaintext has no defence that could hold."""
    assert conformance_of("plaintext", "plaintext", rng=SystemRng()) == ()


def test_a_sum_of_two_gives_the_other_one_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the policy a consortium of two is founded, and subtraction is exact."""
    assert outcome(collusion.TWO, "masking").reason.startswith("ParameterError")
    weakened.no_policy(monkeypatch)
    options = MaskingOptions(colluders=0, minimum=1, threshold=2)
    assert outcome(collusion.TWO, "masking", options=options).result == "succeeded"
    monkeypatch.setattr("securefl.secagg.committed_setup.SECURE_MINIMUM", 2)
    assert outcome(collusion.TWO, "bfv").result == "refused"


def test_a_promise_that_no_sum_keeps_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A roster that says it stands four of five colluding is refused; without the check the promise is worth nothing."""
    assert outcome(collusion.ALL_BUT_ONE, "masking").reason.startswith("ParameterError")
    weakened.no_policy(monkeypatch)
    assert outcome(collusion.ALL_BUT_ONE, "masking", options=MaskingOptions(colluders=1)).result == "succeeded"


@pytest.mark.parametrize("scheme", ["masking", "bfv"])
def test_sums_over_changing_cohorts_are_solved(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six sums over the same updates, another partner missing each time, give every partner's update."""
    assert outcome(differencing.COHORTS, scheme).reason.startswith("DIFFERENCING")
    weakened.no_ledger(monkeypatch)
    assert outcome(differencing.COHORTS, scheme).result == "succeeded"


@pytest.mark.parametrize("scheme", ["masking", "bfv"])
def test_counts_are_differenced(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secure count taken twice, once without the victim."""
    assert outcome(differencing.COUNTING, scheme).reason.startswith("DIFFERENCING")
    weakened.no_ledger(monkeypatch)
    assert outcome(differencing.COUNTING, scheme).result == "succeeded"


@pytest.mark.parametrize("scheme", ["masking", "bfv"])
def test_three_staged_sums_show_two_partners(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each party keeps its own record and has at most two of the sums; what they tell each other, or one cohort, stops it."""
    assert outcome(three_sums.STAGED, scheme).reason.startswith("DIFFERENCING")
    weakened.no_telling(monkeypatch)
    found = outcome(three_sums.STAGED, scheme)
    # A single decryptor of bfv has all three sums on its own record.
    assert found.result == ("succeeded" if scheme == "masking" else "refused"), found


def test_sample_weights_are_differenced() -> None:
    """The default roster warns and lets it happen; one that fixes the cohort refuses."""
    assert outcome(differencing.WEIGHING, "masking").result == "succeeded"
    fixed = MaskingOptions(exposure=ExposureRule.FIXED_COHORT)
    assert outcome(differencing.WEIGHING, "masking", options=fixed).reason.startswith("DIFFERENCING")


def test_a_ring_that_is_too_small_wraps_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    """The capacity is proven before the run; without that the opened sum is another one and nobody notices."""
    assert outcome(capacity.WRAP, "masking").reason.startswith("CapacityError")
    weakened.no_capacity(monkeypatch)
    assert outcome(capacity.WRAP, "masking").result == "succeeded"


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_decryptors_without_a_minimum_open_one_ciphertext(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decryptor that is told a minimum of one opens the victim's ciphertext as a sum."""
    assert outcome(ciphertexts.SINGLE, scheme).reason.startswith("THRESHOLD_LOWERED")
    weakened.no_ledger(monkeypatch)
    made = Terms.__init__

    def told(self: Terms, **fields: object) -> None:
        made(self, **{**fields, "minimum": 1})  # type: ignore[arg-type]

    monkeypatch.setattr(Terms, "__init__", told)
    assert outcome(ciphertexts.SINGLE, scheme).result == "succeeded"


def free_commitment(terms: Terms, sender: int, length: int, body_hash: bytes) -> bytes:
    """A commitment that commits to nothing."""
    return bytes(32)


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_without_commitments_ciphertexts_are_copied(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partner that may choose its ciphertexts after it saw the others' doubles the victim."""
    assert outcome(ciphertexts.COPIED, scheme).reason.startswith("BAD_COMMITMENT")
    monkeypatch.setattr("securefl.secagg.committed_messages.commitment_value", free_commitment)
    assert outcome(ciphertexts.COPIED, scheme).result == "succeeded"


def test_without_commitments_ciphertexts_are_negated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paillier is malleable: the inverse of the others' product leaves the victim's vector alone in the sum.

    Two defences stand against it: the commitment, and the proof that a partner knows what it encrypted.
    """
    monkeypatch.setattr("securefl.secagg.committed_messages.commitment_value", free_commitment)
    assert outcome(ciphertexts.NEGATED, "paillier").reason.startswith("BAD_CIPHERTEXT")
    monkeypatch.setattr("securefl.secagg.paillier_cipher.verify_plaintexts", lambda *proof, binding: None)
    assert outcome(ciphertexts.NEGATED, "paillier").result == "succeeded"


@pytest.mark.parametrize(("scheme", "options"), [("ckks", CkksOptions(releases_per_key=2)), ("bfv", None)])
def test_decryptors_that_forget_open_two_sums(
    scheme: str, options: CkksOptions | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests in a round whose survivors differ by the victim."""
    assert outcome(ciphertexts.TWO_SETS, scheme, options=options).reason.startswith("ROUND_REUSED")
    weakened.no_memory(monkeypatch)
    assert outcome(ciphertexts.TWO_SETS, scheme, options=options).result == "succeeded"


def test_lengths_that_nobody_compares_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients check that every commitment is of the same length; without that a longer vector is summed."""
    assert outcome(ciphertexts.LENGTHS, "bfv").reason.startswith("MALFORMED")
    monkeypatch.setattr(itertools, "pairwise", lambda found: ())
    assert outcome(ciphertexts.LENGTHS, "bfv").result == "succeeded"


def test_raw_decryptions_give_the_key_away() -> None:
    """Without the noise one released vector is enough."""
    assert outcome(ckks_raw.RAW, "ckks").result == "failed"
    assert ckks_raw.key_recovery(weakened.lab("ckks"), lambda values, rng: values).result == "succeeded"


def test_a_partner_that_takes_part_with_one_compound_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partner refuses to train on one compound; if it didn't, the rows that move would be its fingerprint."""
    assert outcome(batch_of_one.ONE, "masking").reason.startswith("InputError")
    monkeypatch.setattr("securefl.federation.partner.FEWEST_RECORDS", 1)
    assert outcome(batch_of_one.ONE, "masking").result == "succeeded"
