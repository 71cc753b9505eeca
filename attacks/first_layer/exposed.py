"""The exposed release: the same model, scheme and guard on few compounds and many bits, where a leak shows if there is one.

A round over thousands of compounds has no bit that only one or two of them have, so neither a leak nor a guard shows there.
This release is the worst case that a small partner, a late joiner or a short batch makes real: one gradient step of
plain SGD on 64 compounds of one partner, and a secure sum of three partners with 40 compounds each, at 32,768 bits, through
the arm's own protocol, guard and private step. The trunk is freshly drawn; heads are drawn small at random, since a head that
starts from zero sends nothing back in its first step.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from attacks.first_layer.flooding_noise import flooding_noise
from attacks.first_layer.released import Contribution, Released, labels_of, layers_of, library_of, weight_rounding
from securefl.chem.dataset import Activities, Dataset, Fold
from securefl.chem.fingerprint import fingerprints
from securefl.config import RunConfig, SecaggConfig
from securefl.errors import InputError
from securefl.federation.guards import SupportGuard, distinct_support
from securefl.federation.protocols import MAX_WEIGHT, options_for, quantizer_for, set_up
from securefl.learning.cells import Records, Scaling, records_of, scaling_of
from securefl.learning.family import inputs_of, trunk_of
from securefl.learning.heads import Heads
from securefl.learning.layout import model_hash
from securefl.learning.local import LocalTrainer, PlainTrainer, Seat
from securefl.learning.private_step import PrivateSteps, PrivateTrainer, public_scaling
from securefl.learning.trunk import Trunk
from securefl.quantize import Quantizer
from securefl.recipes import traits_of
from securefl.records import DpRecord
from securefl.secagg import run_round
from securefl.types import ClientId, FloatVector, Rng

LEARNING_RATE = 0.1
"""Of the single SGD step: a usual rate for plain SGD. It scales the update against the quantiser's step, nothing else."""
HEAD_SCALE = 1 / 3
LIBRARY_SIZE = 200
CHECKED_COORDINATES = 5_000
"""A heavy exact scheme sums so many coordinates here; the rest of its sum is the exact one, which the sample must equal."""
UNTOUCHED_SHARE = 0.25
"""CKKS sums the touched rows and this share as many untouched ones, for comparison; the others would be noise alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """What the arm does with an update: its scheme, the guard's k and ``partners`` a row, and its differential privacy."""

    scheme: str
    guard_k: int | None = None
    partners: int = 1
    dp: DpRecord | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A partner with the compounds that it steps on, int64 rows of the dataset, ascending."""

    partner: int
    compounds: NDArray[np.int64]


def draw_batches(dataset: Dataset, config: RunConfig) -> tuple[Batch, list[Batch]]:
    """Return the batch of the single update and those of the sum: random training compounds of the smallest partners.

    The draw depends on the config's attack seed alone, so that every arm steps on the same compounds.

    Raises:
        InputError: fewer than three partners have two training compounds.
    """
    settings = config.attacks
    draw = np.random.default_rng([settings.seed, 1])
    owned = {p: np.unique(dataset.cells(p, Fold.TRAIN).compound).astype(np.int64) for p in range(len(dataset.partners))}

    def batch(partner: int, size: int) -> Batch:
        return Batch(partner, np.sort(draw.permutation(owned[partner])[:size]))

    def smallest(size: int) -> list[int]:
        return sorted((p for p in owned if len(owned[p]) >= 2), key=lambda p: (len(owned[p]) < size, len(owned[p])))

    chosen = smallest(settings.exposed_each)[: settings.exposed_partners]
    if len(chosen) < 3:
        raise InputError(f"{len(chosen)} partners have 2 training compounds, an exposed sum needs >= 3")
    single = batch(smallest(settings.exposed_single)[0], settings.exposed_single)
    return single, [batch(partner, settings.exposed_each) for partner in sorted(chosen)]


@lru_cache(maxsize=32)
def _folded(smiles: tuple[str, ...], bits: int, radius: int) -> sp.csr_matrix:
    """Return fingerprints, kept since every arm of a run asks for the same ones; nobody writes into them."""
    return fingerprints(smiles, bits=bits, radius=radius)


def refolded(dataset: Dataset, rows: NDArray[np.int64], config: RunConfig) -> sp.csr_matrix:
    """Return fingerprints of ``exposed_bits`` for the compounds ``rows``; the other rows of the matrix stay empty.

    A graph family's inputs have the size that they have.
    """
    bits = config.attacks.exposed_bits
    if bits == dataset.bits or dataset.graphs is not None:
        return dataset.fingerprints
    some = _folded(tuple(dataset.smiles[i] for i in rows), bits, config.data.radius)
    counts = np.zeros(len(dataset.smiles), dtype=np.int64)
    counts[rows] = np.diff(some.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    # ``rows`` ascends, so the filled rows follow each other in the same order.
    return sp.csr_matrix((some.data, some.indices, indptr), shape=(len(counts), bits), dtype=np.uint8)


def _records(dataset: Dataset, batch: Batch, matrix: sp.csr_matrix, scaling: Scaling) -> Records:
    cells = dataset.cells(batch.partner, Fold.TRAIN)
    chosen: Activities = cells.select(np.isin(cells.compound, batch.compounds))
    return records_of(dataclasses.replace(dataset, fingerprints=matrix), scaling, chosen)


def _trainer(seat: Seat, config: RunConfig, dp: DpRecord | None, rng: Rng) -> LocalTrainer:
    """Return a trainer that takes exactly one step on all records: plain SGD, or the arm's private step."""
    size = len(seat.records)
    if dp is None:
        settings = config.federation.model_copy(
            update={"batch": size, "optimiser": "sgd", "learning_rate": LEARNING_RATE, "local_epochs": 1}
        )
        return PlainTrainer(seat, config=settings)
    plan = PrivateSteps(
        records=size,
        sampling_rate=1.0,
        steps_each=1,
        steps=1,
        noise_multiplier=dp.noise_multiplier,
        clipping_norm=dp.clipping_norm,
        learning_rate=LEARNING_RATE,
    )
    return PrivateTrainer(seat, plan=plan, rng=rng)


