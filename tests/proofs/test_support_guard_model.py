"""The support guard as SupportGuard.v models it: every small dataset, the update of a linear first layer."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from securefl.federation.guards import FIRST_WEIGHT, SupportGuard

COMPOUNDS, BITS, K = 3, 2, 2
GRADIENTS = np.array([[1.0, 0.5], [2.0, -1.0], [4.0, 8.0]], np.float32)
SHARED = np.array([[3.0, 1.0], [-2.0, 0.25]], np.float32)


def datasets() -> list[NDArray[np.int64]]:
    """Return every binary dataset of 3 compounds and 2 bits."""
    return [np.array(cells).reshape(COMPOUNDS, BITS) for cells in product([0, 1], repeat=COMPOUNDS * BITS)]


def guarded(x: NDArray[np.int64], gradients: NDArray[np.float32]) -> NDArray[np.float32]:
    """SupportGuard.guarded: the row of a bit is the sum of its compounds' gradients, 0 if fewer than k have it."""
    rows = np.zeros((BITS, gradients.shape[1]), np.float32)
    for bit in range(BITS):
        if x[:, bit].sum() >= K:
            rows[bit] = sum(gradients[i] for i in range(COMPOUNDS) if x[i, bit])
    return rows


def released_update(x: NDArray[np.int64], gradients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the product lets out of one linear step: the first layer's difference after the guard."""
    guard = SupportGuard.of(x.sum(axis=0), k=K)
    local = {FIRST_WEIGHT: SHARED + x.T.astype(np.float32) @ gradients, "first.bias": np.zeros(2, np.float32)}
    out = guard.released(local, {FIRST_WEIGHT: SHARED, "first.bias": np.zeros(2, np.float32)})
    return out[FIRST_WEIGHT] - SHARED


def test_guarded_update_is_the_theorem_s() -> None:
    for x in datasets():
        assert np.array_equal(released_update(x, GRADIENTS), guarded(x, GRADIENTS)), x


def test_equal_updates_exactly_for_equal_released_columns() -> None:
    """`guard_leaks_exactly` on all pairs of datasets; the gradients are chosen so that every subset has its own sum."""
    released = {x.tobytes(): [tuple(x[:, b]) if x[:, b].sum() >= K else None for b in range(BITS)] for x in datasets()}
    updates = {x.tobytes(): released_update(x, GRADIENTS).tobytes() for x in datasets()}
    for one in updates:
        for other in updates:
            assert (updates[one] == updates[other]) == (released[one] == released[other])


def test_without_the_guard_a_single_compound_shows() -> None:
    """The control: an unguarded row of support 1 is that compound's gradient."""
    x = np.array([[1, 0], [0, 1], [0, 1]])
    assert np.array_equal((x.T.astype(np.float32) @ GRADIENTS)[0], GRADIENTS[0])
    assert not released_update(x, GRADIENTS)[0].any()
