"""Attacks on toy RLWE parameters: each succeeds where it must, and drops to chance against its control."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import CountingRng

from attacks.conformance import Lab, malformed_rlwe, play
from attacks.conformance.rlwe_toy import (
    ToyKey,
    extract_secret,
    make_toy,
    malformed_upload,
    open_single,
    secret_score,
    summed,
)
from attacks.conformance.rlwe_toy_hint import Seen, noise_score, recover_noise
from attacks.conformance.rlwe_toy_part import ephemeral_score, oversized_error, recover_ephemeral, summed_errors
from securefl.crypto.rlwe.budget import CANARIES
from securefl.crypto.rlwe.cipher import Half, PartialDecryptor, decode_total, split_total
from securefl.crypto.rlwe.ring import Residues
from securefl.crypto.rlwe.samplers import BINOMIAL_BITS, ternary, uniform
from securefl.crypto.rlwe.sharing import weights_at_zero
from securefl.errors import DecodeError
from securefl.types import SystemRng

ELEMENTS = 1500


def vector(seed: int, elements: int = ELEMENTS) -> NDArray[np.int64]:
    plain = np.random.default_rng(seed).integers(-(1 << 18), 1 << 18, (elements, 64))
    plain[:, -CANARIES:] = 0
    return plain


@pytest.fixture(scope="module")
def key() -> ToyKey:
    return make_toy(holders=3, threshold=2, elements=ELEMENTS, rng=CountingRng(1))


def test_one_malformed_upload_extracts_the_key_unnoticed_and_opens_single_uploads(key: ToyKey) -> None:
    honest = [key.encrypt(vector(seed), rng=CountingRng(seed)) for seed in (1, 2)]
    total = key.total([*honest, malformed_upload(key.budget, ELEMENTS)], (1, 3), rng=CountingRng(9))
    # Nobody notices: the opened sum is right and every residue is within the bound.
    assert np.array_equal(decode_total(total, key.budget), vector(1) + vector(2))
    guess = extract_secret(total, key.budget)
    score = secret_score(guess, key)
    assert score.value == 1.0
    assert score.low > 0.9 > 0.5 > score.chance
    for seed, body in zip((1, 2), honest, strict=True):
        assert np.array_equal(open_single(body, guess, key.budget), vector(seed))


def test_without_the_malformed_upload_the_same_view_gives_nothing(key: ToyKey) -> None:
    honest = [key.encrypt(vector(seed), rng=CountingRng(seed)) for seed in (1, 2, 3)]
    guess = extract_secret(key.total(honest, (1, 3), rng=CountingRng(9)), key.budget)
    score = secret_score(guess, key)
    assert score.low <= score.chance
    with pytest.raises(DecodeError):
        open_single(honest[0], guess, key.budget)


def test_the_extracted_key_is_worth_nothing_in_the_next_epoch(key: ToyKey) -> None:
    other = make_toy(holders=3, threshold=2, elements=ELEMENTS, rng=CountingRng(2))
    body = other.encrypt(vector(1, 2), rng=CountingRng(1))
    malformed = key.total([malformed_upload(key.budget, ELEMENTS)], (1, 2), rng=CountingRng(9))
    with pytest.raises(DecodeError):
        open_single(body, extract_secret(malformed, key.budget), other.budget)


def ephemeral(seeds: tuple[int, ...], elements: int) -> NDArray[np.int64]:
    """The sum of what ``Encryptor.encrypt`` draws first."""
    drawn = np.zeros((elements, 64), np.int64)
    for seed in seeds:
        drawn += ternary(elements, 64, rng=CountingRng(seed))
    return drawn


def test_a_decryptor_whose_key_part_is_not_short_shows_the_sum_of_the_ephemeral_secrets() -> None:
    """Nobody but the operator could notice, and the sum that it publishes is right; with an honest part it sees nothing."""
    seeds, elements = (1, 2, 3), 4
    for oversized in (oversized_error, lambda budget: 0):
        key = make_toy(holders=3, threshold=2, elements=elements, rng=CountingRng(1), oversized=oversized)
        bodies = [key.encrypt(vector(seed, elements), rng=CountingRng(seed)) for seed in seeds]
        total = key.total(bodies, (1, 3), rng=CountingRng(9))
        score = ephemeral_score(total, key, ephemeral(seeds, elements))
        if oversized is oversized_error:
            assert score.value == 1.0
            assert score.low > 0.9 > 0.5 > score.chance
            assert np.abs(summed_errors(bodies, recover_ephemeral(total, key.budget), key)).max() <= 3 * BINOMIAL_BITS
        else:
            assert score.low <= score.chance
            assert np.abs(summed_errors(bodies, np.zeros((elements, 64), np.int64), key)).max() > 2**20
        sums = split_total(total, key.budget)[0]
        assert np.array_equal(sums, np.sum([vector(seed, elements) for seed in seeds], axis=0))


def test_the_deviation_with_an_oversized_key_part_succeeds_and_says_what_is_assumed() -> None:
    found = play(malformed_rlwe.PART, Lab.of("rlwe", rng=SystemRng()))
    assert found.result == "succeeded"
    assert "256 of 256 coefficients" in found.reason
    assert "assumed honest when they make the key" in found.reason


def seen_of(key: ToyKey, *, masked: bool) -> Seen:
    """Seven of ten answer; six holders are corrupted, three of them outside the set."""
    ring, members, corrupted = key.budget.ring, (1, 3, 4, 5, 7, 9, 10), (2, 4, 6, 7, 8, 9)
    bodies = [key.encrypt(vector(seed, 1), rng=CountingRng(seed)) for seed in (1, 2, 3)]
    message, keyed = (summed(bodies, half, key.budget) for half in Half)
    weights = weights_at_zero(members, ring.primes)
    answers: dict[int, Residues] = {}
    honest = [member for member in members if member not in corrupted]
    masks = uniform(ring, len(honest) - 1, rng=CountingRng(50))
    for number, member in enumerate(honest):
        answer = PartialDecryptor(key.shares[member], weights[member], key.budget).answer(keyed, rng=CountingRng(20 + member))
        if masked:
            # The first one's mask is minus the sum of the others'.
            for mask in masks if number == 0 else masks[number - 1 : number]:
                (ring.subtract if number == 0 else ring.add)(answer, mask[None])
        answers[member] = answer[0]
    return Seen(
        message=message[0],
        keyed=keyed[0],
        opened=np.sum([vector(seed, 1)[0] for seed in (1, 2, 3)], axis=0),
        answers=answers,
        members=members,
        corrupted={holder: key.shares[holder] for holder in corrupted},
    )


def test_unmasked_answers_show_the_noise_exactly_and_masked_ones_nothing() -> None:
    key = make_toy(holders=10, threshold=7, elements=1, rng=CountingRng(3))
    bare = noise_score(seen_of(key, masked=False), key)
    assert bare.value == 1.0
    masked = noise_score(seen_of(key, masked=True), key)
    assert masked.value == 0.0
    assert not recover_noise(seen_of(key, masked=True), key)[1].any()
