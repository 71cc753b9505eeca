"""Why decryptors must be honest when they make the key under threshold RLWE: a key part with a large error, on toy parameters.

The adversary is one decryptor together with the operator. Its part of the joint key is e' - a s with an error e' far above what
the noise budget counts: a constant beyond the range of one decryptor's smudging. Nothing in key generation shows that a part is
short; its shares lie on a polynomial, and its commitment came before the others were seen. Every upload is then encrypted
under a key with that constant in it, and the residues of an opened sum are noise + smudging + constant * u, where u is the sum
of all uploads' ephemeral secrets: the operator takes the constant off again by rounding, publishes the right sum, and knows u
in every coefficient. From it and the public key follow the sums of the encryption errors.

What it is worth: sums over at least ``minimum`` honest partners, not single secrets; but they are hints about each of them
(with two honest partners two coefficients in nine of each are certain), and the argument that hides single uploads
(secagg/rlwe_sum/SPEC.md) is for noise that the smudging covers. What would prevent it: a proof that a part is short.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.conformance.rlwe_toy import ToyKey, summed
from attacks.score import Score, proportion
from securefl.crypto.rlwe.budget import NoiseBudget
from securefl.crypto.rlwe.cipher import Half, split_total
from securefl.crypto.rlwe.product import centred, multiply
from securefl.crypto.rlwe.ring import Residues


def oversized_error(budget: NoiseBudget) -> int:
    """Return the constant that the adversary adds to its part: beyond all smudging, so that rounding takes it off again."""
    return budget.threshold * (4 << budget.smudging_bits)


def recover_ephemeral(total: Residues, budget: NoiseBudget) -> NDArray[np.int64]:
    """Return the sum of the uploads' ephemeral secrets, shape (count, N), from the operator's view of an opened sum."""
    _, residue = split_total(total, budget)
    unit = oversized_error(budget) * 2.0**64 / budget.ring.modulus
    found: NDArray[np.int64] = np.rint(residue / unit).astype(np.int64)
    return found


def summed_errors(bodies: Sequence[bytes], ephemeral: NDArray[np.int64], key: ToyKey) -> NDArray[np.float64]:
    """Return what the summed keyed halves a u + e2 leave without a u, shape (count, N): short exactly where u is right.

    So the adversary knows that it has u, and has the sum of the errors e2 with it. Of ``key`` the public parts alone are used.
    """
    ring = key.budget.ring
    keyed = summed(bodies, Half.KEYED, key.budget)
    for element, secret in zip(keyed, ring.reduce(ephemeral[:, None]), strict=True):
        ring.subtract(element, multiply(key.reference, secret, ring))
    return centred(keyed, ring)[:, 0]


def ephemeral_score(total: Residues, key: ToyKey, true: NDArray[np.int64]) -> Score:
    """Return the share of coefficients of the ``true`` sum that is found; chance is always naming the commonest value."""
    right = int((recover_ephemeral(total, key.budget) == true).sum())
    commonest = int(np.unique(true, return_counts=True)[1].max())
    return proportion("coefficients of the summed ephemeral secrets", right, true.size, chance=commonest / true.size)
