"""The Paillier sum: exact at the ends of the range, its options, and what a wrong plaintext does."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.config import SecaggConfig
from securefl.crypto.plaintext_proof import proof_size
from securefl.errors import DecodeError, ParameterError
from securefl.federation.protocols import options_for
from securefl.quantize import Quantizer
from securefl.secagg import run_round
from securefl.secagg.base import RoundContext
from securefl.secagg.committed import BadCiphertextError
from securefl.secagg.paillier_sum import HALF_LENGTH, Decryption, PaillierOptions, SingleSetup, set_up
from securefl.types import ClientId, SystemRng

CLIENTS = tuple(ClientId(i) for i in range(1, 6))
RUN = b"p" * 32
QUANTIZER = Quantizer.for_sum(5, clip=1.0)
SHORT = PaillierOptions(decryption=Decryption.SINGLE, bits=2048)


@lru_cache(maxsize=1)
def setup() -> SingleSetup:
    made = set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(), options=SHORT)
    assert isinstance(made, SingleSetup)
    return made


_rounds = iter(range(1, 1000))


def test_every_weighted_step_is_exact_at_the_ends_of_the_range() -> None:
    updates = {me: np.array([1.0, -1.0, 0.5, 0.0] * 40) for me in CLIENTS}
    result = run_round(
        setup(), updates, weights=dict.fromkeys(CLIENTS, 255), round=next(_rounds), model_hash=bytes(32),
        rng=SystemRng(), quantizer=QUANTIZER,
    )  # fmt: skip
    assert result.max_abs_error == 0.0
    assert result.weight == 5 * 255
    assert result.total[:4].tolist() == [1275.0, -1275.0, 637.5, 0.0]


@pytest.mark.parametrize("bits", [1024, 2050, 1 << 20])
def test_a_length_that_no_key_may_have_is_refused_before_anybody_looks_for_primes(bits: int) -> None:
    with pytest.raises(ParameterError, match=f"bits={bits} must be a multiple of 16 from 2048 to 8192"):
        options_for("paillier", SecaggConfig.model_construct(paillier_bits=bits))


def test_a_64_bit_ring_is_exact() -> None:
    quantizer = Quantizer.for_sum(5, clip=1.0, ring_bits=64)
    wide = set_up(CLIENTS, quantizer=quantizer, run_id=RUN, rng=CountingRng(), options=SHORT)
    updates = {me: np.random.default_rng(me).uniform(-1, 1, 70) for me in CLIENTS}
    result = run_round(
        wide, updates, weights=dict.fromkeys(CLIENTS, 200), round=1, model_hash=bytes(32), rng=SystemRng(), quantizer=quantizer
    )
    assert result.max_abs_error <= result.quantization_bound < 1e-8


def test_eight_bytes_a_coordinate_go_up() -> None:
    context = RoundContext(run_id=RUN, round=1, roster_hash=setup().roster_hash, model_hash=bytes(32))
    cipher: Any = setup().round(context).cipher
    assert cipher.maximum_body(63_000) == 1000 * 512 + proof_size(cipher.encryptor)
    assert proof_size(cipher.encryptor) < 400


def test_a_partner_that_encrypts_too_large_a_value_is_noticed_only_at_the_top_slot() -> None:
    """What the docstring says is not protected: the carry changes the neighbour, and only the top slot's overflow shows."""
    opener = setup().keys.opener(1)
    packing, cipher = opener.cipher.packing, opener.cipher

    def opened(plaintext: int) -> np.ndarray:
        body = cipher.encrypt_packed([plaintext], me=CLIENTS[0], rng=CountingRng())
        return np.frombuffer(opener.open({CLIENTS[0]: memoryview(body)}, packing.slots, rng=CountingRng()), "<i8")

    assert opened(5 + (7 << 32))[:2].tolist() == [5, 7]
    assert opened(5 + 2**32 + (7 << 32))[:2].tolist() == [5, 8]
    with pytest.raises(DecodeError, match="outside its 63 slots"):
        opened(1 << (32 * packing.slots))


