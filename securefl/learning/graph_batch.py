"""A batch of molecular graphs as tensors: what the graph family's first layers read beside the on-rows of each molecule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from securefl.chem.graphs import MoleculeGraphs


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """The atoms and bonds of a batch of molecules.

    ``atoms`` int64 (A, FIELDS), rows of the atom table; ``molecule`` int64 (A,), each atom's place in the batch; ``source``,
    ``target`` and ``kind`` int64 (2 B,): every bond once in each direction.
    """

    atoms: Tensor
    molecule: Tensor
    source: Tensor
    target: Tensor
    kind: Tensor

    def to(self, device: torch.device) -> GraphBatch:
        """Return the batch on ``device``."""
        return GraphBatch(*(part.to(device) for part in (self.atoms, self.molecule, self.source, self.target, self.kind)))


def graph_batch(graphs: MoleculeGraphs) -> GraphBatch:
    """Return all molecules of ``graphs`` as one batch."""
    molecules = np.arange(len(graphs))
    first = np.repeat(graphs.atom_start[:-1], np.diff(graphs.bond_start))
    one, other = (graphs.bonds[:, end].astype(np.int64) + first for end in (0, 1))
    return GraphBatch(
        atoms=torch.from_numpy(graphs.atoms.astype(np.int64)),
        molecule=torch.from_numpy(np.repeat(molecules, np.diff(graphs.atom_start))),
        source=torch.from_numpy(np.concatenate([one, other])),
        target=torch.from_numpy(np.concatenate([other, one])),
        kind=torch.from_numpy(np.tile(graphs.kind.astype(np.int64), 2)),
    )