def fresh_trunk(config: RunConfig, dataset: Dataset) -> Trunk:
    """Return the public trunk that the step starts from."""
    generator = torch.Generator().manual_seed(config.attacks.seed)
    if dataset.graphs is not None:
        return trunk_of(dataset, config.model, generator)
    return Trunk(config.attacks.exposed_bits, config.model.hidden, dropout=config.model.dropout, generator=generator)


def _drawn_heads(tasks: int, width: int, seed: list[int]) -> Heads:
    heads = Heads(tasks, width)
    weight = np.random.default_rng(seed).normal(0, HEAD_SCALE / width**0.5, (tasks, width))
    with torch.no_grad():
        heads.weight.copy_(torch.from_numpy(weight))
    return heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every step of a release shares: data, settings, defence, and the public trunk it starts from."""

    dataset: Dataset
    config: RunConfig
    defence: Defence
    rng: Rng
    trunk: Trunk
    start: dict[str, NDArray[np.float32]]

    @classmethod
    def of(cls, dataset: Dataset, *, config: RunConfig, defence: Defence, rng: Rng) -> Bench:
        """Return a bench with a freshly drawn trunk.

        Raises:
            InputError: the arm's noise is not added to single steps, so no step of ours would stand for it.
        """
        if defence.dp is not None and defence.dp.unit != "record":
            raise InputError(f"an exposed step has no {defence.dp.unit}-level noise: nothing would stand for this arm")
        dataset = inputs_of(dataset, config.model)
        trunk = fresh_trunk(config, dataset)
        return cls(dataset=dataset, config=config, defence=defence, rng=rng, trunk=trunk, start=trunk.tensors())


def step_of(bench: Bench, batch: Batch, matrix: sp.csr_matrix) -> dict[str, NDArray[np.float32]]:
    """Return what one partner's step changes in each trunk tensor, after the guard: what it hands to secure aggregation."""
    dataset, config, defence, trunk = bench.dataset, bench.config, bench.defence, bench.trunk
    scaling = public_scaling(dataset, batch.partner) if defence.dp else scaling_of(dataset, batch.partner)
    records = _records(dataset, batch, matrix, scaling)
    trunk.load(bench.start)
    heads = _drawn_heads(len(scaling), trunk.width, [config.attacks.seed, 2, batch.partner])
    seat = Seat(partner=batch.partner, records=records, seed=config.attacks.seed + batch.partner)
    _trainer(seat, config, defence.dp, bench.rng).train_epoch(trunk, heads, records)
    change = trunk.tensors()
    for name, value in bench.start.items():
        change[name] -= value
    if defence.guard_k is not None:
        change["first.weight"][SupportGuard.on(records.fingerprints, k=defence.guard_k).withheld] = 0.0
    return change


