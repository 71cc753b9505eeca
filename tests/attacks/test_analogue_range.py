"""Analogues of what was trained on are found by losses that shadows far from them don't explain, and only then."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from stand_ins import make_dataset

from attacks.membership.analogue_range import Analogues, range_scores, score_range, similar
from attacks.membership.analogue_views import analogue_job, queries_of
from attacks.membership.candidates import candidates_of
from attacks.membership.members import Members
from attacks.membership.shadow_losses import Shadows
from attacks.membership.shadows import halves
from securefl.chem.dataset import Dataset


@pytest.fixture(scope="module")
def chemistry() -> Dataset:
    """2,000 synthetic compounds in clusters."""
    return make_dataset(compounds=2000, seed=6)


def test_similarity_is_tanimotos() -> None:
    """Against sets, over more queries than a block has."""
    draw = np.random.default_rng(0)
    base = draw.random((20, 60)) < 0.4
    some = sp.csr_matrix((base[draw.integers(0, 20, 300)] ^ (draw.random((300, 60)) < 0.03)).astype(np.uint8))
    found = similar(some, some).toarray()
    sets = [set(row.indices.tolist()) for row in some]
    for i in range(0, 300, 29):
        for j in range(300):
            both = len(sets[i] & sets[j]) / max(len(sets[i] | sets[j]), 1)
            assert found[i, j] == (both >= 0.8)


@pytest.mark.statistical
def test_a_better_fit_than_far_shadows_tells_of_an_analogue_and_no_gap_is_chance() -> None:
    """Target and shadows fit a query by 1 better where they saw an analogue; queries differ in difficulty by more."""
    draw = np.random.default_rng(1)
    count, shadows = 600, 4
    yes, inside = draw.random(count) < 0.4, draw.random((shadows, count)) < 0.5
    saw = inside | (yes & (draw.random((shadows, count)) < 0.5))
    hard = draw.normal(0, 2, count)
    truth = Analogues(Members(yes, np.arange(count)), np.ones(count, dtype=np.int64))

    def scored(gap: float) -> tuple[float, float]:
        target = hard + gap * yes + draw.normal(0, 0.5, count)
        others = hard + gap * saw + 2 * inside + draw.normal(0, 0.5, (shadows, count))
        area = score_range({"score": range_scores(target, others, ~saw, inside)}, {}, truth).scores[0]
        return area.low, area.high

    assert scored(1.0)[0] > 0.7
    low, high = scored(0.0)
    assert low <= 0.5 <= high


def test_queries_are_non_members_and_far_shadows_saw_neither_them_nor_an_analogue(chemistry: Dataset) -> None:
    """The view says which shadows are far; the truth is in the training fold; a non-member's cells are all its own."""
    everyone = candidates_of(chemistry, "consortium", seed=0)
    queries = queries_of(everyone)
    assert set(queries.compound) == set(everyone.compound[~everyone.member])
    ones = np.ones(len(chemistry.activities))
    assert queries.sums(ones).sum() == everyone.sums(ones)[~everyone.member].sum()
    inside = halves(chemistry, 4, seed=0)
    shadows = Shadows(losses=np.ones((4, len(chemistry.activities))), inside=inside)
    near = similar(chemistry.fingerprints[queries.compound], chemistry.fingerprints)
    job = analogue_job(chemistry, everyone, near=near, losses=shadows.losses[0], shadows=shadows, about={}, note="")
    away = job.view.tensors["away"]
    assert not (away & inside[:, queries.compound]).any()
    assert isinstance(job.truth, Analogues)
    for number in range(0, len(queries.compound), 17):
        rows = near[number].indices
        assert job.truth.members.member[number] == (chemistry.fold[rows] == 0).any()
        assert away[:, number].tolist() == (~inside[:, rows].any(axis=1)).tolist()
