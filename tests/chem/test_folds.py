"""Keyed draws: bit order, folds and audit fold; the same for everyone with the key, different without it."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
from numpy.typing import NDArray

from securefl.chem.dataset import Fold
from securefl.chem.folds import audit_mask, clusters, minhash_clusters, random_folds, scaffold_folds, time_folds
from securefl.chem.keyed import Usage, bit_order, derive, key_check, public_key, uniform
from securefl.errors import ParameterError
from securefl.types import Secret

KEY = public_key(0)
NAMES = [f"scaffold-{i}" for i in range(4000)]
# InChIKeys have a connectivity part of 14 letters.
KEYS = [hashlib.sha256(str(i).encode()).hexdigest()[:14].upper() + "-UHFFFAOYSA-N" for i in range(4000)]


def test_the_order_is_a_permutation_by_hmac() -> None:
    order = bit_order(KEY, 300)
    assert sorted(order.tolist()) == list(range(300))
    derived = hmac.digest(KEY.expose(), b"securefl/chem/1/bits", "sha256")
    smallest = min(range(300), key=lambda i: hmac.digest(derived, i.to_bytes(4, "big"), "sha256"))
    assert order[smallest] == 0
    assert not np.array_equal(order, bit_order(public_key(1), 300))


def test_keys_are_32_bytes_and_usages_are_apart() -> None:
    with pytest.raises(ParameterError, match="key has 16 bytes, must be 32"):
        derive(Secret(bytes(16)), Usage.FOLD)
    assert len({derive(KEY, usage) for usage in Usage}) == len(Usage)
    assert KEY.expose().hex() not in key_check(KEY)
    assert key_check(KEY) != key_check(public_key(1))


@pytest.mark.statistical
def test_uniform_is_uniform() -> None:
    derived = derive(KEY, Usage.FOLD)
    draws = np.sort([uniform(derived, name) for name in NAMES])
    grid = np.arange(len(draws)) / len(draws)
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is passed by one of a thousand keys.
    limit = 1.95 / np.sqrt(len(draws))
    assert np.abs(draws - grid).max() < limit
    assert np.abs(draws**1.1 - grid).max() > limit  # the test sees a slight bias


def test_each_molecule_has_its_fold_on_its_own() -> None:
    together = scaffold_folds(NAMES, key=KEY)
    alone = [int(scaffold_folds([name], key=KEY)[0]) for name in NAMES[:50]]
    assert together[:50].tolist() == alone
    assert np.array_equal(scaffold_folds(NAMES[::-1], key=KEY), together[::-1])
    assert not np.array_equal(scaffold_folds(NAMES, key=public_key(1)), together)


@pytest.mark.statistical
def test_shares_of_the_folds() -> None:
    folds = scaffold_folds(NAMES, key=KEY)
    for fold, share in ((Fold.TRAIN, 0.70), (Fold.VALIDATION, 0.10), (Fold.TEST, 0.20)):
        # Four standard deviations of a binomial: a false alarm in 16,000 keys.
        assert abs(np.mean(folds == fold) - share) < 4 * np.sqrt(share * (1 - share) / len(folds))
    assert Fold.AUDIT not in folds
    audit = audit_mask(KEYS, 0.1, key=KEY)
    assert abs(audit.mean() - 0.1) < 4 * np.sqrt(0.1 * 0.9 / len(KEYS))


def test_stereoisomers_share_the_audit_draw() -> None:
    other = [key.replace("UHFFFAOYSA", "QMMMGPOBSA") for key in KEYS]
    np.testing.assert_array_equal(audit_mask(KEYS, 0.3, key=KEY), audit_mask(other, 0.3, key=KEY))


@pytest.mark.parametrize("fraction", [-0.1, 0.5, float("nan")])
def test_the_audit_share_is_bounded(fraction: float) -> None:
    with pytest.raises(ParameterError, match="audit_fraction="):
        audit_mask(KEYS, fraction, key=KEY)


def test_random_folds_follow_the_connectivity() -> None:
    other = [key.replace("UHFFFAOYSA", "QMMMGPOBSA") for key in KEYS]
    folds = random_folds(KEYS, key=KEY)
    np.testing.assert_array_equal(folds, random_folds(other, key=KEY))
    assert set(folds.tolist()) == {Fold.TRAIN, Fold.VALIDATION, Fold.TEST}


def test_time_folds_test_the_newest() -> None:
    years = np.array([2000.0 + i for i in range(20)] + [np.nan])
    folds = time_folds(years)
    assert folds.tolist() == [Fold.TRAIN] * 14 + [Fold.VALIDATION] * 2 + [Fold.TEST] * 4 + [Fold.TRAIN]
    assert time_folds(np.full(3, np.nan)).tolist() == [Fold.TRAIN] * 3
    assert time_folds(np.full(3, 2001.0)).tolist() == [Fold.TRAIN] * 3


def test_clusters_are_numbered_by_name() -> None:
    assert clusters(["b", "a", "b", "c"]).tolist() == [1, 0, 1, 2]


def near_copies(n: int, share: float, size: int = 60) -> list[NDArray[np.uint32]]:
    """Pairs of hash sets that have ``share`` (Jaccard) in common, one after the other."""
    draw = np.random.default_rng(0)
    common = round(2 * size * share / (1 + share))
    found = []
    for _ in range(n):
        pool = draw.choice(2**32, 2 * size - common, replace=False).astype(np.uint32)
        found += [np.sort(pool[:size]), np.sort(pool[size - common :])]
    return found


@pytest.mark.statistical
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_minhash_clusters_two_molecules_by_their_similarity(share: float) -> None:
    pairs = near_copies(1500, share)
    names = minhash_clusters(pairs, [""] * len(pairs), key=KEY)
    jaccard = len(np.intersect1d(pairs[0], pairs[1])) / len(np.union1d(pairs[0], pairs[1]))
    together = np.mean([a == b for a, b in zip(names[::2], names[1::2], strict=True)])
    # Four standard deviations: a false alarm in 16,000 keys. The control: a similarity a fifth away is told apart.
    limit = 4 * np.sqrt(jaccard**2 * (1 - jaccard**2) / 1500)
    assert abs(together - jaccard**2) < limit
    assert abs(together - min(1, jaccard + 0.2) ** 2) > limit


def test_minhash_is_keyed_and_each_molecule_is_on_its_own() -> None:
    rows = near_copies(50, 0.5)
    keys = [f"{i:014d}-UHFFFAOYSA-N" for i in range(100)]
    names = minhash_clusters(rows, keys, key=KEY)
    assert minhash_clusters(rows[7:8], keys[7:8], key=KEY) == names[7:8]
    assert minhash_clusters(rows[::-1], keys, key=KEY) == names[::-1]
    assert minhash_clusters(rows, keys, key=public_key(1)) != names
    assert minhash_clusters([np.zeros(0, dtype=np.uint32)], keys[:1], key=KEY) == ["empty:00000000000000"]
