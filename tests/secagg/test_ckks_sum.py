"""The CKKS sum: its stated error, the exact weight, releases counted for each key."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import CountingRng

from securefl.crypto.ckks import CkksParams
from securefl.errors import CapacityError, ParameterError
from securefl.quantize import Quantizer
from securefl.secagg import aggregate, run_round
from securefl.secagg.base import RoundContext
from securefl.secagg.ckks_sum import CkksCode, CkksOpener, CkksOptions, CkksSetup, set_up
from securefl.secagg.policy import Policy
from securefl.types import ClientId, SystemRng

CLIENTS = tuple(ClientId(i) for i in range(1, 6))
RUN = b"c" * 32
QUANTIZER = Quantizer.for_sum(5, clip=1.0)


def make(options: CkksOptions | None = None) -> CkksSetup:
    return set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(), options=options)


def code(*, clients: int = 5, bits: int = 40, quantizer: Quantizer = QUANTIZER) -> CkksCode:
    return CkksCode(params=CkksParams(), quantizer=quantizer, clients=clients, statistical_bits=bits, releases=1)


def context(setup: CkksSetup, round: int) -> RoundContext:
    return RoundContext(run_id=RUN, round=round, roster_hash=setup.roster_hash, model_hash=bytes(32))


@pytest.mark.statistical
def test_the_error_lies_between_a_third_of_its_bound_and_the_bound() -> None:
    """12,000 numbers: the largest of so many normal draws lies near 4 standard deviations, the bound at 8.6 of them."""
    updates = {me: np.random.default_rng(me).normal(0, 0.1, 12_000) for me in CLIENTS}
    weights = dict(zip(CLIENTS, (255, 1, 77, 200, 128), strict=True))
    result = run_round(
        make(), updates, weights=weights, round=1, model_hash=bytes(32), rng=CountingRng(5), quantizer=QUANTIZER
    )
    assert result.weight == 661
    assert result.clipped == 0
    assert result.quantization_bound / 3 < result.max_abs_error < result.quantization_bound


def test_more_statistical_security_costs_a_larger_error() -> None:
    updates = {me: np.full(50, 0.25) for me in CLIENTS}
    errors = [
        aggregate("ckks", updates, rng=SystemRng(), options=CkksOptions(statistical_bits=bits)).quantization_bound
        for bits in (20, 40, 60)
    ]
    assert errors[1] > 500 * errors[0]
    assert errors[2] > 500 * errors[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 255), st.integers(0, 2**32))
def test_what_is_laid_out_reads_back(length: int, weight: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = draw.integers(-(255 << 20), 255 << 20, length + 1)
    values[-1] = weight
    one = code()
    rows = one.lay_out(values, rng=CountingRng(seed))
    assert rows.shape == (one.ciphertexts(length + 1), one.params.slots)
    assert np.abs(rows).max() <= 255 * one.gain
    noise = draw.uniform(-0.49, 0.49, rows.size)
    assert np.array_equal(one.read_out(rows.reshape(-1) + noise, length + 1), values)


def test_padding_is_random() -> None:
    one, values = code(), np.array([1, 2, 3])
    first, second = (one.lay_out(values, rng=CountingRng(seed))[0] for seed in (1, 2))
    assert np.array_equal(first[: 2 + one.copies], second[: 2 + one.copies])
    assert np.count_nonzero(first[2 + one.copies :] == second[2 + one.copies :]) < 5


def test_a_weight_outside_its_range_is_refused() -> None:
    for weight in (-1, 256):
        with pytest.raises(CapacityError, match=f"weight={weight}"):
            code().lay_out(np.array([0, weight]), rng=CountingRng())


def test_noise_that_would_blur_the_weight_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(CapacityError, match=r"on the weight must be < 0\.5"):
        make(CkksOptions(statistical_bits=62))
    with pytest.raises(CapacityError, match="on the weight"):
        code(clients=5, bits=55).require_exact_weight(10**8)


def test_a_key_serves_one_round_and_then_a_new_one_comes() -> None:
    setup = make()
    keys = [setup.round(context(setup, round)).terms.key_hash for round in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]


def test_a_key_for_three_releases_serves_three_rounds() -> None:
    setup = make(CkksOptions(releases_per_key=3))
    keys = [setup.round(context(setup, round)).terms.key_hash for round in range(1, 7)]
    assert keys[0] == keys[1] == keys[2] != keys[3] == keys[4] == keys[5]


def test_a_key_gives_no_more_than_its_releases() -> None:
    setup = make()
    scheme = setup.round(context(setup, 1))
    body = scheme.cipher.encrypt(np.array([5, 1], dtype=np.uint32), me=ClientId(1), rng=CountingRng())
    bodies = {me: memoryview(body) for me in CLIENTS}
    (opener,) = scheme.openers.values()
    opener.open(bodies, 2, rng=CountingRng(1))
    with pytest.raises(CapacityError, match="releases=1 under this key must be < 1"):
        opener.open(bodies, 2, rng=CountingRng(1))


def test_the_decryptor_releases_whole_steps_with_noise_not_the_raw_decryption() -> None:
    one = code()
    opener = CkksOpener(one)
    bodies = {}
    for me in CLIENTS:
        rows = one.lay_out(np.array([me] * 1000 + [7]), rng=CountingRng(me))
        scale = one.precision(1001).scale
        content = b"".join(len(c).to_bytes(4, "little") + c for c in (opener.public.encrypt(row, scale=scale) for row in rows))
        bodies[me] = memoryview(content)
    total = np.frombuffer(opener.open(bodies, 1001, rng=SystemRng()), "<i8")
    spread = (total[:-1] - 15).std() / one.precision(1001).flooding_std
    assert 0.9 < spread < 1.1
    assert total[-1] == 35


def test_options_outside_their_bounds_are_refused() -> None:
    with pytest.raises(ParameterError, match="releases_per_key=0"):
        CkksOptions(releases_per_key=0)
    with pytest.raises(ParameterError, match="policy"):
        make(CkksOptions(policy=Policy.smallest(7)))


def test_thirty_clients_fit() -> None:
    thirty = tuple(ClientId(i) for i in range(1, 31))
    quantizer = Quantizer.for_sum(30, clip=1.0)
    setup = set_up(thirty, quantizer=quantizer, run_id=RUN, rng=CountingRng())
    updates = {me: np.full(20, 0.5) for me in thirty}
    result = run_round(
        setup, updates, weights=dict.fromkeys(thirty, 255), round=1, model_hash=bytes(32), rng=SystemRng(), quantizer=quantizer
    )
    assert result.weight == 30 * 255
    assert result.max_abs_error <= result.quantization_bound
