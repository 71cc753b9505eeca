"""Inversion by optimisation: it comes nearer than guessing, and stays behind the decoder."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_updates import Assays, Network, compounds, sgd_step

from attacks.first_layer.fingerprint_recovery import fingerprint_recovery
from attacks.first_layer.gradient_inversion import gradient_inversion
from attacks.first_layer.on_views import best_tanimoto, patterns
from securefl.errors import ParameterError

BITS = 512


@pytest.mark.statistical
def test_it_beats_guessing_and_is_the_weaker_baseline() -> None:
    """Four compounds in one step of plain SGD; guesses are other compounds of the same series and frequent bits."""
    network, everything = Network.drawn(BITS), compounds(40, bits=BITS, seed=1)
    matrix, library = everything[:4], everything[4:]
    delta = sgd_step(matrix, network, Assays.drawn(4, 1))
    inverted = gradient_inversion(delta, compounds=4, layers=network.layers, steps=300)
    decoded = fingerprint_recovery(delta, layer=network.layers[0], noise=1e-12).fingerprints
    true = set(patterns(matrix))
    assert best_tanimoto(matrix, inverted) > best_tanimoto(matrix, library)
    assert len(true & set(patterns(decoded))) == 4
    assert len(true & set(patterns(inverted))) < 4


def test_bits_that_did_not_move_are_nobodys() -> None:
    """And the same seed gives the same guess."""
    network, matrix = Network.drawn(BITS), compounds(3, bits=BITS, seed=2)
    delta = sgd_step(matrix, network, Assays.drawn(3, 1))
    first, again = (gradient_inversion(delta, compounds=3, layers=network.layers, steps=5) for _ in range(2))
    untouched = np.asarray(matrix.sum(axis=0)).ravel() == 0
    assert not first.toarray()[:, untouched].any()
    assert (first != again).nnz == 0


def test_what_can_not_be_inverted_is_refused() -> None:
    network = Network.drawn(BITS)
    delta = np.zeros((BITS, network.layers[0][0].shape[1]))
    with pytest.raises(ParameterError, match="zero"):
        gradient_inversion(delta, compounds=2, layers=network.layers)
    with pytest.raises(ParameterError, match="shape"):
        gradient_inversion(delta[:-1], compounds=2, layers=network.layers)
