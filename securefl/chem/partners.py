"""Partners: who owns which cells.

Three ways to divide one public table among partners, to rehearse a consortium on it:

- ``target``: each partner owns whole tasks;
- ``series``: a task's compounds are divided by scaffold cluster, so that several partners own different assays on the same
  target, as in reality, without knowing it;
- ``column``: the table says who owns a row.

Tasks of different partners are never matched, whatever their names. The division depends on content and key alone: names
of tasks and partners can change without moving one cell. It is the rehearsal's, not a protocol: in a real consortium each
partner brings its own table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from securefl.chem.keyed import Usage, derive, uniform
from securefl.chem.replicates import Cells
from securefl.errors import InputError
from securefl.types import Secret

SMALL_TASK = 75
"""Compounds in each task of the small partner: enough for about ten test values."""
UNEQUAL_POWER = 0.7
"""Partner i has a share proportional to (i + 1) ** -0.7: about 41, 25, 19 and 15 % for four."""
RARE = 0.1
"""A task whose rarer class has a smaller share goes to the small partner last: its test fold would hold one class only."""
SLACK = 1.25
"""A small partner that owns whole tasks may have so many times the compounds that were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to divide. ``small_compounds`` > 0 makes the last partner small; the others share the rest.

    ``attempt`` counts on to the next tasks for the small partner, when its first ones turn out too poor.
    """

    partners: int
    small_compounds: int
    equal: bool
    key: Secret
    attempt: int = 0

    def shares(self) -> NDArray[np.float64]:
        """Return the share of each partner that is not the small one, summing to 1."""
        count = max(1, self.partners - (1 if self.has_small else 0))
        weight = np.ones(count) if self.equal else np.arange(1, count + 1, dtype=np.float64) ** -UNEQUAL_POWER
        return np.asarray(weight / weight.sum())

    @property
    def has_small(self) -> bool:
        """Whether the last partner is the small one: never when all are to be equal, nor when there is only one."""
        return self.small_compounds > 0 and self.partners > 1 and not self.equal


def task_digests(cells: Cells, inchikeys: Sequence[str]) -> list[str]:
    """Return a hash of each task's content: its compounds, values and relations, but not its name."""
    compound_hash = np.array([_hash64(one) for one in inchikeys], dtype=np.uint64)
    order = np.lexsort((cells.compound, cells.source))
    edges = np.searchsorted(cells.source[order], np.arange(int(cells.source.max()) + 2 if len(cells) else 1))
    digests = []
    for start, stop in pairwise(edges):
        rows = order[start:stop]
        digest = hashlib.sha256(compound_hash[cells.compound[rows]].tobytes())
        digest.update(cells.value[rows].astype(np.float32).tobytes() + cells.relation[rows].tobytes())
        digests.append(digest.hexdigest())
    return digests


def by_target(cells: Cells, digests: Sequence[str], plan: Plan) -> NDArray[np.int64]:
    """Return the partner of each cell when partners own whole tasks, shape (n_cells,).

    Raises:
        InputError: there are fewer tasks than partners.
    """
    sizes = np.bincount(cells.source, minlength=len(digests))
    tasks = sorted(np.flatnonzero(sizes).tolist(), key=lambda task: (-sizes[task], digests[task]))
    if len(tasks) < plan.partners:
        raise InputError(f"partners={plan.partners} must be <= {len(tasks)}, the number of tasks, when they own whole targets")
    owner = np.zeros(len(digests), dtype=np.int64)
    shares = plan.shares()
    if plan.has_small:
        total = 0
        # The smallest tasks, at least one, as long as every other partner is left with one.
        while not total or (total + sizes[tasks[-1]] <= SLACK * plan.small_compounds and len(tasks) > len(shares)):
            total += int(sizes[tasks[-1]])
            owner[tasks.pop()] = plan.partners - 1
    left = shares * sizes[tasks].sum()
    for i, task in enumerate(tasks):
        # The first tasks go round, so that nobody stays without one.
        partner = i if i < len(shares) else int(np.argmax(left / shares))
        owner[task] = partner
        left[partner] -= sizes[task]
    return owner[cells.source]


