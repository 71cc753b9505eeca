"""Views and releases: an attack is given what its view may see, and the exposed release is the arm's own scheme at work."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from stand_ins import CountingRng

from attacks.first_layer.exposed import Bench, Defence, draw_batches, exposed_single, exposed_sum, refolded
from attacks.first_layer.fingerprint_recovery import fingerprint_recovery
from attacks.first_layer.on_views import LABELS, RECOVERY, UNION, patterns
from attacks.first_layer.released import Contribution, Released, labels_of, load_as_run
from attacks.view import Case, FirstLayerView, opened_sum, single_update, sum_minus_colluders, sum_minus_own
from securefl.chem.dataset import Dataset, Fold
from securefl.config import RunConfig, parse_config
from securefl.errors import InputError, ParameterError
from securefl.records import DpRecord

STEP = 2.0**-20
BITS, UNITS = 64, 12


@pytest.fixture
def config() -> RunConfig:
    """A small exposed release on the dataset's own bits."""
    return parse_config(
        {
            "data": {"bits": 256, "partners": 3},
            "model": {"hidden": [64, 24]},
            "attacks": {"exposed_bits": 256, "exposed_single": 24, "exposed_each": 12},
        },
        source="test",
    )


@pytest.fixture
def released() -> Released:
    """Three partners with four compounds each, quantised updates and their weighted sum."""
    draw = np.random.default_rng(0)
    fingerprints = sp.csr_matrix((draw.random((12, BITS)) < 0.2).astype(np.uint8))
    parts = {}
    total = np.zeros((BITS, UNITS))
    for partner in range(3):
        rows = np.arange(4 * partner, 4 * partner + 4)
        update = fingerprints[rows].T.astype(np.float64) @ draw.normal(0, 0.01, (4, UNITS))
        weight = partner + 1
        total += weight * np.rint(update / STEP) * STEP
        label = np.ones(4, dtype=np.int8)
        parts[partner] = Contribution(compounds=rows, label=label, weight=weight, update=update.astype(np.float32))
    weight_0 = draw.normal(size=(BITS, UNITS)).astype(np.float32)
    return Released(
        name="exposed",
        optimiser="sgd",
        parts=parts,
        total=total,
        layers=((weight_0, np.zeros(UNITS, dtype=np.float32)),),
        fingerprints=fingerprints,
        library=fingerprints[:0],
        noise=0.0,
        step=STEP,
    )


def test_a_partner_subtracts_exactly_its_own_part(released: Released) -> None:
    """What is left is the quantised sum of the others, to the last bit."""
    case = sum_minus_own(released, 0)
    others = np.zeros((BITS, UNITS))
    for partner in (1, 2):
        update = released.parts[partner].update
        assert update is not None
        others += (partner + 1) * np.rint(update.astype(np.float64) / STEP) * STEP
    assert np.array_equal(case.view.delta, others)
    assert case.compounds == 8
    assert set(case.view.own) == set(released.fingerprints[:4].indices)
    assert (case.view.view, case.view.coordinates) == ("V1", "clear")


def test_the_operator_gets_an_order_that_differs_every_time(released: Released) -> None:
    """Sum, trunk and truth move together; the order itself is nowhere in the view."""
    cases = [opened_sum(released, scramble=np.random.default_rng(seed)) for seed in (1, 2)]
    assert released.total is not None
    for case in cases:
        assert case.view.coordinates == "scrambled"
        assert sorted(map(tuple, case.view.delta)) == sorted(map(tuple, released.total))
        product = case.truth.fingerprints @ case.view.layers[0][0]
        assert np.allclose(product, released.fingerprints[:12] @ released.layers[0][0], atol=1e-5)
    assert not np.array_equal(cases[0].view.delta, cases[1].view.delta)
    names = {field.name for field in dataclasses.fields(FirstLayerView)}
    assert names == {"view", "coordinates", "delta", "noise", "layers", "own"}


def test_views_that_a_release_cannot_give_are_refused(released: Released) -> None:
    """No sum, no such partner."""
    alone = dataclasses.replace(released, total=None)
    with pytest.raises(ParameterError, match="no sum"):
        opened_sum(alone, scramble=np.random.default_rng(0))
    with pytest.raises(ParameterError, match="partner 7"):
        single_update(released, 7)
    with pytest.raises(ParameterError, match="partner 7"):
        sum_minus_own(released, 7)
    with pytest.raises(ParameterError, match="colluders=2 must be <= 1"):
        sum_minus_colluders(released, [1, 2])


def test_colluders_leave_the_sum_of_the_others(released: Released) -> None:
    """With one of three colluding, the operator has what that partner has, under its own name."""
    colluding, partner = sum_minus_colluders(released, [2]), sum_minus_own(released, 2)
    assert np.array_equal(colluding.view.delta, partner.view.delta)
    assert (colluding.view.view, colluding.view.coordinates) == ("V2c", "clear")
    assert np.array_equal(colluding.truth.known, colluding.view.own)


def test_a_view_gives_an_attack_what_it_reads_and_no_more(released: Released) -> None:
    """The packed view is narrowed to named tensors; a name that it doesn't hold is refused."""
    packed = opened_sum(released, scramble=np.random.default_rng(0)).view.pack(seconds=1.0)
    assert set(packed.only(UNION.reads).tensors) == {"delta"}
    assert set(packed.only(RECOVERY.reads).tensors) == {"delta", "layer.0.weight", "layer.0.bias"}
    with pytest.raises(ParameterError, match="'truth'"):
        packed.only(("truth",))


