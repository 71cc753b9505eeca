"""First-layer attacks on synthetic updates: each succeeds where nothing protects and falls to chance under its defence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from synthetic_updates import Assays, Matrix, Network, compounds, guarded, local_training, sgd_step

from attacks.first_layer.bit_union import could_be_member, union_of_bits, union_scores
from attacks.first_layer.fingerprint_recovery import fingerprint_recovery
from attacks.first_layer.label_inference import label_inference, label_score
from attacks.first_layer.on_views import patterns, score_recovery
from attacks.first_layer.rows import denoised, distinct_rows, noise_floor
from attacks.score import Score
from attacks.view import Truth
from securefl.chem.fingerprint import fingerprints
from securefl.errors import ParameterError

NETWORK = Network.drawn()
STEP = 2.0**-21


def rates(x: sp.csr_matrix, delta: Matrix, *, noise: float | None = None) -> tuple[float, float]:
    """Share of compounds recovered exactly, and share of the recovered that are true (1 if none was)."""
    true, found = set(patterns(x)), set(patterns(fingerprint_recovery(delta, noise=noise).fingerprints))
    return len(true & found) / len(true), len(true & found) / max(len(found), 1)


def support(x: sp.csr_matrix) -> np.ndarray:
    """How many compounds have each bit."""
    return np.asarray(x.sum(axis=0), dtype=np.int64).ravel()


def named(scores: tuple[Score, ...]) -> dict[str, Score]:
    """Scores by metric."""
    return {score.metric: score for score in scores}


@pytest.mark.parametrize("n", [8, 32, 64, 128])
def test_one_gradient_step_gives_the_compounds_away(n: int) -> None:
    """Multi-task, two hidden layers, private heads, one value a compound: nearly every fingerprint comes back exactly."""
    x = compounds(n, seed=n)
    exact, precision = rates(x, sgd_step(x, NETWORK, Assays.drawn(n, 7)))
    assert exact > 0.95
    assert precision > 0.95


@pytest.mark.parametrize("optimiser", ["sgd", "momentum"])
def test_local_epochs_stay_linear(optimiser: str) -> None:
    """A FedAvg update over three local epochs is still a sum of fingerprint times factors."""
    x = compounds(48, seed=3)
    delta = local_training(x, NETWORK, Assays.drawn(48, 5), epochs=3, batch=16, optimiser=optimiser)
    exact, precision = rates(x, delta)
    assert exact > 0.85
    assert precision > 0.95


def test_a_secure_sum_hides_who_and_not_what() -> None:
    """Three partners with 40 compounds, quantised and weighted: the sum, and the sum without one's own part."""
    parts = [compounds(40, seed=10 + p) for p in range(3)]
    updates = [40 * np.rint(sgd_step(x, NETWORK, Assays.drawn(40, 6, seed=p)) / STEP) * STEP for p, x in enumerate(parts)]
    noise = 40 * 3**0.5 * STEP / 12**0.5
    exact, precision = rates(sp.vstack(parts, format="csr"), np.sum(updates, axis=0), noise=noise)
    assert exact > 0.8
    assert precision > 0.9
    exact, precision = rates(sp.vstack(parts[1:], format="csr"), np.sum(updates, axis=0) - updates[0], noise=noise)
    assert exact > 0.8
    assert precision > 0.9


@pytest.mark.parametrize("k", [3, 5])
def test_the_support_guard_stops_exact_recovery_and_hides_single_bits(k: int) -> None:
    """Rows under the minimum support are gone: no fingerprint is complete, no bit of a single compound is named."""
    x = compounds(64)
    delta = sgd_step(x, NETWORK, Assays.drawn(64, 7))
    assert rates(x, delta)[0] > 0.95
    assert rates(x, guarded(delta, x, k))[0] == 0.0
    scores = named(union_scores(union_of_bits(guarded(delta, x, k)), x))
    assert scores["single_compound_recall"].value == 0.0
    assert scores["precision"].value == 1.0
    assert named(union_scores(union_of_bits(delta), x))["single_compound_recall"].value == 1.0


