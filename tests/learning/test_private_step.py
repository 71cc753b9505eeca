"""The private step against naive per-record gradients and against Opacus's own; what breaks the guarantee must show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from stand_ins import CountingRng
from torch import Tensor, nn

from securefl.chem.dataset import Dataset, Fold, TaskKind
from securefl.errors import BudgetExceededError, InputError, ParameterError
from securefl.learning.cells import Records, records_of
from securefl.learning.heads import Heads
from securefl.learning.local import Seat
from securefl.learning.loss import CellBatch, cell_losses
from securefl.learning.private_step import (
    PrivateSteps,
    PrivateTrainer,
    clipped_sum,
    parameters_of,
    private_trainers,
    public_scaling,
)
from securefl.learning.sparse import SparseBatch
from securefl.learning.trunk import Trunk

HIDDEN = (24, 10)


def partner_records(dataset: Dataset, partner: int = 0) -> Records:
    return records_of(dataset, public_scaling(dataset, partner), dataset.cells(partner, Fold.TRAIN))


def network(dataset: Dataset, tasks: int) -> tuple[Trunk, Heads]:
    """Return a trunk and heads with random weights everywhere, so that every layer has a gradient."""
    generator = torch.Generator().manual_seed(5)
    trunk, heads = Trunk(dataset.bits, HIDDEN, generator=generator), Heads(tasks, HIDDEN[-1])
    with torch.no_grad():
        for parameter in parameters_of(trunk, heads):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return trunk, heads


def naive(trunk: Trunk, heads: Heads, batch: SparseBatch, cells: CellBatch) -> list[list[Tensor]]:
    """Return each record's own gradient, one backward pass each."""
    found = []
    for row in range(len(batch)):
        hidden = trunk(batch)
        output = heads(hidden, cells.row, cells.task)
        loss = cell_losses(output, cells)[cells.row == row].sum()
        found.append(list(torch.autograd.grad(loss, parameters_of(trunk, heads))))
    return found


def norm(gradients: list[Tensor]) -> float:
    return float(torch.sqrt(sum((g.double().square().sum() for g in gradients), torch.zeros((), dtype=torch.float64))))


@pytest.mark.parametrize("clipping_norm", [0.3, 1.0, 1e6])
def test_norms_and_clipped_sum_are_the_naive_ones(tiny_dataset: Dataset, clipping_norm: float) -> None:
    records = partner_records(tiny_dataset)
    trunk, heads = network(tiny_dataset, 4)
    batch, cells = records.batch(np.arange(0, 60, dtype=np.int64))
    assert bool(cells.binary.any())
    assert bool((cells.relation != 0).any())
    each = naive(trunk, heads, batch, cells)
    got = clipped_sum(trunk, heads, batch, cells, clipping_norm=clipping_norm)
    norms = [norm(gradients) for gradients in each]
    np.testing.assert_allclose(got.norms.numpy(), norms, rtol=1e-5)
    factors = [min(1.0, clipping_norm / n) for n in norms]
    for i, gradient in enumerate(got.gradients):
        want = sum((f * gradients[i] for f, gradients in zip(factors, each, strict=True)), torch.zeros_like(gradient))
        np.testing.assert_allclose(gradient.numpy(), want.numpy(), rtol=1e-4, atol=1e-5)
    clipped = sum(n > clipping_norm for n in norms)
    assert (clipped > 0) == (clipping_norm < 1e6)


