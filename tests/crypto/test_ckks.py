"""CKKS and its flooding: parameters, refusals, errors within the computed bounds."""

from __future__ import annotations

import copy
import math
from functools import lru_cache

import numpy as np
import pytest
import scipy.stats
import tenseal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stand_ins import CountingRng

from securefl.crypto.ckks import CkksKey, CkksParams, CkksPublic
from securefl.crypto.flooding import TRUNCATION, SumPrecision, gaussian
from securefl.crypto.seal import SECURE_MODULUS_BITS
from securefl.errors import CapacityError, DecodeError, ParameterError

PARAMS = CkksParams()
SCALE = 2.0**28


@lru_cache(maxsize=1)
def key() -> CkksKey:
    return CkksKey(PARAMS)


def values(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).integers(-(2**26), 2**26, PARAMS.slots).astype(np.float64)


def precision(**changes: int) -> SumPrecision:
    fields = {
        "degree": PARAMS.degree, "modulus_bits": PARAMS.ring.modulus_bits, "clients": 5, "limit": 2**31 - 1,
        "ciphertexts": 10, "releases": 1, "statistical_bits": 40,
    }  # fmt: skip
    return SumPrecision(**{**fields, **changes})


@pytest.mark.parametrize(
    ("degree", "primes"),
    [(4096, (60, 50)), (2048, (30, 25)), (5000, (30, 30)), (4096, (60,)), (4096, (61, 36)), (4096, (60, 10))],
)
def test_parameters_below_128_bits_or_outside_the_table_are_refused(degree: int, primes: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError):
        CkksParams(degree=degree, prime_bits=primes)


def test_the_table_is_the_standards_and_what_the_library_enforces() -> None:
    """SEAL has the same table built in: the longest allowed modulus is accepted, one bit more is not."""
    assert SECURE_MODULUS_BITS[4096] == 109
    assert SECURE_MODULUS_BITS[8192] == 218
    tenseal.context(tenseal.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[60, 49])
    with pytest.raises(ValueError, match="parameters"):
        tenseal.context(tenseal.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[60, 50])


def test_the_sum_of_five_is_the_sum_within_the_encryption_error() -> None:
    public = CkksPublic.decode(key().public.encode(), PARAMS)
    vectors = [values(seed) for seed in range(5)]
    parts = [public.read(public.encrypt(vector, scale=SCALE), scale=SCALE) for vector in vectors]
    total = parts[0]
    for part in parts[1:]:
        total.add_(part)
    error = key().decrypt(total) - np.sum(vectors, axis=0)
    bound = precision(ciphertexts=1)
    norm_bound = bound.error_std * math.sqrt(PARAMS.degree) * math.sqrt(PARAMS.degree / 2) * math.sqrt(0.5)
    norm = float(np.linalg.norm(error)) * SCALE
    # The flooding hides an error of this norm: it must be an upper bound, and not a loose one.
    assert 0.5 * norm_bound < norm < norm_bound


def test_a_sum_at_the_limit_does_not_wrap() -> None:
    public, limit = key().public, 2**31 - 1
    scale = precision().scale
    parts = [np.full(PARAMS.slots, sign * (limit // 5), dtype=np.float64) for sign in (1, -1)]
    for part in parts:
        total = public.read(public.encrypt(part, scale=scale), scale=scale)
        for _ in range(4):
            total.add_(public.read(public.encrypt(part, scale=scale), scale=scale))
        assert np.abs(key().decrypt(total) - 5 * part).max() < 0.01


def test_two_encryptions_of_the_same_numbers_differ() -> None:
    assert key().public.encrypt(values(0), scale=SCALE) != key().public.encrypt(values(0), scale=SCALE)


def test_a_context_with_a_secret_or_other_parameters_is_refused() -> None:
    private = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[60, 36])
    with pytest.raises(DecodeError, match="secret key"):
        CkksPublic.decode(private.serialize(save_galois_keys=False, save_relin_keys=False, save_secret_key=True), PARAMS)
    for other in (CkksParams(degree=8192), CkksParams(prime_bits=(60, 40)), CkksParams(prime_bits=(50, 36))):
        with pytest.raises(DecodeError, match="must be"):
            CkksPublic.decode(CkksKey(other).public.encode(), PARAMS)
    exact = tenseal.context(tenseal.SCHEME_TYPE.BFV, 4096, plain_modulus=1032193, coeff_mod_bit_sizes=[60, 36])
    exact.make_context_public()
    with pytest.raises(DecodeError, match="must be"):
        CkksPublic.decode(exact.serialize(save_galois_keys=False, save_relin_keys=False), PARAMS)


def test_bytes_that_are_no_context_are_refused() -> None:
    encoded = key().public.encode()
    for bad in (b"", b"x" * 100, encoded[:-7], encoded[: len(encoded) // 2], bytes(10**7)):
        with pytest.raises(DecodeError):
            CkksPublic.decode(bad, PARAMS)


def test_ciphertexts_of_other_parameters_scales_and_sizes_are_refused() -> None:
    public = key().public
    good = public.encrypt(values(1), scale=SCALE)
    public.read(good, scale=SCALE)
    other = CkksKey(CkksParams(prime_bits=(50, 36))).public.encrypt(values(1), scale=2.0**18)
    short = tenseal.ckks_vector(public._context, [1.0, 2.0], scale=SCALE).serialize()
    long = tenseal.ckks_vector(public._context, [1.0] * (PARAMS.slots + 1), scale=SCALE).serialize()
    bad = {
        "empty": b"", "zeros": bytes(1000), "truncated": good[:-3], "too long": good + bytes(10_000),
        "other parameters": other, "two numbers": short, "two parts": long,
    }  # fmt: skip
    for content in bad.values():
        with pytest.raises(DecodeError):
            public.read(content, scale=SCALE)
    with pytest.raises(DecodeError, match="scale"):
        public.read(good, scale=SCALE * 2)


def test_a_product_of_three_polynomials_is_refused() -> None:
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 60, 60])
    params = CkksParams(degree=8192, prime_bits=(60, 60, 60))
    context.auto_relin = context.auto_rescale = context.auto_mod_switch = False
    vector = tenseal.ckks_vector(context, [1.0] * params.slots, scale=2.0**20)
    product = vector * vector
    context.make_context_public()
    public = CkksPublic(context, params)
    with pytest.raises(DecodeError, match=r"must have <=|two polynomials"):
        public.read(product.serialize(), scale=2.0**40)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 60_000), st.integers(1, 255))