def test_noise_stops_recovery_and_hides_the_bits() -> None:
    """Noise as large as the update: nothing exact, and the named bits are no better than naming as many at random."""
    x = compounds(64)
    delta = sgd_step(x, NETWORK, Assays.drawn(64, 7))
    size = float(np.sqrt(np.mean(delta[support(x) > 0] ** 2)))
    noisy = delta + np.random.default_rng(0).normal(0, 30 * size, delta.shape)
    assert rates(x, noisy)[0] == 0.0
    scores = named(union_scores(union_of_bits(noisy), x))
    for score in scores.values():
        assert score.low <= score.chance <= score.high
    slightly = delta + np.random.default_rng(0).normal(0, 1e-3 * size, delta.shape)
    assert rates(x, slightly)[0] > 0.9
    assert named(union_scores(union_of_bits(slightly), x))["recall"].value > 0.99


def test_adam_breaks_the_sum_but_not_the_support() -> None:
    """Under Adam no fingerprint decodes; the touched rows still are exactly the bits."""
    x = compounds(48, seed=4)
    delta = local_training(x, NETWORK, Assays.drawn(48, 5), epochs=1, batch=16, optimiser="adam")
    assert rates(x, delta)[0] < 0.05
    scores = named(union_scores(union_of_bits(delta), x))
    assert scores["precision"].value == scores["recall"].value == 1.0


def test_more_compounds_than_hidden_units_are_said_to_be_out_of_reach() -> None:
    """The column space is then everything: reported, quickly, with nothing found."""
    x = compounds(400, seed=5)
    recovery = fingerprint_recovery(sgd_step(x, NETWORK, Assays.drawn(400, 9)))
    assert recovery.saturated
    assert recovery.fingerprints.shape == (0, 2048)
    assert recovery.seconds < 8


def test_recovery_stops_at_its_time_limit() -> None:
    """No time at all: what is binary at once is returned, and the result says that it isn't finished."""
    x = compounds(64)
    recovery = fingerprint_recovery(sgd_step(x, NETWORK, Assays.drawn(64, 7)), seconds=0.0)
    assert not recovery.finished
    assert recovery.fingerprints.shape[0] < 64


def analogues(n: int, *, seed: int) -> sp.csr_matrix:
    """One series: a scaffold, and two of twelve substituents each; some compounds contain others."""
    draw = np.random.default_rng(seed)
    bits = draw.permutation(2048)
    pieces = [bits[50 + 8 * k : 58 + 8 * k] for k in range(12)]
    dense = np.zeros((n, 2048), dtype=np.uint8)
    pairs = [(a, b) for a in range(12) for b in range(a, 12)]
    for row, pick in enumerate(draw.permutation(len(pairs))[:n]):
        dense[row, bits[:50]] = 1
        for piece in pairs[pick]:
            dense[row, pieces[piece]] = 1
        # Where a substituent sits shows in a bit or two that few others have.
        dense[row, draw.choice(bits[150:400], 2, replace=False)] = 1
    return sp.csr_matrix(dense)


def test_the_first_layer_settles_what_analogues_leave_open() -> None:
    """Binarity alone mixes analogues up; knowing which units work sorts them out."""
    x = analogues(56, seed=2)
    delta = sgd_step(x, NETWORK, Assays.drawn(56, 3))
    true = set(patterns(x))
    blind = set(patterns(fingerprint_recovery(delta).fingerprints))
    knowing = set(patterns(fingerprint_recovery(delta, layer=NETWORK.layers[0]).fingerprints))
    assert len(true & knowing) > len(true & blind)
    assert len(true & knowing) > 0.9 * len(true)


