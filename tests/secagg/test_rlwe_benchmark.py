"""The committed figures of the RLWE benchmark keep their bars; bytes and memory, which need no clock, are measured here."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks.rlwe import CASES, LENGTH, PARTNERS, RNG, THRESHOLD, make_key, masked_answer, peak, values
from securefl.crypto.rlwe.budget import smallest_budget
from securefl.crypto.rlwe.cipher import Half, PartialDecryptor, read_half
from securefl.crypto.rlwe.encoding import element_size
from securefl.crypto.rlwe.sharing import weights_at_zero

RESULT = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "rlwe.json"


def test_the_committed_figures_keep_every_bar() -> None:
    content = json.loads(RESULT.read_text(encoding="utf-8"))
    assert content["measured_on"] == LENGTH
    held = [figure for figure in content["figures"] if figure["bar"] is not None]
    assert len(held) >= 20
    assert not [figure for figure in held if figure["value"] > figure["bar"]]


@pytest.mark.parametrize(("case", "limit", "attempts"), CASES)
def test_bytes_and_memory_of_a_vector(case: str, limit: int, attempts: int) -> None:
    length = 100_000
    budget = smallest_budget(
        holders=PARTNERS, threshold=THRESHOLD, clients=PARTNERS, limit=limit, length=LENGTH, attempts=attempts
    )  # fmt: skip
    size = element_size(budget.ring) * budget.elements(LENGTH) / LENGTH
    assert 2 * size <= {"32-bit sums": 26.5, "24-bit sums": 23}[case]
    assert size <= 13.5
    encryptor, shares = make_key(budget)
    plain = values(budget, length, 1)
    body = encryptor.encrypt(plain, rng=RNG)
    assert len(body) == 2 * element_size(budget.ring) * budget.elements(length)
    assert peak(partial(encryptor.encrypt, plain, rng=RNG)) <= 3
    keyed = read_half(body, Half.KEYED, slice(0, len(plain)), budget.ring)
    points = tuple(range(1, THRESHOLD + 1))
    holder = PartialDecryptor(shares[1], weights_at_zero(points, budget.ring.primes)[1], budget)
    # Over the whole ciphertext, of which an answer is half.
    assert peak(partial(masked_answer, holder, keyed, budget.ring)) / 2 <= 3
