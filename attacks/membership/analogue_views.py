"""Builds the view of the analogue attack: queries that nobody trained on, and which shadows are far from each."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.interface import AdversaryView
from attacks.jobs import Job
from attacks.membership.analogue_range import ANALOGUE, Analogues, similar
from attacks.membership.candidates import Candidates
from attacks.membership.members import Members
from attacks.membership.shadow_losses import Shadows
from attacks.membership.shadows import cache_key, cached_arrays
from attacks.target import Target
from securefl.chem.dataset import Dataset, Fold
from securefl.evaluation.predictions import save_arrays


def queries_of(everyone: Candidates) -> Candidates:
    """Return the non-members among the consortium's candidates, with their cells."""
    chosen = np.flatnonzero(~everyone.member)
    number = np.full(len(everyone.member) + 1, -1, dtype=np.int64)
    number[chosen] = np.arange(len(chosen))
    return Candidates(
        member=np.zeros(len(chosen), dtype=bool),
        compound=everyone.compound[chosen],
        partner=everyone.partner[chosen],
        # A cell of no candidate has the number -1, which is the last place: no query's.
        of_cell=number[everyone.of_cell],
    )


def analogues_of(target: Target, everyone: Candidates) -> sp.csr_matrix:
    """Return which compounds are similar to each query, CSR bool (q, compounds), from the run's cache or made now."""
    dataset = target.dataset
    path = target.run / "shadows" / f"analogues-{cache_key(dataset, target.config, recipe='analogues', count=0)[:32]}.npz"
    kept = cached_arrays(path, ("indices", "indptr"))
    if kept is None:
        near = similar(dataset.fingerprints[queries_of(everyone).compound], dataset.fingerprints)
        kept = {"indices": near.indices, "indptr": near.indptr}
        save_arrays(path, kept)
    shape = (len(kept["indptr"]) - 1, len(dataset.fold))
    return sp.csr_matrix((np.ones(len(kept["indices"]), dtype=bool), kept["indices"], kept["indptr"]), shape=shape)


def analogue_job(
    dataset: Dataset,
    everyone: Candidates,
    *,
    near: sp.csr_matrix,
    losses: NDArray[np.float64],
    shadows: Shadows,
    about: dict[str, object],
    note: str,
) -> Job:
    """Return the view and its truth; ``near`` says which compounds are similar to each query, CSR bool (q, compounds)."""
    queries = queries_of(everyone)
    # A query is near itself: a shadow that saw it is not far from it, and as a non-member it adds to no count of training.
    trained = dataset.fold == Fold.TRAIN
    inside = shadows.inside
    seen = np.stack([np.asarray(near @ one.astype(np.int64)).ravel() > 0 for one in inside])
    return Job(
        view=AdversaryView(
            view="V4",
            tensors={
                "compound": queries.compound,
                "partner": queries.partner,
                "of_cell": queries.of_cell,
                "cell_compound": dataset.activities.compound.astype(np.int64),
                "losses": losses,
                "shadow.losses": shadows.losses,
                "shadow.inside": inside,
                "away": ~seen,
            },
            facts={},
        ),
        attacks=(ANALOGUE,),
        truth=Analogues(
            members=Members(np.asarray(near @ trained.astype(np.int64)).ravel() > 0, dataset.cluster[queries.compound]),
            public=np.asarray(near @ (~trained).astype(np.int64)).ravel().astype(np.int64),
        ),
        about={**about, "compounds": len(queries.compound)},
        notes=(note,),
    )
