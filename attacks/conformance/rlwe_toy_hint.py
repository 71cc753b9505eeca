"""Why partial decryptions are masked: without, shares outside the answering set show the noise of the summed ciphertexts.

A decryptor's answer is lambda_j s_j c1 + E_j. Smudging hides the ciphertexts' noise v in the *sum* of the answers. But an
adversary with t - 1 shares, some of them of decryptors that do not answer, knows every honest share up to a multiple of the
secret: s_j = L_0(j) s + known. As s c1 = scale m + v - c0, each honest answer gives it kappa_j v + E_j modulo q, with a
public fraction kappa_j = lambda_j L_0(j). Modulo q a fraction with denominator D is small times v where D divides v, and far
from zero everywhere else: smudging covers the first and not the second, so that v modulo the common denominator of all
kappa_j is plain to see. For seven of ten decryptors and the sets of the test it is 8064, as large as the noise of the sum: v
itself, in every coefficient, is a linear equation about secret and errors without any smudging.

The protocol's masks (keystreams of every pair in the set, which cancel in the sum of the set's answers) leave nothing to
this: the adversary sees the sum of the honest answers alone. Each answer by itself is uniform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.conformance.rlwe_toy import ToyKey
from attacks.score import Score, proportion
from securefl.crypto.rlwe.cipher import fraction
from securefl.crypto.rlwe.product import centred, multiply
from securefl.crypto.rlwe.ring import Residues, Ring, zeros
from securefl.crypto.rlwe.sharing import weights_at_zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the adversary has of one element: ciphertext sum, opened sum, honest answers, and the corrupted holders' shares."""

    message: Residues
    keyed: Residues
    opened: NDArray[np.int64]
    answers: Mapping[int, Residues]
    members: tuple[int, ...]
    corrupted: Mapping[int, Residues]


def recover_noise(seen: Seen, key: ToyKey) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the noise of the summed ciphertexts, shape (N,), and where exactly one value fits all honest answers.

    Of ``key`` the public parts alone are used: ring and budget.
    """
    ring, budget = key.budget.ring, key.budget
    candidates = np.arange(-budget.encryption_bound, budget.encryption_bound + 1)
    window = (2 << budget.smudging_bits) * 2**64 // ring.modulus + 2 * budget.encryption_bound
    fits = np.ones((ring.degree, len(candidates)), np.bool_)
    for member, answer in seen.answers.items():
        kappa, rest = _equation(seen, member, answer, key)
        unit = fraction(_constant(kappa, ring), ring)[0, 0]
        left = fraction(rest[None], ring)[0][:, None] - candidates.astype(np.uint64) * unit
        fits &= np.abs(left.view(np.int64)) <= window
    return candidates[fits.argmax(axis=1)], fits.sum(axis=1) == 1


def noise_score(seen: Seen, key: ToyKey) -> Score:
    """Return the share of coefficients whose noise is found exactly; chance is guessing it within its bound."""
    found, unique = recover_noise(seen, key)
    ring = key.budget.ring
    total = multiply(key.secret, seen.keyed, ring)
    ring.add(total, seen.message)
    ring.subtract(total, _scaled(seen.opened, key))
    # The noise is far below the first prime: its residue is itself.
    right = int((unique & (found == centred(total, ring)[0])).sum())
    return proportion("noise of the sum", right, ring.degree, chance=1 / (2 * key.budget.encryption_bound + 1))


def _equation(seen: Seen, member: int, answer: Residues, key: ToyKey) -> tuple[tuple[int, ...], Residues]:
    """Return kappa_j by prime, and answer - known = kappa_j v + E_j, shape (primes, N)."""
    ring = key.budget.ring
    weights = weights_at_zero(seen.members, ring.primes)[member]
    base = (0, *sorted(seen.corrupted))
    factors = {one: tuple(_lagrange(one, base, member, prime) for prime in ring.primes) for one in base}
    rest = answer.copy()
    for holder, share in seen.corrupted.items():
        known = multiply(ring.scale(share, factors[holder]), seen.keyed, ring)
        ring.subtract(rest, ring.scale(known, weights))
    kappa = tuple(a * b % prime for a, b, prime in zip(weights, factors[0], ring.primes, strict=True))
    visible = _scaled(seen.opened, key)
    ring.subtract(visible, seen.message)
    ring.subtract(rest, ring.scale(visible, kappa))
    return kappa, rest


def _lagrange(point: int, points: tuple[int, ...], at: int, prime: int) -> int:
    value = 1
    for other in points:
        if other != point:
            value = value * (at - other) * pow(point - other, -1, prime) % prime
    return value


def _scaled(plain: NDArray[np.int64], key: ToyKey) -> Residues:
    ring = key.budget.ring
    return ring.scale(ring.reduce(plain[None]), tuple(key.budget.scale % prime for prime in ring.primes))


def _constant(residues: tuple[int, ...], ring: Ring) -> Residues:
    element = zeros(ring, 1)
    element[0, :, 0] = residues
    return element
