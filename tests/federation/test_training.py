"""Federated training end to end on synthetic partners, with a protocol in every round."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from stand_ins import CountingRng, make_dataset

from securefl.chem.dataset import Activities, Dataset, Fold
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig, SecaggConfig
from securefl.errors import InputError, ParameterError, ProtocolAbort
from securefl.federation.releases import RoundTrace, Trained
from securefl.federation.starts import first_trunk
from securefl.federation.training import train_federated
from securefl.learning.cells import joined, records_of, scaling_of
from securefl.learning.heads import Heads
from securefl.learning.layout import trunk_layout
from securefl.learning.loss import batch_loss
from securefl.learning.model import Model, PartnerHeads
from securefl.secagg.paillier_sum import Decryption, PaillierOptions
from securefl.types import ClientId

CONFIG = RunConfig(
    data=DataConfig(partners=3),
    model=ModelConfig(hidden=(24, 12)),
    federation=FederationConfig(rounds=6, batch=32, learning_rate=5e-3),
)


def changed(**federation: object) -> RunConfig:
    """CONFIG with other federation settings."""
    return CONFIG.model_copy(update={"federation": CONFIG.federation.model_copy(update=federation)})


def run(dataset: Dataset, scheme: str = "plaintext", *, config: RunConfig = CONFIG, seed: int = 0, rng: int = 0) -> Trained:
    return train_federated(dataset, config=config, scheme=scheme, seed=seed, rng=CountingRng(rng))


def assert_same_trunk(one: Model, two: Model) -> None:
    for name, value in one.trunk.items():
        np.testing.assert_array_equal(value, two.trunk[name])


@pytest.fixture(scope="module")
def plain() -> Trained:
    return run(make_dataset())


def test_training_improves_on_the_null_model(plain: Trained) -> None:
    assert plain.curve[-1] > plain.curve[0]
    assert max(plain.curve) > 0.02
    assert plain.best_round == int(np.argmax(plain.curve)) + 1
    assert plain.parameters == trunk_layout(256, (24, 12)).size
    assert plain.training_seconds > 0


def test_masking_opens_the_same_sums_as_plaintext(plain: Trained, tiny_dataset: Dataset) -> None:
    masked = run(tiny_dataset, "masking")
    assert masked.curve == plain.curve
    assert_same_trunk(masked.model, plain.model)
    assert masked.clipped == 0
    assert masked.max_abs_error is not None
    assert masked.quantization_bound is not None
    assert 0 < masked.max_abs_error <= masked.quantization_bound


def test_run_repeats_with_its_seed_whatever_the_protocol_draws(plain: Trained, tiny_dataset: Dataset) -> None:
    again = run(tiny_dataset, rng=7)
    assert again.curve == plain.curve
    assert_same_trunk(again.model, plain.model)
    assert run(tiny_dataset, seed=1).curve != plain.curve


def test_threads_do_not_change_the_result(plain: Trained, tiny_dataset: Dataset) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threaded = run(tiny_dataset)
    finally:
        torch.set_num_threads(before)
    assert_same_trunk(threaded.model, plain.model)


def test_order_and_names_of_assays_do_not_reach_the_result(plain: Trained, tiny_dataset: Dataset) -> None:
    order = np.random.default_rng(1).permutation(len(tiny_dataset.activities))
    renamed = dataclasses.replace(
        tiny_dataset,
        activities=tiny_dataset.activities.select(order),
        tasks=tuple(dataclasses.replace(task, name=f"z{100 - i}") for i, task in enumerate(tiny_dataset.tasks)),
        partners=("c", "b", "a"),
    )
    assert_same_trunk(run(renamed).model, plain.model)


def test_test_and_audit_folds_are_never_read(plain: Trained, tiny_dataset: Dataset) -> None:
    cells = tiny_dataset.activities
    unseen = np.isin(tiny_dataset.fold[cells.compound], (Fold.TEST, Fold.AUDIT))
    value = np.where(unseen, 1 - cells.value, cells.value).astype(np.float32)
    other = dataclasses.replace(tiny_dataset, activities=Activities(cells.task, cells.compound, value, cells.relation))
    assert_same_trunk(run(other).model, plain.model)
    trained_on = tiny_dataset.fold[cells.compound] == Fold.TRAIN
    value = np.where(trained_on & (cells.value > 1), cells.value[::-1], cells.value).astype(np.float32)
    control = dataclasses.replace(tiny_dataset, activities=Activities(cells.task, cells.compound, value, cells.relation))
    with pytest.raises(AssertionError):
        assert_same_trunk(run(control).model, plain.model)


def some_heads(dataset: Dataset, width: int) -> dict[int, PartnerHeads]:
    draw = np.random.default_rng(0)
    found = {}
    for number in range(len(dataset.partners)):
        scaling = scaling_of(dataset, number)
        found[number] = PartnerHeads(
            weight=draw.normal(size=(len(scaling), width)).astype(np.float32),
            bias=draw.normal(size=len(scaling)).astype(np.float32),
            scaling=scaling,
        )
    return found


def test_one_round_of_full_batch_sgd_is_the_pooled_gradient_step(tiny_dataset: Dataset) -> None:
    """Constant denominators: the sum of the partners' gradients is the pooled one, though their label counts differ."""
    rate = 0.05
    config = changed(rounds=1, batch=10_000, optimiser="sgd", learning_rate=rate).model_copy(
        update={"model": ModelConfig(hidden=(24, 12), dropout=0.0), "secagg": SecaggConfig(ring_bits=64)}
    )
    begin = Model(trunk=first_trunk(tiny_dataset, config, 0), heads=some_heads(tiny_dataset, 12))
    federated = train_federated(tiny_dataset, config=config, scheme="plaintext", seed=0, rng=CountingRng(), start=begin)

    whole = joined([records_of(tiny_dataset, begin.heads[p].scaling, tiny_dataset.cells(p, Fold.TRAIN)) for p in range(3)])
    trunk = begin.network()
    heads = Heads(12, 12)
    with torch.no_grad():
        heads.weight.copy_(torch.from_numpy(np.concatenate([begin.heads[p].weight for p in range(3)])))
        heads.bias.copy_(torch.from_numpy(np.concatenate([begin.heads[p].bias for p in range(3)])))
    batch, cells = whole.batch(np.arange(len(whole)))
    batch_loss(heads(trunk(batch), cells.row, cells.task), cells, denominator=len(whole)).backward()  # type: ignore[no-untyped-call]
    moved = 0.0
    for name, parameter in trunk.named_parameters():
        assert parameter.grad is not None
        pooled = parameter.detach() - rate * parameter.grad
        np.testing.assert_allclose(federated.model.trunk[name], pooled.numpy(), rtol=0, atol=1e-6)
        moved = max(moved, float(parameter.grad.abs().max()) * rate)
    # The step itself is a thousand times the tolerance.
    assert moved > 1e-3


