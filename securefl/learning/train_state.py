"""What a local trainer needs to go on exactly where it stopped, as plain arrays: moments, generators, and how far it came.

It belongs to the partner: moments are running means of its gradients. It is written beside the partner's heads, nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays: TypeAlias = dict[str, NDArray[Any]]


def prefixed(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return ``arrays`` with ``prefix`` and a dot before every name."""
    return {f"{prefix}.{name}": value for name, value in arrays.items()}


def part(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the arrays that :func:`prefixed` gave this ``prefix``, by their own names."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}


def array_of(tensor: Tensor) -> NDArray[Any]:
    """Return a copy of ``tensor`` as an array."""
    return np.array(tensor.detach().cpu().numpy())


def optimiser_arrays(optimiser: torch.optim.Optimizer) -> Arrays:
    """Return the state of an optimiser, parameters counted in its order."""
    found: Arrays = {}
    for number, parameter in enumerate(_parameters(optimiser)):
        kept = optimiser.state.get(parameter, {})
        found |= {f"{number}.{name}": array_of(value) for name, value in kept.items() if isinstance(value, Tensor)}
    return found


def restore_optimiser(optimiser: torch.optim.Optimizer, arrays: Arrays) -> None:
    """Give ``optimiser`` the state that :func:`optimiser_arrays` returned of one with the same parameters."""
    for number, parameter in enumerate(_parameters(optimiser)):
        kept = part(str(number), arrays)
        if kept:
            # All of it where the parameter is: a fused optimiser counts its steps there too.
            optimiser.state[parameter] = {
                name: torch.from_numpy(value.copy()).to(parameter.device) for name, value in kept.items()
            }


def _parameters(optimiser: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimiser.param_groups:
        yield from group["params"]


def shuffle_array(shuffle: np.random.Generator) -> NDArray[np.uint8]:
    """Return the state of a numpy generator as bytes."""
    return np.frombuffer(json.dumps(shuffle.bit_generator.state).encode(), dtype=np.uint8)


def restore_shuffle(shuffle: np.random.Generator, array: NDArray[np.uint8]) -> None:
    """Give ``shuffle`` the state that :func:`shuffle_array` returned."""
    shuffle.bit_generator.state = json.loads(array.tobytes())
