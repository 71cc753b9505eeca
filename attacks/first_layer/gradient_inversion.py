"""Inversion by optimisation: a batch of dummy compounds is bent until its gradient looks like the released one [ZLH19; GBDM20].

The baseline that reports ask for. Dummy fingerprints (between 0 and 1) and dummy error signals go through the known trunk; the
gradient of its first layer is compared with the release by the cosine, and Adam moves the dummies. In the end a bit is set if
its dummy is above one half. The number of compounds is given, which an attacker would have to guess.

It is far weaker here than :mod:`attacks.first_layer.fingerprint_recovery`, which solves for the same thing exactly: sparse
binary inputs have no smooth way from one fingerprint to another, and all orders of the batch are as good. It is not part of
an audit, since it takes long to find less; ``benchmarks/attacks_recovery.py`` measures both on the same releases. Like the
decoder it reads one step of plain SGD; V1 and V3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from attacks.first_layer.label_inference import Layer
from attacks.first_layer.rows import Delta, row_rms
from securefl.errors import ParameterError
from securefl.types import Progress, silent

RATE = 0.1
SPREAD = 0.5
"""Of the dummies' logits at the start: bits that may be set lie about one half."""
Layers = list[tuple[torch.Tensor, torch.Tensor]]


def _first_gradient(inputs: torch.Tensor, signals: torch.Tensor, layers: Layers) -> torch.Tensor:
    """Return the first layer's gradient (bits, h) for dummy ``inputs`` (n, bits) and error ``signals`` (n, width)."""
    state, slopes = inputs, []
    for weight, bias in layers:
        before = state @ weight + bias
        slopes.append((before > 0).to(before.dtype))
        state = torch.relu(before)
    back = signals * slopes[-1]
    for (weight, _), slope in zip(reversed(layers[1:]), reversed(slopes[:-1]), strict=True):
        back = (back @ weight.T) * slope
    return inputs.T @ back


def gradient_inversion(
    delta_w1: Delta,
    *,
    compounds: int,
    layers: Sequence[Layer],
    steps: int = 500,
    seed: int = 0,
    progress: Progress = silent,
) -> sp.csr_matrix:
    """Return ``compounds`` guessed fingerprints, CSR uint8 (compounds, bits).

    Args:
        delta_w1: (bits, hidden units), one update or a sum of updates; its scale and sign don't matter.
        layers: the trunk that the step started from, first layer first, weight (inputs, outputs) and bias of each.
        steps: of Adam. seed: of the first dummies.

    Raises:
        ParameterError: the update is not a finite matrix, is zero, or ``layers`` don't begin with its shape.
    """
    if not layers or layers[0][0].shape != delta_w1.shape:
        raise ParameterError(f"layers must begin with a weight of the update's shape {delta_w1.shape}")
    touched = np.flatnonzero(row_rms(delta_w1) > 0)
    if not len(touched):
        raise ParameterError("the update is zero: there is nothing to invert")
    released = torch.from_numpy(np.asarray(delta_w1[touched], dtype=np.float32))
    known = [(torch.from_numpy(np.array(weight)), torch.from_numpy(np.array(bias))) for weight, bias in layers]
    # Rows that didn't move are bits that nobody has: the dummies need no entry for them.
    known[0] = (known[0][0][torch.from_numpy(touched)], known[0][1])
    found = _fitted(released, known, compounds, steps=steps, seed=seed, progress=progress)
    rows, places = np.nonzero(found)
    shape = (compounds, delta_w1.shape[0])
    return sp.csr_matrix((np.ones(len(rows), dtype=np.uint8), (rows, touched[places])), shape=shape)


def _fitted(
    released: torch.Tensor,
    layers: Layers,
    compounds: int,
    *,
    steps: int,
    seed: int,
    progress: Progress,
) -> NDArray[np.bool_]:
    """Return which of the touched bits each dummy has in the end, bool (compounds, touched)."""
    generator = torch.Generator().manual_seed(seed)
    logits = (SPREAD * torch.randn(compounds, len(released), generator=generator)).requires_grad_()
    signals = torch.randn(compounds, layers[-1][0].shape[1], generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([logits, signals], lr=RATE)
    for step in range(steps):
        optimiser.zero_grad()
        gradient = _first_gradient(torch.sigmoid(logits), signals, layers)
        # The sign of an update is unknown where a step subtracts: either direction counts.
        similar = torch.nn.functional.cosine_similarity(gradient.flatten(), released.flatten(), dim=0)
        torch.autograd.backward(1.0 - similar.abs())
        optimiser.step()
        progress("inverting the gradient", step + 1, steps)
    return np.asarray((logits.detach() > 0).numpy())
