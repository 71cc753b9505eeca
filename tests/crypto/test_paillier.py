"""Paillier: sums, key checks, refusals, interoperability with phe, and the missing extra."""

from __future__ import annotations

import copy
import sys
from functools import lru_cache
from typing import Any

import gmpy2
import numpy as np
import phe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import CountingRng

from securefl.crypto.fixed_base import FixedBase, gmp
from securefl.crypto.packing import Packing
from securefl.crypto.paillier import (
    Encryptor,
    PrivateKey,
    PublicKey,
    add_ciphertexts,
    decode_ciphertexts,
    encode_ciphertexts,
    generate_key,
    import_key,
    require_units,
    uniform_unit,
)
from securefl.errors import DecodeError, MissingExtraError, ParameterError, SecureFLError


@lru_cache(maxsize=1)
def key() -> PrivateKey:
    return generate_key(2048, rng=CountingRng(1))


@lru_cache(maxsize=1)
def encryptor() -> Encryptor:
    return Encryptor(key().public)


def phe_keys() -> tuple[Any, Any]:
    public = phe.PaillierPublicKey(key().public.n)
    return public, phe.PaillierPrivateKey(public, int(key()._p.prime), int(key()._q.prime))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(2**1000), 2**1000), min_size=1, max_size=4), st.integers(0, 2**32))
def test_products_decrypt_to_sums(plaintexts: list[int], seed: int) -> None:
    ciphertexts = encryptor().encrypt(plaintexts, rng=CountingRng(seed))
    total = add_ciphertexts(key().public, [[ciphertext] for ciphertext in ciphertexts])
    assert key().decrypt(total[0]) == sum(plaintexts)


def test_the_ends_of_the_range_decrypt() -> None:
    half = key().public.n // 2
    ends = [half, -half, 0, 1, -1]
    assert [key().decrypt(c) for c in encryptor().encrypt(ends, rng=CountingRng(2))] == ends
    with pytest.raises(ParameterError, match="half the modulus"):
        encryptor().encrypt([half + 1], rng=CountingRng(2))


def test_equal_plaintexts_give_different_ciphertexts() -> None:
    ciphertexts = encryptor().encrypt([7] * 20, rng=CountingRng(3))
    assert len(set(ciphertexts)) == 20


def test_the_published_half_length_exponent_decrypts() -> None:
    half = Encryptor(key().public, exponent_bits=1024)
    assert [key().decrypt(c) for c in half.encrypt([5, -6], rng=CountingRng(4))] == [5, -6]


@pytest.mark.parametrize("bits", [0, 312, 321, 2056])
def test_exponents_outside_their_bounds_are_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match="exponent_bits"):
        Encryptor(key().public, exponent_bits=bits)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 2**200), st.integers(3, 2**200), st.binary(min_size=5, max_size=5))
def test_fixed_base_powers_are_powers(base: int, modulus: int, exponent: bytes) -> None:
    power = FixedBase(base, modulus, exponent_size=5).power(exponent)
    assert power % modulus == pow(base, int.from_bytes(exponent, "little"), modulus)


def test_a_fixed_base_refuses_exponents_of_another_size() -> None:
    with pytest.raises(ValueError, match="zip"):
        FixedBase(3, 101, exponent_size=2).power(b"\1")
    with pytest.raises(ParameterError, match="exponent_size=0"):
        FixedBase(3, 101, exponent_size=0)


def test_phe_decrypts_our_sum_and_we_decrypt_theirs() -> None:
    public, private = phe_keys()
    ours = encryptor().encrypt([123456789, -42], rng=CountingRng(5))
    total = int(add_ciphertexts(key().public, [[ours[0]], [ours[1]]])[0])
    assert private.raw_decrypt(total) == 123456747
    theirs = public.raw_encrypt(1000)
    assert key().decrypt(theirs) == 1000
    mixed = add_ciphertexts(key().public, [[theirs], [ours[1]]])[0]
    assert key().decrypt(mixed) == private.raw_decrypt(int(mixed)) == 958


def test_a_key_made_by_phe_can_be_imported() -> None:
    public, private = phe.generate_paillier_keypair(n_length=2048)
    imported = import_key(private.p, private.q, rng=CountingRng(6))
    ciphertexts = Encryptor(imported.public).encrypt([-99], rng=CountingRng(7))
    assert imported.decrypt(ciphertexts[0]) == -99
    assert (private.raw_decrypt(int(ciphertexts[0])) + 99) % public.n == 0


def test_the_modulus_has_primes_that_are_three_modulo_four() -> None:
    p, q = int(key()._p.prime), int(key()._q.prime)
    assert (p * q, p % 4, q % 4) == (key().public.n, 3, 3)
    assert gmpy2.gcd(p - 1, q - 1) == 2
    assert key().public.bits == 2048
    # The masks lie in the subgroup of n-th residues: their generator decrypts to zero.
    assert key().decrypt(key().public.h) == 0


