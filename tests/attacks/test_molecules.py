"""From fingerprints to molecules: named where a library has them, grown where not, nothing where there is nothing to see."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from rdkit import Chem

from attacks.interface import AdversaryView, Claims
from attacks.molecules.growth import grow
from attacks.molecules.library import Library, Molecules, library_in, packed_text, unpacked_text
from attacks.molecules.lookup import GROWN, LOOKED_UP, NEAREST, collision_ceiling, molecule_lookup, run_lookup, score_lookup
from attacks.molecules.space import MoleculeSpace, flat_smiles, tanimoto
from attacks.view import Truth
from securefl.chem.fingerprint import fingerprints
from securefl.chem.keyed import bit_order, public_key

BITS = 4096
CLEAR = np.zeros(0, dtype=np.int32)
SPACE = MoleculeSpace(radius=3, bits=BITS, order=CLEAR)
PUBLIC = ("CCOc1ccccc1", "Clc1ccc(Br)cc1", "CC(=O)Nc1ccc(O)cc1", "O=C(O)c1ccccc1", "NCCc1ccccc1", "CCN(CC)CCO")
PRIVATE = ("CCOc1ccc(Cl)cc1", "CC(=O)Nc1ccc(F)cc1")


def library(smiles: tuple[str, ...] = PUBLIC) -> Library:
    return Library(smiles=smiles, fingerprints=fingerprints(smiles, bits=BITS))


def recovered(matrix: sp.csr_matrix) -> Claims:
    """What a recovery that found the rows of ``matrix`` claims."""
    return {"indices": matrix.indices.astype(np.int64), "indptr": matrix.indptr.astype(np.int64), "bits": np.array([BITS])}


def truth_of(smiles: tuple[str, ...]) -> Truth:
    """The truth where ``smiles`` were trained on and PUBLIC is the library."""
    matrix = fingerprints(smiles, bits=BITS)
    published = np.array([one in PUBLIC for one in smiles])
    molecules = Molecules(smiles=smiles, fingerprints=matrix, published=published, library=library())
    none = np.zeros(0, dtype=np.int64)
    return Truth(
        fingerprints=matrix, label=np.zeros(len(smiles), np.int8), library=matrix[:0], known=none, molecules=molecules
    )


def view_of(released: np.ndarray) -> AdversaryView:
    """V1 with PUBLIC as its library, of a release that has the bits ``released``."""
    tensors = {**library().pack(), "order": CLEAR, "released": released}
    return AdversaryView(view="V1", tensors=tensors, facts={"radius": 3, "bits": BITS, "targets": 1, "evaluations": 800})


@pytest.mark.parametrize("keyed", [False, True])
def test_bits_are_those_of_preparation(keyed: bool) -> None:
    """Folding and a keyed order give the very columns that the dataset has."""
    key = public_key(0) if keyed else None
    space = MoleculeSpace(radius=3, bits=BITS, order=bit_order(key, BITS) if key else CLEAR)
    matrix = fingerprints(PUBLIC, bits=BITS, key=key)
    for row, smiles in enumerate(PUBLIC):
        assert space.of(Chem.MolFromSmiles(smiles)) == set(matrix[row].indices.tolist())


def test_published_compounds_are_named_and_others_grown() -> None:
    """Two from the library, two that are in none; without a budget, the nearest."""
    smiles = (PUBLIC[0], PUBLIC[3], *PRIVATE)
    found = molecule_lookup(fingerprints(smiles, bits=BITS), library=library(), space=SPACE, targets=2, evaluations=800)
    assert found.how.tolist() == [LOOKED_UP, LOOKED_UP, GROWN, GROWN]
    assert found.smiles[0] == PUBLIC[0]
    assert [flat_smiles(Chem.MolFromSmiles(one)) for one in found.smiles[2:]] == list(PRIVATE)
    assert found.sharing.tolist() == [1, 1, 0, 0]
    few = molecule_lookup(fingerprints(smiles, bits=BITS), library=library(), space=SPACE, targets=0)
    assert few.how.tolist()[2:] == [NEAREST, NEAREST]
    assert few.smiles[2] in PUBLIC


def test_part_of_a_fingerprint_names_the_published_compound() -> None:
    """What a guard lets through is enough where the library has the compound: the nearest one is it."""
    part = fingerprints(PUBLIC[2:3], bits=BITS)
    part = sp.csr_matrix((part.data[::2], part.indices[::2], [0, len(part.indices[::2])]), shape=(1, BITS))
    assert molecule_lookup(part, library=library()).smiles == (PUBLIC[2],)


def test_random_bits_grow_into_nothing() -> None:
    """The negative control: bits that no molecule made are not matched, within the budget."""
    target = frozenset(np.random.default_rng(0).choice(BITS, 30, replace=False).tolist())
    found = grow(target, PUBLIC, SPACE, evaluations=200)
    assert found.similarity < 0.2
    assert grow(target, PUBLIC, SPACE, evaluations=200) == found
    assert grow(target, [], SPACE, evaluations=10).smiles == ""
    assert tanimoto(frozenset(), frozenset()) == 0.0


def test_the_attack_reads_its_view_and_is_scored_against_the_molecules() -> None:
    """Through claims and back: three of four named; noise instead of fingerprints names nobody beyond a lucky guess."""
    smiles = (PUBLIC[0], PUBLIC[3], *PRIVATE)
    view = view_of(np.arange(BITS))
    earlier = recovered(fingerprints(smiles, bits=BITS))
    found = score_lookup(run_lookup(view, earlier), earlier, truth_of(smiles))
    scores = {score.metric: score for score in found.scores}
    assert (scores["named"].k, scores["named"].n) == (3, 4)
    assert (scores["published_named"].k, scores["grown_named"].k) == (2, 1)
    assert scores["grown_tanimoto"].value == 1.0 > scores["grown_tanimoto"].low > 0.0 < scores["grown_tanimoto"].chance < 0.3
    assert found.detail["collision_ceiling"] == 1.0
    noise = recovered(sp.random(4, BITS, density=0.01, format="csr", random_state=0))
    lost = score_lookup(run_lookup(view, noise), noise, truth_of(PRIVATE))
    assert {score.metric: score.k for score in lost.scores} == {"named": 0, "precision": 0}


def test_a_release_without_some_rows_names_the_same_compounds() -> None:
    """CKKS sums touched rows and a few others: its n-th row is another bit than n."""
    full = fingerprints(PUBLIC[:2], bits=BITS)
    rows = np.union1d(full.indices, [5, 4000]).astype(np.int64)
    part = full[:, rows].tocsr()
    earlier = {"indices": part.indices.astype(np.int64), "indptr": part.indptr.astype(np.int64), "bits": np.array([len(rows)])}
    claims = run_lookup(view_of(rows), earlier)
    assert unpacked_text(claims["smiles"]) == PUBLIC[:2]
    assert claims["how"].tolist() == [LOOKED_UP, LOOKED_UP]


def test_the_collision_ceiling_counts_molecules_of_one_fingerprint() -> None:
    """ECFP6 can't count the carbons of a long chain: two alkanes, one pattern, and half of the guesses right."""
    chains = ("CCCCCCCCCCCC", "CCCCCCCCCCCCC")
    one = fingerprints(chains[:1], bits=BITS)
    molecules = Molecules(smiles=chains[:1], fingerprints=one, published=np.array([False]), library=library(chains[1:]))
    assert collision_ceiling(molecules) == 0.5
    assert molecule_lookup(fingerprints(chains[:1], bits=BITS), library=library(chains)).sharing.tolist() == [2]


def test_text_travels_as_bytes() -> None:
    """Lines come back, empty ones too, and a library with them."""
    assert unpacked_text(packed_text(("CC", "", "O"))) == ("CC", "", "O")
    assert unpacked_text(packed_text(())) == ()
    view = AdversaryView(view="V1", tensors=library().pack(), facts={})
    assert library_in(view, BITS).smiles == PUBLIC
