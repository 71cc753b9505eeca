"""Checkpoints: the trunk of every round on disk, with the hash that the round's messages are bound to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from stand_ins import TINY_BITS, CountingRng, make_dataset

from securefl.config import DataConfig, FederationConfig, ModelConfig, RunConfig
from securefl.evaluation.arms import run_arm
from securefl.evaluation.artefacts import CHECKPOINTS, TRANSCRIPT_FILE, seed_folder
from securefl.federation.training import train_federated
from securefl.learning.layout import model_hash, trunk_layout
from securefl.learning.model import Model
from securefl.secagg.transcript import read_transcript


def test_every_round_has_a_checkpoint_that_its_messages_are_bound_to(tmp_path: Path) -> None:
    dataset = make_dataset()
    config = RunConfig(
        arms=("masking",),
        data=DataConfig(bits=TINY_BITS, partners=3),
        model=ModelConfig(hidden=(16, 8)),
        federation=FederationConfig(rounds=3, batch=32, learning_rate=5e-3, checkpoints=True),
    )
    run_arm(dataset, "masking", config=config, arms=tmp_path, rng=CountingRng())
    folder = seed_folder(tmp_path / "masking", 0)
    index = json.loads((folder / CHECKPOINTS / "index.json").read_text(encoding="utf-8"))
    assert sorted(index) == [f"round-{n}.safetensors" for n in (1, 2, 3)]
    _, rounds, _ = read_transcript(folder / TRANSCRIPT_FILE)
    # Every second protocol round sums updates; the others sum scores.
    bound = [recorded.model_hash.hex() for recorded in rounds[::2]]
    for number, expected in enumerate(bound, start=1):
        path = folder / CHECKPOINTS / f"round-{number}.safetensors"
        entry = index[path.name]
        assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        trunk = Model.load(path).trunk
        assert entry["model_hash"] == expected == model_hash(trunk_layout(TINY_BITS, (16, 8)), trunk).hex()
    assert len(set(bound)) == 3


def test_a_checkpoint_is_a_warm_start(tmp_path: Path) -> None:
    dataset = make_dataset()
    config = RunConfig(
        data=DataConfig(bits=TINY_BITS, partners=3),
        model=ModelConfig(hidden=(16, 8)),
        federation=FederationConfig(rounds=2, batch=32, learning_rate=5e-3),
    )
    first = train_federated(dataset, config=config, scheme="plaintext", seed=0, rng=CountingRng())
    first.model.save(tmp_path / "model.safetensors")
    again = train_federated(
        dataset,
        config=config,
        scheme="plaintext",
        seed=1,
        rng=CountingRng(),
        start=Model.load(tmp_path / "model.safetensors"),
        rounds=1,
    )
    assert again.curve[0] > first.curve[0]