@pytest.mark.parametrize("frozen", [("trunk",), ("first.weight",), ("first.bias", "layers.0.weight"), ("heads.weight",)])
def test_a_frozen_tensor_counts_in_no_norm_and_does_not_move(tiny_dataset: Dataset, frozen: tuple[str, ...]) -> None:
    records = partner_records(tiny_dataset)
    trunk, heads = network(tiny_dataset, 4)
    named = {**{f"trunk.{n}": p for n, p in trunk.named_parameters()}, **{f"heads.{n}": p for n, p in heads.named_parameters()}}
    held = [p for name, p in named.items() if any(part in name for part in frozen)]
    for parameter in held:
        parameter.requires_grad_(False)
    batch, cells = records.batch(np.arange(0, 30, dtype=np.int64))
    each = naive(trunk, heads, batch, cells)
    got = clipped_sum(trunk, heads, batch, cells, clipping_norm=0.5)
    np.testing.assert_allclose(got.norms.numpy(), [norm(gradients) for gradients in each], rtol=1e-5)
    factors = [min(1.0, 0.5 / float(n)) for n in got.norms]
    assert len(got.gradients) == len(named) - len(held) > 0
    for i, gradient in enumerate(got.gradients):
        want = sum((f * gradients[i] for f, gradients in zip(factors, each, strict=True)), torch.zeros_like(gradient))
        np.testing.assert_allclose(gradient.numpy(), want.numpy(), rtol=1e-4, atol=1e-5)
    before = [p.detach().clone() for p in named.values()]
    trainer_for(records, steps_for(records)).train_epoch(trunk, heads, records)
    for parameter, value in zip(named.values(), before, strict=True):
        assert torch.equal(parameter, value) == (not parameter.requires_grad)


def test_norms_are_those_of_opacus_on_the_dense_network(tiny_dataset: Dataset) -> None:
    records = partner_records(tiny_dataset)
    trunk, heads = network(tiny_dataset, 4)
    rows = np.arange(0, 32, dtype=np.int64)
    batch, cells = records.batch(rows)
    dense = nn.Sequential(
        nn.Linear(tiny_dataset.bits, HIDDEN[0]), nn.ReLU(), nn.Linear(*HIDDEN), nn.ReLU(), nn.Linear(HIDDEN[1], 4)
    )
    weights = [trunk.first.weight.t(), trunk.first.bias, *trunk.layers.parameters(), heads.weight, heads.bias]
    with torch.no_grad():
        for target, source in zip(dense.parameters(), weights, strict=True):
            target.copy_(source)
    wrapped = GradSampleModule(dense, loss_reduction="sum")
    inputs = torch.from_numpy(records.fingerprints[rows].toarray().astype(np.float32))
    logits = wrapped(inputs.requires_grad_()).reshape(-1)[cells.row * 4 + cells.task]
    cell_losses(logits, cells).sum().backward()  # type: ignore[no-untyped-call]
    squared = sum(p.grad_sample.reshape(len(rows), -1).square().sum(1) for p in wrapped.parameters())
    got = clipped_sum(trunk, heads, batch, cells, clipping_norm=1.0)
    np.testing.assert_allclose(got.norms.numpy(), np.sqrt(np.asarray(squared)), rtol=1e-5)


def test_opacus_validator_passes_on_the_model(tiny_dataset: Dataset) -> None:
    trunk, heads = network(tiny_dataset, 4)
    for module in (trunk, heads):
        assert ModuleValidator.validate(module.train(), strict=True) == []


def test_removing_a_record_changes_no_other_records_gradient(tiny_dataset: Dataset) -> None:
    records = partner_records(tiny_dataset)
    trunk, heads = network(tiny_dataset, 4)
    rows = np.arange(40, dtype=np.int64)
    with_it = clipped_sum(trunk, heads, *records.batch(rows), clipping_norm=0.5)
    without = clipped_sum(trunk, heads, *records.batch(rows[1:]), clipping_norm=0.5)
    np.testing.assert_allclose(with_it.norms[1:].numpy(), without.norms.numpy(), rtol=1e-6)
    moved = [a - b for a, b in zip(with_it.gradients, without.gradients, strict=True)]
    assert 0 < norm(moved) <= 0.5 * (1 + 1e-4)


