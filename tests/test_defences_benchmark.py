"""The defences of the benchmark do what their names say, counts are pooled honestly, and the committed table is complete."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from attacks.score import proportion
from benchmarks.defences import BITS_LEN, DEFENCES, METRICS, Defence, Part, kept, opened, pooled

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "defences.json"


@pytest.fixture
def part() -> Part:
    """Twelve compounds over 200 bits with a linear update."""
    draw = np.random.default_rng(0)
    matrix = sp.csr_matrix((draw.random((12, 200)) < 0.15).astype(np.uint8))
    update = np.asarray(matrix.T @ draw.normal(size=(12, 16))).astype(np.float32)
    return Part(tuple("C" * 12), matrix, np.ones(12, np.int8), update)


def named(name: str) -> Defence:
    return next(defence for defence in DEFENCES if defence.name == name)


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_a_defence_keeps_the_shape_and_costs_what_it_costs(defence: Defence, part: Part) -> None:
    """Nothing but noise touches a row that no compound has; only no defence at all and a common scale keep the direction."""
    sent = defence.send(part, np.random.default_rng(1))
    assert sent.shape == part.update.shape
    untouched = ~part.update.any(axis=1)
    assert sent[untouched].any() == defence.name.startswith("noise")
    whole = kept(defence, [part, part])
    assert (whole > 0.999) == (defence.name in ("none", "norm clipping", "two partners a row"))
    assert whole > 0.1


def test_support_signs_and_top(part: Part) -> None:
    """Rows under k are zero and others as they were; signs have one size; the top tenth is a tenth."""
    draw = np.random.default_rng(0)
    count = np.asarray(part.matrix.sum(axis=0)).ravel()
    sent = named("support k=3").send(part, draw)
    assert not sent[count < 3].any()
    assert np.array_equal(sent[count >= 3], part.update[count >= 3])
    assert len(np.unique(np.abs(named("sign update").send(part, draw)))) == 2
    share = (named("top 10 %").send(part, draw) != 0).sum() / (part.update != 0).sum()
    assert share == pytest.approx(0.1, abs=0.01)


def test_a_row_is_opened_if_enough_partners_touched_it() -> None:
    first, second = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    first[:2], second[1:] = 0.5, 0.25
    assert opened([first, second], 2).tolist() == [[0, 0], [0.75, 0.75], [0, 0]]
    assert opened([first, second], 1).tolist() == [[0.5, 0.5], [0.75, 0.75], [0.25, 0.25]]


def test_counts_are_pooled_and_chance_is_inside_or_not() -> None:
    """k and n add up; nothing to score is no leak; a leak above its interval is named."""
    leak = pooled([proportion("exact", 9, 10, chance=0.0), proportion("exact", 8, 10, chance=0.0), None])
    assert (leak["k"], leak["n"], leak["at_chance"]) == (17, 20, False)
    assert pooled([None])["at_chance"] is True
    assert pooled([proportion("exact", 0, 10, chance=0.0)])["at_chance"] is True


def test_the_committed_table_is_complete() -> None:
    """Every defence, every attack, at the size that counts; without a defence every attack was above chance."""
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert content["bits"] == BITS_LEN
    assert [row["defence"] for row in content["defences"]] == [defence.name for defence in DEFENCES]
    bare = content["defences"][0]["leaks"]
    assert {name.split("/")[1] for name in bare} == set(METRICS)
    assert not any(leak["at_chance"] for leak in bare.values())
