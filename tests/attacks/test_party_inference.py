"""Whose a compound is, what belongs together, what a partner works on, whose data are good: told where it shows only."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from synthetic_updates import Assays, Network, compounds, sgd_step

from attacks.course.source_inference import Sources, run_source, score_source
from attacks.first_layer.fingerprint_recovery import fingerprint_recovery
from attacks.first_layer.partner_grouping import grouped_over_rounds, run_grouping, score_grouping
from attacks.interface import AdversaryView
from attacks.parties.property_inference import Chemotypes, run_property, score_property
from attacks.parties.quality_inference import qualities, run_quality, score_quality
from attacks.parties.quality_views import presence
from attacks.score import Score, clopper_pearson
from attacks.view import Truth
from securefl.records import ArmRecord, CostRecord, DepartureRecord, PerformanceRecord

BITS, UNITS, PARTNERS, EACH = 2048, 48, 3, 24


def inside(score: Score) -> bool:
    """Whether the interval holds chance."""
    return score.low <= score.chance <= score.high


def sources() -> tuple[AdversaryView, np.ndarray]:
    """Three partners' updates over two rounds, one partner with twice the weight, and all their compounds."""
    draw = np.random.default_rng(1)
    matrix = compounds(PARTNERS * EACH, bits=BITS, seed=2).astype(np.float64)
    tensors = {"candidate.indices": matrix.indices.astype(np.int64), "candidate.indptr": matrix.indptr.astype(np.int64)}
    for partner in range(PARTNERS):
        mine = matrix[partner * EACH : (partner + 1) * EACH]
        for round in range(2):
            tensors[f"partner.{partner}.{round}"] = (1 + (partner == 0)) * (mine.T @ draw.normal(size=(EACH, UNITS)))
    facts = {"bits": BITS, "rounds": 2, "partners": PARTNERS}
    return AdversaryView(view="V3", tensors=tensors, facts=facts), np.repeat(np.arange(PARTNERS), EACH)


@pytest.mark.statistical
def test_an_update_tells_whose_a_compound_is_and_shuffled_owners_are_chance() -> None:
    view, owner = sources()
    alone = np.arange(len(owner))
    claims = run_source(view, {})
    (found,) = score_source(claims, {}, Sources(owner, alone)).scores
    assert found.low > 0.9
    (control,) = score_source(claims, {}, Sources(np.random.default_rng(3).permutation(owner), alone)).scores
    assert inside(control)


@pytest.fixture(scope="module")
def heap() -> tuple[AdversaryView, dict[str, np.ndarray], Truth]:
    """What recovery gets from a sum of three partners' steps with two assays each, and whose each compound is."""
    network, matrix = Network.drawn(), compounds(PARTNERS * EACH, bits=BITS, seed=4)
    total = np.zeros((BITS, network.layers[0][1].shape[0]))
    for partner in range(PARTNERS):
        mine = matrix[partner * EACH : (partner + 1) * EACH]
        total += sgd_step(mine, network, Assays.drawn(EACH, 2, seed=partner))
    found = fingerprint_recovery(total, layer=network.layers[0], noise=1e-12, seconds=20)
    tensors = {f"layer.{n}.{kind}": value for n, layer in enumerate(network.layers) for kind, value in
               zip(("weight", "bias"), layer, strict=True)}
    claims = {
        "indices": found.fingerprints.indices.astype(np.int64), "indptr": found.fingerprints.indptr.astype(np.int64),
        "bits": np.array([BITS]), "factors": found.factors,
    }  # fmt: skip
    truth = Truth(
        fingerprints=matrix, label=np.zeros(PARTNERS * EACH, np.int8), library=matrix[:0], known=np.zeros(0, np.int64),
        owner=np.repeat(np.arange(PARTNERS), EACH),
    )  # fmt: skip
    return AdversaryView(view="V1", tensors=tensors, facts={}), claims, truth


@pytest.mark.statistical
def test_compounds_of_one_assay_are_one_partners_and_shuffled_owners_are_chance(
    heap: tuple[AdversaryView, dict[str, np.ndarray], Truth],
) -> None:
    """Out of a sum that hides who sent what; the assays group more than half of what was recovered."""
    view, recovered, truth = heap
    claims = run_grouping(view, recovered)
    found = score_grouping(claims, recovered, truth)
    (score,) = found.scores
    assert score.value == 1.0
    # Six assays, not 65 compounds, show it.
    assert score.chance < score.low < 0.6
    assert found.detail["placed"] > 0.5 * found.detail["recovered"]
    shuffled = Truth(
        fingerprints=truth.fingerprints, label=truth.label, library=truth.library, known=truth.known,
        owner=np.random.default_rng(5).permutation(truth.owner),
    )  # fmt: skip
    (control,) = score_grouping(claims, recovered, shuffled).scores
    assert inside(control)


def test_nothing_recovered_is_nothing_to_group(heap: tuple[AdversaryView, dict[str, np.ndarray], Truth]) -> None:
    _, recovered, truth = heap
    empty = {**recovered, "indices": np.zeros(0, np.int64), "indptr": np.zeros(1, np.int64)}
    found = score_grouping({"group": np.zeros(0, np.int64)}, empty, truth)
    assert not found.scores
    assert "nothing to group" in found.note