def test_early_stopping_keeps_the_best_round(tiny_dataset: Dataset) -> None:
    trained = run(tiny_dataset, config=changed(rounds=40, patience=3, learning_rate=2e-2))
    assert trained.rounds == len(trained.curve) == trained.best_round + 3 < 40
    assert max(trained.curve) == trained.curve[trained.best_round - 1]
    shorter = run(tiny_dataset, config=changed(rounds=trained.best_round, patience=3, learning_rate=2e-2))
    assert_same_trunk(trained.model, shorter.model)
    for partner, heads in trained.model.heads.items():
        np.testing.assert_array_equal(heads.weight, shorter.model.heads[partner].weight)


def test_partners_may_drop_out_of_a_round(tiny_dataset: Dataset) -> None:
    traces: list[RoundTrace] = []
    big = make_dataset(partners=5)
    trained = train_federated(
        big,
        config=changed(rounds=3),
        scheme="masking",
        seed=0,
        rng=CountingRng(),
        dropouts={2: {ClientId(4): "masked_input"}},
        observer=traces.append,
    )
    assert [sorted(trace.result.survivors) for trace in traces] == [[1, 2, 3, 4, 5], [1, 2, 3, 5], [1, 2, 3, 4, 5]]
    second = traces[1]
    expected = sum(second.weights[c] * second.updates[c].astype(np.float64) for c in second.result.survivors)
    np.testing.assert_allclose(second.result.total, expected, atol=second.result.quantization_bound)
    assert trained.rounds == 3


