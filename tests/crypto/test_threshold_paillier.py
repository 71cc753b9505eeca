"""Threshold Paillier: any t shares open, fewer do not, a wrong partial is found, bulk powers are powers."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import gmpy2
import phe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import CountingRng

from securefl.crypto.paillier import Encryptor, add_ciphertexts
from securefl.crypto.powers import powers, product_of_powers
from securefl.crypto.shipped_primes import is_shipped, shipped_primes
from securefl.crypto.threshold_paillier import (
    KeyShare,
    ThresholdKey,
    combine,
    deal,
    generate_safe_prime,
    partially_decrypt,
    prove,
    verify,
)
from securefl.errors import DecodeError, ParameterError, VerificationError

VALUES = [0, 1, -1, 2**1500, -(2**1500) + 7, 123456789]


@lru_cache(maxsize=1)
def safe_primes() -> tuple[int, int]:
    return shipped_primes(2048)


@lru_cache(maxsize=1)
def dealt() -> tuple[ThresholdKey, dict[int, KeyShare]]:
    return deal(*safe_primes(), parties=5, threshold=3, rng=CountingRng(1))


@lru_cache(maxsize=1)
def opened() -> tuple[list[Any], dict[int, list[Any]]]:
    key, shares = dealt()
    ciphertexts = Encryptor(key.public).encrypt(VALUES, rng=CountingRng(2))
    return ciphertexts, {i: partially_decrypt(key, share, ciphertexts) for i, share in shares.items()}


@pytest.mark.parametrize("bits", [2048, 3072])
def test_the_shipped_primes_are_safe(bits: int) -> None:
    p, q = shipped_primes(bits)
    assert all(gmpy2.is_prime(x, 40) and gmpy2.is_prime((x - 1) // 2, 40) for x in (p, q))
    assert (p * q).bit_length() == bits


def test_a_shipped_prime_is_known_by_its_number() -> None:
    p, q = shipped_primes(3072)
    assert is_shipped(p, q)
    assert is_shipped(23, q)
    assert not is_shipped(23, 47)
    with pytest.raises(ParameterError, match="bits=1024: shipped keys have 2048, 3072 bits"):
        shipped_primes(1024)


def test_generated_primes_are_safe_and_full_length() -> None:
    prime = generate_safe_prime(256, rng=CountingRng(3))
    assert gmpy2.is_prime(prime, 40)
    assert gmpy2.is_prime((prime - 1) // 2, 40)
    assert prime >> 254 == 3


def test_any_three_of_five_open_every_value() -> None:
    key, partials = dealt()[0], opened()[1]
    for chosen in itertools.combinations(range(1, 6), 3):
        assert combine(key, {i: partials[i] for i in chosen}) == VALUES


def test_the_sum_of_ciphertexts_opens_to_the_sum() -> None:
    key, shares = dealt()
    ciphertexts = opened()[0]
    total = add_ciphertexts(key.public, [[ciphertext] for ciphertext in ciphertexts])
    partials = {i: partially_decrypt(key, shares[i], total) for i in (2, 4, 5)}
    assert combine(key, partials) == [sum(VALUES)]


def test_phe_agrees_with_the_threshold() -> None:
    p, q = safe_primes()
    private = phe.PaillierPrivateKey(phe.PaillierPublicKey(p * q), p, q)
    assert [private.raw_decrypt(int(c)) for c in opened()[0]] == [value % (p * q) for value in VALUES]


def test_fewer_or_more_than_the_threshold_are_refused() -> None:
    key, partials = dealt()[0], opened()[1]
    for chosen in ((1, 2), (1, 2, 3, 4)):
        with pytest.raises(ParameterError, match=f"of {len(chosen)} parties must be of 3"):
            combine(key, {i: partials[i] for i in chosen})


def test_two_shares_that_pose_as_three_open_nothing() -> None:
    """Interpolation with a made-up third partial gives no plaintext: two shares say nothing about the exponent."""
    key, partials = dealt()[0], opened()[1]
    made_up = [gmpy2.mpz(4)] * len(VALUES)
    with pytest.raises(DecodeError, match="do not combine"):
        combine(key, {1: partials[1], 2: partials[2], 3: made_up})


def test_an_honest_vector_of_partials_verifies() -> None:
    key, shares = dealt()
    ciphertexts, partials = opened()
    proof = prove(key, shares[2], ciphertexts, partials[2], rng=CountingRng(4))
    verify(key, 2, ciphertexts, partials[2], proof)
    assert prove(key, shares[2], ciphertexts, partials[2], rng=CountingRng(5)) != proof


@pytest.mark.parametrize("position", range(len(VALUES)))
def test_one_wrong_partial_in_a_vector_is_found(position: int) -> None:
    key, shares = dealt()
    ciphertexts, partials = opened()
    wrong = list(partials[2])
    wrong[position] = wrong[position] * 4 % key.public.n_squared
    proof = prove(key, shares[2], ciphertexts, wrong, rng=CountingRng(4))
    with pytest.raises(VerificationError, match="party 2 do not verify"):
        verify(key, 2, ciphertexts, wrong, proof)


def test_errors_that_cancel_in_the_plain_product_are_found() -> None:
    """Without random exponents these two errors would cancel in the batch."""
    key, shares = dealt()
    ciphertexts, partials = opened()
    wrong = list(partials[2])
    factor = gmpy2.mpz(9)
    wrong[0] = wrong[0] * factor % key.public.n_squared
    wrong[1] = wrong[1] * gmpy2.invert(factor, key.public.n_squared) % key.public.n_squared
    with pytest.raises(VerificationError, match="do not verify"):
        verify(key, 2, ciphertexts, wrong, prove(key, shares[2], ciphertexts, wrong, rng=CountingRng(4)))


def test_proofs_of_other_parties_ciphertexts_and_lengths_are_refused() -> None:
    key, shares = dealt()
    ciphertexts, partials = opened()
    proof = prove(key, shares[2], ciphertexts, partials[2], rng=CountingRng(4))
    flipped = proof[:-1] + bytes([proof[-1] ^ 1])
    cases: list[tuple[int, list[Any], list[Any], bytes]] = [
        (3, ciphertexts, partials[2], proof),
        (3, ciphertexts, partials[3], proof),
        (6, ciphertexts, partials[2], proof),
        (2, ciphertexts[::-1], partials[2], proof),
        (2, ciphertexts, partials[2][:-1], proof),
        (2, ciphertexts, partials[2], proof[:-1]),
        (2, ciphertexts, partials[2], flipped),
        (2, ciphertexts, partials[2], b"\0" * len(proof)),
    ]
    for index, given_ciphertexts, given_partials, given_proof in cases:
        with pytest.raises(VerificationError, match="party"):
            verify(key, index, given_ciphertexts, given_partials, given_proof)


@pytest.mark.parametrize(("parties", "threshold"), [(5, 1), (5, 0), (3, 4)])
def test_thresholds_that_let_one_party_decrypt_are_refused(parties: int, threshold: int) -> None:
    with pytest.raises(ParameterError, match=f"threshold={threshold}"):
        deal(*safe_primes(), parties=parties, threshold=threshold, rng=CountingRng())


def test_primes_that_are_not_safe_are_refused() -> None:
    p, _ = safe_primes()
    for other in (p, int(gmpy2.next_prime(p))):
        with pytest.raises(ParameterError, match="safe primes"):
            deal(p, other, parties=3, threshold=2, rng=CountingRng())


def test_a_share_shows_nothing() -> None:
    assert repr(dealt()[1][1]) == "KeyShare(index=1)"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 2**64), st.binary(min_size=3, max_size=3)), max_size=40), st.integers(2, 2**64)
)
def test_a_product_of_powers_is_the_product_of_the_powers(pairs: list[tuple[int, bytes]], modulus: int) -> None:
    bases, exponents = [base for base, _ in pairs], [exponent for _, exponent in pairs]
    expected = 1
    for base, exponent in pairs:
        expected = expected * pow(base, int.from_bytes(exponent, "big"), modulus) % modulus
    assert product_of_powers(bases, exponents, modulus) % modulus == expected % modulus


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2**128), max_size=60), st.integers(0, 2**128), st.integers(2, 2**128))
def test_bulk_powers_keep_their_order(bases: list[int], exponent: int, modulus: int) -> None:
    assert powers(bases, exponent, modulus) == [pow(base, exponent, modulus) for base in bases]
