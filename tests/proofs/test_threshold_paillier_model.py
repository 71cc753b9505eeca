"""Threshold Paillier as ThresholdPaillier.v models it: integer interpolation for every polynomial, and any t open the sum."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations
from unittest.mock import patch

from stand_ins import CountingRng

from securefl.crypto import paillier, threshold_paillier
from securefl.crypto.threshold_paillier import KeyShare, ThresholdKey

SAFE_PRIMES = (263, 227)
"""2 * 131 + 1 and 2 * 113 + 1: a modulus of 16 bits, for tests alone."""
PARTIES, THRESHOLD = 5, 3
PLAIN = [0, 1, -1, 777, -12345, 14925, -14925]


def dealt() -> tuple[ThresholdKey, dict[int, KeyShare]]:
    """Return a toy key with the shares of all five parties."""
    with patch.object(paillier, "MINIMUM_BITS", 16):
        return threshold_paillier.deal(*SAFE_PRIMES, parties=PARTIES, threshold=THRESHOLD, rng=CountingRng(5))


@cache
def sets(largest: int) -> list[tuple[int, ...]]:
    """Return every non-empty set of parties 1..largest."""
    return [chosen for size in range(1, largest + 1) for chosen in combinations(range(1, largest + 1), size)]


def test_integer_interpolation_for_every_polynomial() -> None:
    """`interpolation_integer`: checked on all monomials below |S|, so it holds for all integer polynomials; 7 parties."""
    delta = math.factorial(7)
    for chosen in sets(7):
        weights = {index: threshold_paillier._lagrange(delta, index, dict.fromkeys(chosen)) for index in chosen}
        for power in range(len(chosen)):
            assert sum(weight * index**power for index, weight in weights.items()) == delta * 0**power


def test_one_party_too_few_does_not_interpolate() -> None:
    """Controls.one_share_too_few: at the power |S| the sum is another number."""
    delta = math.factorial(7)
    for chosen in sets(7):
        weights = {index: threshold_paillier._lagrange(delta, index, dict.fromkeys(chosen)) for index in chosen}
        assert sum(weight * index ** len(chosen) for index, weight in weights.items()) != 0


def test_any_threshold_parties_open_the_sum() -> None:
    """`threshold_decrypt`, for every set of three of five parties and sums of one to three ciphertexts."""
    key, shares = dealt()
    n = key.public.n
    ciphertexts = [(1 + m * n) * pow(3 + position, n, n * n) % (n * n) for position, m in enumerate(PLAIN)]
    sums = [ciphertexts, paillier.add_ciphertexts(key.public, [ciphertexts, ciphertexts[::-1]])]
    expected = [PLAIN, [a + b for a, b in zip(PLAIN, PLAIN[::-1], strict=True)]]
    for vector, opened in zip(sums, expected, strict=True):
        partials = {i: threshold_paillier.partially_decrypt(key, share, vector) for i, share in shares.items()}
        for chosen in combinations(range(1, PARTIES + 1), THRESHOLD):
            assert threshold_paillier.combine(key, {i: partials[i] for i in chosen}) == opened


def test_dealt_exponent_is_the_theorem_s() -> None:
    """The hypotheses on d: the shares lie on a polynomial of degree 2 modulo n p' q', whose d is 0 mod p' q' and 1 mod n."""
    key, shares = dealt()
    half_p, half_q = ((prime - 1) // 2 for prime in SAFE_PRIMES)
    order = key.public.n * half_p * half_q
    secrets = set()
    for chosen in combinations(range(1, PARTIES + 1), THRESHOLD):
        weights = {i: threshold_paillier._lagrange(key.delta, i, dict.fromkeys(chosen)) for i in chosen}
        scaled = sum(weights[i] * shares[i].value for i in chosen)
        # Delta = 120 is coprime to n p' q', whose factors are all above 5.
        secrets.add(scaled * pow(key.delta, -1, order) % order)
    (d,) = secrets
    assert d % (half_p * half_q) == 0
    assert d % key.public.n == 1
