"""Weight decay hides nothing: it is one number for the whole layer, and the untouched rows tell it."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_updates import Assays, Network, compounds, factors

from attacks.first_layer.bit_union import union_of_bits
from attacks.first_layer.fingerprint_recovery import fingerprint_recovery
from attacks.first_layer.on_views import patterns
from attacks.first_layer.weight_decay import decay_ratio, without_decay

N, STEPS, RATE, DECAY = 24, 5, 0.1, 1e-3


def decayed(momentum: float, *, digits: type = np.float64) -> tuple[np.ndarray, np.ndarray, Network]:
    """The update of five steps with weight decay, what it would be without the decayed part, and the network."""
    network, matrix, assays = Network.drawn(), compounds(N), Assays.drawn(N, 2)
    start = network.layers[0][0].astype(np.float64)
    first, speed = start.copy(), np.zeros_like(start)
    shrunk, shrinking = 1.0, 0.0
    for _ in range(STEPS):
        gradient = matrix.T @ factors(matrix, first, network, assays) + DECAY * first
        speed = momentum * speed + gradient
        first = first - RATE * speed
        shrinking = momentum * shrinking + DECAY * shrunk
        shrunk -= RATE * shrinking
    ended = first.astype(digits).astype(np.float64)
    return ended - start, first - start - (shrunk - 1.0) * start, network


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_ratio_is_that_of_rows_that_no_compound_has(momentum: float) -> None:
    """What is left is the update without the decayed start, to rounding, and zero where nobody has the bit."""
    update, rest, network = decayed(momentum)
    weight = network.layers[0][0]
    assert decay_ratio(update, weight)[0] < 0
    found = without_decay(update, weight)
    assert np.abs(found - rest).max() < 1e-9
    touched = np.flatnonzero(np.asarray(compounds(N).sum(axis=0)).ravel())
    assert np.array_equal(union_of_bits(found), touched)


@pytest.mark.parametrize("digits", [np.float64, np.float32])
def test_fingerprints_come_back_in_spite_of_the_decay(digits: type) -> None:
    """With the layer known; without it the update has every row and nothing decodes: the negative control."""
    update, _, network = decayed(0.0, digits=digits)
    true = set(patterns(compounds(N)))
    found = set(patterns(fingerprint_recovery(update, layer=network.layers[0], noise=1e-8).fingerprints))
    assert len(true & found) > 0.9 * N
    blind = set(patterns(fingerprint_recovery(update, noise=1e-8).fingerprints))
    assert not true & blind


def test_updates_without_decay_come_back_as_they_are() -> None:
    """Zero rows mean no decay; noise on every row agrees on no ratio."""
    draw = np.random.default_rng(0)
    weight = draw.normal(size=(50, 8)).astype(np.float32)
    plain = np.zeros((50, 8))
    plain[:20] = draw.normal(size=(20, 8))
    assert without_decay(plain, weight) is plain
    noisy = draw.normal(size=(50, 8))
    assert without_decay(noisy, weight) is noisy