def _released(bench: Bench, matrix: sp.csr_matrix, parts: dict[int, Contribution]) -> Released:
    config, private = bench.config, bench.defence.dp is not None
    noised = bench.defence.dp is not None and bench.defence.dp.noise_multiplier > 0
    library = library_of(bench.dataset, size=LIBRARY_SIZE, seed=config.attacks.seed)
    return Released(
        name="exposed",
        optimiser="private sgd" if private else "sgd",
        parts=parts,
        total=None,
        layers=layers_of(bench.start),
        fingerprints=matrix,
        library=refolded(bench.dataset, library, config)[library],
        noise=None if noised else weight_rounding(bench.start["first.weight"]),
        step=0.0,
    )


def _contribution(dataset: Dataset, batch: Batch, update: NDArray[np.float32]) -> Contribution:
    return Contribution(
        compounds=batch.compounds,
        label=labels_of(dataset, batch.partner, batch.compounds),
        weight=min(len(batch.compounds), MAX_WEIGHT),
        update=update,
    )


def exposed_single(bench: Bench) -> tuple[Released, int]:
    """Return the release of one partner's single step, and the partner.

    Nobody else steps here, so no count narrows the guard: as if enough others had every bit.
    """
    batch, _ = draw_batches(bench.dataset, bench.config)
    matrix = refolded(bench.dataset, batch.compounds, bench.config)
    part = _contribution(bench.dataset, batch, step_of(bench, batch, matrix)["first.weight"])
    return _released(bench, matrix, {batch.partner: part}), batch.partner


def exposed_sum(bench: Bench) -> Released:
    """Return the release of a secure sum over several partners' single steps, through the arm's own protocol."""
    dataset, layout = bench.dataset, bench.trunk.layout
    _, batches = draw_batches(dataset, bench.config)
    matrix = refolded(dataset, np.unique(np.concatenate([batch.compounds for batch in batches])), bench.config)
    updates: dict[ClientId, NDArray[np.float32]] = {}
    parts: dict[int, Contribution] = {}
    few = _too_few(bench.defence, batches, matrix)
    for batch in batches:
        change = step_of(bench, batch, matrix)
        change["first.weight"][few] = 0.0
        updates[ClientId(batch.partner + 1)] = layout.flatten(change)
        parts[batch.partner] = _contribution(dataset, batch, change["first.weight"])
    quantizer = quantizer_for(bench.config.secagg, len(updates))
    summed = _Sum(
        quantizer=quantizer,
        secagg=bench.config.secagg,
        weights={client: parts[client - 1].weight for client in updates},
        model=model_hash(layout, bench.start),
        rng=bench.rng,
    )
    opened = _open(bench.defence.scheme, summed, updates, bench.start["first.weight"].shape)
    if opened.bits is not None:
        parts = {p: dataclasses.replace(part, update=_rows(part, opened.bits)) for p, part in parts.items()}
    released = _released(bench, matrix, parts)
    return dataclasses.replace(
        released,
        total=opened.total,
        # How much noise an approximate scheme adds is public.
        sum_noise=opened.noise,
        step=quantizer.step,
        bits=opened.bits,
        note=opened.note,
    )