def test_a_changed_byte_is_read_or_refused_and_never_crashes(position: int, change: int) -> None:
    content = bytearray(key().public.encrypt(np.zeros(PARAMS.slots), scale=SCALE))
    content[position % len(content)] ^= change
    try:
        vector = key().public.read(bytes(content), scale=SCALE)
    except DecodeError:
        return
    assert key().decrypt(vector).shape == (PARAMS.slots,)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_ciphertext_are_refused(content: bytes) -> None:
    with pytest.raises(DecodeError):
        key().public.read(content, scale=SCALE)


def test_a_key_shows_and_pickles_nothing() -> None:
    assert "secret" not in repr(key())
    with pytest.raises(TypeError, match="pickled"):
        copy.copy(key())
    assert not key().public._context.is_private()


@pytest.mark.statistical
def test_the_noise_is_normal() -> None:
    """Kolmogorov-Smirnov at a false-alarm rate of 1e-3; a five per cent wider or a uniform noise must fail."""
    draws = gaussian(200_001, 3.0, rng=CountingRng(11))
    assert draws.shape == (200_001,)
    assert scipy.stats.kstest(draws / 3.0, "norm").pvalue > 1e-3
    assert scipy.stats.kstest(draws / 3.15, "norm").pvalue < 1e-3
    assert abs(np.corrcoef(draws[:100_000], draws[100_001:])[0, 1]) < 0.02


def test_the_noise_has_a_hard_limit_at_every_stream_of_bytes() -> None:
    class Constant:
        def __init__(self, byte: int) -> None:
            self.byte = byte

        def bytes(self, size: int) -> bytes:
            return bytes([self.byte]) * size

    for byte in (0, 1, 127, 128, 255):
        draws = gaussian(10, 1.0, rng=Constant(byte))
        assert np.isfinite(draws).all()
        assert np.abs(draws).max() <= TRUNCATION * (1 + 1e-12)


def test_the_flooding_is_the_papers_formula() -> None:
    """std = 8 sqrt(q) 2^(k/2) |error|: KL = |error|^2 / (2 std^2) is 2^(-k-7) / q exactly."""
    for releases, bits in ((1, 40), (3, 40), (1, 60)):
        one = precision(releases=releases, statistical_bits=bits)
        norm = one.error_std * math.sqrt(one.degree * one.ciphertexts) * math.sqrt(one.degree / 4) / one.scale
        divergence = norm**2 / (2 * one.flooding_std**2)
        assert divergence == pytest.approx(2.0 ** (-bits - 7) / releases)
        assert one.distance_bits == pytest.approx(-math.log2(math.sqrt(divergence * releases / 2)))


def test_the_encryption_bound_holds_at_the_slot_where_the_secret_is_largest() -> None:
    """The secret is no more evenly spread over slots than noise is: at the worst of 2048 its square is four times the mean."""
    one, draw = precision(clients=10), np.random.default_rng(5)
    roots = np.exp(1j * np.pi * np.arange(4096) / 4096)
    for _ in range(20):
        secret = draw.integers(-1, 2, 4096)
        largest = float(np.abs(np.fft.fft(secret * roots)).max()) ** 2
        assert largest > 2 * one.degree
        slot = math.sqrt(one.clients / 12 * one.degree / 2 * (1 + largest)) / one.scale
        assert 10 * slot < one.encryption_bound < one.flooding_std / 100


def test_noise_grows_with_ciphertexts_releases_and_clients() -> None:
    one = precision()
    assert precision(ciphertexts=40).flooding_std == pytest.approx(2 * one.flooding_std)
    assert precision(releases=9).flooding_std == pytest.approx(3 * one.flooding_std)
    assert precision(clients=20).flooding_std == pytest.approx(2 * one.flooding_std)
    assert one.error_bound > TRUNCATION * one.flooding_std


def test_precision_without_room_is_refused() -> None:
    with pytest.raises(CapacityError, match="no precision"):
        precision(statistical_bits=110)
    with pytest.raises(CapacityError, match="no precision"):
        precision(limit=2**61)
    with pytest.raises(ParameterError, match="statistical_bits=10"):
        precision(statistical_bits=10)
    with pytest.raises(ParameterError, match=">= 1"):
        precision(releases=0)
