"""The defences of the benchmark do what their names say, counts are pooled honestly, and the committed table is complete."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from attacks.score import clopper_pearson, clustered, proportion, tpr_at_fpr
from benchmarks.defence_utility import ALONE, NONE, SEEDS, arms, mean_of, table
from benchmarks.defences import BITS_LEN, METRICS, kept, opened, pattern, pooled, told_by_pattern
from benchmarks.first_layer_defences import ADAM_RATE, DEFENCES, EACH, RATE, Defence, Part, adam_step

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
    sent = defence.sends(part, np.random.default_rng(1))
    assert sent.shape == part.update.shape
    untouched = ~part.update.any(axis=1)
    assert sent[untouched].any() == defence.name.startswith("noise")
    whole = kept(defence, [part, part])
    assert (whole > 0.999) == (defence.name in ("none", "norm clipping", "two partners a row", "step on 640 compounds"))
    assert whole > 0.1


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_an_update_that_moved_nothing_is_sent_as_it_is(defence: Defence, part: Part) -> None:
    """A partner's first step under fresh heads: no median, mean or quantile of nothing."""
    still = Part(part.smiles, part.matrix, part.label, np.zeros_like(part.update))
    assert not defence.sends(still, np.random.default_rng(0)).any()


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


def test_adams_first_step_has_the_gradients_signs_and_one_size(part: Part) -> None:
    """Against torch's own Adam, and rows that no compound has stay where they are."""
    weight = torch.zeros(part.update.shape, requires_grad=True)
    weight.grad = torch.from_numpy(-part.update / np.float32(RATE))
    torch.optim.Adam([weight], lr=ADAM_RATE).step()
    assert adam_step(part.update) == pytest.approx(weight.detach().numpy(), rel=1e-4, abs=1e-9)
    assert not adam_step(part.update)[~part.update.any(axis=1)].any()


def test_a_row_is_opened_if_enough_partners_touched_it() -> None:
    first, second = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    first[:2], second[1:] = 0.5, 0.25
    assert opened([first, second], 2).tolist() == [[0, 0], [0.75, 0.75], [0, 0]]
    assert opened([first, second], 1).tolist() == [[0.5, 0.5], [0.75, 0.75], [0.25, 0.25]]


def test_opened_rows_tell_members_where_nothing_is_withheld_and_none_where_everything_is() -> None:
    """Values unseen: whose bits all lie in the opened rows is a member; an empty release tells nobody."""
    draw = np.random.default_rng(2)
    members, public = ((draw.random((n, BITS_LEN)) < 0.002).astype(np.uint8) for n in (40, 300))
    part = Part(tuple("C" * 40), sp.csr_matrix(members), np.ones(40, np.int8), np.zeros((1, 1), np.float32))
    others = sp.csr_matrix(public)
    touched = np.outer(members.max(axis=0), np.ones(3))
    all_open, none_open = pattern(touched, [part], others), pattern(np.zeros((BITS_LEN, 3)), [part], others)
    assert told_by_pattern([all_open], 300).k == 40
    assert told_by_pattern([none_open], 300).k == 0
    twice = told_by_pattern([all_open, none_open], 300)
    assert (twice.k, twice.n) == (40, 80)
    # The threshold is set on the public compounds, which are the same in both draws.
    low, high = clopper_pearson(40, 80)
    assert twice.low < low < high < twice.high


def test_members_by_pattern_are_those_above_the_threshold_of_their_own_draw() -> None:
    """Ties with public compounds are no catch, as in the score of single draws."""
    draw = np.random.default_rng(3)
    public, members = draw.integers(0, 40, 200) / 40, draw.integers(20, 44, 50) / 40
    above = 200 - np.searchsorted(np.sort(public), members, side="left")
    alone = tpr_at_fpr(members, public, fpr=0.01)
    assert told_by_pattern([above], 200).k == alone.k
    assert 0 < (alone.k or 0) < 50


