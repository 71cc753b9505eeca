"""Where heads begin: a regression at its mean, a class at its odds in training, common tasks at the trunk's outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from securefl.chem.dataset import Dataset, Fold
from securefl.config import ModelConfig
from securefl.errors import InputError, ParameterError
from securefl.learning.cells import Scaling, log_odds, records_of, scaling_of
from securefl.learning.family import fresh_heads, layout_of, require_private_step, trunk_of
from securefl.learning.heads import Heads
from securefl.learning.validation import NullModel, explained_deviance

NAMES = tuple(f"assay {i}" for i in (2, 0, 3, 1))
COMMON = ModelConfig(hidden=(16, 8), common=NAMES)


def test_a_fresh_model_says_what_the_training_labels_say(tiny_dataset: Dataset) -> None:
    scaling = scaling_of(tiny_dataset, 1)
    records = records_of(tiny_dataset, scaling, tiny_dataset.cells(1, Fold.TRAIN))
    heads = Heads.fresh(scaling, 8)
    torch.testing.assert_close(heads.bias.detach(), NullModel.of(records).output, atol=1e-6, rtol=0)
    assert (heads.bias[~torch.from_numpy(scaling.binary)] == 0).all()
    trunk = trunk_of(tiny_dataset, ModelConfig(hidden=(16, 8)), torch.Generator().manual_seed(0))
    assert explained_deviance(trunk, heads, records, NullModel.of(records)) == pytest.approx(0, abs=1e-6)


def test_targets_of_classes_are_not_shifted_by_their_odds(tiny_dataset: Dataset) -> None:
    scaling = scaling_of(tiny_dataset, 0)
    assert scaling.mean[3] != 0
    records = records_of(tiny_dataset, scaling, tiny_dataset.cells(0, Fold.TRAIN))
    assert set(records.target[records.task == 3].tolist()) == {0.0, 1.0}


def test_log_odds_of_a_rare_class_stay_finite() -> None:
    assert log_odds(np.array([0.0, 1.0])) == 0
    assert log_odds(np.zeros(9)) == pytest.approx(np.log(0.5 / 9.5))
    assert log_odds(np.ones(9)) == pytest.approx(-log_odds(np.zeros(9)))


def test_scalings_stand_behind_each_other_in_pooled_data(tiny_dataset: Dataset) -> None:
    parts = [scaling_of(tiny_dataset, number) for number in range(3)]
    joined = Scaling.joined(parts)
    assert len(joined) == 12
    np.testing.assert_array_equal(joined.tasks, np.arange(12))
    np.testing.assert_array_equal(joined.mean[4:8], parts[1].mean)


def test_common_tasks_are_found_by_name_wherever_they_stand(tiny_dataset: Dataset) -> None:
    heads = fresh_heads(tiny_dataset, scaling_of(tiny_dataset, 0), COMMON)
    outputs = torch.arange(4.0).expand(4, 4)
    read = heads(outputs, torch.arange(4), torch.arange(4)) - heads.bias
    assert [NAMES[int(place)] for place in read] == [f"assay {i}" for i in range(4)]
    assert not any(parameter.requires_grad for parameter in heads.parameters())


def test_outputs_are_tensors_of_the_trunk_and_begin_at_zero(tiny_dataset: Dataset) -> None:
    trunk = trunk_of(tiny_dataset, COMMON, torch.Generator().manual_seed(0))
    assert trunk.layout.names[-2:] == ("outputs.weight", "outputs.bias")
    assert trunk.layout == layout_of(tiny_dataset, COMMON)
    assert trunk.width == 4
    assert not trunk.tensors()["outputs.weight"].any()
    plain = trunk_of(tiny_dataset, ModelConfig(hidden=(16, 8)), torch.Generator().manual_seed(0)).tensors()
    assert all(np.array_equal(value, trunk.tensors()[name]) for name, value in plain.items())


def test_a_task_that_is_not_common_and_record_level_privacy_are_refused(tiny_dataset: Dataset) -> None:
    some = ModelConfig(hidden=(16, 8), common=NAMES[:2])
    with pytest.raises(InputError, match=r"task 'assay 1' is not among model\.common"):
        fresh_heads(tiny_dataset, scaling_of(tiny_dataset, 0), some)
    with pytest.raises(ParameterError, match=r"model\.common has 4 tasks, must have 0"):
        require_private_step(COMMON)
