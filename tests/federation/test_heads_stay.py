"""Private heads never leave their partner: not in an update, not in a message, not through the operator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import CountingRng, make_dataset

from securefl.chem.dataset import Dataset
from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import ParameterError
from securefl.federation.operator import Operator
from securefl.federation.partner import Partner, Terms
from securefl.federation.releases import RoundTrace
from securefl.federation.starts import first_trunk
from securefl.federation.training import train_federated
from securefl.learning.layout import TensorLayout, trunk_layout

CONFIG = RunConfig(
    data=DataConfig(partners=3), model=ModelConfig(hidden=(16, 8)), federation=FederationConfig(rounds=2, batch=16)
)
LAYOUT = trunk_layout(256, (16, 8))


@pytest.mark.property
@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(["heads.weight", "heads.bias", "weight", "bias", "heads.0.weight"]), size=st.integers(1, 40))
def test_a_head_in_an_update_is_refused_by_the_transport(name: str, size: int) -> None:
    tensors = {tensor: np.zeros(shape, dtype=np.float32) for tensor, shape in LAYOUT.tensors}
    with pytest.raises(ParameterError, match="allowed are only"):
        LAYOUT.flatten({**tensors, name: np.ones(size, dtype=np.float32)})


def test_a_partner_that_would_send_a_head_sends_nothing(tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = Partner(tiny_dataset, 0, Terms(layout=LAYOUT, config=CONFIG, seed=0))
    own = first_trunk(tiny_dataset, CONFIG, 0)
    partner.receive(own)
    tampered = TensorLayout((*LAYOUT.tensors, ("heads.weight", partner.heads().weight.shape)))
    monkeypatch.setattr(partner, "trunk_tensors", lambda: {**own, "heads.weight": partner.heads().weight})
    assert partner.update().shape == (LAYOUT.size,)
    monkeypatch.setattr(partner, "_layout", tampered)
    with pytest.raises((ParameterError, KeyError)):
        partner.update()


def test_an_update_has_the_trunks_coordinates_and_no_more(tiny_dataset: Dataset) -> None:
    traces: list[RoundTrace] = []
    train_federated(tiny_dataset, config=CONFIG, scheme="plaintext", seed=0, rng=CountingRng(), observer=traces.append)
    for trace in traces:
        assert trace.names == LAYOUT.names
        assert {update.shape for update in trace.updates.values()} == {(LAYOUT.size,)}


def test_no_message_holds_the_weights_of_a_head(tiny_dataset: Dataset) -> None:
    """The heads' bytes, whole and row by row, in no message of the protocol that sends everything in clear."""
    messages: list[bytes] = []

    def keep(trace: RoundTrace) -> None:
        messages.extend(message.data for message in trace.result.transcript)

    trained = train_federated(tiny_dataset, config=CONFIG, scheme="plaintext", seed=0, rng=CountingRng(), observer=keep)
    heads = [row.tobytes() for part in trained.model.heads.values() for row in (*part.weight, part.bias)]
    assert messages
    assert not any(head in message for head in heads for message in messages)


def test_updates_do_not_depend_on_what_the_heads_are_called_or_how_many_others_have(tiny_dataset: Dataset) -> None:
    terms = Terms(layout=LAYOUT, config=CONFIG, seed=0)
    shapes = set()
    for dataset in (tiny_dataset, make_dataset(tasks_each=7)):
        partner = Partner(dataset, 0, terms)
        partner.receive({name: np.zeros(shape, dtype=np.float32) for name, shape in LAYOUT.tensors})
        shapes.add(partner.update().shape)
    assert shapes == {(LAYOUT.size,)}


def test_the_operator_takes_only_the_trunk(tiny_dataset: Dataset) -> None:
    trunk = {name: np.zeros(shape, dtype=np.float32) for name, shape in LAYOUT.tensors}
    operator = Operator(
        {**trunk, "heads.weight": np.ones((4, 8), dtype=np.float32)}, layout=LAYOUT, aggregated=LAYOUT, patience=1
    )
    assert sorted(operator.trunk) == sorted(LAYOUT.names)
