"""The defences of the first layer that :mod:`benchmarks.defences` attacks and :mod:`benchmarks.defence_utility` prices.

Each acts on what one partner sends, or on the sum before it is opened. All that a defence reads is the partner's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Update = NDArray[np.float32]
RATE = 0.1
"""Of a plain step."""
ADAM_RATE, ADAM_FLOOR = 1e-3, 1e-8
EACH, LARGE = 40, 640
"""Compounds of a small batch, and of a large or accumulated one: more than the layer has units."""


@dataclass(frozen=True, slots=True)
class Part:
    """One partner's compounds: ``smiles``, fingerprints, int8 labels, and its ``update`` (bits, h)."""

    smiles: tuple[str, ...]
    matrix: sp.csr_matrix
    label: NDArray[np.int8]
    update: Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """``send`` changes what a partner sends; a row is opened if at least ``owners`` partners touched it.

    ``adam`` steps by Adam instead of plain SGD, ``each`` is how many compounds a partner steps on.
    """

    name: str
    send: Callable[[Part, np.random.Generator], Update]
    owners: int = 1
    adam: bool = False
    each: int = EACH

    def applied(self, part: Part, draw: np.random.Generator) -> Update:
        """Return what ``part`` sends; an update that moved nothing (a first step under fresh heads) is sent as it is."""
        return self.send(part, draw) if part.update.any() else part.update

    def sends(self, part: Part, draw: np.random.Generator) -> Update:
        """Return what ``part`` hands to aggregation after its step."""
        return self.applied(replace(part, update=adam_step(part.update)) if self.adam else part, draw)


def support(k: int) -> Callable[[Part, np.random.Generator], Update]:
    """Withhold rows of bits that fewer than ``k`` of the partner's compounds have."""
    return lambda part, draw: np.where((np.asarray(part.matrix.sum(axis=0)).ravel() >= k)[:, None], part.update, 0)


def row_norms(part: Part, draw: np.random.Generator) -> Update:
    """Clip every row to the median length of the touched ones."""
    size = np.linalg.norm(part.update, axis=1)
    most = np.median(size[size > 0])
    factor = np.minimum(1.0, most / np.maximum(size, 1e-30)).astype(np.float32)
    return np.asarray(part.update * factor[:, None])


def whole_norm(part: Part, draw: np.random.Generator) -> Update:
    """Clip the whole update to half its length."""
    return part.update * np.float32(0.5)


def signs(part: Part, draw: np.random.Generator) -> Update:
    """Send the sign of each coordinate, at the mean size of the touched ones."""
    touched = part.update[part.update != 0]
    return np.sign(part.update) * np.float32(np.abs(touched).mean())


def largest(share: float) -> Callable[[Part, np.random.Generator], Update]:
    """Send the largest ``share`` of the touched coordinates."""

    def send(part: Part, draw: np.random.Generator) -> Update:
        size = np.abs(part.update)
        return np.where(size >= np.quantile(size[size > 0], 1 - share), part.update, 0)

    return send


def noise(ratio: float) -> Callable[[Part, np.random.Generator], Update]:
    """Add normal noise of ``ratio`` times the root mean square of touched coordinates to every one."""

    def send(part: Part, draw: np.random.Generator) -> Update:
        size = np.sqrt(np.mean(np.square(part.update[part.update != 0])))
        return part.update + draw.normal(0, ratio * size, part.update.shape).astype(np.float32)

    return send


def adam_step(update: Update) -> Update:
    """Return Adam's first step on the gradient of a plain step: every touched coordinate moves by the rate, nearly."""
    gradient = -update / np.float32(RATE)
    return np.asarray(-ADAM_RATE * gradient / (np.abs(gradient) + np.float32(ADAM_FLOOR)), dtype=np.float32)


def as_is(part: Part, draw: np.random.Generator) -> Update:
    """Send the update."""
    return part.update


DEFENCES = (
    Defence(name="none", send=as_is),
    *(Defence(name=f"support k={k}", send=support(k)) for k in (2, 3, 5)),
    Defence(name="row-norm clipping", send=row_norms),
    Defence(name="norm clipping", send=whole_norm),
    Defence(name="sign update", send=signs),
    *(Defence(name=f"top {100 * share:g} %", send=largest(share)) for share in (0.1, 0.01)),
    Defence(name="two partners a row", send=as_is, owners=2),
    Defence(name="support k=3, two partners a row", send=support(3), owners=2),
    *(Defence(name=f"noise {ratio:g} x", send=noise(ratio)) for ratio in (1.0, 0.1)),
    Defence(name="Adam step", send=as_is, adam=True),
    *(Defence(name=f"support k={k}, Adam step", send=support(k), adam=True) for k in (2, 3, 5)),
    *(Defence(name=f"support k={k}, two partners a row, Adam step", send=support(k), adam=True, owners=2) for k in (2, 3)),
    Defence(name="step on 640 compounds", send=as_is, each=LARGE),
    Defence(name="support k=3, two partners a row, step on 640 compounds", send=support(3), owners=2, each=LARGE),
)
