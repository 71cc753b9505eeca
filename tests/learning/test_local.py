"""The plain trainer: repeatable, it learns, leaves unused rows alone, and says when a loss is not finite."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from securefl.chem.dataset import Dataset, Fold
from securefl.config import FederationConfig
from securefl.errors import InputError, ParameterError
from securefl.learning.cells import Records, records_of, scaling_of
from securefl.learning.heads import Heads
from securefl.learning.local import PlainTrainer, Seat, bf16_products, limit_threads
from securefl.learning.trunk import Trunk
from securefl.learning.validation import NullModel, explained_deviance

CONFIG = FederationConfig(batch=32, learning_rate=5e-3)


@pytest.fixture
def records(tiny_dataset: Dataset) -> Records:
    return records_of(tiny_dataset, scaling_of(tiny_dataset, 0), tiny_dataset.cells(0, Fold.TRAIN))


def fresh(records: Records, *, dropout: float = 0.2) -> tuple[Trunk, Heads]:
    trunk = Trunk(records.fingerprints.shape[1], (24, 12), dropout=dropout, generator=torch.Generator().manual_seed(0))
    return trunk, Heads(len(records.binary), trunk.width)


def trained(records: Records, config: FederationConfig, *, epochs: int = 3, seed: int = 1) -> tuple[Trunk, Heads, list[float]]:
    trunk, heads = fresh(records)
    trainer = PlainTrainer(Seat(partner=0, records=records, seed=seed), config=config)
    losses = [trainer.train_epoch(trunk, heads, records) for _ in range(epochs)]
    return trunk, heads, losses


def test_training_repeats_with_the_seed_whatever_the_global_generators_do(records: Records) -> None:
    one = trained(records, CONFIG)
    torch.manual_seed(5)
    two = trained(records, CONFIG)
    other = trained(records, CONFIG, seed=2)
    assert one[2] == two[2] != other[2]
    for name, value in one[0].tensors().items():
        np.testing.assert_array_equal(value, two[0].tensors()[name])


@pytest.mark.parametrize("optimiser", ["adam", "sgd", "lazy-adam"])
def test_training_learns(records: Records, optimiser: str) -> None:
    rate = {"adam": 5e-3, "sgd": 0.3, "lazy-adam": 5e-3}[optimiser]
    config = FederationConfig.model_validate({"batch": 32, "learning_rate": rate, "optimiser": optimiser})
    trunk, heads, losses = trained(records, config, epochs=15)
    null = NullModel.of(records)
    before = explained_deviance(*fresh(records), records, null)
    assert losses[-1] < 0.85 * losses[0]
    assert explained_deviance(trunk, heads, records, null) > before + 0.2


@pytest.mark.parametrize("optimiser", ["adam", "sgd", "lazy-adam"])
def test_rows_of_bits_that_nobody_has_keep_their_exact_values(records: Records, optimiser: str) -> None:
    # Half of the bits are taken away from every record.
    dense = records.fingerprints.toarray()
    dense[:, ::2] = 0
    part = dataclasses.replace(records, fingerprints=type(records.fingerprints)(dense))
    before = fresh(part)[0].tensors()["first.weight"]
    after = trained(part, FederationConfig.model_validate({"batch": 32, "optimiser": optimiser}))[0].tensors()["first.weight"]
    np.testing.assert_array_equal(after[::2], before[::2])
    used = dense.any(axis=0)
    assert (after[used] != before[used]).any(axis=1).all()


def test_loss_that_is_not_finite_is_an_error(records: Records) -> None:
    with pytest.raises(InputError, match=r"training loss is .*, must be finite"):
        trained(records, FederationConfig(batch=32, learning_rate=1e30, optimiser="sgd"), epochs=5)


def test_short_last_batch_weighs_each_record_alike(records: Records) -> None:
    """One SGD epoch with a tiny rate moves by the sum of all gradients over the nominal batch, last batch included."""
    rate = 1e-6
    config = FederationConfig(batch=len(records) - 5, learning_rate=rate, optimiser="sgd")
    trunk, heads = fresh(records, dropout=0.0)
    PlainTrainer(Seat(partner=0, records=records, seed=0), config=config).train_epoch(trunk, heads, records)
    whole = FederationConfig(batch=len(records), learning_rate=rate * len(records) / config.batch, optimiser="sgd")
    other, other_heads = fresh(records, dropout=0.0)
    PlainTrainer(Seat(partner=0, records=records, seed=0), config=whole).train_epoch(other, other_heads, records)
    assert bool(heads.weight.any())
    scale = other_heads.weight.detach().abs().max()
    torch.testing.assert_close(heads.weight / scale, other_heads.weight / scale, rtol=0, atol=1e-4)


def test_null_model_explains_nothing_and_the_truth_everything(records: Records) -> None:
    trunk, heads = fresh(records)
    null = NullModel.of(records)
    with torch.no_grad():
        heads.bias.copy_(null.output)
    assert explained_deviance(trunk, heads, records, null) == pytest.approx(0, abs=1e-6)
    exact = dataclasses.replace(records, target=np.zeros_like(records.target), binary=np.zeros(4, dtype=bool))
    silent_heads = Heads(4, trunk.width)
    reference = NullModel(torch.ones(4))
    assert explained_deviance(trunk, silent_heads, exact, reference) == pytest.approx(1)


def test_no_cells_score_zero(records: Records) -> None:
    trunk, heads = fresh(records)
    nothing = dataclasses.replace(
        records, compound=records.compound[:0], start=records.start[:1], fingerprints=records.fingerprints[:0]
    )
    assert explained_deviance(trunk, heads, nothing, NullModel.of(records)) == 0


def test_thread_limit_is_checked_and_set() -> None:
    with pytest.raises(ParameterError, match="threads=0 must be >= 1"):
        limit_threads(0)
    before = torch.get_num_threads()
    try:
        limit_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_steps_as_the_unit_go_on_where_the_last_round_stopped(records: Records) -> None:
    """As many calls of 3 steps as make two epochs of 12 give the weights of two epochs."""
    size = -(-len(records) // 12)
    epochs = FederationConfig(batch=size)
    steps = FederationConfig(batch=size, local_steps=3)
    assert -(-len(records) // size) == 12
    whole, parts = trained(records, epochs, epochs=2), trained(records, steps, epochs=8)
    for name, value in whole[0].tensors().items():
        np.testing.assert_array_equal(value, parts[0].tensors()[name])
    assert np.mean(parts[2][:4]) == pytest.approx(whole[2][0], rel=0.02)


def test_two_units_of_local_training_are_refused() -> None:
    with pytest.raises(ValueError, match="local_epochs=2 must be 1 where local_steps=3 is the unit"):
        FederationConfig(local_epochs=2, local_steps=3)


def test_weight_zero_leaves_a_head_alone_and_one_changes_nothing(records: Records) -> None:
    weight = np.array([1, 0, 1, 1], dtype=np.float32)
    _, heads, _ = trained(dataclasses.replace(records, weight=weight), CONFIG)
    assert [bool(row.any()) for row in heads.weight] == [True, False, True, True]
    ones = trained(dataclasses.replace(records, weight=np.ones(4, dtype=np.float32)), CONFIG)
    assert torch.equal(ones[1].weight, trained(records, CONFIG)[1].weight)


def test_products_are_rounded_only_where_the_machine_multiplies_bfloat16() -> None:
    a, b = (torch.randn(64, 64, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    exact = a @ b
    try:
        rounded = bf16_products(True)
        error = float((a @ b - exact).abs().max() / exact.abs().max())
        assert error < 0.02 if rounded else error == 0
    finally:
        assert bf16_products(False) is False
    assert torch.equal(a @ b, exact)


def test_freed_memory_is_kept_where_glibc_is() -> None:
    """In a process of its own, because it holds for the rest of one."""
    code = "from securefl.learning.local import keep_freed_memory; import sys; sys.exit(not keep_freed_memory())"
    here = platform.libc_ver()[0] == "glibc"
    assert (subprocess.run([sys.executable, "-c", code], check=False).returncode == 0) == here
