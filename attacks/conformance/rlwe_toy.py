"""Why encryptors must be honest under threshold RLWE: one malformed upload gives the epoch's key away, on toy parameters.

The adversary is a partner together with the operator. It sends (0, epsilon) instead of an encryption of its update: the
decryptors multiply epsilon by the joint secret s and add that to the sum. With epsilon well below the scale, the opened sum
is unchanged and every residue stays inside the noise bound: *nobody notices*. The operator sees the residues, noise + epsilon
s, in every element of the vector anew, takes their mean, and rounds. With s it opens every single upload of that epoch.

What limits the damage: an epoch is one round by default, so that the key opens that round's uploads and no others. What would
prevent it: a proof that an upload is well formed, which is not implemented. The toy ring has degree 64, where the secret
could be computed directly as well; the arithmetic is that of the real ring, and so is the attack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attacks.score import Score, proportion
from securefl.crypto.rlwe.budget import CANARIES, NoiseBudget
from securefl.crypto.rlwe.cipher import (
    Encryptor,
    Half,
    PartialDecryptor,
    body_size,
    decode_total,
    generate_part,
    read_half,
    reference_element,
    split_total,
)
from securefl.crypto.rlwe.encoding import encode_elements
from securefl.crypto.rlwe.product import centred, multiply
from securefl.crypto.rlwe.ring import Residues, Ring, zeros
from securefl.crypto.rlwe.sharing import deal, weights_at_zero
from securefl.types import Rng

TOY_RING = Ring(64, (26, 26, 26, 26))
_MARGIN = 8
"""The shift takes an eighth of the noise bound at most: noise alone comes that near to it once in ten million coefficients."""


@dataclass(frozen=True, slots=True)
class ToyKey:
    """A joint key of a toy ring with its holders' shares; ``secret`` is kept to score an attack by."""

    budget: NoiseBudget
    reference: Residues = field(repr=False)
    encryptor: Encryptor
    shares: Mapping[int, Residues] = field(repr=False)
    secret: Residues = field(repr=False)

    def encrypt(self, plain: NDArray[np.int64], *, rng: Rng) -> bytes:
        """Return an honest upload of rows of coefficients, shape (count, N), whose canaries are zero."""
        return self.encryptor.encrypt(plain, rng=rng)

    def total(self, bodies: Sequence[bytes], members: tuple[int, ...], *, rng: Rng) -> Residues:
        """Return what the operator has when it adds the answers of ``members`` to the message halves, (count, primes, N)."""
        ring = self.budget.ring
        message, keyed = (summed(bodies, half, self.budget) for half in Half)
        weights = weights_at_zero(members, ring.primes)
        for member in members:
            decryptor = PartialDecryptor(self.shares[member], weights[member], self.budget)
            ring.add(message, decryptor.answer(keyed, rng=rng))
        return message


def make_toy(
    *, holders: int, threshold: int, elements: int, rng: Rng, oversized: Callable[[NoiseBudget], int] = lambda budget: 0
) -> ToyKey:
    """Return a fresh key of the toy ring for vectors of ``elements`` elements, with the noise budget of three partners.

    One holder's public part has the constant ``oversized`` in its error: 0 for honest holders.
    """
    ring, points = TOY_RING, range(1, holders + 1)
    budget = NoiseBudget(
        ring=ring, holders=holders, threshold=threshold, clients=3, limit=1 << 20, length=elements * (ring.degree - CANARIES)
    )
    reference = reference_element(ring, rng.bytes(32))
    public, secret = zeros(ring, 1)[0], zeros(ring, 1)[0]
    public[:, 0] = [oversized(budget) % prime for prime in ring.primes]
    shares = {point: zeros(ring, 1)[0] for point in points}
    for _ in points:
        part = generate_part(reference, ring, rng=rng)
        ring.add(public, part.public)
        ring.add(secret, part.secret)
        for point, share in deal(part.secret, ring, threshold=threshold, points=points, rng=rng).items():
            ring.add(shares[point], share)
    return ToyKey(budget, reference, Encryptor(public, reference, budget), shares, secret)


def summed(bodies: Sequence[bytes], half: Half, budget: NoiseBudget) -> Residues:
    """Return the sum of one half of the uploads ``bodies``, shape (count, primes, N)."""
    whole = slice(0, len(bodies[0]) // body_size(budget, 1))
    total = zeros(budget.ring, whole.stop)
    budget.ring.add_all(total, (read_half(body, half, whole, budget.ring) for body in bodies))
    return total


def shift_of(budget: NoiseBudget) -> int:
    """Return the largest epsilon for which epsilon times the secret stays unnoticed."""
    return budget.noise_bound // (_MARGIN * budget.holders)


def malformed_upload(budget: NoiseBudget, elements: int) -> bytes:
    """Return (0, epsilon) for every element: what the adversary sends."""
    ring = budget.ring
    pair = zeros(ring, 2)
    pair[Half.KEYED, :, 0] = [shift_of(budget) % prime for prime in ring.primes]
    return encode_elements(pair, ring).tobytes() * elements


def extract_secret(total: Residues, budget: NoiseBudget) -> NDArray[np.int64]:
    """Return the adversary's guess of the joint secret, shape (N,), from the operator's view of the opened sum."""
    _, residue = split_total(total, budget)
    unit = shift_of(budget) * 2.0**64 / budget.ring.modulus
    guess: NDArray[np.int64] = np.rint(residue.mean(axis=0) / unit).astype(np.int64)
    return guess


def secret_score(guess: NDArray[np.int64], key: ToyKey) -> Score:
    """Return the share of the secret's coefficients that ``guess`` has right; chance is always naming the commonest value."""
    true = centred(key.secret, key.budget.ring)[0].astype(np.int64)
    commonest = int(np.unique(true, return_counts=True)[1].max())
    right = int((guess == true).sum())
    return proportion("secret coefficients", right, len(true), chance=commonest / len(true))


def open_single(body: bytes, guess: NDArray[np.int64], budget: NoiseBudget) -> NDArray[np.int64]:
    """Return the one vector in ``body``, opened with a guessed secret.

    Raises:
        DecodeError: the guess is wrong, or the upload is another epoch's.
    """
    ring = budget.ring
    secret = ring.reduce(guess[None])
    total, keyed = (summed([body], half, budget) for half in Half)
    for element, factor in zip(total, keyed, strict=True):
        ring.add(element, multiply(secret, factor, ring))
    return decode_total(total, budget)