def test_groups_of_rounds_meet_in_the_compounds_that_they_share() -> None:
    """a-b and b-c are one partner's, d stands alone, groups of different rounds have no number in common."""
    rounds = [([b"a", b"b", b"d"], np.array([0, 0, -1])), ([b"b", b"c", b"e"], np.array([3, 3, 0]))]
    grouped = grouped_over_rounds(rounds)
    assert grouped[b"a"] == grouped[b"b"] == grouped[b"c"]
    assert len({grouped[name] for name in (b"a", b"d", b"e")}) == 3


@pytest.mark.statistical
def test_rows_tell_which_chemotypes_a_partner_works_on() -> None:
    """Half of 60 chemotypes are worked on; the same update against shuffled chemotypes is chance, so is noise."""
    draw = np.random.default_rng(6)
    bits = np.array([draw.choice(BITS, 20, replace=False) for _ in range(60)])
    chemotypes = sp.csr_matrix((np.ones(1200), (np.repeat(np.arange(60), 20), bits.ravel())), shape=(60, BITS))
    worked = np.arange(60) < 30
    made = compounds(200, bits=BITS, seed=7).toarray()
    for row in range(90):
        made[row, bits[draw.integers(30)]] = 1
    frequency = compounds(400, bits=BITS, seed=8).toarray().sum(axis=0) + 1.0
    delta = made.T @ draw.normal(size=(200, UNITS))

    def scored(update: np.ndarray, truth: np.ndarray) -> Score:
        tensors = {"delta": update, "frequency": frequency, "chemotype.indices": chemotypes.indices.astype(np.int64),
                   "chemotype.indptr": chemotypes.indptr.astype(np.int64)}
        claims = run_property(AdversaryView(view="V3", tensors=tensors, facts={}), {})
        (score,) = score_property(claims, {}, Chemotypes(truth, np.ones(60, dtype=np.int64))).scores
        return score

    assert scored(delta, worked).low > 0.7
    assert inside(scored(delta, draw.permutation(worked)))
    assert inside(scored(draw.normal(size=delta.shape), worked))


def test_public_popularity_is_no_leak_of_the_update() -> None:
    """Chemotypes that everybody knows are guessed without an update: that is the chance level."""
    truth = Chemotypes(np.arange(20) < 10, np.where(np.arange(20) < 10, 9, 1))
    (score,) = score_property({"score": np.arange(20.0)}, {}, truth).scores
    assert score.chance == 1.0


def rounds_of(quality: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Validation scores of rounds in which each partner takes part by a coin; what it adds shrinks with the rounds."""
    draw = np.random.default_rng(seed)
    present = draw.random((count, len(quality))) < 0.6
    gained = (present @ quality) * np.exp(-np.arange(count) / count) + draw.normal(0, 0.05, count)
    return np.cumsum(gained), present


@pytest.mark.statistical
def test_changing_cohorts_tell_whose_data_are_good() -> None:
    """Eight partners, sixty rounds: nearly all pairs in order; the same scores with shuffled presence are chance."""
    quality = np.arange(8.0)
    score, present = rounds_of(quality, 60, 9)
    truth = quality.astype(np.int64)

    def told(who: np.ndarray) -> Score:
        claims = run_quality(AdversaryView(view="V2", tensors={"score": score, "present": who}, facts={}), {})
        (found,) = score_quality(claims, {}, truth).scores
        return found

    assert told(present).value > 0.95
    # Eight partners are four pairs that share nobody: all in order may still be luck, 28 pairs that don't depend would not.
    assert 0.3 < told(present).low < 0.5 < clopper_pearson(27, 28)[0]
    assert inside(told(np.random.default_rng(10).permutation(present)))


def test_a_fixed_cohort_says_nothing_about_one_partner() -> None:
    score, present = rounds_of(np.arange(4.0), 10, 11)
    quality = qualities(score, np.ones_like(present))
    assert np.isnan(quality).all()
    found = score_quality({"quality": quality}, {}, np.arange(4))
    assert not found.scores
    assert "nothing about" in found.note


def test_presence_follows_the_departures() -> None:
    """Absent for a round, gone for good after a stop."""
    left = (
        DepartureRecord(round=2, partner="B", decision="absent"), DepartureRecord(round=3, partner="A", decision="stop"),
    )  # fmt: skip
    performance = PerformanceRecord(metric="r2", mean=0.0, ci_low=0.0, ci_high=0.0, n_tasks=1, n_compounds=1)
    cost = CostRecord(
        setup_seconds=0.0, client_seconds=0.0, server_seconds=0.0, bytes_up_per_parameter=0.0, bytes_down_per_parameter=0.0,
        peak_rss_mb=0.0,
    )  # fmt: skip
    record = ArmRecord(
        name="masking", scheme="masking", guard=None, dp=None, rounds=4, parameters=1, seeds=(0,), warm_start=None,
        performance=performance, cost=cost, max_abs_aggregate_error=None, quantization_bound=None, clipped=None,
        departures=left,
    )  # fmt: skip
    assert presence(record, ("A", "B"), 4).T.tolist() == [[True, True, False, False], [True, False, True, True]]


@pytest.mark.statistical
def test_five_partners_in_order_by_luck_are_no_finding() -> None:
    """2,000 random orders of five: no interval excludes chance; ten pairs counted as independent claim a leak far too often."""
    draw, truth = np.random.default_rng(12), np.arange(5)
    scores = [score_quality({"quality": draw.permutation(5.0 * truth)}, {}, truth).scores[0] for _ in range(2000)]
    assert all(inside(score) for score in scores)
    naive = [clopper_pearson(score.k or 0, score.n or 0) for score in scores]
    assert sum(low > 0.5 or high < 0.5 for low, high in naive) > 100
