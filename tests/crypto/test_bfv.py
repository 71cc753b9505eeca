"""BFV: bit-exact sums at the ends of the range, over one prime and over two; refusals."""

from __future__ import annotations

import copy
import math
from functools import lru_cache

import gmpy2
import numpy as np
import pytest
import tenseal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from securefl.crypto.bfv import ONE_PRIME, TWO_PRIMES, BfvKey, BfvParams, BfvPublic
from securefl.crypto.ckks import CkksKey, CkksParams
from securefl.errors import CapacityError, DecodeError, ParameterError

SLOTS = 4096
SETS = [BfvParams(), BfvParams(plain_primes=TWO_PRIMES)]


@lru_cache(maxsize=2)
def key(primes: int) -> BfvKey:
    return BfvKey(SETS[primes - 1])


def summed(one: BfvKey, vectors: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Encrypt, carry over the wire, add, decrypt."""
    public = BfvPublic.decode(one.public.encode(), one.public.params)
    encrypted = [public.encrypt(vector) for vector in vectors]
    totals = []
    for residue in range(len(one.public.params.plain_primes)):
        total = public.read(encrypted[0][residue], residue=residue)
        for parts in encrypted[1:]:
            total.add_(public.read(parts[residue], residue=residue))
        totals.append(total)
    return one.decrypt(totals)


def test_the_plaintext_primes_are_primes_that_batch() -> None:
    for prime in (*ONE_PRIME, *TWO_PRIMES):
        assert gmpy2.is_prime(prime, 40)
        assert prime % (2 * SLOTS) == 1
    assert math.prod(TWO_PRIMES) > 2**61


@pytest.mark.parametrize(("primes", "bits"), [(1, 33), (2, 60)])
def test_thirty_clients_sum_exactly_at_the_ends_of_the_range(primes: int, bits: int) -> None:
    limit = (2**bits - 1) // 30 // 2
    draw = np.random.default_rng(bits)
    vectors = [draw.integers(-limit, limit, SLOTS, endpoint=True) for _ in range(30)]
    for vector in vectors:
        vector[:4] = (limit, -limit, 0, -1)
    assert np.array_equal(summed(key(primes), vectors), np.sum(vectors, axis=0))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2), st.integers(0, 2**32), st.integers(1, 6))
def test_any_integers_sum_exactly(primes: int, seed: int, clients: int) -> None:
    limit = (math.prod(SETS[primes - 1].plain_primes) // 2 - 1) // clients
    draw = np.random.default_rng(seed)
    vectors = [draw.integers(-limit, limit, SLOTS, endpoint=True) for _ in range(clients)]
    assert np.array_equal(summed(key(primes), vectors), np.sum(vectors, axis=0))


def test_the_parameters_follow_the_sum() -> None:
    assert BfvParams.for_sum(2**31 - 1, 5).plain_primes == ONE_PRIME
    assert BfvParams.for_sum(2**50, 5).plain_primes == TWO_PRIMES
    with pytest.raises(CapacityError, match="limit="):
        BfvParams.for_sum(2**62, 5)
    with pytest.raises(CapacityError, match="clients=1000000000"):
        BfvParams.for_sum(2**31, 10**9)


def test_parameters_below_128_bits_or_that_do_not_batch_are_refused() -> None:
    with pytest.raises(ParameterError, match="128-bit security"):
        BfvParams(prime_bits=(60, 60))
    with pytest.raises(ParameterError, match="must be 1 modulo"):
        BfvParams(plain_primes=(1032191,))
    with pytest.raises(ParameterError, match="at least one prime"):
        BfvParams(plain_primes=())


def test_other_contexts_are_refused() -> None:
    encoded = key(1).public.encode()
    private = tenseal.context(tenseal.SCHEME_TYPE.BFV, 4096, plain_modulus=ONE_PRIME[0], coeff_mod_bit_sizes=[54, 36])
    secret = private.serialize(save_galois_keys=False, save_relin_keys=False, save_secret_key=True)
    other = BfvKey(BfvParams(plain_primes=(TWO_PRIMES[0],))).public.encode()
    ckks = CkksKey(CkksParams()).public.encode()
    cases = [b"", encoded[:-1], encoded + b"\0", encoded[4:], other, bytes(10**6)]
    cases += [len(part).to_bytes(4, "little") + part for part in (secret, ckks)]
    for content in cases:
        with pytest.raises(DecodeError):
            BfvPublic.decode(content, BfvParams())


def test_other_ciphertexts_are_refused() -> None:
    public = key(2).public
    first, second = public.encrypt(np.arange(SLOTS))
    public.read(first, residue=0)
    short = tenseal.bfv_vector(public._contexts[0], [1, 2, 3]).serialize()
    for content in (b"", first[:-2], short, bytes(500), first + bytes(10_000)):
        with pytest.raises(DecodeError):
            public.read(content, residue=0)
    with pytest.raises(DecodeError):
        public.read(second, residue=0)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60_000), st.integers(1, 255))
def test_a_changed_byte_is_read_or_refused_and_never_crashes(position: int, change: int) -> None:
    content = bytearray(key(1).public.encrypt(np.zeros(SLOTS, dtype=np.int64))[0])
    content[position % len(content)] ^= change
    try:
        vector = key(1).public.read(bytes(content), residue=0)
    except DecodeError:
        return
    assert key(1).decrypt([vector]).shape == (SLOTS,)


def test_a_key_shows_and_copies_nothing() -> None:
    assert "secret" not in repr(key(1))
    with pytest.raises(TypeError, match="pickled"):
        copy.copy(key(1))
