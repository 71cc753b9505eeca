"""The ledger: sums over the same inputs that would expose too few partners are refused, and named; dropouts are not."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl.errors import AbortReason, InputError, ParameterError, ProtocolAbort
from securefl.secagg.ledger import Ledger
from securefl.secagg.policy import ExposureRule, Policy
from securefl.types import ClientId

SAME = b"s" * 32


def cohort(*clients: int) -> frozenset[ClientId]:
    return frozenset(map(ClientId, clients))


def make(n: int = 6, rule: ExposureRule = ExposureRule.WARN, path: Path | None = None) -> Ledger:
    return Ledger(cohort(*range(1, n + 1)), Policy.smallest(n), rule=rule, path=path)


def refused(ledger: Ledger, survivors: frozenset[ClientId], lineage: bytes = SAME) -> str:
    with pytest.raises(ProtocolAbort) as caught:
        ledger.admit(lineage, survivors, round=2)
    assert caught.value.reason is AbortReason.DIFFERENCING
    return caught.value.detail


def test_the_full_sum_and_then_all_but_one_of_the_same_inputs_is_refused_and_named() -> None:
    ledger = make()
    ledger.admit(SAME, cohort(1, 2, 3, 4, 5, 6), round=1)
    assert "partner 4" in refused(ledger, cohort(1, 2, 3, 5, 6))
    ledger.admit(SAME, cohort(1, 2, 3, 4, 5, 6), round=3)  # the same sum again shows nothing new


def test_all_but_two_is_refused_with_one_colluder_and_all_but_three_is_not() -> None:
    ledger = make(8)
    ledger.admit(SAME, cohort(*range(1, 9)), round=1)
    assert "partner 7" in refused(ledger, cohort(1, 2, 3, 4, 5, 6))
    ledger.admit(SAME, cohort(1, 2, 3, 4, 5), round=3)


def test_a_combination_of_three_sums_is_found() -> None:
    """No two of these differ in fewer than three partners, but (a + b - c) / 2 is one partner."""
    ledger = make(9)
    ledger.admit(SAME, cohort(1, 2, 3, 4, 5), round=1)
    ledger.admit(SAME, cohort(1, 6, 7, 8, 9), round=2)
    detail = refused(ledger, cohort(2, 3, 4, 5, 6, 7, 8, 9))
    assert "partner 1" in detail


def test_decryptors_open_the_same_inputs_for_one_cohort_alone() -> None:
    """No decryptor sees all three sums of which (a + b - c) / 2 is two partners; each that sees two would accept both."""
    sums = [cohort(1, 2, 3, 4, 5, 6), cohort(5, 6, 7, 8, 9, 10), cohort(1, 2, 3, 4, 7, 8, 9, 10)]
    assert not sums[0] & sums[1] & sums[2]
    for first, second in itertools.combinations(sums, 2):
        ledger = make(10)
        ledger.admit(SAME, first, round=1)
        ledger.admit(SAME, second, round=2)
        ledger = make(10)
        ledger.admit_cohort(SAME, first, round=1)
        with pytest.raises(ProtocolAbort) as caught:
            ledger.admit_cohort(SAME, second, round=2)
        assert caught.value.reason is AbortReason.DIFFERENCING
        ledger.admit_cohort(SAME, first, round=3)  # the same sum again shows nothing new
        ledger.admit_cohort(b"t" * 32, second, round=4)


def test_ten_rounds_with_a_different_dropout_each_complete_and_the_exposure_is_reported() -> None:
    ledger = make(10)
    ledger.admit(bytes([99]) * 32, cohort(*range(1, 11)), round=1)
    for round in range(1, 11):
        ledger.admit(bytes([round]) * 32, cohort(*range(1, 11)) - cohort(round), round=round + 1)
    exposure = ledger.exposure()
    assert (exposure.openings, exposure.rank) == (11, 10)
    assert exposure.smallest is not None
    assert len(exposure.smallest) == 1


def test_no_dropout_means_no_exposure_below_everybody() -> None:
    ledger = make()
    for round in range(1, 6):
        ledger.admit(bytes([round]) * 32, cohort(*range(1, 7)), round=round)
    assert ledger.exposure().rank == 1
    assert ledger.exposure().smallest == cohort(*range(1, 7))


def test_the_exposure_says_how_far_the_models_are_apart() -> None:
    ledger = make()
    models = {bytes([round]) * 32: np.full(4, float(round)) for round in (1, 2, 4)}
    assert ledger.exposure(models).distance is None
    for round, lineage in enumerate(models, start=1):
        ledger.admit(lineage, cohort(*range(1, 7)), round=round)
    assert ledger.exposure(models).distance == pytest.approx(6.0)
    assert ledger.exposure().distance is None


def test_the_roster_may_insist_on_a_fixed_cohort_or_refuse() -> None:
    fixed, refuse = make(rule=ExposureRule.FIXED_COHORT), make(rule=ExposureRule.REFUSE)
    for ledger in (fixed, refuse):
        ledger.admit(b"1" * 32, cohort(*range(1, 7)), round=1)
        ledger.admit(b"2" * 32, cohort(*range(1, 7)), round=2)
    assert "cohort of this run" in refused(fixed, cohort(1, 2, 3), b"3" * 32)
    assert "alike updates" in refused(refuse, cohort(1, 2, 3, 4, 5), b"3" * 32)
    refuse.admit(b"3" * 32, cohort(1, 2, 3), round=3)


def test_it_survives_a_restart_and_a_refusal_records_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    make(path=path).admit(SAME, cohort(1, 2, 3, 4, 5, 6), round=1)
    again = make(path=path)
    refused(again, cohort(1, 2, 3, 4, 5))
    assert make(path=path).exposure().openings == 1
    path.write_text("[]")
    with pytest.raises(InputError, match="ledger"):
        make(path=path)


def test_what_could_not_be_written_is_not_taken_for_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disc stops the round; with room again the same sum is opened, and a restart still knows of it."""
    path = tmp_path / "ledger.json"
    ledger, everybody = make(path=path), cohort(1, 2, 3, 4, 5, 6)

    def full(path: Path, content: bytes) -> None:
        raise InputError(f"can't write {path}: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("securefl.secagg.ledger.write_durably", full)
        with pytest.raises(InputError, match="No space"):
            ledger.admit(SAME, everybody, round=1)
    ledger.admit(SAME, everybody, round=2)
    refused(make(path=path), cohort(1, 2, 3, 4, 5))


def test_who_is_on_the_roster_no_more_is_still_seen_in_the_difference(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    make(path=path).admit(SAME, cohort(1, 2, 3, 4, 5, 6), round=1)
    assert "partner 6" in refused(make(5, path=path), cohort(1, 2, 3, 4, 5))


def test_a_roster_with_too_many_subsets_is_refused() -> None:
    with pytest.raises(ParameterError, match="subsets of 4 of 100"):
        Ledger(cohort(*range(1, 101)), Policy.smallest(100, minimum=4))


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(st.lists(st.frozensets(st.integers(1, 5), min_size=3), min_size=1, max_size=4, unique=True))
def test_it_agrees_with_a_search_over_small_integer_combinations(rows: list[frozenset[int]]) -> None:
    """A combination with coefficients in -3..3 on at most two of five partners exists only if the ledger refuses.

    The other way round needs larger coefficients in general; rows of five columns stay within these.
    """
    exists = False
    for coefficients in itertools.product(range(-3, 4), repeat=len(rows)):
        vector = [sum(c for c, row in zip(coefficients, rows, strict=True) if client in row) for client in range(1, 6)]
        exists |= 0 < sum(entry != 0 for entry in vector) <= 2
    ledger = Ledger(cohort(1, 2, 3, 4, 5), Policy.smallest(5))
    refusals = 0
    for round, row in enumerate(rows, 1):
        try:
            ledger.admit(SAME, cohort(*row), round=round)
        except ProtocolAbort:
            refusals += 1
    assert exists == (refusals > 0)
