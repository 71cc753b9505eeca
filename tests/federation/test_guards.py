"""The support guard: which rows it withholds, in every round, and that the local row goes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from stand_ins import CountingRng

from securefl.chem.dataset import Dataset, Fold
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import ParameterError
from securefl.federation.guards import FIRST_WEIGHT, SupportGuard
from securefl.federation.partner import Partner, Terms
from securefl.federation.releases import RoundTrace
from securefl.federation.starts import first_trunk
from securefl.federation.training import train_federated
from securefl.learning.layout import trunk_layout

CONFIG = RunConfig(
    data=DataConfig(partners=3), model=ModelConfig(hidden=(16, 8)), federation=FederationConfig(rounds=4, batch=16)
)
K = 4


def support_of(dataset: Dataset, partner: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Count the bits of a partner's training compounds by another route than the code's."""
    compounds = sorted(set(dataset.cells(partner, Fold.TRAIN).compound.tolist()))
    return np.asarray(dataset.fingerprints[compounds].toarray().sum(axis=0, dtype=np.int64))


def test_rows_under_the_minimum_support_are_withheld() -> None:
    guard = SupportGuard.of(np.array([0, 1, 2, 3, 4]), k=3)
    assert guard.withheld.tolist() == [False, True, True, False, False]
    with pytest.raises(ParameterError, match="k=1 must be >= 2"):
        SupportGuard.of(np.array([1]), k=1)


def test_withheld_rows_never_leave_in_any_round(tiny_dataset: Dataset) -> None:
    traces: list[RoundTrace] = []
    trained = train_federated(
        tiny_dataset, config=CONFIG, scheme="masking", seed=0, rng=CountingRng(), guard_k=K, observer=traces.append
    )
    assert len(traces) == 4
    layout = trunk_layout(tiny_dataset.bits, (16, 8))
    assert trained.withheld is not None
    for partner in range(3):
        support = support_of(tiny_dataset, partner)
        rare = (support > 0) & (support < K)
        np.testing.assert_array_equal(trained.withheld[partner], rare)
        deltas = [layout.unflatten(trace.updates[partner + 1])[FIRST_WEIGHT] for trace in traces]  # type: ignore[index]
        released = np.any([(delta != 0).any(axis=1) for delta in deltas], axis=0)
        # The union over all rounds: no rare bit ever, every frequent bit at some time.
        assert not (released & rare).any()
        assert released[support >= K].all()
    assert sum(int(rows.sum()) for rows in trained.withheld.values()) > 20


def test_without_the_guard_the_same_rows_do_leave(tiny_dataset: Dataset) -> None:
    trained = train_federated(tiny_dataset, config=CONFIG, scheme="plaintext", seed=0, rng=CountingRng(), rounds=1)
    assert trained.withheld is None
    assert trained.release is not None
    support = support_of(tiny_dataset, 2)
    rare = (support > 0) & (support < K)
    assert rare.sum() > 20
    # Heads begin at zero, so the first batch moves no row; most of the rare bits come later.
    assert trained.release.updates[2][rare].any(axis=1).mean() > 0.5


def test_local_rows_go_back_to_the_shared_ones(tiny_dataset: Dataset) -> None:
    terms = Terms(layout=trunk_layout(tiny_dataset.bits, (16, 8)), config=CONFIG, seed=0, guard_k=K)
    partner = Partner(tiny_dataset, 2, terms)
    shared = first_trunk(tiny_dataset, CONFIG, 0)
    partner.receive(shared)
    for _ in range(3):
        # Rounds in which this partner hears nothing new: the row must not drift from one to the next either.
        update = terms.layout.unflatten(partner.update())[FIRST_WEIGHT]
        assert partner.guard is not None
        local = partner.trunk_tensors()[FIRST_WEIGHT]
        np.testing.assert_array_equal(local[partner.guard.withheld], shared[FIRST_WEIGHT][partner.guard.withheld])
        assert not update[partner.guard.withheld].any()
        assert update.any()


def test_near_copies_of_one_compound_support_its_bits(tiny_dataset: Dataset) -> None:
    """As the guard's docstring says: two more compounds that differ in one bit each release all of a compound's own bits."""
    mine = tiny_dataset.fingerprints[np.unique(tiny_dataset.cells(2, Fold.TRAIN).compound)].toarray()
    rare = np.flatnonzero(mine.sum(axis=0) == 1)
    victim = next(row for row in mine if row[rare].any())
    shown = [bit for bit in rare if victim[bit]]
    free = np.flatnonzero(mine.sum(axis=0) == 0)[: K - 1]
    planted = np.repeat(victim[None], K - 1, axis=0)
    planted[np.arange(K - 1), free] = 1
    before, after = (SupportGuard.on(sp.csr_matrix(table), k=K) for table in (mine, np.vstack([mine, planted])))
    assert before.withheld[shown].all()
    assert not after.withheld[np.flatnonzero(victim)].any()
    assert after.withheld[free].all()


def test_copies_of_one_fingerprint_support_no_bit(tiny_dataset: Dataset) -> None:
    """Stereoisomers and second names of a molecule: k rows that are equal would show one compound as k = 1 does."""
    fingerprints = tiny_dataset.fingerprints.copy()
    mine = np.unique(tiny_dataset.cells(2, Fold.TRAIN).compound)
    rare = np.flatnonzero(support_of(tiny_dataset, 2) == 1)
    owner = next(row for row in mine if fingerprints[row, rare].sum() > 0)
    copied = np.arange(fingerprints.shape[0])
    copied[mine[:K]] = owner
    copies = replace(tiny_dataset, fingerprints=fingerprints[copied])
    shown = [bit for bit in rare if fingerprints[owner, bit]]
    assert (support_of(copies, 2)[shown] >= K).all()
    partner = Partner(copies, 2, Terms(layout=trunk_layout(copies.bits, (16, 8)), config=CONFIG, seed=0, guard_k=K))
    partner.receive(first_trunk(copies, CONFIG, 0))
    partner.update()
    update = trunk_layout(copies.bits, (16, 8)).unflatten(partner.update())[FIRST_WEIGHT]
    assert not update[shown].any()
    assert update[support_of(tiny_dataset, 2) >= 3 * K].any()
