"""Adds to a first-layer view what a chemist has beside it: a public library and the meaning of the bits."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from attacks.first_layer.exposed import refolded
from attacks.interface import AdversaryView, Fact
from attacks.molecules.library import Library, Molecules
from attacks.target import Target
from attacks.view import Truth
from securefl.chem.keyed import bit_order
from securefl.errors import VerificationError

NO_BITS = np.zeros(0, dtype=np.int32)


def column_order(target: Target) -> NDArray[np.int32] | None:
    """Return the column of each RDKit bit at the exposed release, empty if they are the same.

    ``None`` where the columns are ordered by a key that the run doesn't hold, or no fingerprint of molecules at all.
    """
    dataset, bits = target.dataset, target.config.attacks.exposed_bits
    if bits != dataset.bits:
        return NO_BITS
    if dataset.encoding is None or dataset.encoding.counts:
        return None
    try:
        return bit_order(dataset.encoding.key(None), bits)
    except VerificationError:
        return None


def public_library(target: Target, compounds: NDArray[np.int64]) -> tuple[Library, NDArray[np.bool_]]:
    """Return the library of this run and which of ``compounds`` (rows of the dataset) are in it."""
    draw = np.random.default_rng([target.config.attacks.seed, 9])
    public = draw.random(len(target.dataset.smiles)) < 0.5
    others = np.setdiff1d(np.flatnonzero(public), compounds)
    chosen = draw.permutation(others)[: target.effort.library]
    rows = np.union1d(chosen, compounds[public[compounds]]).astype(np.int64)
    matrix = refolded(target.dataset, rows, target.config)[rows]
    return Library(smiles=tuple(target.dataset.smiles[i] for i in rows), fingerprints=matrix.tocsr()), public[compounds]


def with_molecules(
    target: Target, view: AdversaryView, truth: Truth, *, rows: NDArray[np.int64] | None
) -> tuple[AdversaryView, Truth]:
    """Return ``view`` and ``truth`` of an exposed release with a public library, for :mod:`attacks.molecules.lookup`.

    ``rows`` are the bits that were released, ``None`` for all of them.
    """
    library, published = public_library(target, truth.compounds)
    order, effort = column_order(target), target.effort
    tensors: dict[str, NDArray[np.generic]] = {**view.tensors, **library.pack(), "order": NO_BITS if order is None else order}
    tensors |= {"released": np.arange(library.fingerprints.shape[1]) if rows is None else rows}
    facts: dict[str, Fact] = {
        **view.facts,
        "radius": None if order is None else target.config.data.radius,
        "bits": library.fingerprints.shape[1],
        "targets": effort.targets,
        "evaluations": effort.evaluations,
    }
    smiles = tuple(target.dataset.smiles[i] for i in truth.compounds)
    true = refolded(target.dataset, truth.compounds, target.config)[truth.compounds].tocsr()
    molecules = Molecules(smiles=smiles, fingerprints=true, published=published, library=library)
    return dataclasses.replace(view, tensors=tensors, facts=facts), dataclasses.replace(truth, molecules=molecules)
