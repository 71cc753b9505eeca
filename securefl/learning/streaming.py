"""Training one model from shards on disk: the plain trainer's steps, one shard in memory at a time.

    fitted = fit(open_shards(folder), model=ModelConfig(hidden=(2000,)), training=FederationConfig(batch=4096), epochs=20)
    fitted.owned.save(out)

This is one owner training alone: nothing of it is private against whoever gets the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from securefl.chem.encoding import Encoding
from securefl.config import FederationConfig, ModelConfig
from securefl.errors import ParameterError
from securefl.learning.heads import Heads
from securefl.learning.local import PlainTrainer, Seat
from securefl.learning.model import Model, PartnerHeads
from securefl.learning.owned import OwnedModel
from securefl.learning.shards import ShardedRecords
from securefl.learning.trunk import Trunk
from securefl.types import Progress, silent


@dataclass(frozen=True, slots=True)
class Fitted:
    """The owner's model, and the mean training loss a record of each epoch."""

    owned: OwnedModel
    losses: tuple[float, ...]


def fit(
    shards: ShardedRecords,
    *,
    model: ModelConfig,
    training: FederationConfig,
    epochs: int,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> Fitted:
    """Return what ``epochs`` units of local training on ``shards`` give, from fresh weights; ``seed`` decides everything.

    A unit is an epoch, or ``training.local_steps`` steps. Memory: weights, the optimiser's moments, a batch and a shard.

    Raises:
        InputError: the loss is not finite, or a shard can't be read.
        ParameterError: ``epochs`` is under 1, the model reads graphs, or there is no such ``device``.
    """
    if epochs < 1 or model.family != "mlp":
        raise ParameterError(f"epochs={epochs} must be >= 1 and family={model.family!r} must be 'mlp'")
    if device != "cpu" and not (device == "cuda" and torch.cuda.is_available()):
        raise ParameterError(f"device={device!r} must be 'cpu', or 'cuda' where there is a GPU")
    place, owner = torch.device(device), shards.manifest.owner
    generator = torch.Generator().manual_seed(seed)
    trunk = Trunk(shards.manifest.bits, model.hidden, dropout=model.dropout, generator=generator).to(place)
    heads = Heads.fresh(shards.scaling, trunk.width).to(place)
    trainer = PlainTrainer(Seat(partner=owner.number, records=shards, seed=seed), config=training, device=place)
    losses = []
    for done in range(1, epochs + 1):
        losses.append(trainer.train_epoch(trunk, heads, shards))
        progress("epochs", done, epochs)
    weight, bias = (tensor.detach().cpu().numpy().copy() for tensor in (heads.weight, heads.bias))
    own = PartnerHeads(weight=weight, bias=bias, scaling=shards.scaling)
    owned = OwnedModel(
        model=Model(trunk=trunk.tensors(), heads={owner.number: own}),
        partner=owner.partner,
        tasks=owner.tasks,
        encoding=None if owner.encoding is None else Encoding.from_json(owner.encoding),
        data_sha256=owner.data_sha256,
        origin="trained alone, from shards",
    )
    return Fitted(owned, tuple(losses))