def test_counts_are_pooled_and_chance_is_inside_or_not() -> None:
    """k and n add up; nothing to score is no leak; a leak above its interval is named."""
    leak = pooled([proportion("exact", 9, 10, chance=0.0), proportion("exact", 8, 10, chance=0.0), None])
    assert (leak["k"], leak["n"], leak["at_chance"]) == (17, 20, False)
    assert pooled([None])["at_chance"] is True
    # Twenty bits of two compounds are worth two, in each of two draws.
    bits = clustered("recall", np.ones(20, dtype=bool), np.repeat(np.arange(2), 10), chance=0.0)
    assert pooled([bits, bits])["low"] == pytest.approx(clopper_pearson(4, 4)[0])
    assert pooled([proportion("exact", 0, 10, chance=0.0)])["at_chance"] is True


def test_the_committed_table_is_complete() -> None:
    """Every defence of a small batch, every attack, at the size that counts; without a defence all were above chance.

    Steps on large batches take minutes each: their rows may be missing, and nothing is claimed of them then.
    """
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert content["bits"] == BITS_LEN
    measured = [row["defence"] for row in content["defences"]]
    assert measured == [defence.name for defence in DEFENCES if defence.each == EACH or defence.name in measured]
    for row in content["defences"]:
        assert {name.split("/")[1] for name in row["leaks"]} == set(METRICS)
    assert not any(leak["at_chance"] for leak in content["defences"][0]["leaks"].values())


def test_every_line_of_the_price_has_its_leak() -> None:
    """Each leak is one that is measured; an Adam step's where there is one, since the recipe steps by Adam."""
    lines = {arm.name: arm for arm in arms()}
    names = {defence.name for defence in DEFENCES}
    assert len(lines) == len(arms())
    assert all(arm.leak in names or arm.leak is None for arm in lines.values())
    assert lines[NONE].leak == "Adam step"
    assert lines["support k=3"].leak == "support k=3, Adam step"
    assert lines["plain SGD"].leak == "none"
    assert lines["support k=2, two partners a row"].defence.owners == 2
    trainings = {(a.defence.send, a.defence.owners, a.federation, a.frozen_after, a.alone) for a in lines.values()}
    assert len(trainings) == len(lines)


def test_a_mean_leaves_rows_of_too_few_movers_alone() -> None:
    changes = [{"first.weight": np.array([[4.0], [0.0]]), "first.bias": np.array([1.0])},
               {"first.weight": np.array([[8.0], [2.0]]), "first.bias": np.array([3.0])}]
    found = mean_of(changes, [1, 3], 2)
    assert found["first.weight"].tolist() == [[7.0], [0.0]]
    assert found["first.bias"].tolist() == [2.5]


def test_what_is_lost_is_a_share_of_the_gain() -> None:
    """Half of the gain is lost on every task; no defence loses nothing; what leaks does not pass, however cheap it is."""
    names = (ALONE, NONE, "support k=3", "support k=2")
    scores = {ALONE: 0.2, NONE: 0.6, "support k=3": 0.4, "support k=2": 0.6}
    cells = [{"arm": name, "seed": seed, "scores": {str(t): scores[name] + 0.01 * t for t in range(9)}}
             for name in names for seed in SEEDS]
    leak = {"all_at_chance": True, "leaks": {"V1/exact": {"at_chance": True}}}
    seen = {"all_at_chance": False, "leaks": {"V1/x": {"at_chance": False}}}
    leaks = {"support k=3, Adam step": leak, "support k=2, Adam step": seen}
    found = {row["arm"]: row for row in table(cells, leaks)}
    assert found["support k=3"]["lost"] == pytest.approx(0.5)
    assert found[NONE]["lost"] == 0.0
    assert [found[name]["passes"] for name in names] == [False, False, False, False]
    assert found["support k=2"]["leaks_left"] == ["V1/x"]
    leaks["support k=2, Adam step"] = leak
    assert {row["arm"]: row["passes"] for row in table(cells, leaks)}["support k=2"]
