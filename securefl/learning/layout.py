"""The order of the trunk's tensors in a flat vector: the allow-list of what may enter a federated message.

A layout is public: names, shapes and their order. Whatever is flattened, is flattened by it, so a tensor that it doesn't
name (a head, an optimiser's moment) can't travel: :meth:`TensorLayout.flatten` refuses it by name. It does not hide
anything inside the named tensors; that is the protocol's and the guards' work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from securefl.errors import ParameterError

FloatArray = NDArray[np.float32] | NDArray[np.float64]
Entries = list[tuple[str, tuple[int, ...]]]
"""Names and shapes of tensors in their order."""


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """Names and shapes in the order in which they stand in the vector."""

    tensors: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names in order."""
        return tuple(name for name, _ in self.tensors)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(prod(shape) for _, shape in self.tensors)

    @property
    def digest(self) -> bytes:
        """SHA-256 over names, shapes and order, 32 bytes."""
        return hashlib.sha256(json.dumps(self.tensors, separators=(",", ":")).encode()).digest()

    def only(self, names: tuple[str, ...]) -> TensorLayout:
        """Return the layout of ``names`` alone, in this layout's order.

        Raises:
            ParameterError: a name is not in the layout, or no name is given.
        """
        unknown = sorted(set(names) - set(self.names))
        if unknown or not names:
            raise ParameterError(f"tensors={unknown} must be among the trunk's {list(self.names)}, at least one")
        return TensorLayout(tuple(entry for entry in self.tensors if entry[0] in names))

    def flatten(self, tensors: Mapping[str, FloatArray]) -> NDArray[np.float32]:
        """Return the tensors as one float32 vector, shape (size,).

        Raises:
            ParameterError: a tensor is missing, is not on the allow-list, or has another shape.
        """
        foreign = sorted(set(tensors) - set(self.names))
        if foreign:
            raise ParameterError(f"update names {foreign}, allowed are only {list(self.names)}")
        parts = []
        for name, shape in self.tensors:
            if name not in tensors:
                raise ParameterError(f"update lacks tensor {name!r}")
            if tensors[name].shape != shape:
                raise ParameterError(f"tensor {name!r} has shape {tensors[name].shape}, must be {shape}")
            parts.append(tensors[name].astype(np.float32, copy=False).ravel())
        return np.concatenate(parts)

    def unflatten(self, vector: FloatArray) -> dict[str, FloatArray]:
        """Return the tensors of a flat vector, as views in the vector's dtype.

        Raises:
            ParameterError: the vector has another length.
        """
        if vector.shape != (self.size,):
            raise ParameterError(f"vector has shape {vector.shape}, must be ({self.size},)")
        found: dict[str, FloatArray] = {}
        start = 0
        for name, shape in self.tensors:
            stop = start + prod(shape)
            found[name] = vector[start:stop].reshape(shape)
            start = stop
        return found


def trunk_layout(bits: int, hidden: tuple[int, ...], first: Entries | None = None, *, outputs: int = 0) -> TensorLayout:
    """Return the layout of a trunk with hidden layers of sizes ``hidden`` above a first layer on ``bits`` inputs.

    ``first`` lists the tensors of another kind of first layer, which ends in ``hidden[0]`` outputs; ``outputs`` counts the
    common tasks, if any.
    """
    entries: Entries = list(first or [("first.weight", (bits, hidden[0])), ("first.bias", (hidden[0],))])
    for i, (before, after) in enumerate(pairwise(hidden)):
        entries += [(f"layers.{i}.weight", (after, before)), (f"layers.{i}.bias", (after,))]
    if outputs:
        entries += [("outputs.weight", (outputs, hidden[-1])), ("outputs.bias", (outputs,))]
    return TensorLayout(tuple(entries))


def model_hash(layout: TensorLayout, tensors: Mapping[str, FloatArray]) -> bytes:
    """Return the 32 bytes that bind a round to one architecture and one set of weights.

    Every partner computes it from what it received; a round whose partners hold different models does not open.
    """
    digest = hashlib.sha256(b"securefl/model/1" + layout.digest)
    digest.update(layout.flatten(tensors).astype("<f4", copy=False).tobytes())
    return digest.digest()
