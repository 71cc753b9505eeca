"""Molecules a second on one core beside RDKit's own ceilings: ``python -m benchmarks.preparation`` writes a JSON of results.

Figures are CPU seconds of one process on drug-like molecules, the kinds of work taking turns on the same chunk, the best of
several passes: other work on the machine can only make a pass slower. The ceilings are bare RDKit calls in a loop, nothing
kept: parsing and fingerprint; the same with the InChIKey, without which duplicates can't be merged; ``needed``, the calls
whose results preparation returns (parse, canonical SMILES, InChIKey, scaffold, counted environments), which no preparation
with these results can undercut; and every step that it promises (fragment, normaliser, neutraliser too), without short cuts.
The bar: at least 1,100 molecules a second without tautomers. ``steps`` has the milliseconds of each call on its own.
Intervals are of the mean over chunks, 95 %, normal.

``folds`` says what each rule of the folds is good for: the share of test compounds that have a training compound of Tanimoto
similarity above 0.7 (Morgan radius 2, 2,048 bits), over several keys, on the same compounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator, rdinchi
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold

from benchmarks.environment import environment
from securefl.chem.compounds import Description, Recipe, describe
from securefl.chem.dataset import Fold
from securefl.chem.folds import minhash_clusters, random_folds, scaffold_folds
from securefl.chem.keyed import public_key
from securefl.chem.moleculeace import load_table
from securefl.chem.standardise import Rules

SEED = 20261121  # any: it draws which molecules are measured
CHUNK = 100
BAR = 1_100.0
FOLD_KEYS, FOLD_MOLECULES = 8, 1_500
RESULT = Path(__file__).parent / "results" / "preparation.json"

GENERATOR = rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=32_768)
FRAGMENT = rdMolStandardize.LargestFragmentChooser(preferOrganic=True)
SCAFFOLD: Callable[[Chem.Mol], Chem.Mol] = MurckoScaffold.GetScaffoldForMol
NORMALIZER, UNCHARGER = rdMolStandardize.Normalizer(), rdMolStandardize.Uncharger()


def parse_and_fingerprint(smiles: str) -> None:
    """Parse and hash, and nothing else."""
    GENERATOR.GetFingerprint(Chem.MolFromSmiles(smiles))


def with_inchikey(smiles: str) -> None:
    """Parse, hash, and name."""
    mol = Chem.MolFromSmiles(smiles)
    rdinchi.MolToInchiKey(mol)
    GENERATOR.GetFingerprint(mol)


def needed(smiles: str) -> None:
    """Call RDKit for each result that preparation returns, for a molecule that needs no cleaning."""
    mol = Chem.MolFromSmiles(smiles)
    Chem.MolToSmiles(mol)
    rdinchi.MolToInchiKey(mol)
    Chem.MolToSmiles(SCAFFOLD(mol), isomericSmiles=False)
    GENERATOR.GetSparseCountFingerprint(mol).GetNonzeroElements()


def every_step(smiles: str) -> None:
    """Call RDKit for each step that preparation promises, without any short cut and without checks."""
    mol = UNCHARGER.uncharge(NORMALIZER.normalize(FRAGMENT.choose(Chem.MolFromSmiles(smiles))))
    Chem.MolToSmiles(mol)
    rdinchi.MolToInchiKey(mol)
    Chem.MolToSmiles(SCAFFOLD(mol), isomericSmiles=False)
    GENERATOR.GetFingerprint(mol)


def molecules(count: int) -> dict[str, list[str]]:
    """Return drug-like molecules of the default data: as exported, canonical, and in a random spelling."""
    names = load_table(Path(".cache")).smiles.names
    draw = np.random.default_rng(SEED)
    exported = [names[i] for i in draw.choice(len(names), count, replace=False)]
    mols = [Chem.MolFromSmiles(one) for one in exported]
    spellings = [Chem.MolToRandomSmilesVect(mol, 1, randomSeed=SEED)[0] for mol in mols]
    return {"exported": exported, "canonical": [Chem.MolToSmiles(mol) for mol in mols], "random_spelling": spellings}


def rates(work: Mapping[str, Callable[[str], object]], smiles: Sequence[str], repeats: int) -> dict[str, dict[str, float]]:
    """Return molecules a CPU second of each kind of work: over all chunks, and the mean over chunks with its interval."""
    chunks = [smiles[start : start + CHUNK] for start in range(0, len(smiles), CHUNK)]
    best: dict[str, list[float]] = {name: [float("inf")] * len(chunks) for name in work}
    for _ in range(repeats):
        for number, chunk in enumerate(chunks):
            for name, call in work.items():
                started = time.process_time()
                for one in chunk:
                    call(one)
                best[name][number] = min(best[name][number], time.process_time() - started)
    return {name: _summary(seconds, chunks) for name, seconds in best.items()}


def _summary(seconds: Sequence[float], chunks: Sequence[Sequence[str]]) -> dict[str, float]:
    of_chunk = [len(chunk) / spent for chunk, spent in zip(chunks, seconds, strict=True)]
    half = 1.96 * statistics.stdev(of_chunk) / len(of_chunk) ** 0.5 if len(of_chunk) > 1 else 0.0
    mean = statistics.fmean(of_chunk)
    return {
        "rate": sum(map(len, chunks)) / sum(seconds), "chunk_mean": mean, "ci_low": mean - half, "ci_high": mean + half,
        "n": float(sum(map(len, chunks))),
    }  # fmt: skip


def steps(smiles: Sequence[str], repeats: int) -> dict[str, float]:
    """Return the milliseconds a molecule of each call on its own, on molecules that are parsed and used already."""
    mols = {one: Chem.MolFromSmiles(one) for one in smiles}
    work: dict[str, Callable[[str], object]] = {
        "parse": Chem.MolFromSmiles,
        "canonical_smiles": lambda one: Chem.MolToSmiles(mols[one]),
        "inchikey": lambda one: rdinchi.MolToInchiKey(mols[one]),
        "scaffold": lambda one: Chem.MolToSmiles(SCAFFOLD(mols[one]), isomericSmiles=False),
        "fingerprint": lambda one: GENERATOR.GetFingerprint(mols[one]),
    }
    return {name: 1_000 / figures["rate"] for name, figures in rates(work, smiles, repeats).items()}


def fold_rules(found: Sequence[Description], keys: int) -> dict[str, dict[str, float]]:
    """Return, for each rule, the share of test compounds with a near training neighbour, with its interval over keys."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2_048)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(one.smiles)) for one in found]
    shares: dict[str, list[float]] = {"random": [], "scaffold": [], "cluster": []}
    for seed in range(keys):
        key, names = public_key(seed), [one.inchikey for one in found]
        groups = minhash_clusters([one.hashes for one in found], names, key=key)
        for rule, folds in (
            ("random", random_folds(names, key=key)),
            ("scaffold", scaffold_folds([one.scaffold for one in found], key=key)),
            ("cluster", scaffold_folds(groups, key=key)),
        ):
            shares[rule].append(_near_share(folds, prints))
    return {rule: _over_keys(values, len(found)) for rule, values in shares.items()}


