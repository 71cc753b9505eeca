"""Record-level differential privacy of a partner's training: exact per-record clipping in one backward pass.

One record is a compound with *all* its labels at one partner. Each step draws a Poisson sample of the records, clips each
one's whole gradient (first layer, hidden layers and heads together) to ``clipping_norm``, sums, adds Gaussian noise to every
coordinate, and divides by the constant expected batch. Heads are covered as well as the trunk: both are trained on the
record, and the next step's trunk gradient passes through the heads. Opacus prices the steps and measures the hidden
layers' norms; its per-sample hooks for a wide first layer do not fit in memory (262 GB at 32,768 x 2,000), so the sparse first
layer and the gathered heads have samplers of their own, by book-keeping (Bu et al. 2022, https://arxiv.org/abs/2210.00038):
the gradient of a linear layer is input times backpropagated error, so norms and clipped sums follow from one backward pass
and no gradient of a single record is ever built.

The guarantee ([Abadi et al. 2016], add or remove one record) rests on: a record's loss is a sum over its own cells, without
any statistics of the batch; targets are scaled by constants that nobody's data decided (:func:`public_scaling`); the
denominator is constant; an empty batch is a step like any other. Not covered: compounds that two partners own (their epsilons
add up), a compound under two InChIKeys (two records), the number of a partner's records (public: the sampling rate is computed
from it), what preparation decided from all compounds (which tasks there are), losses and validation metrics (they stay with the
partner or the auditor), how long a step takes (it depends on how many records were drawn), and floating point: of the noise
(see :mod:`securefl.learning.private_noise`), and of the sum, where one record changes how the others' float32 parts are rounded
(Casacuberta et al. 2022, https://arxiv.org/abs/2207.10635).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample.linear import compute_linear_norm_sample
from torch import Tensor, nn
from torch.nn import functional

from securefl.chem.dataset import Dataset, TaskKind
from securefl.dp.accountant import SampledGaussian
from securefl.dp.poisson_sampling import poisson_sample
from securefl.errors import BudgetExceededError, InputError, ParameterError
from securefl.learning.cells import Records, Scaling
from securefl.learning.heads import Heads
from securefl.learning.local import LocalTrainer, Seat
from securefl.learning.loss import CellBatch, cell_losses
from securefl.learning.private_noise import noised_descent
from securefl.learning.sparse import SparseBatch, transposed
from securefl.learning.train_state import Arrays
from securefl.learning.trunk import Trunk
from securefl.types import Rng

PRIOR_MEAN = 6.5
PRIOR_STD = 1.3
"""Scale of published potencies (pX). Constants of this file, not of anybody's table."""
SLACK = 2.0**-16
"""Relative; a norm in float32 is off by less, so that rounding can't leave a clipped gradient above the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateSteps:
    """What one partner may do: ``steps`` in all, ``steps_each`` of them in a local epoch. Without noise nothing is protected.

    ``records`` is the count that the sampling rate was computed from; ``expected_batch`` = ``sampling_rate * records`` is
    the constant denominator.
    """

    records: int
    sampling_rate: float
    steps_each: int
    steps: int
    noise_multiplier: float
    clipping_norm: float
    learning_rate: float

    def __post_init__(self) -> None:
        if not self.clipping_norm > 0:
            raise ParameterError(f"clipping_norm={self.clipping_norm} must be > 0")
        if not self.noise_multiplier >= 0:
            raise ParameterError(f"noise_multiplier={self.noise_multiplier} must be >= 0")

    @property
    def expected_batch(self) -> float:
        """Mean number of records in a step."""
        return self.sampling_rate * self.records

    def priced(self) -> SampledGaussian:
        """Return what all steps are to an accountant.

        Raises:
            ParameterError: there is no noise, so there is no price.
        """
        return SampledGaussian(
            noise_multiplier=self.noise_multiplier, sampling_rate=self.sampling_rate, steps=self.steps
        )


@dataclass(frozen=True, slots=True)
class ClippedSum:
    """``gradients`` by parameter, in the order of :func:`parameters_of`; ``norms`` (B,) of each record before clipping."""

    gradients: tuple[Tensor, ...]
    norms: Tensor
    loss: float


def parameters_of(trunk: Trunk, heads: Heads) -> list[nn.Parameter]:
    """Return every trained parameter: first layer, hidden layers, heads, without those that are frozen."""
    return [parameter for parameter in (*trunk.parameters(), *heads.parameters()) if parameter.requires_grad]


def public_scaling(dataset: Dataset, partner: int) -> Scaling:
    """Return a scaling of a partner's targets by constants, because means of its own data would be an unpriced release.

    Through a mean that all records set, removing one record would change every other record's gradient.
    """
    tasks = dataset.tasks_of(partner)
    binary = np.array([dataset.tasks[task].kind is TaskKind.CLASSIFICATION for task in tasks], dtype=bool)
    return Scaling(
        tasks=tasks,
        mean=np.where(binary, 0.0, PRIOR_MEAN).astype(np.float32),
        std=np.where(binary, 1.0, PRIOR_STD).astype(np.float32),
        binary=binary,
    )


def clipped_sum(trunk: Trunk, heads: Heads, batch: SparseBatch, cells: CellBatch, *, clipping_norm: float) -> ClippedSum:
    """Return the sum of the records' gradients, each clipped to ``clipping_norm``, with one backward pass.

    A frozen tensor has no gradient, and no share in a norm. A record whose gradient is not finite counts as zero: an error
    would tell that the record is there.
    """
    passed = _one_backward(trunk, heads, batch, cells)
    norms = _norms(trunk, heads, batch, passed).sqrt()
    finite = torch.isfinite(norms)[:, None]
    factor = (clipping_norm / (norms * (1 + SLACK))).clamp(max=1.0)[:, None]
    clipped = [torch.where(finite, factor * error, 0.0) for error in passed.errors]
    # Zero times infinity is not zero: what its layers read goes as well.
    inputs = [torch.where(finite, below, 0.0) for below in passed.inputs]
    gradients: list[Tensor] = []
    if trunk.first.weight.requires_grad:
        lists = transposed(batch, trunk.first.weight.shape[0])
        gradients.append(functional.embedding_bag(lists.indices, clipped[0], lists.offsets, mode="sum"))
    if trunk.first.bias.requires_grad:
        gradients.append(clipped[0].sum(0))
    for layer, below, back in zip((*trunk.layers, heads), inputs, clipped[1:], strict=True):
        gradients += [back.t() @ below] if layer.weight.requires_grad else []
        gradients += [back.sum(0)] if layer.bias.requires_grad else []
    return ClippedSum(tuple(gradients), norms, passed.loss)


@dataclass(frozen=True, slots=True)
class _Backward:
    """One backward pass: what every layer above the first one read, and the error at every layer's output, heads last."""

    inputs: list[Tensor]
    errors: list[Tensor]
    loss: float


