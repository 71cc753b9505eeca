"""What a run begins with: fresh weights from a seed, or a model of an earlier run."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.errors import ParameterError
from securefl.learning.model import Model, PartnerHeads
from securefl.learning.trunk import Trunk


def first_trunk(dataset: Dataset, config: RunConfig, seed: int, start: Model | None = None) -> dict[str, NDArray[np.float32]]:
    """Return the trunk that a run begins with: that of ``start``, or fresh weights from ``seed``.

    Raises:
        ParameterError: ``start`` has another architecture.
    """
    if start is None:
        generator = torch.Generator().manual_seed(seed)
        return Trunk(dataset.bits, config.model.hidden, generator=generator).tensors()
    if (start.bits, start.hidden) != (dataset.bits, config.model.hidden):
        raise ParameterError(
            f"start has bits={start.bits} hidden={start.hidden}, must be bits={dataset.bits} hidden={config.model.hidden}"
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
