"""Label inference: which recovered compounds are active, from the factors that a first-layer update carries.

A compound's row of factors is its error signal, carried back through the shared layers: ``L_i = J_i^T s_i``, with ``J_i`` the
shared layers' slope at that compound (known, once its fingerprint is recovered) and ``s_i`` the sum over its measured tasks of
error times head. Private heads don't protect the labels: solving for ``s_i`` gives a vector that is parallel to its task's
head, and on which side it points says whether the value lies above or below what the model said.

Multi-task: compounds whose ``s_i`` are parallel or opposite belong to one task; each task keeps one unknown sign. The attacker
settles it with one compound per task whose result it knows (a published one); that compound is not counted. A compound measured
in several tasks mixes their heads, stands alone, and is not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.score import Score, clustered

PARALLEL = 0.8
"""Cosine from which two error signals count as one task's: two tasks' heads rarely come near it."""
SILENT = 0.05
"""A factor under this share of the root mean square is of a unit that was dropped: it carries noise alone."""
DROPPED = 0.2
"""The same for the units of the last shared layer, where solving for the signal has amplified the noise."""
FEWEST_UNITS = 8
"""Two signals that share fewer active units are not compared: in few dimensions anything is parallel."""
Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What was inferred for each recovered compound.

    Attributes:
        task: int64 (k,), the group of compounds that share a task; -1 stands alone.
        signal: float64 (k,), error on that task relative to the group's first member; the sign is the label, up to one flip
            for each task.
    """

    task: NDArray[np.int64]
    signal: Matrix


def error_signals(fingerprints: sp.csr_matrix, factors: Matrix, layers: Sequence[Layer]) -> Matrix:
    """Return each compound's error signal at the last shared layer, shape (k, width); NaN where a unit was not active.

    Args:
        fingerprints: CSR (k, bits). factors: (k, h), as recovered.
        layers: the shared trunk, from the first layer: weight (inputs, outputs) and bias (outputs,) of each.
    """
    if not layers:
        return np.where(factors == 0, np.nan, factors)
    weight, bias = layers[0]
    first = np.asarray(fingerprints @ weight) + bias
    signals = np.full((len(factors), layers[-1][1].shape[0]), np.nan)
    for i, factor in enumerate(factors):
        signals[i] = _one_signal(first[i].astype(np.float64), factor, layers[1:])
    return signals


def _one_signal(first: Matrix, factor: Matrix, layers: Sequence[Layer]) -> Matrix:
    """Return one compound's error signal from its first pre-activations, shape (width,); NaN where a unit was not active."""
    size = np.sqrt(np.mean(factor**2))
    # Dropped units carry no factor, so the factors themselves say which units worked and how many were dropped.
    active = (first > 0) & (np.abs(factor) > SILENT * size)
    kept = active.sum() / max((first > 0).sum(), 1)
    slope = np.diag(active.astype(np.float64))[active]
    state = np.where(active, first, 0.0) / max(kept, 1e-9)
    for inner, offset in layers:
        state = state @ inner + offset
        slope = (slope @ inner) * (state > 0)
        state = np.maximum(state, 0.0)
    signal = np.full(slope.shape[1], np.nan)
    seen = np.flatnonzero(np.abs(slope).sum(axis=0) > 0)
    if len(seen):
        solved = np.linalg.lstsq(slope[:, seen], factor[active], rcond=1e-8)[0]
        signal[seen] = np.where(np.abs(solved) > DROPPED * np.sqrt(np.mean(solved**2)), solved, np.nan)
    return signal


def _cosines(signals: Matrix) -> Matrix:
    """Return the cosine of each pair over the units that both have, shape (k, k)."""
    seen = np.isfinite(signals).astype(np.float64)
    value = np.nan_to_num(signals)
    # Rows of very unlike length would drown in each other's rounding.
    value /= np.maximum(np.linalg.norm(value, axis=1, keepdims=True), 1e-300)
    length = np.sqrt((value**2) @ seen.T)
    shared = seen @ seen.T
    return np.where(shared >= FEWEST_UNITS, (value @ value.T) / np.maximum(length * length.T, 1e-12), 0.0)


def label_inference(
    fingerprints: sp.csr_matrix, factors: Matrix, *, layers: Sequence[Layer] = (), parallel: float = PARALLEL
) -> Labels:
    """Return tasks and labels of recovered compounds, see the module's text.

    Args:
        fingerprints: CSR (k, bits), as recovered. factors: float64 (k, h), as recovered.
        layers: the shared trunk (see :func:`error_signals`); without it the factors themselves are compared, which works if
            the compounds' active units are alike.
        parallel: the cosine from which two compounds share a task.
    """
    signals = error_signals(fingerprints, factors, layers)
    cosines = _cosines(signals)
    task = np.full(len(factors), -1, dtype=np.int64)
    signal = np.zeros(len(factors))
    order = np.argsort(-np.abs(cosines).sum(axis=1))
    groups = 0
    for first in order:
        if task[first] >= 0:
            continue
        alike = (np.abs(cosines[first]) > parallel) & (task < 0)
        if alike.sum() < 2:
            continue
        task[alike] = groups
        strength = np.linalg.norm(np.nan_to_num(signals), axis=1)
        signal[alike] = cosines[first, alike] * strength[alike] / max(float(strength[first]), 1e-300)
        groups += 1
    return Labels(task=task, signal=signal)


def label_score(labels: Labels, truth: NDArray[np.int8]) -> tuple[Score | None, int]:
    """Return the accuracy on compounds with a label (1 or -1; 0 has none), and how many known compounds oriented the tasks.

    In each task the compound with the strongest signal is taken as known, settles the sign and is not counted; so the labels
    of a task are right or wrong together. Chance is the better of two guesses without an update: always the commoner label,
    or always the known compound's.
    """
    right: list[NDArray[np.bool_]] = []
    positive = same = 0
    for group in range(labels.task.max(initial=-1) + 1):
        rows = np.flatnonzero((labels.task == group) & (truth != 0))
        if len(rows) < 2:
            continue
        anchor = rows[np.argmax(np.abs(labels.signal[rows]))]
        rest = rows[rows != anchor]
        flip = truth[anchor] * np.sign(labels.signal[anchor])
        right.append(np.sign(labels.signal[rest]) * flip == truth[rest])
        positive += int((truth[rest] == 1).sum())
        same += int((truth[rest] == truth[anchor]).sum())
    if not right:
        return None, 0
    hits, task = np.concatenate(right), np.repeat(np.arange(len(right)), [len(one) for one in right])
    chance = max(positive, len(hits) - positive, same) / len(hits)
    return clustered("accuracy", hits, task, chance=chance), len(right)