def _one_backward(trunk: Trunk, heads: Heads, batch: SparseBatch, cells: CellBatch) -> _Backward:
    """Return the pass; the loss is a plain sum, so row ``i`` of an error is record ``i``'s own.

    No dropout: the noise regularises enough.
    """
    with torch.no_grad():
        first = trunk.first(batch)
    outputs = [first.requires_grad_()]
    inputs: list[Tensor] = []
    state = torch.relu(first)
    for layer in trunk.layers:
        inputs.append(state)
        outputs.append(layer(state))
        state = torch.relu(outputs[-1])
    outputs.append(state @ heads.weight.t() + heads.bias)
    place = cells.row * outputs[-1].shape[1] + cells.task
    loss = cell_losses(outputs[-1].reshape(-1).index_select(0, place), cells).sum()
    errors = torch.autograd.grad(loss, outputs)
    return _Backward([a.detach() for a in (*inputs, state)], list(errors), float(loss.detach()))


def _norms(trunk: Trunk, heads: Heads, batch: SparseBatch, passed: _Backward) -> Tensor:
    """Return each record's squared gradient norm over all parameters that are not frozen, shape (B,)."""
    first, *above, logits = passed.errors
    ends = torch.cat([batch.offsets[1:], batch.offsets.new_tensor([len(batch.indices)])])
    on_bits = (ends - batch.offsets).to(first.dtype)
    # Distinct binary inputs: the weight's gradient is the error once in every on-bit's row, the bias's is the error itself.
    total = _squared(trunk.first.weight, trunk.first.bias, on_bits, first)
    for layer, below, back in zip(trunk.layers, passed.inputs[:-1], above, strict=True):
        for norm in compute_linear_norm_sample(layer, [below], back).values():
            total = total + norm.square()
    return total + _squared(heads.weight, heads.bias, passed.inputs[-1].square().sum(1), logits)


