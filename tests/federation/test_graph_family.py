"""The graph family through the protocols: the same sums, the guard on its rows, and what an update gives away."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from stand_ins import CountingRng, make_dataset

from attacks import union_of_bits
from securefl.chem.dataset import Dataset, Fold
from securefl.chem.graphs import ATOM_ROWS
from securefl.config import DataConfig, DpConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import ParameterError
from securefl.evaluation.spending import arm_privacy
from securefl.federation.references import train_alone
from securefl.federation.releases import Trained
from securefl.federation.training import train_federated
from securefl.learning.family import inputs_of, layout_of, with_graphs
from securefl.learning.local import PrivateTraining
from securefl.learning.private_step import private_trainers, public_scaling
from securefl.recipes import recipe_of

CONFIG = RunConfig(
    data=DataConfig(partners=3),
    model=ModelConfig(family="graph", hidden=(12, 6), graph_width=8, graph_steps=1),
    federation=FederationConfig(rounds=2, batch=32),
    dp=DpConfig(rounds=1, batch=64),
)
ELEMENTS = ("C", "N", "O", "F", "Cl", "Br", "S", "P")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Chains of atoms that differ between compounds."""
    made = make_dataset()
    draw = np.random.default_rng(0)
    smiles = ["C" + "".join(draw.choice(ELEMENTS[:3], 5)) + str(draw.choice(ELEMENTS[3:])) for _ in made.smiles]
    return with_graphs(dataclasses.replace(made, smiles=tuple(smiles)), CONFIG.model)


def run(dataset: Dataset, scheme: str, guard_k: int | None = None) -> Trained:
    return train_federated(dataset, config=CONFIG, scheme=scheme, seed=0, rng=CountingRng(), guard_k=guard_k)


def test_masking_opens_the_sums_of_a_graph_network(dataset: Dataset) -> None:
    plain, masked = run(dataset, "plaintext"), run(dataset, "masking")
    assert masked.curve == plain.curve
    for name, value in plain.model.trunk.items():
        np.testing.assert_array_equal(masked.model.trunk[name], value)
    assert plain.parameters == layout_of(dataset, CONFIG.model).size
    assert plain.model.graph is not None
    alone = train_alone(dataset, 0, config=CONFIG, seed=0)
    assert alone.model.graph == plain.model.graph


def test_an_update_gives_away_which_rows_a_partners_molecules_use_and_the_guard_withholds_rare_ones(dataset: Dataset) -> None:
    inputs = inputs_of(dataset, CONFIG.model)
    mine = np.unique(inputs.cells(0, Fold.TRAIN).compound)
    support = np.bincount(inputs.fingerprints[mine].indices, minlength=ATOM_ROWS)
    assert (support == 1).any()
    open_release, guarded = run(dataset, "plaintext").release, run(dataset, "plaintext", guard_k=3)
    assert open_release is not None
    assert guarded.release is not None
    named = set(union_of_bits(open_release.updates[0]).tolist())
    assert named <= set(np.flatnonzero(support).tolist())
    # Fresh heads are zero: what is in the first batch alone does not show yet.
    assert len(named) > 0.9 * (support > 0).sum()
    assert named & set(np.flatnonzero(support == 1).tolist())
    assert set(union_of_bits(guarded.release.updates[0]).tolist()) <= set(np.flatnonzero(support >= 3).tolist())


def test_record_level_privacy_is_refused_before_anything_is_spent(dataset: Dataset) -> None:
    recipe = recipe_of("dp")
    assert recipe is not None
    with pytest.raises(ParameterError, match="'graph' has no private step"):
        arm_privacy(recipe, dataset, config=CONFIG, length=10, rng=CountingRng())
    private = PrivateTraining(trainers=private_trainers((), rng=CountingRng()), scaling=public_scaling)
    with pytest.raises(ParameterError, match="'graph' has no private step"):
        train_federated(dataset, config=CONFIG, scheme="plaintext", seed=0, rng=CountingRng(), private=private)
