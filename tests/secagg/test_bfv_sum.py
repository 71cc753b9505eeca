"""The BFV sum: bit-exact in both rings, a fresh key every round, random padding."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.quantize import Quantizer
from securefl.secagg import run_round
from securefl.secagg.base import RoundContext
from securefl.secagg.bfv_sum import BfvSetup, set_up
from securefl.secagg.integer_sum import random_values
from securefl.types import ClientId, SystemRng

CLIENTS = tuple(ClientId(i) for i in range(1, 6))
RUN = b"b" * 32


def make(ring_bits: Literal[32, 64] = 32) -> tuple[BfvSetup, Quantizer]:
    quantizer = Quantizer.for_sum(5, clip=1.0, ring_bits=ring_bits)
    return set_up(CLIENTS, quantizer=quantizer, run_id=RUN, rng=CountingRng()), quantizer


@pytest.mark.parametrize("ring_bits", [32, 64])
def test_every_weighted_step_is_exact_at_the_ends_of_the_range(ring_bits: Literal[32, 64]) -> None:
    setup, quantizer = make(ring_bits)
    updates = {me: np.array([1.0, -1.0, 0.5, 0.0] * 1200) for me in CLIENTS}
    result = run_round(
        setup, updates, weights=dict.fromkeys(CLIENTS, 255), round=1, model_hash=bytes(32), rng=SystemRng(), quantizer=quantizer
    )
    assert result.max_abs_error == 0.0
    assert result.weight == 5 * 255


def test_it_opens_what_plaintext_opens_bit_for_bit() -> None:
    setup, quantizer = make()
    vectors = {me: np.random.default_rng(me).integers(-(2**20), 2**20, 5000).astype("<i4").view("<u4") for me in CLIENTS}
    scheme = setup.round(RoundContext(run_id=RUN, round=3, roster_hash=setup.roster_hash, model_hash=bytes(32)))
    bodies = {me: memoryview(scheme.cipher.encrypt(vector, me=me, rng=SystemRng())) for me, vector in vectors.items()}
    (opener,) = scheme.openers.values()
    total = np.frombuffer(opener.open(bodies, 5000, rng=SystemRng()), "<i8")
    ring = np.stack(list(vectors.values())).sum(axis=0, dtype=np.uint32)
    assert np.array_equal(total, quantizer.decode(ring))


def test_a_key_serves_one_round() -> None:
    setup, _ = make()
    hashes = [
        setup.round(RoundContext(run_id=RUN, round=n, roster_hash=setup.roster_hash, model_hash=bytes(32))).terms.key_hash
        for n in (1, 1, 2)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_sixteen_bytes_a_coordinate_go_up() -> None:
    setup, _ = make()
    scheme = setup.round(RoundContext(run_id=RUN, round=1, roster_hash=setup.roster_hash, model_hash=bytes(32)))
    body = scheme.cipher.encrypt(np.zeros(8192, dtype=np.uint32), me=ClientId(1), rng=SystemRng())
    assert len(body) <= scheme.cipher.maximum_body(8192)
    assert len(body) / 8192 < 16.5


def test_padding_is_random_and_in_range() -> None:
    first, second = (random_values(4000, 50, rng=CountingRng(seed)) for seed in (1, 2))
    assert np.count_nonzero(first == second) < 100
    assert (int(first.min()), int(first.max())) == (-50, 50)