def test_too_many_dropouts_abort(tiny_dataset: Dataset) -> None:
    gone = {ClientId(1): "advertise_keys", ClientId(2): "advertise_keys"}
    with pytest.raises(ProtocolAbort):
        train_federated(tiny_dataset, config=CONFIG, scheme="masking", seed=0, rng=CountingRng(), dropouts={1: gone})


def test_warm_start_trains_and_sums_the_named_tensors_only(plain: Trained, tiny_dataset: Dataset) -> None:
    names = ("layers.0.weight", "layers.0.bias")
    # The shortest key that is allowed: the test is about the tensors, not about the cipher.
    trained = train_federated(
        tiny_dataset,
        config=CONFIG,
        scheme="paillier",
        seed=0,
        rng=CountingRng(),
        start=plain.model,
        rounds=1,
        tensors=names,
        options=PaillierOptions(decryption=Decryption.SINGLE, bits=2048),
    )
    assert trained.rounds == 1
    assert trained.parameters == 24 * 12 + 12
    assert trained.release is None
    for name, value in plain.model.trunk.items():
        assert np.array_equal(trained.model.trunk[name], value) == (name not in names)


def test_release_is_what_was_aggregated(plain: Trained, tiny_dataset: Dataset) -> None:
    release = plain.release
    assert release is not None
    assert (release.round, release.optimiser, sorted(release.updates)) == (1, "adam", [0, 1, 2])
    np.testing.assert_array_equal(release.initial, first_trunk(tiny_dataset, CONFIG, 0)["first.weight"])
    expected = sum(release.weights[p] * release.updates[p].astype(np.float64) for p in range(3))
    assert plain.quantization_bound is not None
    np.testing.assert_allclose(release.total, expected, atol=plain.quantization_bound)


def test_bits_that_a_partner_lacks_have_exactly_no_delta(plain: Trained, tiny_dataset: Dataset) -> None:
    # The synthetic compounds use every bit at the large partners; the small one lacks none or few, so take some away.
    lacking = dataclasses.replace(tiny_dataset, fingerprints=tiny_dataset.fingerprints.copy())
    dense = lacking.fingerprints.toarray()
    mine = tiny_dataset.cells(2).compound
    dense[np.ix_(mine, np.arange(200, 256))] = 0
    lacking = dataclasses.replace(tiny_dataset, fingerprints=type(lacking.fingerprints)(dense))
    release = run(lacking, config=changed(rounds=1)).release
    assert release is not None
    assert not release.updates[2][200:].any()
    assert release.updates[0][200:].any()


def test_a_run_without_validation_cells_ends_with_its_last_round(tiny_dataset: Dataset) -> None:
    fold = np.where(tiny_dataset.fold == Fold.VALIDATION, Fold.TEST, tiny_dataset.fold).astype(np.int8)
    trained = run(dataclasses.replace(tiny_dataset, fold=fold), config=changed(rounds=2))
    assert (trained.curve, trained.best_round) == ((), 2)


def test_bad_requests_are_refused_before_anything_runs(plain: Trained, tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match="scheme 'rot13' is unknown"):
        run(tiny_dataset, "rot13")
    with pytest.raises(ParameterError, match="rounds=0 must be >= 1"):
        train_federated(tiny_dataset, config=CONFIG, scheme="plaintext", seed=0, rng=CountingRng(), rounds=0)
    with pytest.raises(ParameterError, match="heads"):
        train_federated(tiny_dataset, config=CONFIG, scheme="plaintext", seed=0, rng=CountingRng(), tensors=["heads.weight"])
    other = CONFIG.model_copy(update={"model": ModelConfig(hidden=(8,))})
    with pytest.raises(ParameterError, match="start has bits=256 hidden="):
        train_federated(tiny_dataset, config=other, scheme="plaintext", seed=0, rng=CountingRng(), start=plain.model)
    with pytest.raises(ParameterError, match="no heads of partner 1"):
        train_federated(tiny_dataset, config=CONFIG, scheme="plaintext", seed=0, rng=CountingRng(), start=plain.model.of(0))


def test_divergence_is_a_typed_error(tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"must be finite|is not finite"):
        run(tiny_dataset, config=changed(optimiser="sgd", learning_rate=1e30))
