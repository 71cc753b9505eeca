"""The second model family: message passing over atoms and bonds in the place of the fingerprint's first layer.

Everything above it (dense hidden layers, heads, trainer, protocols) is the fingerprint network's own. Atoms start as the sum
of their rows of a table; each step adds what the neighbours send over their bonds ([Hu+20] with bonds, after [Xu+19]); the
sums over all atoms after every step, normalised, feed the first hidden layer.

What leaks: ``weight`` has a row for each property of an atom and each hashed neighbourhood, and a row that no molecule of a
partner uses has exactly no update, as with fingerprint bits: who sees an update reads which rows the partner's molecules use
(``union_of_bits``). Every atom sends back an error of its own, so an update is no sum of one pattern a molecule, on which the
recovery of whole fingerprints rests (benchmarks/families.py: 0 of 120 against 113 of 120); an attack made for atoms may well do
better. Membership shows as with any model that fits as well. Nothing here protects any of it,
and there is no private step: gradients of single records are not taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.chem.graphs import BOND_KINDS, FIELDS
from securefl.errors import ParameterError
from securefl.learning.layout import Entries
from securefl.learning.sparse import SparseBatch


@dataclass(frozen=True, slots=True)
class GraphShape:
    """``width`` numbers for each atom, ``steps`` of message passing."""

    width: int
    steps: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.steps < 1:
            raise ParameterError(f"graph width={self.width} and steps={self.steps} must be >= 1")


class GraphLayers(nn.Module):
    """From molecules to ``outputs`` pre-activations. ``weight`` (rows, width) has a row for each property of an atom."""

    std = 1.0 / FIELDS**0.5
    """First spread of the atom table: an atom, the sum of its rows, then has numbers of size one."""

    def __init__(self, rows: int, outputs: int, shape: GraphShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, shape.width))
        self.bond = nn.Parameter(torch.zeros(BOND_KINDS, shape.width))
        self.steps = nn.ModuleList(nn.Linear(shape.width, shape.width) for _ in range(shape.steps))
        self.readout = nn.ModuleList(nn.Linear(shape.width, outputs, bias=False) for _ in range(shape.steps + 1))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, batch: SparseBatch) -> Tensor:
        """Return the pre-activations, shape (B, outputs).

        Raises:
            ParameterError: the batch holds no graphs.
        """
        graph = batch.graph
        if graph is None:
            raise ParameterError("the graph family reads graphs, the batch holds fingerprints alone")
        # A dense product with the atoms' rows as ones: the gradient of a row that no atom uses is exactly zero.
        on = torch.zeros(len(graph.atoms), len(self.weight), device=self.weight.device).scatter_(1, graph.atoms, 1.0)
        state = on @ self.weight
        result: Tensor = self.bias + self.readout[0](_summed(state, graph.molecule, len(batch)))
        sent = self.bond[graph.kind]
        for step, readout in zip(self.steps, self.readout[1:], strict=True):
            messages = torch.relu(state[graph.source] + sent)
            mixed = step(state + torch.zeros_like(state).index_add_(0, graph.target, messages))
            # Normalised within an atom, not over a batch: no statistic of other molecules enters.
            state = state + torch.relu(functional.layer_norm(mixed, mixed.shape[1:]))
            result = result + readout(_summed(state, graph.molecule, len(batch)))
        return result


def _summed(state: Tensor, molecule: Tensor, molecules: int) -> Tensor:
    """Return the normalised sum over each molecule's atoms, shape (molecules, width)."""
    total = torch.zeros(molecules, state.shape[1], device=state.device)
    summed = total.index_add_(0, molecule, state)
    return functional.layer_norm(summed, summed.shape[1:])


def graph_entries(rows: int, outputs: int, shape: GraphShape) -> Entries:
    """Return names and shapes of the tensors of :class:`GraphLayers` inside a trunk, in their order."""
    width = shape.width
    entries: Entries = [("first.weight", (rows, width)), ("first.bond", (BOND_KINDS, width)), ("first.bias", (outputs,))]
    for step in range(shape.steps):
        entries += [(f"first.steps.{step}.weight", (width, width)), (f"first.steps.{step}.bias", (width,))]
    return entries + [(f"first.readout.{step}.weight", (outputs, width)) for step in range(shape.steps + 1)]