def by_series(cells: Cells, digests: Sequence[str], groups: Groups, plan: Plan) -> NDArray[np.int64]:
    """Return the partner of each cell when a task's scaffold clusters are divided, shape (n_cells,).

    Each fold's clusters are divided on their own, so that every partner's task has training and test compounds.
    """
    derived = derive(plan.key, Usage.SPLIT)
    small_tasks = _small_tasks(cells, digests, plan, derived)
    partner = np.zeros(len(cells), dtype=np.int64)
    order = np.argsort(cells.source, kind="stable")
    edges = np.searchsorted(cells.source[order], np.arange(len(digests) + 1))
    for task, (start, stop) in enumerate(pairwise(edges)):
        rows = order[start:stop]
        small = plan.small_compounds / len(small_tasks) if task in small_tasks else 0.0
        for fold in np.unique(groups.fold[cells.compound[rows]]):
            part = rows[groups.fold[cells.compound[rows]] == fold]
            quota = _quota(len(part), small * len(part) / len(rows), plan)
            partner[part] = _divide(cells.compound[part], digests[task], groups, quota, derived)
    return partner


@dataclass(frozen=True, slots=True)
class Groups:
    """Each compound's scaffold cluster, its name, and the fold of the whole cluster (before the audit fold)."""

    cluster: NDArray[np.int32]
    scaffolds: Sequence[str]
    fold: NDArray[np.int8]


def _quota(size: int, small: float, plan: Plan) -> NDArray[np.float64]:
    if not plan.has_small:
        return plan.shares() * size
    small = min(small, size / 2)
    return np.append(plan.shares() * (size - small), small)


def _divide(
    compounds: NDArray[np.int64], digest: str, groups: Groups, quota: NDArray[np.float64], derived: bytes
) -> NDArray[np.int64]:
    """Return each compound's partner: clusters in keyed random order go where the largest part of the quota is unfilled."""
    clusters, first, inverse, size = np.unique(
        groups.cluster[compounds], return_index=True, return_inverse=True, return_counts=True
    )
    draw = [uniform(derived, f"{digest}/{groups.scaffolds[compounds[i]]}") for i in first]
    # Equal quotas would always tie in favour of the first partner: the draw of the task decides where to begin.
    turn = np.roll(np.arange(len(quota)), int(uniform(derived, digest) * len(quota)))
    owner = np.zeros(len(clusters), dtype=np.int64)
    left = quota.copy()
    for i in np.argsort(draw, kind="stable"):
        fits = (left >= size[i]) & (quota > 0)
        ratio = np.where(quota > 0, left / np.maximum(quota, 1e-9), -np.inf)
        score = np.where(fits, ratio, -np.inf) if fits.any() else np.where(quota > 0, left, -np.inf)
        owner[i] = turn[np.argmax(score[turn])]
        left[owner[i]] -= size[i]
    return owner[inverse]


def _small_tasks(cells: Cells, digests: Sequence[str], plan: Plan, derived: bytes) -> set[int]:
    """Return the tasks of which the small partner gets a part: drawn among those that can spare it."""
    if not plan.has_small:
        return set()
    sizes = np.bincount(cells.source, minlength=len(digests))
    # Few tasks can't spare much: the small partner's share of them stays under an eighth, but for a single task.
    count = max(1, min(plan.small_compounds // SMALL_TASK, int(np.count_nonzero(sizes)) // 8))
    need = 3 * plan.small_compounds / count
    rare = _minority_shares(cells, len(digests)) < RARE
    rank = sorted(
        np.flatnonzero(sizes).tolist(),
        key=lambda task: (sizes[task] < need, rare[task], uniform(derived, digests[task] + "/small")),
    )
    start = plan.attempt * count % len(rank)
    return set((rank + rank)[start : start + count])


def _minority_shares(cells: Cells, n_tasks: int) -> NDArray[np.float64]:
    """Return the rarer class's share of each task of classes; 0.5 for a task of measured values."""
    size = np.maximum(np.bincount(cells.source, minlength=n_tasks), 1)
    ones = np.bincount(cells.source[cells.value == 1], minlength=n_tasks) / size
    zeros = np.bincount(cells.source[cells.value == 0], minlength=n_tasks) / size
    return np.where(ones + zeros == 1, np.minimum(ones, zeros), 0.5)


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
