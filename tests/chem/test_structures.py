"""Structures: standardising, scaffolds, fingerprints; a batch gives what single molecules give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from molecules import structures
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdinchi
from rdkit.Chem.MolStandardize import rdMolStandardize

from securefl.chem import compounds
from securefl.chem import standardise as standardise_module
from securefl.chem.compounds import Recipe, describe, describe_all
from securefl.chem.fingerprint import environments, fingerprints, fold_bits
from securefl.chem.keyed import bit_order, public_key
from securefl.chem.standardise import Refusal, Rules, Structure, scaffold_of, standardise
from securefl.errors import InputError, ParameterError

RECIPE = Recipe(Rules(), radius=3)
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def good(smiles: str, rules: Rules | None = None) -> Structure:
    found = standardise(smiles, rules or Rules())
    assert isinstance(found, Structure), found
    return found


def test_known_inchikey() -> None:
    assert good(ASPIRIN).inchikey == "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"


@pytest.mark.parametrize("variant", ["CC(=O)Oc1ccccc1C(=O)[O-].[Na+]", "Cl.OC(=O)c1ccccc1OC(C)=O", "O.O.O=C(O)c1ccccc1OC(=O)C"])
def test_salts_charges_and_spellings_give_one_compound(variant: str) -> None:
    assert good(variant).smiles == good(ASPIRIN).smiles
    assert good(variant).inchikey == good(ASPIRIN).inchikey


def test_steps_can_be_switched_off() -> None:
    assert good("CC(=O)[O-].[Na+]", Rules(uncharge=False, normalise=False)).smiles == "CC(=O)[O-]"
    assert good("C[C@H](N)C(=O)O", Rules(keep_stereo=False)).smiles == good("CC(N)C(=O)O").smiles
    assert good("Oc1ccccn1", Rules(tautomer=True)).inchikey == good("O=c1cccc[nH]1", Rules(tautomer=True)).inchikey
    assert good("Oc1ccccn1").smiles != good("O=c1cccc[nH]1").smiles


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("not a molecule", "can't be parsed"),
        ("c1ccccc", "can't be parsed"),
        ("C(C)(C)(C)(C)C", "can't be parsed"),
        ("C" * 101, "101 heavy atoms"),
        ("C" * 5001, "5001 characters, must be <= 5000"),
        ("[H][H]", "0 heavy atoms"),
        ("", "0 heavy atoms"),
    ],
)
def test_what_fails_says_why(smiles: str, reason: str) -> None:
    found = standardise(smiles, Rules())
    assert isinstance(found, Refusal)
    assert reason in found.reason


def test_rules_are_checked() -> None:
    with pytest.raises(ParameterError, match=r"min_heavy_atoms=5 must be in 1\.\.4"):
        Rules(min_heavy_atoms=5, max_heavy_atoms=4)
    with pytest.raises(ParameterError, match="max_tautomers=0"):
        Rules(max_tautomers=0)


def test_scaffold_ignores_side_chains_and_stereo() -> None:
    assert good("Cc1ccccc1").scaffold == good("CCc1ccccc1O").scaffold == "c1ccccc1"
    assert good("Cc1ccccc1").scaffold != good("CCC1CCNCC1").scaffold
    left, right = good("C[C@H]1CC[C@@H](c2ccccc2)C1"), good("C[C@H]1CC[C@H](c2ccccc2)C1")
    assert left.inchikey != right.inchikey
    assert left.scaffold == right.scaffold


def test_tautomers_of_one_inchikey_share_a_scaffold_only_with_canonical_tautomers() -> None:
    # Clonidine as two exports spell it: what securefl.chem.folds says of partners that hold one each.
    imine, amine = "Clc1cccc(Cl)c1N=C1NCCN1", "Clc1cccc(Cl)c1NC1=NCCN1"
    assert good(imine).inchikey == good(amine).inchikey
    assert good(imine).scaffold != good(amine).scaffold
    rules = Rules(tautomer=True)
    assert good(imine, rules).scaffold == good(amine, rules).scaffold


def test_generic_scaffold_ignores_atoms_bonds_and_side_chains() -> None:
    rules = Rules(generic_scaffold=True)
    assert good("Cc1ccccc1", rules).scaffold == good("CCC1CCNCC1", rules).scaffold == "C1CCCCC1"
    assert good("O=C1CCCN1CC", rules).scaffold == "C1CCCC1"


def test_acyclic_molecules_cluster_by_their_skeleton() -> None:
    assert good("CCCO").scaffold == good("CCCN").scaffold == "acyclic:CCCC"
    assert good("CCO").scaffold != good("CC(C)O").scaffold


def test_a_scaffold_that_can_not_be_generic_falls_back() -> None:
    # Six bonds on sulphur: no carbon can stand in its place.
    assert good("FS(F)(F)(F)(F)F").scaffold.startswith("unperceived:")


@pytest.mark.parametrize("bits", [64, 1000, 4096, 32768])
def test_folded_hashes_are_rdkits_fingerprint_bit_for_bit(bits: int) -> None:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=bits)
    smiles = structures(120)
    matrix = fingerprints(smiles, bits=bits, radius=3)
    for row, one in enumerate(smiles):
        expected = sorted(generator.GetFingerprint(Chem.MolFromSmiles(one)).GetOnBits())
        assert matrix[row].indices.tolist() == expected
    assert matrix.dtype == np.uint8
    assert set(matrix.data.tolist()) == {1}
    assert matrix.shape == (120, bits)


def test_radius_counts() -> None:
    mol = Chem.MolFromSmiles(ASPIRIN)
    sets = [set(environments(mol, radius).tolist()) for radius in (1, 2, 3)]
    assert sets[0] < sets[1] < sets[2]


def test_the_keyed_order_moves_columns_and_nothing_else() -> None:
    smiles = structures(60)
    key = public_key(3)
    plain, moved = fingerprints(smiles, bits=512, radius=2), fingerprints(smiles, bits=512, radius=2, key=key)
    order = bit_order(key, 512)
    np.testing.assert_array_equal(moved.toarray()[:, order], plain.toarray())
    assert moved.has_sorted_indices
    assert all(np.all(np.diff(moved[row].indices) > 0) for row in range(60))


def test_fingerprints_of_no_and_of_bad_molecules() -> None:
    assert fold_bits([], 64).shape == (0, 64)
    with pytest.raises(InputError, match="'xyz' can't be parsed"):
        fingerprints(["CCO", "xyz"], bits=64, radius=2)


def test_a_batch_is_what_single_molecules_are() -> None:
    smiles = [*structures(100), "nonsense", *reversed(structures(100))]
    batch = describe_all(smiles, RECIPE)
    for one, found in zip(smiles, batch, strict=True):
        alone = describe(one, RECIPE)
        assert found[:3] == alone[:3]
        assert found.reason == alone.reason
        np.testing.assert_array_equal(found.hashes, alone.hashes)


def test_worker_processes_change_nothing_and_progress_ends_at_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compounds, "POOL_FROM", 100)
    monkeypatch.setattr(compounds, "CHUNK", 60)
    smiles = [*structures(200), "bad"]
    seen: list[tuple[str, int, int]] = []
    parallel = describe_all(smiles, RECIPE, workers=2, progress=lambda *step: seen.append(step))
    single = describe_all(smiles, RECIPE, workers=1)
    assert [one[:3] for one in parallel] == [one[:3] for one in single]
    assert all(np.array_equal(a.hashes, b.hashes) for a, b in zip(parallel, single, strict=True))
    assert seen[-1] == ("structures", len(smiles), len(smiles))
    assert [step[1] for step in seen] == sorted(step[1] for step in seen)


def test_standardising_twice_changes_nothing() -> None:
    for smiles in structures(200):
        once = good(smiles)
        twice = good(once.smiles)
        assert (twice.smiles, twice.inchikey, twice.scaffold) == (once.smiles, once.inchikey, once.scaffold)


TRICKY = (
    "CS(C)=O", "C[S+](C)[O-]", "CN=[N+]=[N-]", "C[N+](=O)[O-]", "O=[N+]([O-])c1ccccc1", "c1cc[n+]([O-])cc1", "CP(=O)(O)O",
    "C[N+](C)(C)CC(=O)[O-]", "NC(=[NH2+])N", "[O-]c1ccccc1", "CC(=O)[O-]", "C[P+]([O-])([O-])C", "C[S+2]([O-])([O-])C",
    "CN(C)C=[N+](C)C", "c1ccsc1", "CSC", "CS(=O)(=O)N", "[Na+].[Cl-]", "C[As](=O)(O)O", "OB(O)c1ccccc1", "[2H]CCl", "CC#N",
)  # fmt: skip


@pytest.mark.parametrize("smiles", TRICKY)
def test_short_cuts_change_nothing(smiles: str) -> None:
    # What the short cuts leave out, done in full: the same canonical SMILES, key and environments must come out.
    mol = standardise_module._tools(100).fragment.choose(Chem.MolFromSmiles(smiles))
    mol = rdMolStandardize.Uncharger().uncharge(rdMolStandardize.Normalizer().normalize(mol))
    canonical = Chem.MolToSmiles(mol)
    mol = Chem.MolFromSmiles(canonical)
    found = good(smiles)
    assert (found.smiles, found.inchikey) == (canonical, rdinchi.MolToInchiKey(mol))
    np.testing.assert_array_equal(environments(found.mol, 3), environments(mol, 3))


def test_the_normaliser_does_change_some_of_them() -> None:
    normal, raw = Rules(uncharge=False), Rules(normalise=False, uncharge=False)
    changed = [one for one in TRICKY if good(one, normal).smiles != good(one, raw).smiles]
    assert len(changed) >= 3


def test_counts_are_rdkits_and_more_than_a_byte_is_kept_as_a_byte() -> None:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=128)
    smiles = [*structures(40), "C" * 80]
    matrix = fingerprints(smiles, bits=128, radius=2, counts=True)
    for row, one in enumerate(smiles):
        expected = generator.GetCountFingerprint(Chem.MolFromSmiles(one)).GetNonzeroElements()
        assert dict(zip(matrix[row].indices.tolist(), matrix[row].data.tolist(), strict=True)) == expected
    long = fingerprints(["C" * 300], bits=64, radius=1, counts=True)
    assert long.data.max() == 255
    key = public_key(1)
    np.testing.assert_array_equal(
        fingerprints(smiles, bits=128, radius=2, counts=True, key=key).toarray()[:, bit_order(key, 128)], matrix.toarray()
    )


def test_the_usual_size_is_32768() -> None:
    assert fingerprints([ASPIRIN]).shape == (1, 32_768)


EXPLOSIVE = "O=C1CC(=O)C(C(=O)CC(=O)CC(=O)CC(=O)CC(=O)C2C(=O)CC(=O)CC2=O)C(=O)C1C(=O)CC(=O)CC(=O)N"


def test_the_cap_decides_alike_for_every_spelling() -> None:
    rules = Rules(tautomer=True, max_tautomers=20)
    spellings = {Chem.MolToSmiles(Chem.MolFromSmiles(EXPLOSIVE), doRandom=True) for _ in range(4)} | {EXPLOSIVE}
    assert len(spellings) > 1
    assert len({good(one, rules).inchikey for one in spellings}) == 1
    assert good(EXPLOSIVE, Rules()).inchikey


def test_tautomers_that_take_too_long_are_a_reject() -> None:
    found = standardise(EXPLOSIVE, Rules(tautomer=True, tautomer_seconds=1e-9))
    assert found == Refusal("tautomers took longer than 1e-09 s")
    # The clock belongs to one molecule: the next one has all of its time.
    assert good("Oc1ccccn1", Rules(tautomer=True)).smiles == good("O=c1cccc[nH]1", Rules(tautomer=True)).smiles
    with pytest.raises(ParameterError, match="tautomer_seconds=0 must be > 0"):
        Rules(tautomer_seconds=0)


@pytest.mark.shared
def test_short_cuts_change_nothing_on_drug_like_molecules(shared_data: Path) -> None:
    names = pq.read_table(shared_data / "01_fsmol_chembl27" / "compounds.parquet")["smiles"].to_pylist()[::700]
    fragment = standardise_module._tools(100).fragment
    normalizer, uncharger = rdMolStandardize.Normalizer(), rdMolStandardize.Uncharger()
    for one in names:
        parsed = Chem.MolFromSmiles(one)
        found = standardise(one, Rules())
        if parsed is None or isinstance(found, Refusal):
            continue
        canonical = Chem.MolToSmiles(uncharger.uncharge(normalizer.normalize(fragment.choose(parsed))))
        mol = Chem.MolFromSmiles(canonical)
        key = rdinchi.MolToInchiKey(mol)
        assert (found.smiles, found.inchikey, found.scaffold) == (canonical, key, scaffold_of(mol, key))
        np.testing.assert_array_equal(environments(found.mol, 3), environments(mol, 3))
