"""Shares, noise budget, encryption and threshold decryption, without any protocol around them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from stand_ins import CountingRng

from securefl.crypto.rlwe import sharing
from securefl.crypto.rlwe.budget import CANARIES, LADDER, NoiseBudget, smallest_budget
from securefl.crypto.rlwe.cipher import (
    Encryptor,
    Half,
    PartialDecryptor,
    body_size,
    decode_total,
    generate_part,
    read_half,
    reference_element,
)
from securefl.crypto.rlwe.product import multiply
from securefl.crypto.rlwe.ring import Residues, Ring, zeros
from securefl.crypto.rlwe.samplers import uniform
from securefl.errors import CapacityError, DecodeError, ParameterError, VerificationError

TOY = Ring(64, (26, 26, 26, 26))
LIMIT = 2**20


def toy_budget(holders: int, threshold: int, *, clients: int = 3, elements: int = 2) -> NoiseBudget:
    length = elements * (TOY.degree - CANARIES)
    return NoiseBudget(ring=TOY, holders=holders, threshold=threshold, clients=clients, limit=LIMIT, length=length)


@dataclass
class World:
    """A key that its holders share, and its encryptor; the secret is kept so that tests can look at the noise."""

    budget: NoiseBudget
    encryptor: Encryptor
    shares: dict[int, Residues]
    secret: Residues

    def encrypt(self, plain: NDArray[np.int64], seed: int) -> bytes:
        return self.encryptor.encrypt(plain, rng=CountingRng(seed))

    def halves(self, bodies: Sequence[bytes]) -> tuple[Residues, Residues]:
        ring, whole = self.budget.ring, slice(0, len(bodies[0]) // body_size(self.budget, 1))
        totals = []
        for half in Half:
            total = zeros(ring, whole.stop)
            for body in bodies:
                ring.add(total, read_half(body, half, whole, ring))
            totals.append(total)
        return totals[Half.MESSAGE], totals[Half.KEYED]

    def answers(self, keyed: Residues, members: Sequence[int]) -> dict[int, Residues]:
        weights = sharing.weights_at_zero(tuple(members), self.budget.ring.primes)
        return {
            one: PartialDecryptor(self.shares[one], weights[one], self.budget).answer(keyed, rng=CountingRng(900 + one))
            for one in members
        }

    def total(self, bodies: Sequence[bytes], members: Sequence[int]) -> Residues:
        total, keyed = self.halves(bodies)
        for answer in self.answers(keyed, members).values():
            self.budget.ring.add(total, answer)
        return total


def make_world(budget: NoiseBudget, seed: int = 0) -> World:
    ring, rng = budget.ring, CountingRng(seed)
    reference = reference_element(ring, b"test")
    parts = [generate_part(reference, ring, rng=rng) for _ in range(budget.holders)]
    shares = {point: zeros(ring, 1)[0] for point in range(1, budget.holders + 1)}
    public, secret = zeros(ring, 1)[0], zeros(ring, 1)[0]
    for part in parts:
        ring.add(public, part.public)
        ring.add(secret, part.secret)
        for point, share in sharing.deal(part.secret, ring, threshold=budget.threshold, points=tuple(shares), rng=rng).items():
            ring.add(shares[point], share)
    return World(budget, Encryptor(public, reference, budget), shares, secret)


def vector(budget: NoiseBudget, seed: int, clients: int, elements: int = 2) -> NDArray[np.int64]:
    most = budget.limit // clients
    plain = np.random.default_rng(seed).integers(-most, most + 1, (elements, budget.ring.degree))
    plain[:, -CANARIES:] = 0
    return plain


@pytest.mark.property
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_threshold_of_any_holders_opens_the_exact_sum_of_any_survivors(data: st.DataObject) -> None:
    holders = data.draw(st.integers(2, 7))
    threshold = data.draw(st.integers(1, holders))
    clients = data.draw(st.integers(1, 4))
    world = make_world(toy_budget(holders, threshold, clients=clients), seed=data.draw(st.integers(0, 99)))
    survivors = data.draw(st.sets(st.integers(0, clients - 1), min_size=1))
    members = sorted(data.draw(st.permutations(range(1, holders + 1)))[:threshold])
    plain = {one: vector(world.budget, one, clients) for one in survivors}
    bodies = [world.encrypt(plain[one], 50 + one) for one in survivors]
    opened = decode_total(world.total(bodies, members), world.budget)
    assert np.array_equal(opened, sum(plain.values()))


def test_a_sum_at_full_size_and_at_the_limit() -> None:
    budget = smallest_budget(holders=3, threshold=2, clients=2, limit=2**31 - 1, length=8000)
    assert budget.ring.degree == 4096
    world = make_world(budget)
    plain = np.zeros((2, 4096), np.int64)
    plain[:, : budget.slots : 2], plain[:, 1 : budget.slots : 2] = 2**30 - 1, 1 - 2**30
    opened = decode_total(world.total([world.encrypt(plain, 1), world.encrypt(plain, 2)], (1, 3)), budget)
    assert np.array_equal(opened, 2 * plain)


def test_wide_sums_of_fifty_bits_are_exact() -> None:
    budget = smallest_budget(holders=3, threshold=2, clients=2, limit=2**50, length=8000)
    world = make_world(budget)
    plain = np.random.default_rng(1).integers(-(2**49), 2**49, (1, budget.ring.degree))
    plain[:, -CANARIES:] = 0
    assert np.array_equal(decode_total(world.total([world.encrypt(plain, 1)] * 2, (2, 3)), budget), 2 * plain)


def noise_of(world: World, bodies: Sequence[bytes], plain: NDArray[np.int64]) -> NDArray[np.float64]:
    """The exact noise of summed ciphertexts, by the secret that nobody has in a real run."""
    ring = world.budget.ring
    total, keyed = world.halves(bodies)
    for index in range(len(total)):
        ring.add(total[index], multiply(world.secret, keyed[index], ring))
    values = total.astype(object)
    crt = sum(
        values[:, row] * (ring.modulus // prime) * pow(ring.modulus // prime, -1, prime)
        for row, prime in enumerate(ring.primes)
    )  # fmt: skip
    residue = (crt - plain.astype(object) * world.budget.scale) % ring.modulus
    return np.where(residue > ring.modulus // 2, residue - ring.modulus, residue).astype(np.float64)


def test_the_noise_is_as_large_as_the_budget_says_and_never_larger() -> None:
    budget = smallest_budget(holders=5, threshold=4, clients=3, limit=LIMIT, length=40_000)
    world = make_world(budget)
    plain = [vector(budget, seed, 3, elements=10) for seed in range(3)]
    noise = noise_of(world, [world.encrypt(one, 70 + i) for i, one in enumerate(plain)], np.sum(plain, axis=0))
    stated = math.sqrt(3 * budget.encryption_variance)
    assert 0.75 * stated < noise.std() < stated
    assert np.abs(noise).max() < budget.encryption_bound
    # A spread-out vector's norm, over the coefficients that were used: the bound is for the whole length.
    assert np.linalg.norm(noise) < budget.norm(3)


@pytest.mark.statistical
def test_the_smudged_noise_hides_the_encryption_noise_and_stays_in_its_bound() -> None:
    world = make_world(toy_budget(3, 2), seed=3)
    budget = world.budget
    plain = vector(budget, 1, 3)
    total = world.total([world.encrypt(plain, 5)], (1, 2))
    fraction = np.sum([total.astype(object)[:, row] * pow(TOY.modulus // p, -1, p) % p * (TOY.modulus // p)
                       for row, p in enumerate(TOY.primes)], axis=0)  # fmt: skip
    residue = (fraction - plain.astype(object) * budget.scale) % TOY.modulus
    noise = np.where(residue > TOY.modulus // 2, residue - TOY.modulus, residue)
    assert np.abs(noise).max() <= budget.noise_bound
    # Two decryptors' smudging: variance 2 * 4 / 12 * 2^(2k).
    scaled = noise.astype(np.float64) / 2.0**budget.smudging_bits
    assert 0.4 < scaled.var() < 1.0


@pytest.mark.statistical
def test_shares_below_the_threshold_are_uniform_whatever_the_secret_is() -> None:
    """t - 1 shares of an extreme secret by chi-square; the control combines t of them and must be far from uniform."""
    ring, threshold = Ring(1024, (12, 25)), 3
    secret = np.broadcast_to(np.array([[1], [1]], np.uint32), (2, 1024))
    cells = np.zeros((2, 64))
    control = np.zeros(64)
    for seed in range(40):
        shares = sharing.deal(secret, ring, threshold=threshold, points=range(1, 6), rng=CountingRng(seed))
        for row, (left, right) in enumerate(((1, 2), (4, 5))):
            # A dependence on the secret would show in some combination of a pair of shares; Lagrange's is the natural one.
            two = sharing.combine({left: shares[left], right: shares[right]}, ring)
            cells[row] += np.bincount(two[1].astype(np.int64) * 64 // ring.primes[1], minlength=64)
        three = sharing.combine({1: shares[1], 2: shares[2], 4: shares[4]}, ring)
        assert np.array_equal(three, secret)
        control += np.bincount(three[1].astype(np.int64) * 64 // ring.primes[1], minlength=64)
    for row in range(2):
        assert stats.chisquare(cells[row]).pvalue > 1e-6
    assert stats.chisquare(control).pvalue < 1e-6


@pytest.mark.statistical
def test_answers_of_too_few_decryptors_open_nothing() -> None:
    world = make_world(toy_budget(5, 4), seed=8)
    budget = world.budget
    plain = vector(budget, 2, 3)
    bodies = [world.encrypt(plain, 6)]
    total, keyed = world.halves(bodies)
    partial = world.answers(keyed, (1, 2, 3, 5))
    for left_out in (1, 5):
        some = total.copy()
        for member, answer in partial.items():
            if member != left_out:
                TOY.add(some, answer)
        with pytest.raises(DecodeError):
            decode_total(some, budget)
        first = some[:, 0].astype(np.int64).reshape(-1) * 8 // TOY.primes[0]
        assert stats.chisquare(np.bincount(first, minlength=8)).pvalue > 1e-6
    for answer in partial.values():
        TOY.add(total, answer)
    assert np.array_equal(decode_total(total, budget), plain)


def test_a_wrong_share_is_caught_in_every_position() -> None:
    world = make_world(toy_budget(3, 2))
    bodies = [world.encrypt(vector(world.budget, 1, 3), 1)]
    good = world.total(bodies, (1, 2))
    world.shares[2] = uniform(TOY, 1, rng=CountingRng(77))[0]
    with pytest.raises(DecodeError, match="noise bound"):
        decode_total(world.total(bodies, (1, 2)), world.budget)
    assert world.budget.escape_bits > 60
    # One canary that is not zero, and one sum beyond its range: shifts by whole steps pass the noise bound alone.
    for place, amount, message in ((-1, 1, "canary"), (0, 2 * LIMIT + 1, "not in")):
        shifted = good.copy()
        factors = np.array([world.budget.scale * amount % p for p in TOY.primes], np.uint32)
        shifted[0, :, place] = (shifted[0, :, place].astype(np.int64) + factors) % np.array(TOY.primes)
        with pytest.raises(DecodeError, match=message):
            decode_total(shifted, world.budget)


def test_what_stays_undetected_is_a_shift_by_whole_steps() -> None:
    """Its sender could have put it into its own input: said in the docs, and shown here."""
    world = make_world(toy_budget(3, 2))
    plain = vector(world.budget, 1, 3)
    total = world.total([world.encrypt(plain, 1)], (1, 2))
    factors = np.array([world.budget.scale * 5 % p for p in TOY.primes], np.uint32)
    total[0, :, 7] = (total[0, :, 7].astype(np.int64) + factors) % np.array(TOY.primes)
    assert decode_total(total, world.budget)[0, 7] == plain[0, 7] + 5


def test_ciphertexts_are_fresh_and_malformed_ones_are_refused() -> None:
    world = make_world(toy_budget(3, 2))
    plain = vector(world.budget, 1, 3)
    body = world.encrypt(plain, 1)
    assert len(body) == body_size(world.budget, 2) == 2 * 2 * 64 * 13
    assert body != world.encrypt(plain, 2)
    with pytest.raises(DecodeError, match="end before element 2"):
        read_half(body[:-1], Half.KEYED, slice(0, 2), TOY)
    with pytest.raises(DecodeError, match="not below its prime"):
        read_half(b"\xff" * len(body), Half.MESSAGE, slice(0, 2), TOY)


def test_the_degree_check_passes_honest_dealers_and_finds_every_other() -> None:
    ring, threshold, points = Ring(64, (25, 26)), 3, (1, 2, 3, 4, 5)
    repeats = sharing.repetitions(ring)
    assert repeats * 24 >= 60
    challenge = uniform(ring, repeats, rng=CountingRng(1))
    secret = uniform(ring, 1, rng=CountingRng(2))[0]
    shares = sharing.deal(secret, ring, threshold=threshold, points=points, rng=CountingRng(3))
    blinding = sharing.deal(secret[:, :repeats], ring, threshold=threshold, points=points, rng=CountingRng(4))

    def published(dealt: dict[int, Residues]) -> dict[int, Residues]:
        return {j: sharing.check_values(dealt[j], blinding[j], challenge, ring) for j in points}

    sharing.verify_degree(published(shares), threshold, ring)
    for point, row in itertools.product(points, range(2)):
        wrong = {j: share.copy() for j, share in shares.items()}
        wrong[point][row, 9] = (int(wrong[point][row, 9]) + 1) % ring.primes[row]
        with pytest.raises(VerificationError, match="degree 2"):
            sharing.verify_degree(published(wrong), threshold, ring)
    steep = sharing.deal(secret, ring, threshold=threshold + 1, points=points, rng=CountingRng(5))
    with pytest.raises(VerificationError, match="degree 2"):
        sharing.verify_degree(published(steep), threshold, ring)


def test_dealing_outside_its_bounds_is_refused() -> None:
    secret = zeros(TOY, 1)[0]
    for threshold, points in ((0, (1, 2)), (3, (1, 2)), (2, (0, 1)), (2, (1, 1)), (1, (1, TOY.primes[-1]))):
        with pytest.raises(ParameterError):
            sharing.deal(secret, TOY, threshold=threshold, points=points, rng=CountingRng())


def test_the_budget_of_the_reference_cases() -> None:
    """Ten partners, seven decryptors, a million coordinates: what the module's formulas give."""
    thirty_two = smallest_budget(holders=10, threshold=7, clients=10, limit=2**31 - 1, length=10**6)
    assert thirty_two.ring in LADDER
    assert thirty_two.ring.degree == 4096
    assert 97 < math.log2(thirty_two.noise_bound) + thirty_two.plain_bits + 1 < 101
    assert thirty_two.distance_bits >= 40
    assert 2 * sum(thirty_two.ring.prime_bits) / 8 * thirty_two.coefficients / 10**6 <= 26.5
    twenty_four = smallest_budget(holders=10, threshold=7, clients=10, limit=2**23 - 1, length=10**6, attempts=2)
    assert len(twenty_four.ring.prime_bits) == 3
    assert 2 * sum(twenty_four.ring.prime_bits) / 8 * twenty_four.coefficients / 10**6 <= 23
    longer = smallest_budget(holders=10, threshold=7, clients=10, limit=2**31 - 1, length=10**7)
    assert longer.smudging_bits > thirty_two.smudging_bits
    assert longer.ring.degree == 4096


