"""Folds: what each compound is used for, decided by keyed hashes of the compound alone.

``AUDIT`` is drawn by the connectivity part of the InChIKey, across all scaffolds, and takes precedence: its compounds are
like the training compounds in every way except that no model saw them, which is what non-members must be. (Whole
scaffolds as non-members measure distribution shift instead: a classifier without any model separates them from the
members at AUC 0.67.) The connectivity part, not the whole key, so that a stereoisomer with the same fingerprint never
sits on the other side. All other compounds follow their scaffold cluster, so that test compounds are new chemistry.

``cluster`` folds group by the fingerprint instead: two keyed minima of the hashes of a molecule's environments (min-hash,
[Broder97]), which two molecules share with probability J**2, J the Jaccard (Tanimoto) similarity of their environments. On
1,500 compounds of the default data and over 8 keys, 6.9 % (95 %: 5.5 to 8.3) of the test compounds have a training neighbour
of similarity above 0.7, against 10.3 % (9.4 to 11.2) with scaffolds and 14.3 % (13.0 to 15.6) by chance
(``benchmarks/preparation.py``).

Every partner computes the same folds from the shared key without comparing structures: leader clustering is not offered
because a leader is somebody's structure. The same structures, that is: an InChIKey is blind to most tautomers, a scaffold is
not. Of 95,959 compounds of MoleculeACE, tox21 and FS-Mol's largest assays 173 (0.18 %) are spelt as two tautomers with two
scaffolds; a partner that holds one may train on what another, who holds the other, tests on. Where all partners prepare with
canonical tautomers (``Rules.tautomer``) 2 of the 173 are left. Inside one table a compound has one fold in any case.

Two other rules are for comparison with published figures: ``random`` draws by the
connectivity part of the InChIKey, which flatters every model, because near copies of training compounds are tested; ``time``
tests the newest compounds, and is the same for all partners only as far as they agree on when a compound was first measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Fold
from securefl.chem.keyed import Usage, derive, uniform
from securefl.chem.standardise import SKELETON_SIZE
from securefl.errors import ParameterError
from securefl.types import Secret

MINIMA = 2
"""Keyed minima in the name of a cluster: one makes few large clusters, three scatter near neighbours."""
TRAIN_SHARE, VALIDATION_SHARE = 0.70, 0.10
"""Shares of the scaffold clusters; the test fold gets the rest."""


def scaffold_folds(scaffolds: Sequence[str], *, key: Secret) -> NDArray[np.int8]:
    """Return TRAIN, VALIDATION or TEST for each scaffold cluster, shape (n,), before the audit fold is taken out."""
    derived = derive(key, Usage.FOLD)
    fold_of = {name: _fold(uniform(derived, name)) for name in set(scaffolds)}
    return np.array([fold_of[name] for name in scaffolds], dtype=np.int8)


def minhash_clusters(
    hashes: Sequence[NDArray[np.uint32]], inchikeys: Sequence[str], *, key: Secret
) -> list[str]:
    """Return the name of each compound's min-hash cluster, from the ``hashes`` of its environments.

    A compound without any environment is named by the connectivity part of its InChIKey, so that it has a fold too.
    """
    # The mixer is no secret function: it only groups. Which fold a cluster gets is drawn by HMAC from its name.
    derived = derive(key, Usage.CLUSTER)
    start = np.frombuffer(derived[: 8 * MINIMA], dtype="<u8")
    return [
        "lsh:" + "/".join(f"{_mixed(one, seed):016x}" for seed in start) if len(one) else "empty:" + name[:SKELETON_SIZE]
        for one, name in zip(hashes, inchikeys, strict=True)
    ]


def _mixed(hashes: NDArray[np.uint32], seed: np.uint64) -> int:
    """Return the smallest of the hashes after a keyed bijective mix (the finaliser of splitmix64)."""
    x = hashes.astype(np.uint64) + seed
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((x ^ (x >> np.uint64(31))).min())


def random_folds(inchikeys: Sequence[str], *, key: Secret) -> NDArray[np.int8]:
    """Return TRAIN, VALIDATION or TEST for each compound, drawn by the connectivity part of its InChIKey, shape (n,)."""
    return scaffold_folds([one[:SKELETON_SIZE] for one in inchikeys], key=key)


def time_folds(first: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return the folds by the time each compound was first measured: oldest to TRAIN, newest to TEST, shape (n,).

    Compounds of one time stay together, so the shares are approximate; a compound without a time (NaN) is in TRAIN.
    """
    known = first[~np.isnan(first)]
    folds = np.full(len(first), Fold.TRAIN, dtype=np.int8)
    if len(known):
        begin, end = np.quantile(known, [TRAIN_SHARE, TRAIN_SHARE + VALIDATION_SHARE])
        folds[first > begin] = Fold.VALIDATION
        folds[first > end] = Fold.TEST
    return folds


def audit_mask(inchikeys: Sequence[str], fraction: float, *, key: Secret) -> NDArray[np.bool_]:
    """Return which compounds belong to the audit fold, bool, shape (n,).

    Raises:
        ParameterError: ``fraction`` is not in 0..0.5.
    """
    if not 0 <= fraction < 0.5:
        raise ParameterError(f"audit_fraction={fraction} must be in [0, 0.5)")
    derived = derive(key, Usage.AUDIT)
    return np.array([uniform(derived, one[:SKELETON_SIZE]) < fraction for one in inchikeys], dtype=bool)


def clusters(scaffolds: Sequence[str]) -> NDArray[np.int32]:
    """Return the number of each compound's scaffold cluster, counted in the scaffolds' alphabetical order, shape (n,)."""
    number = {name: i for i, name in enumerate(sorted(set(scaffolds)))}
    return np.array([number[name] for name in scaffolds], dtype=np.int32)


def _fold(u: float) -> Fold:
    if u < TRAIN_SHARE:
        return Fold.TRAIN
    return Fold.VALIDATION if u < TRAIN_SHARE + VALIDATION_SHARE else Fold.TEST
