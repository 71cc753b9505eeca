"""How a dataset's structures became fingerprints: what somebody needs who wants the same bits for another molecule.

A prepared dataset carries it, and so does every model that was trained on one. The key itself is in neither: a one-way check
of it is, so that a wrong key is noticed instead of giving wrong predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import rdkit
import scipy.sparse as sp
from numpy.typing import NDArray

from securefl.chem.compounds import Recipe, describe_all
from securefl.chem.fingerprint import fold_bits, fold_counts
from securefl.chem.keyed import bit_order, key_check, public_key
from securefl.chem.rejects import Reject, Stage
from securefl.chem.standardise import Rules
from securefl.errors import InputError, ParameterError, VerificationError
from securefl.types import Progress, Secret, silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Fingerprint size and kind, standardisation rules, and the check of the key that orders the bits.

    ``seed`` is that of the public key, which is used where the check says so. ``rdkit`` is the version that made the
    fingerprints; another one may standardise differently.
    """

    bits: int
    radius: int
    counts: bool
    rules: Rules
    key_check: str
    seed: int
    rdkit: str = rdkit.__version__

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Encoding:
        """Return what :meth:`as_json` gave.

        Raises:
            InputError: it is something else.
        """
        try:
            return cls(**{**content, "rules": Rules(**content["rules"])})
        except (KeyError, TypeError, ParameterError) as error:
            raise InputError(f"encoding of structures can't be read: {error}") from error

    def key(self, given: Secret | None) -> Secret:
        """Return the key that orders the bits: ``given``, or the public one where that is what was used.

        Raises:
            VerificationError: it is another key.
        """
        key = public_key(self.seed) if given is None else given
        if key_check(key) != self.key_check:
            which = "the public key: name the consortium's with --key" if given is None else "this one"
            raise VerificationError(f"the fingerprints were ordered by another key than {which}")
        return key


@dataclass(frozen=True, slots=True)
class Encoded:
    """Molecules that could be read: ``row`` int64 (n,) in the input, from 0; the others are in ``rejects``."""

    row: NDArray[np.int64]
    smiles: tuple[str, ...]
    inchikeys: tuple[str, ...]
    fingerprints: sp.csr_matrix
    rejects: tuple[Reject, ...]


def encode(smiles: Sequence[str], encoding: Encoding, *, key: Secret | None = None, progress: Progress = silent) -> Encoded:
    """Return standardised structures and fingerprints of ``smiles``: bit for bit what preparation gives.

    Raises:
        VerificationError: ``key`` is not the one that the fingerprints were ordered by.
    """
    order = bit_order(encoding.key(key), encoding.bits)
    found = describe_all(smiles, Recipe(encoding.rules, encoding.radius), progress=progress)
    row = np.array([i for i, one in enumerate(found) if not one.reason], dtype=np.int64)
    kept = [found[i] for i in row]
    if encoding.counts:
        matrix = fold_counts(((one.hashes, one.counts) for one in kept), encoding.bits, order=order)
    else:
        matrix = fold_bits((one.hashes for one in kept), encoding.bits, order=order)
    rejects = tuple(Reject(i + 1, Stage.STRUCTURE, one.reason) for i, one in enumerate(found) if one.reason)
    return Encoded(row, tuple(one.smiles for one in kept), tuple(one.inchikey for one in kept), matrix, rejects)