def test_more_attempts_rounds_and_coordinates_cost_smudging() -> None:
    base = {"ring": LADDER[3], "holders": 10, "threshold": 7, "clients": 10, "limit": 2**31 - 1, "length": 10**5}
    norms = [
        NoiseBudget(**{**base, **change}).hidden_norm  # type: ignore[arg-type]
        for change in ({"attempts": 1}, {"attempts": 2}, {"attempts": 3}, {"rounds": 4}, {"rounds": 4, "length": 10**6})
    ]
    assert norms == sorted(norms)
    assert NoiseBudget(**{**base, "rounds": 4}).hidden_norm == pytest.approx(2 * NoiseBudget(**base).hidden_norm)  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_before_the_run() -> None:
    with pytest.raises(CapacityError, match="modulus of 90 bits must have >"):
        NoiseBudget(ring=LADDER[0], holders=10, threshold=7, clients=10, limit=2**31 - 1, length=10**6)
    with pytest.raises(CapacityError, match="sums of 62 bits"):
        smallest_budget(holders=3, threshold=2, clients=3, limit=2**61 - 1, length=10)
    good = {"ring": TOY, "holders": 3, "threshold": 2, "clients": 3, "limit": 1, "length": 1}
    outside = ({"threshold": 4}, {"threshold": 0}, {"length": 0}, {"attempts": 4}, {"attempts": 0}, {"statistical_bits": 10})
    for change in outside:
        with pytest.raises(ParameterError):
            NoiseBudget(**{**good, **change})  # type: ignore[arg-type]
    for ring in LADDER:
        ring.require_secure()
