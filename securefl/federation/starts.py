"""What a run begins with: fresh weights from a seed, or a model of an earlier run.

Everybody sees the first trunk. What it says of the data that it was trained on is released with it, and nothing prices it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.errors import ParameterError
from securefl.learning.family import layout_of, trunk_of
from securefl.learning.model import Model, PartnerHeads


def first_trunk(dataset: Dataset, config: RunConfig, seed: int, start: Model | None = None) -> dict[str, NDArray[np.float32]]:
    """Return the trunk that a run begins with: that of ``start``, or fresh weights from ``seed``.

    Raises:
        ParameterError: ``start`` has another architecture.
    """
    if start is None:
        generator = torch.Generator().manual_seed(seed)
        return trunk_of(dataset, config.model, generator).tensors()
    layout = layout_of(dataset, config.model)
    if {name: value.shape for name, value in start.trunk.items()} != dict(layout.tensors):
        raise ParameterError(
            f"start has bits={start.bits} hidden={start.hidden}, must be bits={dataset.bits} hidden={config.model.hidden} "
            f"of the {config.model.family} family"
        )
    return {name: value.copy() for name, value in start.trunk.items()}


def heads_of(start: Model, partner: int) -> PartnerHeads:
    """Return the heads with which ``partner`` begins.

    Raises:
        ParameterError: ``start`` has none of it.
    """
    if partner not in start.heads:
        raise ParameterError(f"start has no heads of partner {partner}")
    return start.heads[partner]
