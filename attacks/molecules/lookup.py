"""From recovered fingerprints to molecules: looked up in a public library, grown from similar compounds where it has none.

A fingerprint is no anonymisation. Where the library holds the compound, the molecule is named at once; ECFP shares a pattern
among few molecules (those that it can't tell apart are the *collision ceiling*). Where it doesn't, a search joins pieces of
similar compounds as the bits say (:mod:`attacks.molecules.growth`); beyond the search's budget the most similar compound is the
guess. That names compounds even from the part of a fingerprint that a guard lets through.

V1 and V3: whoever knows the bit order, which every partner does. An operator alone sees scrambled columns and gets no further.
Right means the same atoms and bonds; stereochemistry, which these fingerprints don't see, is not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from rdkit import Chem

from attacks.first_layer.on_views import found_fingerprints, patterns
from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.molecules.growth import grow
from attacks.molecules.library import Library, Molecules, library_in, packed_text, unpacked_text
from attacks.molecules.space import Bits, MoleculeSpace, flat_smiles, quiet, tanimoto
from attacks.score import Score, clopper_pearson, proportion
from attacks.view import Truth
from securefl.records import View
from securefl.types import Progress, silent

VIEWS: tuple[View, ...] = ("V3", "V1")
PARENTS = 16
"""Compounds of the library that a search starts from: the most similar ones."""
NEAREST, LOOKED_UP, GROWN = 0, 1, 2
JUDGED = MoleculeSpace(radius=3, bits=1 << 32, order=np.zeros(0, dtype=np.int32))
"""The similarity of molecules is measured on unfolded fingerprints, whatever the model reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A guess for each fingerprint.

    Attributes:
        smiles: the molecule, empty where the library is. how: int8 (k,), NEAREST, LOOKED_UP or GROWN.
        sharing: int64 (k,), molecules of the library that have this very fingerprint.
    """

    smiles: tuple[str, ...]
    how: NDArray[np.int8]
    sharing: NDArray[np.int64]


def _nearest(row: sp.csr_matrix, library: Library) -> list[str]:
    """Return the compounds of the library most similar to the fingerprint ``row``, CSR (1, bits)."""
    shared = (library.fingerprints.astype(np.int64) @ row.T.astype(np.int64)).toarray().ravel()
    sizes = np.diff(library.fingerprints.indptr) + row.nnz
    best = np.argsort(-shared / np.maximum(sizes - shared, 1), kind="stable")[:PARENTS]
    return [library.smiles[i] for i in best]


def molecule_lookup(
    fingerprints: sp.csr_matrix,
    *,
    library: Library,
    space: MoleculeSpace | None = None,
    targets: int = 64,
    evaluations: int = 10_000,
    progress: Progress = silent,
) -> Named:
    """Return a molecule for each fingerprint: from the library, grown for the first ``targets`` that it lacks, or the nearest.

    Args:
        fingerprints: CSR (k, bits), as :func:`attacks.fingerprint_recovery` gives them.
        library: public compounds, their fingerprints in the same bit order.
        space: how molecules become bits; without it nothing is grown. evaluations: the budget of each search.
    """
    known: dict[bytes, list[str]] = {}
    for pattern, smiles in zip(patterns(library.fingerprints), library.smiles, strict=True):
        known.setdefault(pattern, []).append(smiles)
    found = [known.get(pattern, []) for pattern in patterns(fingerprints)]
    guess = [some[0] if some else "" for some in found]
    how = np.array([LOOKED_UP if some else NEAREST for some in found], dtype=np.int8)
    missing = [i for i, some in enumerate(found) if not some]
    for number, i in enumerate(missing):
        progress("molecules of fingerprints in no library", number, len(missing))
        row = fingerprints[i]
        parents = _nearest(row, library)
        guess[i] = parents[0] if parents else ""
        if space is not None and number < targets:
            grown = grow(frozenset(row.indices.tolist()), parents, space, evaluations=evaluations)
            guess[i], how[i] = grown.smiles, GROWN
    sharing = np.array([len(some) for some in found], dtype=np.int64)
    return Named(smiles=tuple(guess), how=how, sharing=sharing)


def run_lookup(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim the ``smiles`` of each recovered fingerprint, ``how`` each was found, and how many are ``sharing`` it."""
    radius, bits = view.facts["radius"], int(view.facts["bits"] or 0)
    recovered = found_fingerprints(earlier)
    # A release may leave rows out: its n-th row is the bit that the view says.
    columns = view.tensors["released"][recovered.indices]
    recovered = sp.csr_matrix((recovered.data, columns, recovered.indptr), shape=(recovered.shape[0], bits))
    space = None if radius is None else MoleculeSpace(radius=int(radius), bits=bits, order=view.tensors["order"])
    named = molecule_lookup(
        recovered,
        library=library_in(view, bits),
        space=space,
        targets=int(view.facts["targets"] or 0),
        evaluations=int(view.facts["evaluations"] or 0),
    )
    return {"smiles": packed_text(named.smiles), "how": named.how, "sharing": named.sharing}