def _squared(weight: Tensor, bias: Tensor, of_inputs: Tensor, error: Tensor) -> Tensor:
    """Return the squared norm of each record's gradient of a linear layer from the squared norms of its inputs, shape (B,)."""
    return error.square().sum(1) * (of_inputs * float(weight.requires_grad) + float(bias.requires_grad))


class PrivateTrainer:
    """A :class:`~securefl.learning.local.LocalTrainer` whose every step is the sampled Gaussian mechanism, by plain SGD.

    It counts its own steps and refuses the one that was not paid for; a step with the trunk frozen costs as much as any.
    """

    def __init__(self, seat: Seat, *, plan: PrivateSteps, rng: Rng) -> None:
        if len(seat.records) != plan.records:
            raise ParameterError(f"records={len(seat.records)} must be {plan.records}, what the sampling rate is for")
        self._plan, self._rng, self._taken = plan, rng, 0

    def train_epoch(self, trunk: Trunk, heads: Heads, records: Records) -> float:
        """Take one epoch's steps in place and return the mean loss a sampled record: it stays at the partner.

        Raises:
            BudgetExceededError: the epoch would take more steps than the accountant priced; none was taken.
            ParameterError: ``records`` are not those that the sampling rate was computed from.
        """
        plan = self._plan
        if self._taken + plan.steps_each > plan.steps:
            raise BudgetExceededError(f"steps={self._taken + plan.steps_each} must be <= {plan.steps}, the priced number")
        if len(records) != plan.records:
            raise ParameterError(f"records={len(records)} must be {plan.records}, what the sampling rate is for")
        loss, seen = 0.0, 0
        for _ in range(plan.steps_each):
            rows = poisson_sample(plan.records, rate=plan.sampling_rate, rng=self._rng)
            loss += self._step(trunk, heads, records, rows)
            seen += len(rows)
        return loss / max(seen, 1)

    def state(self) -> Arrays:
        """Return how many of the priced steps were taken."""
        return {"taken": np.array(self._taken)}

    def restore(self, state: Arrays, trunk: Trunk, heads: Heads) -> None:
        """Go on with the steps that are left."""
        self._taken = int(state["taken"])

    def _step(self, trunk: Trunk, heads: Heads, records: Records, rows: NDArray[np.int64]) -> float:
        # Counted before the release: a step that fails half way has still spent its share.
        self._taken += 1
        parameters = parameters_of(trunk, heads)
        if not len(rows):
            self._descend(parameters, [torch.zeros_like(p) for p in parameters])
            return 0.0
        batch, cells = records.batch(rows)
        summed = clipped_sum(trunk, heads, batch, cells, clipping_norm=self._plan.clipping_norm)
        self._descend(parameters, summed.gradients)
        return summed.loss

    def _descend(self, parameters: list[nn.Parameter], gradients: Sequence[Tensor]) -> None:
        """Add noise to every coordinate, also of bits that no sampled record has, and take the gradient step."""
        plan = self._plan
        deviation, rate = plan.noise_multiplier * plan.clipping_norm, plan.learning_rate / plan.expected_batch
        for parameter, gradient in zip(parameters, gradients, strict=True):
            noised_descent(parameter, gradient, deviation=deviation, rate=rate, rng=self._rng)


def private_trainers(plans: Sequence[PrivateSteps], *, rng: Rng) -> Callable[[Seat], LocalTrainer]:
    """Return the factory of private trainers: partner ``i`` trains under ``plans[i]``, all draw from ``rng``."""

    def trainer(seat: Seat) -> LocalTrainer:
        if not 0 <= seat.partner < len(plans):
            raise InputError(f"partner={seat.partner} has no private plan, there are {len(plans)}")
        return PrivateTrainer(seat, plan=plans[seat.partner], rng=rng)

    return trainer