def _too_few(defence: Defence, batches: list[Batch], matrix: sp.csr_matrix) -> NDArray[np.bool_]:
    """Return bool (bits,), the rows to which fewer partners contribute than the guard asks for, none without a guard."""
    supports = [distinct_support(matrix[batch.compounds]) for batch in batches]
    contributors = np.sum([support >= (defence.guard_k or 1) for support in supports], axis=0)
    # As many as there are here at most: a run's minimum may be more than an exposed sum has partners.
    return np.isin(contributors, np.arange(1, min(defence.partners, len(batches))))


def _rows(part: Contribution, bits: NDArray[np.int64]) -> NDArray[np.float32] | None:
    return None if part.update is None else part.update[bits].astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Opened:
    total: NDArray[np.float64]
    bits: NDArray[np.int64] | None
    note: str
    noise: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sum:
    """One round: everything but the scheme and the vectors."""

    quantizer: Quantizer
    secagg: SecaggConfig
    weights: dict[ClientId, int]
    model: bytes
    rng: Rng

    def of(self, scheme: str, updates: dict[ClientId, NDArray[np.float32]]) -> NDArray[np.float64]:
        """Return what ``scheme`` opens for ``updates``."""
        vectors: dict[ClientId, FloatVector] = dict(updates)
        setup = set_up(
            scheme, sorted(updates), quantizer=self.quantizer, rng=self.rng, options=options_for(scheme, self.secagg)
        )
        result = run_round(
            setup,
            vectors,
            weights=self.weights,
            round=1,
            model_hash=self.model,
            rng=self.rng,
            quantizer=self.quantizer,
        )
        return result.total


def _open(
    scheme: str, summed: _Sum, updates: dict[ClientId, NDArray[np.float32]], shape: tuple[int, ...]
) -> _Opened:
    """Return the opened sum of the first layer. The heavy schemes sum a part, which the note says."""
    size = shape[0] * shape[1]
    traits = traits_of(scheme)
    if traits.homomorphic and traits.exact:
        return _open_exact_sample(scheme, summed, updates, shape)
    if scheme != "ckks":
        return _Opened(summed.of(scheme, updates)[:size].reshape(shape), None, "")
    touched = np.flatnonzero(np.any([u[:size].reshape(shape).any(axis=1) for u in updates.values()], axis=0))
    others = np.setdiff1d(np.arange(shape[0]), touched)
    kept = np.random.default_rng(0).permutation(others)[: int(UNTOUCHED_SHARE * len(touched)) + 1]
    bits = np.sort(np.concatenate([touched, kept])).astype(np.int64)
    part = {client: u[:size].reshape(shape)[bits].ravel() for client, u in updates.items()}
    total = summed.of(scheme, part).reshape(len(bits), shape[1])
    note = f"summed {len(bits)} of {shape[0]} rows: the touched ones and some others"
    # The weight travels as one more coordinate.
    return _Opened(total, bits, note, flooding_noise(summed.quantizer, len(part), len(bits) * shape[1] + 1))


def _open_exact_sample(
    scheme: str, summed: _Sum, updates: dict[ClientId, NDArray[np.float32]], shape: tuple[int, ...]
) -> _Opened:
    """Return the exact sum after checking on a sample of touched coordinates that ``scheme`` opens the same integers.

    Raises:
        InputError: it doesn't.
    """
    size = shape[0] * shape[1]
    exact = summed.of("plaintext", updates)[:size]
    touched = np.flatnonzero(exact)
    sample = np.random.default_rng(0).permutation(touched)[:CHECKED_COORDINATES]
    opened = summed.of(scheme, {client: u[sample] for client, u in updates.items()})
    if not np.array_equal(opened, exact[sample]):
        wrong = int((opened != exact[sample]).sum())
        raise InputError(f"{scheme} opened another sum than the exact one on {wrong} coordinates")
    return _Opened(
        exact.reshape(shape), None, f"{scheme} summed {len(sample)} coordinates, equal to the exact sum, which is attacked"
    )