def test_scaling_does_not_depend_on_any_record(tiny_dataset: Dataset) -> None:
    cells = tiny_dataset.activities
    fewer = replace(tiny_dataset, activities=cells.select(cells.compound != cells.compound[0]))
    before, after = public_scaling(tiny_dataset, 0), public_scaling(fewer, 0)
    for name in ("mean", "std", "binary", "tasks"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    kinds = [tiny_dataset.tasks[task].kind is TaskKind.CLASSIFICATION for task in before.tasks]
    assert before.binary.tolist() == kinds


def doubled(dataset: Dataset) -> Dataset:
    """Return ``dataset`` with every bit listed twice, each time as a one: what an unsummed matrix in a file can hold."""
    table = dataset.fingerprints
    indices, indptr = np.repeat(table.indices, 2), 2 * table.indptr
    return replace(
        dataset, fingerprints=sp.csr_matrix((np.ones(len(indices), dtype=np.uint8), indices, indptr), shape=table.shape)
    )


def test_a_bit_that_is_listed_twice_is_refused(tiny_dataset: Dataset) -> None:
    """The norm counts it as two bits, the gradient moves its row twice as far: the clip would not hold."""
    twice = doubled(tiny_dataset)
    with pytest.raises(InputError, match="lists a bit twice"):
        partner_records(twice)
    records = replace(partner_records(tiny_dataset), fingerprints=twice.fingerprints[partner_records(tiny_dataset).compound])
    trunk, heads = network(tiny_dataset, 4)
    with torch.no_grad():
        heads.weight.mul_(100.0)
    unchecked = clipped_sum(trunk, heads, *records.batch(np.array([0])), clipping_norm=1.0)
    assert norm(list(unchecked.gradients)) > 1.1
    # out of order is no harm
    table = tiny_dataset.fingerprints.copy()
    table.indices[:2], table.has_sorted_indices = table.indices[1::-1].copy(), False
    assert len(partner_records(replace(tiny_dataset, fingerprints=table))) == len(partner_records(tiny_dataset))


def test_a_record_that_is_not_finite_counts_as_zero(tiny_dataset: Dataset) -> None:
    records = partner_records(tiny_dataset)
    trunk, heads = network(tiny_dataset, 4)
    batch, cells = records.batch(np.arange(10, dtype=np.int64))
    target = cells.target.clone()
    target[(cells.row == 3) & ~cells.binary] = torch.inf
    broken = CellBatch(cells.row, cells.task, target, torch.zeros_like(cells.relation), cells.binary)
    got = clipped_sum(trunk, heads, batch, broken, clipping_norm=1.0)
    assert all(bool(torch.isfinite(g).all()) for g in got.gradients)
    others = np.array([0, 1, 2, 4, 5, 6, 7, 8, 9], dtype=np.int64)
    rest, rest_cells = records.batch(others)
    plain = CellBatch(
        rest_cells.row, rest_cells.task, rest_cells.target, torch.zeros_like(rest_cells.relation), rest_cells.binary
    )
    want = clipped_sum(trunk, heads, rest, plain, clipping_norm=1.0)
    for one, two in zip(got.gradients, want.gradients, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-5)


def test_a_record_whose_activations_overflow_counts_as_zero_too(tiny_dataset: Dataset) -> None:
    """Its error is put to zero, and zero times an infinite activation is not zero."""
    records = partner_records(tiny_dataset)
    trunk, heads = network(tiny_dataset, 4)
    rows = np.arange(20, dtype=np.int64)
    owners = np.asarray(records.fingerprints[rows].sum(axis=0)).ravel()
    bit = int(np.flatnonzero(owners == 1)[0])
    with torch.no_grad():
        trunk.first.weight[bit] = 3e38
        next(trunk.layers.parameters()).fill_(1.0)
    got = clipped_sum(trunk, heads, *records.batch(rows), clipping_norm=1.0)
    assert int((~torch.isfinite(got.norms)).sum()) == 1
    want = clipped_sum(trunk, heads, *records.batch(rows[torch.isfinite(got.norms).numpy()]), clipping_norm=1.0)
    for one, two in zip(got.gradients, want.gradients, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-5)


@pytest.mark.parametrize("clipping_norm", [1e-3, 1.0, 30.0])
def test_rounding_leaves_no_clipped_gradient_above_the_bound(tiny_dataset: Dataset, clipping_norm: float) -> None:
    """The sensitivity that the noise is for is the norm, not nearly the norm."""
    records = partner_records(tiny_dataset)
    trunk, heads = network(tiny_dataset, 4)
    with torch.no_grad():
        heads.weight.mul_(100.0)
    for row in range(60):
        got = clipped_sum(trunk, heads, *records.batch(np.array([row])), clipping_norm=clipping_norm)
        assert float(got.norms) > clipping_norm
        assert 0.9999 * clipping_norm < norm(list(got.gradients)) <= clipping_norm


def steps_for(records: Records, **changes: float) -> PrivateSteps:
    plan = PrivateSteps(
        records=len(records),
        sampling_rate=0.25,
        steps_each=4,
        steps=8,
        noise_multiplier=1.0,
        clipping_norm=1.0,
        learning_rate=0.5,
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


def trainer_for(records: Records, plan: PrivateSteps, seed: int = 0) -> PrivateTrainer:
    return PrivateTrainer(Seat(partner=0, records=records, seed=0), plan=plan, rng=CountingRng(seed))


def test_an_unpaid_epoch_is_refused_before_its_first_step(tiny_dataset: Dataset) -> None:
    records = partner_records(tiny_dataset)
    trunk, heads = network(tiny_dataset, 4)
    trainer = trainer_for(records, steps_for(records, steps=7))
    trainer.train_epoch(trunk, heads, records)
    before = trunk.tensors()["first.weight"]
    with pytest.raises(BudgetExceededError, match="steps=8 must be <= 7"):
        trainer.train_epoch(trunk, heads, records)
    np.testing.assert_array_equal(trunk.tensors()["first.weight"], before)


@pytest.mark.statistical
def test_an_empty_batch_still_releases_noise_of_the_right_size(tiny_dataset: Dataset) -> None:
    records = partner_records(tiny_dataset)
    trunk, heads = network(tiny_dataset, 4)
    before = [p.detach().clone() for p in parameters_of(trunk, heads)]
    plan = steps_for(records, sampling_rate=1e-9, steps_each=1, noise_multiplier=2.0, clipping_norm=3.0, learning_rate=1e-9)
    trainer_for(records, plan).train_epoch(trunk, heads, records)
    moved = torch.cat([(p.detach() - b).flatten() for p, b in zip(parameters_of(trunk, heads), before, strict=True)])
    expected = 1e-9 / (1e-9 * len(records)) * 2.0 * 3.0
    # 6,714 coordinates: the deviation's relative standard error is 0.9 %
    assert float(moved.std()) == pytest.approx(expected, rel=0.05)
    assert float((moved.abs() > 0).float().mean()) > 0.99


def test_every_step_draws_fresh_noise(tiny_dataset: Dataset) -> None:
    records = partner_records(tiny_dataset)
    plan = steps_for(records, sampling_rate=1e-9, steps_each=1)
    trainer = trainer_for(records, plan)
    moves = []
    for _ in range(2):
        trunk, heads = network(tiny_dataset, 4)
        before = trunk.tensors()["first.weight"]
        trainer.train_epoch(trunk, heads, records)
        moves.append((trunk.tensors()["first.weight"] - before).ravel())
    assert abs(np.corrcoef(moves[0], moves[1])[0, 1]) < 0.08


def test_with_little_noise_it_learns_and_with_much_it_does_not(tiny_dataset: Dataset) -> None:
    records = partner_records(tiny_dataset)
    losses = {}
    for noise in (1e-3, 300.0):
        trunk, heads = network(tiny_dataset, 4)
        plan = steps_for(records, noise_multiplier=noise, steps_each=30, steps=90, learning_rate=0.3)
        trainer = trainer_for(records, plan)
        losses[noise] = [trainer.train_epoch(trunk, heads, records) for _ in range(3)]
    assert losses[1e-3][-1] < 0.8 * losses[1e-3][0]
    assert not losses[300.0][-1] < losses[300.0][0]


def test_a_plan_for_other_records_is_refused(tiny_dataset: Dataset) -> None:
    records, others = partner_records(tiny_dataset), partner_records(tiny_dataset, 2)
    with pytest.raises(ParameterError, match="records="):
        trainer_for(others, steps_for(records))
    trainer = trainer_for(records, steps_for(records))
    with pytest.raises(ParameterError, match="records="):
        trainer.train_epoch(*network(tiny_dataset, 4), others)
    factory = private_trainers([steps_for(records)], rng=CountingRng())
    assert isinstance(factory(Seat(partner=0, records=records, seed=0)), PrivateTrainer)
    with pytest.raises(InputError, match="partner=1"):
        factory(Seat(partner=1, records=records, seed=0))


@pytest.mark.parametrize("change", [{"clipping_norm": 0.0}, {"noise_multiplier": float("nan")}, {"noise_multiplier": -1.0}])
def test_a_plan_without_clipping_or_noise_is_refused(tiny_dataset: Dataset, change: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        steps_for(partner_records(tiny_dataset), **change)
