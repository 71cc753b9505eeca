"""The shared trunk: a first layer on sparse fingerprints or on graphs, and dense hidden layers, ReLU after each.

All partners train the same trunk; only its tensors are aggregated. Nothing here protects it: what the first layer's
update says about a partner's compounds is the subject of the guards and of the attacks.

A consortium whose partners measured the same assays may share those tasks too: ``outputs`` is a linear layer on top with an
output for each, which every partner's heads hand on. It costs privacy: the names are in the consortium's config, the trained
outputs predict everybody's assays for whoever has the trunk, and an output's update says in which assay, and which way, a
partner's labels differ from the shared model. Private heads tell none of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from securefl.errors import ParameterError
from securefl.learning.columns import Columns, whole, widths_of
from securefl.learning.graph import GraphLayers, GraphShape, graph_entries
from securefl.learning.layout import TensorLayout, trunk_layout
from securefl.learning.sparse import SparseBatch, bag_sum

FIRST_STD = 0.25 * (2.0 / 64) ** 0.5
"""A quarter of He's rule for 64 on-bits, which is what a fingerprint has whatever its length.

Rows of rare bits hardly move from where they start, so a smaller start is less noise on new scaffolds: the explained
deviance on validation rose from 0.418 to 0.463 (five partners, 24 rounds, one seed).
"""


def dropped(hidden: Columns, rate: float, generator: torch.Generator | None) -> Columns:
    """Return ``hidden`` after dropout with an explicit generator; without one (evaluation) as it is.

    ``rate`` is rounded to a 256th: one random byte decides over a unit, which takes an eighth of the draws. The same units
    are dropped however the columns are divided.
    """
    threshold = round(rate * 256)
    if generator is None or threshold == 0:
        return hidden
    rows, widths = len(hidden[0]), widths_of(hidden)
    count = rows * sum(widths)
    words = torch.empty((count + 7) // 8, dtype=torch.int64, device=hidden[0].device)
    words.random_(-(2**63), None, generator=generator)
    keep = words.view(torch.uint8)[:count].view(rows, -1) >= threshold
    kept = 256.0 / (256 - threshold)
    return [piece * chosen * kept for piece, chosen in zip(hidden, keep.split_with_sizes(widths, 1), strict=True)]


class FirstLayer(nn.Module):
    """Linear layer on binary fingerprints: ``weight`` (bits, outputs) has a row for each bit, ``bias`` (outputs,)."""

    std = FIRST_STD

    def __init__(self, bits: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(bits, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, batch: SparseBatch) -> Tensor:
        """Return the pre-activations, shape (B, outputs)."""
        return bag_sum(self.weight, batch) + self.bias


class Trunk(nn.Module):
    """``first``, then ``layers``: ReLU and dropout after each. Weights start from ``generator`` alone.

    Args:
        bits: number of fingerprint bits.
        hidden: sizes of the hidden layers, at least one.
        dropout: share of hidden units that are dropped while training.
        generator: where the first weights come from; ``None`` leaves zeros, for weights that are loaded.
        graph: reads graphs, whose atom table has ``bits`` rows, in the place of fingerprints.
        outputs: number of common tasks, each a linear output of the last hidden layer, from zero like a head.
    """

    def __init__(
        self,
        bits: int,
        hidden: tuple[int, ...],
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        graph: GraphShape | None = None,
        outputs: int = 0,
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1 or bits < 1:
            raise ParameterError(f"bits={bits} and hidden={hidden} must be >= 1, with at least one hidden layer")
        first = graph_entries(bits, hidden[0], graph) if graph else None
        self.layout: TensorLayout = trunk_layout(bits, hidden, first, outputs=outputs)
        self.dropout = dropout
        self.first = GraphLayers(bits, hidden[0], graph) if graph else FirstLayer(bits, hidden[0])
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(hidden))
        self.outputs = nn.Linear(hidden[-1], outputs) if outputs else None
        for name, parameter in self.named_parameters():
            nn.init.zeros_(parameter)
            if generator is not None and name.endswith("weight") and not name.startswith("outputs."):
                std = self.first.std if name == "first.weight" else (2.0 / parameter.shape[1]) ** 0.5
                nn.init.normal_(parameter, std=std, generator=generator)

    @property
    def width(self) -> int:
        """Size of the last layer: what a head reads."""
        return self.layout.tensors[-1][1][0]

    def forward(self, batch: SparseBatch, generator: torch.Generator | None = None) -> Tensor:
        """Return the last layer, shape (B, width); ``generator`` drives dropout, ``None`` turns it off."""
        return self.hidden(self.first(batch), generator)

    def hidden(self, first: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the last layer from the first layer's pre-activations, shape (B, width)."""
        return whole(self.above([torch.relu(first)], generator))

    def above(self, active: Columns, generator: torch.Generator | None = None) -> Columns:
        """Return the last layer from the first one's activations (after ReLU), in pieces if there is no other layer."""
        state = dropped(active, self.dropout, generator)
        for layer in self.layers:
            state = dropped([torch.relu(layer(whole(state)))], self.dropout, generator)
        return state if self.outputs is None else [self.outputs(whole(state))]

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of all tensors by name."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.named_parameters()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Overwrite the named tensors; the others stay.

        Raises:
            ParameterError: a tensor is not the trunk's, or has another shape.
        """
        own = dict(self.named_parameters())
        for name, value in tensors.items():
            if name not in own or own[name].shape != value.shape:
                raise ParameterError(f"tensor {name!r} of shape {value.shape} is not one of the trunk's")
            own[name].copy_(torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)))