def _near_share(folds: NDArray[np.int8], prints: Sequence[DataStructs.ExplicitBitVect]) -> float:
    known = [prints[i] for i in np.flatnonzero(folds == Fold.TRAIN).tolist()]
    tested = np.flatnonzero(folds == Fold.TEST).tolist()
    return float(np.mean([max(DataStructs.BulkTanimotoSimilarity(prints[i], known)) > 0.7 for i in tested]))


def _over_keys(values: Sequence[float], n: int) -> dict[str, float]:
    half = 1.96 * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.fmean(values)
    return {"near": mean, "ci_low": mean - half, "ci_high": mean + half, "keys": float(len(values)), "n": float(n)}


def measure(count: int, repeats: int) -> dict[str, object]:
    """Return every figure with its bar."""
    plain, tautomers = Recipe(Rules(), 3), Recipe(Rules(tautomer=True), 3)
    spellings = molecules(count)
    figures: dict[str, object] = {"environment": environment("rdkit")}
    work: dict[str, Callable[[str], object]] = {
        "parse_and_fingerprint": parse_and_fingerprint,
        "with_inchikey": with_inchikey,
        "needed": needed,
        "every_step": every_step,
        "prepared": lambda one: describe(one, plain),
    }
    for name, smiles in spellings.items():
        found = rates(work, smiles, repeats)
        known = set(spellings["canonical"])
        figures[name] = {
            **found,
            "share_canonical": sum(one in known for one in smiles) / count,
            "of_needed": found["prepared"]["rate"] / found["needed"]["rate"],
            "of_every_step": found["prepared"]["rate"] / found["every_step"]["rate"],
            "of_with_inchikey": found["prepared"]["rate"] / found["with_inchikey"]["rate"],
        }
        figures[f"bar >= {BAR:g} a second, {name}"] = found["prepared"]["rate"] >= BAR
    some = spellings["exported"][: max(CHUNK, count // 10)]
    figures["steps"] = steps(spellings["canonical"], repeats)
    figures["folds"] = fold_rules([describe(one, plain) for one in molecules(FOLD_MOLECULES)["canonical"]], FOLD_KEYS)
    figures["tautomers_capped"] = rates({"prepared": lambda one: describe(one, tautomers)}, some, 1)
    return figures


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    figures = measure(arguments.molecules, arguments.repeats)
    arguments.out.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    print(json.dumps(figures, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