def test_scrambled_coordinates_give_scrambled_fingerprints() -> None:
    """Without the key the operator recovers the compounds in an order of bits that means nothing to it."""
    x = compounds(40, seed=6)
    order = np.random.default_rng(1).permutation(2048)
    delta = sgd_step(x, NETWORK, Assays.drawn(40, 4))[order]
    assert rates(x[:, order].tocsr(), delta)[0] > 0.95
    assert rates(x, delta)[0] == 0.0


def test_union_excludes_compounds_that_were_not_there() -> None:
    """No member is ever excluded; most strangers are."""
    x, strangers = compounds(64), compounds(200, seed=99)
    union = union_of_bits(sgd_step(x, NETWORK, Assays.drawn(64, 7)))
    assert could_be_member(union, x).all()
    assert could_be_member(union, strangers).mean() < 0.1


def test_union_does_not_count_what_the_attacker_knew() -> None:
    """A partner's own bits are no finding."""
    x = compounds(30)
    union = union_of_bits(sgd_step(x, NETWORK, Assays.drawn(30, 4)))
    everything = union_scores(union, x, known=np.zeros(0, dtype=np.int64))
    rest = union_scores(union, x, known=union[:100])
    assert named(rest)["recall"].n == (named(everything)["recall"].n or 0) - 100
    assert union_scores(union, x, known=np.arange(2048)) == ()


@pytest.mark.statistical
def test_private_heads_do_not_protect_the_labels() -> None:
    """Five tasks: groups are single tasks, signs are right far above chance; against permuted labels they look like chance."""
    x, assays = compounds(96, seed=8), Assays.drawn(96, 5, seed=8)
    recovery = fingerprint_recovery(sgd_step(x, NETWORK, assays))
    row = {pattern: i for i, pattern in enumerate(patterns(x))}
    true = np.array([row.get(pattern, -1) for pattern in patterns(recovery.fingerprints)])
    labels = label_inference(recovery.fingerprints, recovery.factors, layers=NETWORK.layers)
    found = labels.task >= 0
    for group in range(labels.task.max() + 1):
        assert len(set(assays.task[true[(labels.task == group) & (true >= 0)]])) == 1
    assert found.mean() > 0.8
    truth = np.where(true >= 0, np.sign(assays.value[true]), 0).astype(np.int8)
    score, known = label_score(labels, truth)
    assert score is not None
    assert score.low > score.chance
    assert score.value > 0.85
    assert score.n == (found & (truth != 0)).sum() - known
    permuted, _ = label_score(labels, np.random.default_rng(0).permutation(truth))
    assert permuted is not None
    assert permuted.low <= 0.5 <= permuted.high


def test_labels_need_factors_and_say_when_there_are_none() -> None:
    """Nothing recovered, nothing inferred; a compound alone in its task is not guessed."""
    nothing = fingerprint_recovery(np.zeros((2048, 192)))
    labels = label_inference(nothing.fingerprints, nothing.factors, layers=NETWORK.layers)
    assert label_score(labels, np.zeros(0, dtype=np.int8)) == (None, 0)


def test_equal_rows_are_merged_and_noise_is_read_off_the_release() -> None:
    """Bits of the same compounds share a class; the noise floor is the noise where no row is untouched by it."""
    x = compounds(32)
    delta = sgd_step(x, NETWORK, Assays.drawn(32, 4))
    rows = distinct_rows(delta)
    columns = {tuple(column) for column in x.toarray().T if column.any()}
    assert len(rows.count) == len(columns)
    assert rows.count.sum() == (support(x) > 0).sum()
    sigma = 1e-3
    noisy = delta + np.random.default_rng(0).normal(0, sigma, delta.shape)
    assert noise_floor(noisy) == pytest.approx(sigma, rel=0.15)
    assert noise_floor(delta) < 1e-6 * np.abs(delta).max() * 10