@lru_cache(maxsize=1 << 17)
def _flat_one(smiles: str) -> str:
    mol = Chem.MolFromSmiles(smiles) if smiles else None
    return "" if mol is None else flat_smiles(mol)


def _flat(smiles: tuple[str, ...]) -> list[str]:
    """Return flat canonical SMILES, empty where a text is no molecule."""
    with quiet():
        return [_flat_one(text) for text in smiles]


def collision_ceiling(molecules: Molecules) -> float:
    """Return the share of compounds that can be named from perfect fingerprints with all these molecules to choose from."""
    having: dict[bytes, set[str]] = {}
    true = patterns(molecules.fingerprints)
    everything = (*true, *patterns(molecules.library.fingerprints))
    for pattern, name in zip(everything, _flat((*molecules.smiles, *molecules.library.smiles)), strict=True):
        having.setdefault(pattern, set()).add(name)
    return float(np.mean([1 / len(having[pattern]) for pattern in true]))


def _mean(values: list[float], chance: float) -> Score:
    """Return the mean similarity; its interval is that of a proportion, which spreads more than any values from 0 to 1."""
    n, total = len(values), min(float(np.sum(values)), float(len(values)))
    low, high = clopper_pearson(total, n)
    return Score(metric="grown_tanimoto", value=total / n, low=low, high=high, chance=chance, n=n)


@lru_cache(maxsize=1 << 14)
def _bits(smiles: str) -> Bits:
    mol = Chem.MolFromSmiles(smiles) if smiles else None
    return frozenset() if mol is None else JUDGED.of(mol)


def _similarities(pairs: list[tuple[str, str]], library: Library) -> tuple[list[float], float, float]:
    """Return how near each (guess, truth) came, and how near a random and the nearest compound of the library is."""
    with quiet():
        public = [_bits(text) for text in library.smiles[:: 1 + len(library.smiles) // 1000]]
        others = [[tanimoto(_bits(true), other) for other in public] for _, true in pairs]
        near = [tanimoto(_bits(guess), _bits(true)) for guess, true in pairs]
    return near, float(np.mean(others)), float(np.mean([max(row) for row in others]))


def score_lookup(claims: Claims, earlier: Claims, truth: Truth) -> Found:
    """Return how many compounds were named, published and not, and how near the grown ones came."""
    molecules = truth.molecules
    if molecules is None:
        return Found(note="the molecules behind this release are not known")
    true, guesses, how = _flat(molecules.smiles), _flat(unpacked_text(claims["smiles"])), claims["how"]
    names, published = set(guesses) - {""}, molecules.published
    right = np.array([name in names for name in true], dtype=bool)
    guessing = 1 / max(len(molecules.library.smiles), 1)
    scores = [proportion("named", int(right.sum()), len(true), chance=guessing * float(published.mean()))]
    if names:
        scores.append(proportion("precision", int(right.sum()), max(len(names), int(right.sum())), chance=guessing))
    if published.any():
        scores.append(proportion("published_named", int(right[published].sum()), int(published.sum()), chance=guessing))
    detail = {
        "looked_up": float((how == LOOKED_UP).sum()),
        "grown": float((how == GROWN).sum()),
        "most_sharing": float(claims["sharing"].max(initial=0)),
        "library": float(len(molecules.library.smiles)),
        "collision_ceiling": collision_ceiling(molecules),
    }
    of_pattern = dict(zip(patterns(truth.fingerprints), true, strict=True))
    recovered = patterns(found_fingerprints(earlier))
    pairs = [
        (guesses[i], of_pattern[recovered[i]]) for i in np.flatnonzero(how == GROWN) if recovered[i] in of_pattern
    ]
    if pairs:
        near, random, nearest = _similarities(pairs, molecules.library)
        # Nobody can name a molecule that is in no library by choosing from one.
        scores.append(proportion("grown_named", sum(guess == name for guess, name in pairs), len(pairs), chance=0.0))
        scores.append(_mean(near, random))
        detail["nearest_in_library_tanimoto"] = nearest
    return Found(scores=tuple(scores), detail=detail, note=_note(truth, len(pairs)))


def _note(truth: Truth, tried: int) -> str:
    molecules = truth.molecules
    outside = 0 if molecules is None else int((~molecules.published).sum())
    return f"{outside} of the compounds are in no library; molecules were grown for {tried} recovered fingerprints"


MOLECULES = Attack(
    name="molecule_lookup",
    asset="structure",
    views=VIEWS,
    reads=("library.*", "order", "released"),
    run=run_lookup,
    score=score_lookup,
    needs="fingerprint_recovery",
)
