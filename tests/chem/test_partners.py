"""Partners: sizes, the small one, whole targets, and the defaults on tasks of the default data's size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from securefl.chem.dataset import Fold
from securefl.chem.keyed import public_key
from securefl.chem.partners import Groups, Plan, by_series, by_target, task_digests
from securefl.chem.replicates import Cells
from securefl.errors import InputError

KEY = public_key(0)
SIZES = (1500, 1200, 900, 700, 600, 600)


def plan(partners: int = 5, small: int = 150, *, equal: bool = False) -> Plan:
    return Plan(partners=partners, small_compounds=small, equal=equal, key=KEY)


def synthetic(sizes: tuple[int, ...] = SIZES, seed: int = 0) -> tuple[Cells, list[str], Groups]:
    """Tasks over 3,000 compounds in clusters of very different size, as scaffolds are."""
    draw = np.random.default_rng(seed)
    n = 3000
    weight = 1 / np.arange(3, 403)
    cluster = np.sort(draw.choice(400, n, p=weight / weight.sum())).astype(np.int32)
    names = [f"scaffold-{i}" for i in cluster]
    fold_of = draw.choice([Fold.TRAIN, Fold.VALIDATION, Fold.TEST], 400, p=[0.7, 0.15, 0.15])
    compound = np.concatenate([np.sort(draw.choice(n, size, replace=False)) for size in sizes])
    source = np.repeat(np.arange(len(sizes)), sizes)
    cells = Cells(source, compound, draw.normal(6, 1, len(source)), np.zeros(len(source), np.int8), np.arange(len(source)))
    keys = [f"KEY{i:011d}-UHFFFAOYSA-N" for i in range(n)]
    return cells, task_digests(cells, keys), Groups(cluster, names, fold_of[cluster].astype(np.int8))


def counts(partner: NDArray[np.int64], partners: int) -> list[int]:
    return [int(size) for size in np.bincount(partner, minlength=partners)]


def test_shares_are_unequal_unless_equal_is_asked_for() -> None:
    shares = plan().shares()
    assert len(shares) == 4
    assert shares.sum() == pytest.approx(1)
    assert np.all(np.diff(shares) < 0)
    assert plan(equal=True).shares().tolist() == [0.2] * 5
    assert not plan(equal=True).has_small
    assert not plan(small=0).has_small
    assert plan(partners=1).shares().tolist() == [1.0]


def test_series_divide_by_cluster_in_the_planned_sizes() -> None:
    cells, digests, groups = synthetic()
    partner = by_series(cells, digests, groups, plan())
    for task in range(len(SIZES)):
        mine = cells.source == task
        for cluster in np.unique(groups.cluster[cells.compound[mine]]):
            assert len(np.unique(partner[mine & (groups.cluster[cells.compound] == cluster)])) == 1
    sizes = counts(partner, 5)
    assert 100 <= sizes[4] <= 200
    assert sizes[:4] == sorted(sizes[:4], reverse=True)
    assert len(np.unique(cells.source[partner == 4])) == 1
    many, names, scaffolds = synthetic((600,) * 16)
    assert len(np.unique(many.source[by_series(many, names, scaffolds, plan()) == 4])) == 2


def test_equal_series_are_equal_within_the_largest_cluster() -> None:
    cells, digests, groups = synthetic()
    sizes = counts(by_series(cells, digests, groups, plan(equal=True)), 5)
    assert max(sizes) < 1.25 * min(sizes)


def test_each_fold_is_divided_on_its_own() -> None:
    cells, digests, groups = synthetic()
    partner = by_series(cells, digests, groups, plan(equal=True))
    fold = groups.fold[cells.compound]
    for one in (Fold.TRAIN, Fold.VALIDATION, Fold.TEST):
        assert min(counts(partner[fold == one], 5)) > 0.1 * np.sum(fold == one)


def test_targets_stay_whole_and_the_small_partner_has_the_smallest() -> None:
    cells, digests, _ = synthetic((*SIZES, 90, 40, 30))
    partner = by_target(cells, digests, plan())
    for task in range(9):
        assert len(np.unique(partner[cells.source == task])) == 1
    assert set(cells.source[partner == 4].tolist()) == {6, 7, 8}
    assert min(counts(partner, 5)) == 160
    equal = counts(by_target(cells, digests, plan(equal=True)), 5)
    assert max(equal) < 2 * min(equal)


def test_the_small_partner_gets_a_task_whose_classes_are_not_rare() -> None:
    cells, _, groups = synthetic((600,) * 6)
    value = np.where(cells.source == 4, np.arange(len(cells)) % 3 == 0, np.arange(len(cells)) % 50 == 0).astype(float)
    classes = Cells(cells.source, cells.compound, value, cells.relation, cells.row)
    digests = task_digests(classes, [f"KEY{i:011d}-UHFFFAOYSA-N" for i in range(3000)])
    assert set(classes.source[by_series(classes, digests, groups, plan()) == 4].tolist()) == {4}


def test_more_partners_than_targets_is_refused() -> None:
    cells, digests, _ = synthetic()
    with pytest.raises(InputError, match="partners=7 must be <= 6"):
        by_target(cells, digests, plan(partners=7))
    assert set(by_target(cells, digests, plan(partners=6)).tolist()) == set(range(6))


def test_digests_follow_content_and_not_numbers() -> None:
    cells, digests, _ = synthetic()
    renumbered = Cells(5 - cells.source, cells.compound, cells.value, cells.relation, cells.row)
    keys = [f"KEY{i:011d}-UHFFFAOYSA-N" for i in range(3000)]
    assert task_digests(renumbered, keys) == digests[::-1]
    shuffled = renumbered.select(np.random.default_rng(0).permutation(len(cells)))
    assert task_digests(shuffled, keys) == digests[::-1]
    assert len(set(digests)) == 6
