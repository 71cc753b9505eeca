"""Replicates: the rule for every mixture of relations, against a plain-Python statement of it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl.chem.replicates import Cells, merge_replicates

Row = tuple[int, int, float, int]  # source, compound, value, relation


def cells_of(rows: Sequence[Row]) -> Cells:
    source, compound, value, relation = (np.array(column) for column in zip(*rows, strict=True))
    return Cells(
        source.astype(np.int64), compound.astype(np.int64), value.astype(np.float64), relation.astype(np.int8),
        np.arange(1, len(rows) + 1, dtype=np.int64),
    )  # fmt: skip


def stated_rule(rows: Sequence[Row], is_class: bool) -> tuple[float, int] | None:
    """One group's value and relation, or ``None`` for a conflict."""
    if is_class:
        ones = sum(row[2] for row in rows)
        return None if 2 * ones == len(rows) else (float(2 * ones > len(rows)), 0)
    exact = [row[2] for row in rows if row[3] == 0]
    if exact:
        return median(exact), 0
    if len({row[3] for row in rows}) == 2:
        return None
    sign = rows[0][3]
    return (min if sign < 0 else max)(row[2] for row in rows), sign


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, 0, 5.0, 0), (0, 0, 7.0, 0), (0, 0, 6.5, 0)], (6.5, 0)),
        ([(0, 0, 5.0, 0), (0, 0, 7.0, 0)], (6.0, 0)),
        ([(0, 0, 5.0, 0), (0, 0, 9.0, 1), (0, 0, 4.0, -1)], (5.0, 0)),
        ([(0, 0, 5.0, -1), (0, 0, 4.0, -1)], (4.0, -1)),
        ([(0, 0, 5.0, 1), (0, 0, 4.0, 1)], (5.0, 1)),
        ([(0, 0, 5.0, 1), (0, 0, 4.0, -1)], None),
    ],
)
def test_examples(rows: list[Row], expected: tuple[float, int] | None) -> None:
    merged = merge_replicates(cells_of(rows), np.array([False]))
    if expected is None:
        assert len(merged.cells) == 0
        assert [reject.row for reject in merged.rejects] == [1, 2]
        assert merged.merged == 0
    else:
        assert (merged.cells.value[0], merged.cells.relation[0]) == expected
        assert merged.merged == len(rows) - 1
        assert merged.cells.row.tolist() == [1]


def test_classes_take_the_majority_and_list_ties() -> None:
    rows: list[Row] = [(0, 0, 1.0, 0), (0, 0, 1.0, 0), (0, 0, 0.0, 0), (0, 1, 1.0, 0), (0, 1, 0.0, 0)]
    merged = merge_replicates(cells_of(rows), np.array([True]))
    assert merged.cells.value.tolist() == [1.0]
    assert [reject.row for reject in merged.rejects] == [4, 5]


def test_nothing_gives_nothing() -> None:
    empty = cells_of([(0, 0, 1.0, 0)]).select(np.array([False]))
    assert len(merge_replicates(empty, np.array([False])).cells) == 0


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from([0.0, 1.0]), st.integers(-1, 1)),
        min_size=1,
        max_size=30,
    )
)
def test_the_vectorised_rule_is_the_stated_rule(rows: list[Row]) -> None:
    classes = np.array([True, False, False])
    # Classes have no relation; other tasks get more than two levels.
    rows = [(s, c, v if s == 0 else v + i % 5, 0 if s == 0 else r) for i, (s, c, v, r) in enumerate(rows)]
    merged = merge_replicates(cells_of(rows), classes)
    found = {
        (int(s), int(c)): (float(v), int(r))
        for s, c, v, r in zip(
            merged.cells.source, merged.cells.compound, merged.cells.value, merged.cells.relation, strict=True
        )
    }
    expected = {}
    for group in {row[:2] for row in rows}:
        outcome = stated_rule([row for row in rows if row[:2] == group], bool(classes[group[0]]))
        if outcome is not None:
            expected[group] = outcome
    assert found == expected
    assert merged.merged + len(merged.rejects) + len(merged.cells) == len(rows)
    assert list(found) == sorted(found)