def test_labels_are_signs_against_the_owners_training_mean(tiny_dataset: Dataset) -> None:
    """One usable value gives a label; several, or a censored one, give none."""
    cells = tiny_dataset.cells(0, Fold.TRAIN)
    compounds = np.unique(cells.compound).astype(np.int64)
    labels = labels_of(tiny_dataset, 0, compounds)
    count = np.bincount(cells.compound, minlength=len(tiny_dataset.fold))[compounds]
    assert (labels[count > 1] == 0).all()
    one = int(np.flatnonzero((count == 1) & (labels != 0))[0])
    cell = int(np.flatnonzero(cells.compound == compounds[one])[0])
    values = cells.value[cells.task == cells.task[cell]]
    binary = tiny_dataset.tasks[cells.task[cell]].kind.value == "classification"
    assert labels[one] == np.sign(cells.value[cell] - (0.5 if binary else values.mean()))


def test_exposed_batches_are_the_same_for_every_arm(tiny_dataset: Dataset, config: RunConfig) -> None:
    """Training compounds of the smallest partners; another seed draws others."""
    single, batches = draw_batches(tiny_dataset, config)
    again = draw_batches(tiny_dataset, config)
    assert np.array_equal(single.compounds, again[0].compounds)
    assert [len(batch.compounds) for batch in batches] == [12, 12, 12]
    assert single.partner == 2
    assert (tiny_dataset.fold[single.compounds] == Fold.TRAIN).all()
    other = config.model_copy(update={"attacks": config.attacks.model_copy(update={"seed": 1})})
    assert not np.array_equal(draw_batches(tiny_dataset, other)[0].compounds, single.compounds)
    lonely = dataclasses.replace(tiny_dataset, fold=np.full_like(tiny_dataset.fold, Fold.TEST))
    with pytest.raises(InputError, match="0 partners"):
        draw_batches(lonely, config)


def test_refolding_fills_only_the_chosen_rows(tiny_dataset: Dataset, config: RunConfig) -> None:
    """More bits come from the structures; nobody else's row is computed."""
    wide = config.model_copy(update={"attacks": config.attacks.model_copy(update={"exposed_bits": 4096})})
    rows = np.array([40, 7, 300])
    matrix = refolded(tiny_dataset, np.sort(rows), wide)
    assert matrix.shape == (480, 4096)
    assert set(np.flatnonzero(np.diff(matrix.indptr))) == set(rows)


def exact(case: Case) -> float:
    """Share of compounds recovered exactly."""
    true = set(patterns(case.truth.fingerprints))
    recovery = fingerprint_recovery(case.view.delta, noise=case.view.noise)
    return len(true & set(patterns(recovery.fingerprints))) / len(true)


@pytest.mark.parametrize("scheme", ["plaintext", "masking"])
def test_exposed_release_leaks_whatever_hides_the_single_updates(
    scheme: str, tiny_dataset: Dataset, config: RunConfig
) -> None:
    """Masking opens the same sum as plaintext: V1, V2 and V3 recover nearly all compounds under both."""
    bench = Bench.of(tiny_dataset, config=config, defence=Defence(scheme=scheme), rng=CountingRng())
    single, partner = exposed_single(bench)
    assert exact(single_update(single, partner)) > 0.8
    summed = exposed_sum(bench)
    assert exact(opened_sum(summed, scramble=np.random.default_rng(0))) > 0.8
    assert exact(sum_minus_own(summed, 0)) > 0.8


def test_exposed_release_under_the_guard_shows_no_rare_bit(tiny_dataset: Dataset, config: RunConfig) -> None:
    """Rows of bits under the minimum support are exactly zero in every part; nothing is recovered."""
    bench = Bench.of(tiny_dataset, config=config, defence=Defence(scheme="masking", guard_k=3), rng=CountingRng())
    summed = exposed_sum(bench)
    for part in summed.parts.values():
        support = np.asarray(summed.fingerprints[part.compounds].sum(axis=0)).ravel()
        assert part.update is not None
        assert not part.update[support < 3].any()
        assert part.update[support >= 3].any()
    assert exact(opened_sum(summed, scramble=np.random.default_rng(0))) == 0.0


def test_exposed_release_under_differential_privacy_shows_nothing(tiny_dataset: Dataset, config: RunConfig) -> None:
    """The arm's private step noises every row: no fingerprint, and the named bits are chance."""
    dp = DpRecord(
        unit="record",
        epsilon=8.0,
        delta=1e-5,
        noise_multiplier=1.0,
        accountant="test",
        clipping_norm=0.1,
        sampling_rate=1.0,
        steps=1,
        neighbouring="add or remove one",
        partner="partner 2",
    )
    bench = Bench.of(tiny_dataset, config=config, defence=Defence(scheme="masking", dp=dp), rng=CountingRng())
    single, partner = exposed_single(bench)
    case = single_update(single, partner)
    assert case.view.noise is None
    view = case.view.pack(seconds=4.0)
    union, recovered = (attack.run(view.only(attack.reads), {}) for attack in (UNION, RECOVERY))
    assert RECOVERY.score(recovered, {}, case.truth).scores[0].k == 0
    assert LABELS.score(LABELS.run(view, recovered), recovered, case.truth).scores == ()
    rare = [s for s in UNION.score(union, {}, case.truth).scores if s.metric == "single_compound_recall"]
    assert rare[0].low <= rare[0].chance <= rare[0].high


def test_a_broken_release_is_named(tmp_path: Path, tiny_dataset: Dataset) -> None:
    """No release is no error; half of one is."""
    assert load_as_run(tmp_path, tiny_dataset, step=STEP) is None
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / "release.npz").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(InputError, match="can't read release"):
        load_as_run(tmp_path, tiny_dataset, step=STEP)