@pytest.mark.parametrize(
    ("n", "match"),
    [
        (2**2047 + 2, "odd"),
        (3 * 2**2000 + 1, "2001|2002"),
        (int(gmpy2.next_prime(2**2047)), "prime"),
        (int(gmpy2.next_prime(2**1023 + 2**1022)) ** 2, "perfect power"),
        (15, "4 bits"),
        (2**8200 + 1, "8201 bits"),
    ],
    ids=["even", "odd length", "prime", "prime power", "tiny", "huge"],
)
def test_bad_moduli_are_refused(n: int, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        PublicKey(n=n, h=4)


@pytest.mark.parametrize("kind", ["zero", "one", "too large", "shares a factor"])
def test_a_bad_generator_is_refused(kind: str) -> None:
    n = key().public.n
    h = {"zero": 0, "one": 1, "too large": n * n, "shares a factor": int(key()._p.prime)}[kind]
    with pytest.raises(ParameterError, match="generator"):
        PublicKey(n=n, h=h)


def test_primes_that_do_not_fit_are_refused() -> None:
    p, q = int(key()._p.prime), int(key()._q.prime)
    for left, right in ((p, p), (p, q + 2), (1, p * q)):
        with pytest.raises(ParameterError):
            PrivateKey(left, right, key().public)


@pytest.mark.parametrize("bits", [1024, 2050, 16384])
def test_key_lengths_outside_their_bounds_are_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match=f"bits={bits}"):
        generate_key(bits, rng=CountingRng())


def test_a_public_key_survives_its_encoding_and_nothing_else_decodes() -> None:
    encoded = key().public.encode()
    assert PublicKey.decode(encoded) == key().public
    for bad in (b"", encoded[:-1], encoded + b"\0", b"\0\0" + encoded[2:], encoded[:2] + bytes(256) + encoded[258:]):
        with pytest.raises(SecureFLError):
            PublicKey.decode(bad)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=900))
def test_any_bytes_as_a_public_key_give_a_typed_error(content: bytes) -> None:
    with pytest.raises(SecureFLError):
        PublicKey.decode(b"\x08\x00" + content)


def test_ciphertexts_survive_their_encoding() -> None:
    ciphertexts = encryptor().encrypt([1, 2, 3], rng=CountingRng(8))
    encoded = encode_ciphertexts(key().public, ciphertexts)
    assert len(encoded) == 3 * 512
    assert decode_ciphertexts(key().public, encoded, count=3) == ciphertexts


def test_ciphertexts_that_are_no_units_in_range_are_refused() -> None:
    public, size = key().public, key().public.ciphertext_size
    good = encode_ciphertexts(public, encryptor().encrypt([1], rng=CountingRng(9)))
    for value in (0, int(public.n_squared), (1 << 8 * size) - 1):
        with pytest.raises(DecodeError, match="not in"):
            decode_ciphertexts(public, good + value.to_bytes(size, "big") + good, count=3)
    for value in (public.n, 5 * int(key()._p.prime), 7 * int(key()._q.prime) ** 2):
        ciphertexts = decode_ciphertexts(public, good + value.to_bytes(size, "big") + good, count=3)
        with pytest.raises(DecodeError, match="not a unit"):
            require_units(public, ciphertexts)
    require_units(public, decode_ciphertexts(public, good + good, count=2))
    for bad in (b"", good[:-1], good + good):
        with pytest.raises(DecodeError, match="must have 1 x 512"):
            decode_ciphertexts(public, bad, count=1)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=512, max_size=512))
def test_any_bytes_as_a_ciphertext_are_read_or_refused(content: bytes) -> None:
    try:
        ciphertexts = decode_ciphertexts(key().public, content, count=1)
    except DecodeError:
        return
    assert encode_ciphertexts(key().public, ciphertexts) == content


def test_a_private_key_shows_and_pickles_nothing() -> None:
    assert repr(key()) == "PrivateKey(2048 bits)"
    with pytest.raises(TypeError, match="pickled"):
        copy.copy(key())


def test_uniform_units_are_units_below_the_modulus() -> None:
    draws = [int(uniform_unit(35, rng=CountingRng(seed))) for seed in range(300)]
    assert set(draws) == {x for x in range(2, 35) if gmpy2.gcd(x, 35) == 1}


def test_without_gmpy2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gmpy2", None)
    with pytest.raises(MissingExtraError, match=r"securefl\[paillier\]"):
        gmp()


def test_packed_vectors_of_many_clients_add_up_exactly() -> None:
    """Ten clients at the ends of their range: every slot of the sum is used up to one step from its limit."""
    packing = Packing.for_modulus(2048)
    limit = (2**31 - 1) // 10
    values = [np.array([limit, -limit, 0, -1, i] * 30, dtype=np.int64) for i in range(10)]
    vectors = [encryptor().encrypt(packing.pack(v), rng=CountingRng(i)) for i, v in enumerate(values)]
    plaintexts = [key().decrypt(c) for c in add_ciphertexts(key().public, vectors)]
    assert np.array_equal(packing.unpack(plaintexts, 150), np.sum(values, axis=0))
