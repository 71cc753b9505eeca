"""Differential tests: the product against the oracle that is extracted from the Coq development."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_oracle import Oracle, agree, needs_oracle
from product_under_proof import GRID

from securefl.crypto.shamir import PRIME

pytestmark = [pytest.mark.property, needs_oracle]
WORD = st.integers(0, (1 << 64) - 1)


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    process = Oracle()
    yield process
    process.close()


def fraction(value: float) -> str:
    return "{} {}".format(*value.as_integer_ratio())


def listed(values: list[int]) -> str:
    return ",".join(map(str, values)) or "-"


@settings(max_examples=600, deadline=None)
@given(
    value=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(1 << 30), 1 << 30).map(lambda half: half / 2),
    clip=st.floats(2.0**-10, 2.0**10),
    bits=st.integers(-8, 40),
)
def test_quantize(oracle: Oracle, value: float, clip: float, bits: int) -> None:
    scale = f"{1 << max(bits, 0)} {1 << max(-bits, 0)}"
    agree(oracle, f"limit {scale} {fraction(clip)}")
    agree(oracle, f"quantize {scale} {fraction(clip)} {fraction(value)}")


@settings(max_examples=300, deadline=None)
@given(limit=st.integers(1, 1 << 20), data=st.data())
def test_quantize_stochastic(oracle: Oracle, limit: int, data: Any) -> None:
    grid = data.draw(st.integers(-limit * GRID, limit * GRID))
    agree(oracle, f"quantize_stochastic {GRID} {limit} {grid} {data.draw(st.integers(0, GRID - 1))}")


@settings(max_examples=200, deadline=None)
@given(bits=st.sampled_from([32, 64]), data=st.data())
def test_ring_words(oracle: Oracle, bits: int, data: Any) -> None:
    weight = data.draw(st.integers(0, 255))
    top = ((1 << (bits - 1)) - 1) // 255
    agree(oracle, f"encode {bits} {weight} {data.draw(st.integers(-top, top))}")
    agree(oracle, f"centre {bits} {data.draw(st.integers(0, (1 << bits) - 1))}")


@settings(max_examples=150, deadline=None)
@given(bits=st.sampled_from([32, 64]), data=st.data())
def test_packing(oracle: Oracle, bits: int, data: Any) -> None:
    half = 1 << (bits - 1)
    values = data.draw(st.lists(st.integers(-half, half - 1), min_size=1, max_size=20))
    agree(oracle, f"pack {half} {listed(values)}")
    packed = sum(value << (bits * slot) for slot, value in enumerate(values))
    agree(oracle, f"unpack_signed {half} {len(values)} {packed}")


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 6), data=st.data())
def test_masking_round(oracle: Oracle, n: int, data: Any) -> None:
    cohort = list(range(1, n + 1))
    survivors = sorted(data.draw(st.sets(st.sampled_from(cohort), min_size=1)))
    pairs = ";".join(f"{i}:{j}:{data.draw(WORD)}" for i, j in combinations(cohort, 2))
    own = ";".join(f"{i}:{data.draw(WORD)}" for i in cohort)
    values = ";".join(f"{i}:{data.draw(WORD)}" for i in cohort)
    for me in survivors:
        agree(oracle, f"masked_input 64 {pairs} {own} {values} {listed(cohort)} {me}")
    agree(oracle, f"unmask 64 {pairs} {own} {listed(cohort)} {listed(survivors)} {data.draw(WORD)}")


@settings(max_examples=60, deadline=None)
@given(threshold=st.integers(1, 6), data=st.data())
def test_shamir(oracle: Oracle, threshold: int, data: Any) -> None:
    element = st.integers(0, PRIME - 1)
    secret = data.draw(st.integers(0, (1 << 256) - 1))
    coefficients = [secret, *data.draw(st.lists(element, min_size=threshold - 1, max_size=threshold - 1))]
    points = sorted(data.draw(st.sets(st.integers(1, 999), min_size=threshold, max_size=threshold)))
    shares = [int(oracle(f"horner {PRIME} {listed(coefficients)} {point}")) for point in points]
    agree(oracle, f"horner {PRIME} {listed(coefficients)} {points[0]}")
    agree(oracle, f"combine {PRIME} {listed(points)} {listed(shares)}")
    assert int(oracle(f"combine {PRIME} {listed(points)} {listed(shares)}")) == secret