@pytest.mark.shared
def test_real_compounds_come_back_at_the_published_strength(shared_data: Path) -> None:
    """MoleculeACE: 64 compounds at 2,048 bits, and a sum of three partners with 40 each at 32,768 bits."""
    table = pq.read_table(shared_data / "02_moleculeace" / "moleculeace.parquet", columns=["smiles"])
    smiles = table["smiles"].to_pylist()
    chosen = [smiles[i] for i in np.random.default_rng(1).choice(len(smiles), 184, replace=False)]
    x = fingerprints(chosen[:64], bits=2048, radius=3)
    exact, precision = rates(x, sgd_step(x, NETWORK, Assays.drawn(64, 6)))
    assert exact > 0.9
    assert precision > 0.95
    wide = Network.drawn(32768)
    parts = [fingerprints(chosen[64 + 40 * p : 104 + 40 * p], bits=32768, radius=3) for p in range(3)]
    updates = [40 * np.rint(sgd_step(part, wide, Assays.drawn(40, 6, seed=p)) / STEP) * STEP for p, part in enumerate(parts)]
    exact, precision = rates(sp.vstack(parts, format="csr"), np.sum(updates, axis=0), noise=40 * 3**0.5 * STEP / 12**0.5)
    assert exact > 0.75
    assert precision > 0.9


@pytest.mark.parametrize("bad", [np.full((4, 3), np.nan), np.zeros(5), np.zeros((0, 3))])
def test_a_broken_update_is_refused(bad: np.ndarray) -> None:
    """NaN, a vector, an empty matrix."""
    with pytest.raises(ParameterError):
        fingerprint_recovery(bad)


def test_a_layer_that_does_not_fit_the_update_is_refused() -> None:
    """The first layer has the update's shape or is none."""
    with pytest.raises(ParameterError, match=r"\(2048, 192\)"):
        fingerprint_recovery(np.zeros((64, 192)), layer=NETWORK.layers[0])


@pytest.mark.statistical
def test_a_known_noise_is_cut_before_decoding() -> None:
    """At six tenths of a factor's size on every entry, nearly all compounds still come back; at three times that, none, and
    what can't be seen is not claimed (seeded; the same update undenoised gave 4 of 40)."""
    for noise, fewest, most in ((0.6, 30, 40), (2.0, 0, 2)):
        hits = 0
        for seed in range(2):
            draw = np.random.default_rng(seed)
            present = (draw.random((20, 400)) < 0.08).astype(float)
            update = present.T @ draw.normal(size=(20, 96)) + draw.normal(0, noise, (400, 96))
            true = {tuple(np.flatnonzero(row)) for row in present}
            found = fingerprint_recovery(update, noise=noise, seconds=4.0).fingerprints
            hits += len(true & {tuple(np.flatnonzero(row)) for row in found.toarray()})
        assert fewest <= hits <= most


def test_an_exact_release_is_left_as_it_is() -> None:
    """Zero rows, or no noise beyond rounding: nothing is cut."""
    exact = np.random.default_rng(0).normal(size=(50, 8))
    assert denoised(exact, 1e-9)[0] is exact
    exact[3] = 0.0
    assert denoised(exact, 0.5)[0] is exact


def test_a_part_that_public_compounds_have_too_is_no_find() -> None:
    """Two bits of each compound were let through, and one public compound has one of those pairs: chance is a half."""
    true = sp.csr_matrix(np.array([[1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 1]], dtype=np.uint8))
    public = sp.csr_matrix(np.array([[1, 1, 0, 0, 0, 1], [1, 0, 1, 0, 0, 0]], dtype=np.uint8))
    truth = Truth(fingerprints=true, label=np.zeros(2, dtype=np.int8), library=public, known=np.zeros(0, dtype=np.int64))
    claims = {
        "indices": np.array([0, 1]), "indptr": np.array([0, 2]), "bits": np.array([6]), "seen": np.arange(4),
        "rank": np.array([2]), "saturated": np.array([False]), "finished": np.array([True]),
    }  # fmt: skip
    scores = named(score_recovery(claims, {}, truth).scores)
    part = scores["released_part_exact"]
    assert (part.k, part.n, part.chance) == (1, 2, 0.5)
    assert scores["exact"].k == 0
