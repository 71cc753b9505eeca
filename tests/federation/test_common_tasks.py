"""Tasks that all partners share: one output for all, in the sum, in the model, and in the pooled reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from stand_ins import CountingRng, make_dataset

from securefl.chem.dataset import Activities, Dataset, Fold
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.federation.references import train_pooled
from securefl.federation.training import train_federated
from securefl.learning.model import Model, predict

NAMES = tuple(f"assay {i}" for i in range(4))


def config(common: tuple[str, ...] = NAMES) -> RunConfig:
    """Return a short training."""
    return RunConfig(
        data=DataConfig(partners=3),
        model=ModelConfig(hidden=(24, 12), common=common),
        federation=FederationConfig(rounds=16, batch=16, learning_rate=5e-3),
    )


def asked(dataset: Dataset, assay: int) -> list[Activities]:
    """Return every TEST compound as a cell of one assay, for each partner."""
    compounds = np.flatnonzero(dataset.fold == Fold.TEST).astype(np.int32)
    nothing = np.zeros(len(compounds), dtype=np.float32)
    tasks = [4 * partner + assay for partner in range(3)]
    return [Activities(np.full(len(compounds), t, np.int32), compounds, nothing, nothing.astype(np.int8)) for t in tasks]


def standardised(model: Model, dataset: Dataset, assay: int) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return each partner's predictions on the scale of its own values (or of its own odds)."""
    found = []
    for partner, cells in enumerate(asked(dataset, assay)):
        said, scaling = predict(model, dataset, cells).astype(np.float64), model.heads[partner].scaling
        if scaling.binary[assay]:
            said = np.log(said / (1 - said))
        found.append((said - scaling.mean[assay]) / scaling.std[assay])
    return found


def test_partners_share_the_outputs_of_common_tasks() -> None:
    dataset = make_dataset()
    trained = train_federated(dataset, config=config(), scheme="masking", seed=0, rng=CountingRng())
    for assay in range(4):
        one, two, three = standardised(trained.model, dataset, assay)
        assert one.std() > 0.1
        np.testing.assert_allclose(two, one, atol=2e-4)
        np.testing.assert_allclose(three, one, atol=2e-4)
    private = train_federated(dataset, config=config(()), scheme="masking", seed=0, rng=CountingRng())
    one, two, _ = standardised(private.model, dataset, 1)
    assert np.abs(two - one).max() > 0.01
    assert trained.parameters == private.parameters + 4 * (12 + 1)


def test_pooled_data_have_one_output_for_each_common_task() -> None:
    dataset = make_dataset()
    model = train_pooled(dataset, config=config(), seed=0).model
    assert model.trunk["outputs.weight"].shape == (4, 12)
    one, two, _ = standardised(model, dataset, 1)
    np.testing.assert_allclose(two, one, atol=2e-4)


def test_what_one_partner_has_measured_another_can_predict() -> None:
    """The last partner's classes are random in training: its common head still tells the true ones apart."""
    dataset = make_dataset()
    cells = dataset.activities
    mine = (cells.task == 11) & (dataset.fold[cells.compound] == Fold.TRAIN)
    value = cells.value.copy()
    value[mine] = np.random.default_rng(0).permutation(value[mine])
    spoiled = replace(dataset, activities=Activities(cells.task, cells.compound, value, cells.relation))
    truth = cells.select(np.flatnonzero((cells.task == 11) & (dataset.fold[cells.compound] == Fold.TEST)))
    gaps = []
    for common in (NAMES, ()):
        model = train_federated(spoiled, config=config(common), scheme="plaintext", seed=0, rng=CountingRng()).model
        said = predict(model, dataset, truth)
        gaps.append(said[truth.value == 1].mean() - said[truth.value == 0].mean())
    assert gaps[0] > gaps[1] + 0.05


def test_a_model_with_outputs_is_read_back_whole() -> None:
    dataset = make_dataset()
    model = train_pooled(dataset, config=config(), seed=0).model
    again = Model(trunk=dict(model.trunk), heads=model.heads)
    assert again.outputs == 4
    assert again.network().width == 4
    assert again.hidden == (24, 12)
