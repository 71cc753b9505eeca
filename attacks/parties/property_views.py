"""Builds the view of property inference: an update of a whole round, and the chemotypes that the public knows compounds of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.interface import AdversaryView
from attacks.jobs import Job
from attacks.parties.property_inference import PROPERTY, Chemotypes
from attacks.view import Case
from securefl.chem.dataset import Dataset, Fold

SHARED = 0.5
"""A chemotype's bits are those that this share of its public compounds have."""


def public_chemotypes(dataset: Dataset) -> tuple[NDArray[np.int64], sp.csr_matrix, NDArray[np.int64]]:
    """Return the scaffold clusters of the audit fold, the bits of each, CSR (c, bits), and how many compounds of it are public.

    The audit fold cuts across all scaffolds, so that it holds chemotypes that a partner works on and others by one rule.
    """
    public = np.flatnonzero(dataset.fold == Fold.AUDIT)
    clusters, place = np.unique(dataset.cluster[public], return_inverse=True)
    count = np.bincount(place)
    member = sp.csr_matrix((np.ones(len(public)), (place, np.arange(len(public)))), shape=(len(clusters), len(public)))
    having = (member @ (dataset.fingerprints[public] > 0).astype(np.float64)).tocsr()
    having.data = (having.data >= SHARED * np.repeat(count, np.diff(having.indptr))).astype(np.float64)
    having.eliminate_zeros()
    return clusters.astype(np.int64), having, count.astype(np.int64)


def property_job(case: Case, dataset: Dataset, partners: Sequence[int], about: Mapping[str, object]) -> Job:
    """Return the view of ``case`` with public chemotypes; the truth is whether one of ``partners`` trains on each."""
    clusters, chemotypes, published = public_chemotypes(dataset)
    trained = np.concatenate([case.released.parts[partner].compounds for partner in partners])
    public = dataset.fingerprints[dataset.fold == Fold.AUDIT]
    tensors = {
        "delta": case.view.delta,
        "frequency": np.asarray((public > 0).sum(axis=0), dtype=np.float64).ravel(),
        "chemotype.indices": chemotypes.indices.astype(np.int64),
        "chemotype.indptr": chemotypes.indptr.astype(np.int64),
    }
    return Job(
        view=AdversaryView(view=case.view.view, tensors=tensors, facts={}),
        attacks=(PROPERTY,),
        truth=Chemotypes(worked_on=np.isin(clusters, dataset.cluster[trained]), published=published),
        about=about,
        notes=(case.released.note,),
    )