def test_key_lengths_outside_their_bounds_are_refused_and_short_ones_named() -> None:
    with pytest.raises(ParameterError, match="bits=1024"):
        set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(), options=replace(SHORT, bits=1024))
    assert any("2048 bits, fewer than 3072" in warning for warning in setup().warnings)


def test_the_published_half_length_exponent_can_be_chosen() -> None:
    options = PaillierOptions(decryption=Decryption.SINGLE, bits=2048, exponent_bits=HALF_LENGTH)
    half = set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(), options=options)
    assert "composite residuosity alone" in " ".join(half.warnings)
    assert "320-bit exponents: that short powers" in " ".join(setup().warnings)
    updates = {me: np.array([0.5, -0.25]) for me in CLIENTS}
    result = run_round(
        half, updates, weights=dict.fromkeys(CLIENTS, 3), round=1, model_hash=bytes(32), rng=SystemRng(), quantizer=QUANTIZER
    )
    assert result.total.tolist() == [7.5, -3.75]


@pytest.mark.parametrize(("named", "bits"), [("short", 320), ("half-length", HALF_LENGTH)])
def test_a_run_chooses_the_exponent_by_name(named: Literal["short", "half-length"], bits: int) -> None:
    options = options_for("paillier", SecaggConfig(paillier_exponent=named))
    assert isinstance(options, PaillierOptions)
    assert options.exponent_bits == bits


def test_a_ciphertext_of_an_earlier_round_is_worth_nothing_in_a_later_one() -> None:
    """Every round has a key of its own: what opens under the old one is noise under the new one."""
    contexts = [RoundContext(run_id=RUN, round=n, roster_hash=setup().roster_hash, model_hash=bytes(32)) for n in (5001, 5002)]
    vector = np.array([41, 1], dtype=np.uint32)
    old, new = (setup().round(context) for context in contexts)
    assert old.terms.key_hash != new.terms.key_hash
    bodies = {CLIENTS[0]: memoryview(old.cipher.encrypt(vector, me=CLIENTS[0], rng=CountingRng()))}
    (old_opener,), (new_opener,) = old.openers.values(), new.openers.values()
    assert np.frombuffer(old_opener.open(bodies, 2, rng=CountingRng()), "<i8").tolist() == [41, 1]
    with pytest.raises(DecodeError):
        new_opener.open(bodies, 2, rng=CountingRng())


def test_slots_left_over_are_random() -> None:
    opener = setup().keys.opener(6001)
    size = opener.cipher.encryptor.public.ciphertext_size
    vector = np.array([41, 1], dtype=np.uint32)
    rests = []
    for seed in (1, 2):
        body = opener.cipher.encrypt(vector, me=CLIENTS[0], rng=CountingRng(seed))
        plaintext = opener.key.decrypt(int.from_bytes(body[-size:], "big"))
        rests.append(opener.cipher.packing.unpack([plaintext], 63)[2:])
    assert np.count_nonzero(rests[0] == rests[1]) == 0


def test_a_ciphertext_that_is_no_unit_names_its_sender() -> None:
    opener = setup().keys.opener(7001)
    public = opener.cipher.encryptor.public
    good = {me: opener.cipher.encrypt(np.array([1, 1], dtype=np.uint32), me=me, rng=CountingRng()) for me in CLIENTS}
    bad = good[CLIENTS[2]][: -public.ciphertext_size] + (3 * public.n).to_bytes(public.ciphertext_size, "big")
    bodies = {me: memoryview(body) for me, body in {**good, CLIENTS[2]: bad}.items()}
    with pytest.raises(BadCiphertextError, match="not a unit") as caught:
        opener.open(bodies, 2, rng=CountingRng())
    assert caught.value.party == CLIENTS[2]
