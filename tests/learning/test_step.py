"""The trainer's step against the plain dense one: dense fingerprints, all outputs, masked loss, torch's default optimiser."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.config import FederationConfig
from securefl.errors import InputError
from securefl.learning.cells import Records
from securefl.learning.gathered import gathering_pays
from securefl.learning.heads import Heads
from securefl.learning.loss import CellBatch
from securefl.learning.sparse import SparseBatch
from securefl.learning.step import TrainingStep
from securefl.learning.trunk import Trunk

BITS, RECORDS, TASKS = 300, 256, 600
HIDDEN = (640,)
"""Wide enough for several column blocks."""


@pytest.fixture(scope="module")
def records() -> Records:
    """256 records with 12 bits each and three labels in 600 tasks: half of the tasks classify, some cells are censored."""
    draw = np.random.default_rng(0)
    rows = (draw.random((RECORDS, BITS)) < 0.04).astype(np.uint8)
    task = np.concatenate([np.sort(draw.choice(TASKS, 3, replace=False)) for _ in range(RECORDS)])
    binary = np.arange(TASKS) % 2 == 0
    target = np.where(binary[task], draw.integers(0, 2, len(task)), draw.normal(size=len(task))).astype(np.float32)
    relation = np.where(binary[task], 0, draw.integers(-1, 2, len(task))).astype(np.int8)
    return Records(
        fingerprints=sp.csr_matrix(rows),
        compound=np.arange(RECORDS, dtype=np.int32),
        start=np.arange(0, 3 * RECORDS + 1, 3),
        task=task.astype(np.int64),
        target=target,
        relation=relation,
        binary=binary,
    )


def fresh() -> tuple[Trunk, Heads]:
    trunk = Trunk(BITS, HIDDEN, generator=torch.Generator().manual_seed(0))
    heads = Heads(TASKS, trunk.width)
    nn.init.normal_(heads.weight, std=0.05, generator=torch.Generator().manual_seed(1))
    return trunk, heads


def dense_loss(trunk: Trunk, heads: Heads, batch: SparseBatch, cells: CellBatch, weight: Tensor) -> Tensor:
    """Return the loss of dense inputs and all outputs, labels in matrices, everything spelt out."""
    inputs = torch.zeros(len(batch), BITS)
    bags = torch.bucketize(torch.arange(len(batch.indices)), batch.offsets, right=True) - 1
    inputs[bags, batch.indices] = 1
    outputs = torch.relu(inputs @ trunk.first.weight + trunk.first.bias) @ heads.weight.t() + heads.bias
    target, mask, side = (torch.zeros(len(batch), TASKS) for _ in range(3))
    target[cells.row, cells.task] = cells.target
    mask[cells.row, cells.task] = weight[cells.task]
    side[cells.row, cells.task] = cells.relation
    error = outputs - target
    regression = 0.5 * torch.where(error * side > 0, torch.zeros(()), error).square()
    logistic = functional.binary_cross_entropy_with_logits(outputs, target, reduction="none")
    classifies = torch.arange(TASKS) % 2 == 0
    return (torch.where(classifies, logistic, regression) * mask).sum() / RECORDS


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_fast_steps_are_the_plain_dense_ones(records: Records, optimiser: str, weighted: bool) -> None:
    weight = torch.rand(TASKS, generator=torch.Generator().manual_seed(5)) if weighted else torch.ones(TASKS)
    if weighted:
        records = dataclasses.replace(records, weight=weight.numpy())
    trunk, heads = fresh()
    config = FederationConfig.model_validate({"optimiser": optimiser, "learning_rate": 1e-2, "batch": RECORDS})
    fast = TrainingStep(trunk, heads, config)
    plain, plain_heads = fresh()
    parameters = [*plain.parameters(), *plain_heads.parameters()]
    slow = torch.optim.Adam(parameters, lr=1e-2) if optimiser == "adam" else torch.optim.SGD(parameters, lr=1e-2)
    batch, cells = records.batch(np.random.default_rng(1).permutation(RECORDS))
    assert gathering_pays([torch.empty(RECORDS, trunk.width)], cells.row, TASKS), "the path under test is the sparse one"
    with fast.working():
        for _ in range(4):
            value = fast.step(batch, cells, denominator=RECORDS)
            slow.zero_grad()
            loss = dense_loss(plain, plain_heads, batch, cells, weight)
            loss.backward()  # type: ignore[no-untyped-call]
            slow.step()
            assert value == pytest.approx(loss.item(), rel=1e-5)
    # Adam divides by the square root of what it squared: where a gradient is rounding alone, so is the direction.
    atol = 1e-6 if optimiser == "sgd" else 2e-4
    for one, other in zip([*trunk.parameters(), *heads.parameters()], parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=atol)


def test_blocks_and_sparse_heads_repeat_bit_for_bit(records: Records) -> None:
    runs = []
    for _ in range(2):
        trunk, heads = fresh()
        step = TrainingStep(trunk, heads, FederationConfig(batch=RECORDS))
        with step.working():
            values = [step.step(*records.batch(np.arange(RECORDS)), denominator=RECORDS) for _ in range(3)]
        runs.append((values, [*trunk.parameters(), *heads.parameters()]))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(one, other) for one, other in zip(runs[0][1], runs[1][1], strict=True))


def test_frozen_first_layer_stays_and_the_rest_learns(records: Records) -> None:
    trunk, heads = fresh()
    trunk.first.weight.requires_grad_(False)
    before = trunk.tensors()
    step = TrainingStep(trunk, heads, FederationConfig(batch=RECORDS))
    with step.working():
        step.step(*records.batch(np.arange(RECORDS)), denominator=RECORDS)
    np.testing.assert_array_equal(trunk.tensors()["first.weight"], before["first.weight"])
    assert not np.array_equal(trunk.tensors()["first.bias"], before["first.bias"])


def test_a_loss_that_is_not_finite_moves_nothing(records: Records) -> None:
    trunk, heads = fresh()
    step = TrainingStep(trunk, heads, FederationConfig(batch=RECORDS))
    before = trunk.tensors()
    batch, cells = records.batch(np.arange(RECORDS))
    broken = dataclasses.replace(cells, target=cells.target * float("nan"))
    with pytest.raises(InputError, match="training loss is nan, must be finite"), step.working():
        step.step(batch, broken, denominator=RECORDS)
    for name, value in trunk.tensors().items():
        np.testing.assert_array_equal(value, before[name])
