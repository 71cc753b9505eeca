"""From a fingerprint to a molecule that no library holds: pieces of similar compounds, joined again as the bits say.

A fingerprint names the environment of every atom, so it says of a similar compound which atoms are right. The search cuts
compounds at their single bonds outside rings, keeps the pieces whose atoms the target explains, and joins those to others:
a beam of the molecules with the highest Tanimoto similarity, until one has all bits or the budget is spent. Beside pieces of
the library there are the usual small substituents, and single atoms may change their element.

The budget counts fingerprints, not seconds, so that a search gives the same result anywhere. It is a lower bound on what a
patient attacker finds: ring systems that no compound of the library has are never built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from rdkit import Chem

from attacks.molecules.space import Bits, MoleculeSpace, flat_smiles, quiet, tanimoto

WIDTH = 8
"""Molecules in the beam."""
PIECES = 48
"""Pieces that are tried on each open end: those that the target explains best."""
OPEN = 6
"""Open ends of one molecule that are tried in a step."""
SUBSTITUENTS = (
    "[1*][H]", "[1*]C", "[1*]O", "[1*]N", "[1*]F", "[1*]Cl", "[1*]Br", "[1*]OC", "[1*]CC", "[1*]CO", "[1*]C#N",
    "[1*]C(F)(F)F", "[1*]C(C)C", "[1*]N(C)C", "[1*]NC", "[1*]C(N)=O", "[1*]C(=O)O", "[1*]S(C)(=O)=O", "[1*]c1ccccc1",
)  # fmt: skip
ELEMENTS = (6, 7, 8, 16)
CUTTABLE = Chem.MolFromSmarts("[!#0]-;!@[!#0]")


@dataclass(frozen=True, slots=True, order=True)
class Grown:
    """A molecule with its similarity to the target, by flat SMILES."""

    similarity: float
    smiles: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a molecule with one open end (an atom ``[1*]``), and by how many environments the target explains it."""

    mol: Chem.Mol = field(repr=False)
    score: float


def pieces_of(mol: Chem.Mol, target: Bits, space: MoleculeSpace) -> Iterator[Piece]:
    """Yield both sides of every single bond outside rings, each with the agreement of its own atoms."""
    agreement = space.agreement(mol, target)
    for begin, end in mol.GetSubstructMatches(CUTTABLE):
        bond = mol.GetBondBetweenAtoms(begin, end).GetIdx()
        cut = Chem.FragmentOnBonds(mol, [bond], dummyLabels=[(1, 1)])
        places: list[tuple[int, ...]] = []
        parts = Chem.GetMolFrags(cut, asMols=True, sanitizeFrags=False, fragsMolAtomMapping=places)
        for part, atoms in zip(parts, places, strict=True):
            own = [atom for atom in atoms if atom < len(agreement)]
            yield Piece(part, float(agreement[own].sum()))


def opened(mol: Chem.Mol) -> Iterator[Chem.Mol]:
    """Yield ``mol`` with each of its hydrogens, one a heavy atom, taken away for an open end."""
    for atom in mol.GetAtoms():
        if not atom.GetTotalNumHs():
            continue
        edited = Chem.RWMol(mol)
        end = edited.AddAtom(Chem.Atom(0))
        edited.GetAtomWithIdx(end).SetIsotope(1)
        edited.AddBond(atom.GetIdx(), end, Chem.BondType.SINGLE)
        base = edited.GetAtomWithIdx(atom.GetIdx())
        if base.GetNumExplicitHs():
            base.SetNumExplicitHs(base.GetNumExplicitHs() - 1)
        yield edited.GetMol()


def changed(mol: Chem.Mol, worst: Iterable[int]) -> Iterator[Chem.Mol]:
    """Yield ``mol`` with another element in the place of each atom in ``worst``."""
    for number in worst:
        for element in ELEMENTS:
            if mol.GetAtomWithIdx(number).GetAtomicNum() == element:
                continue
            edited = Chem.RWMol(mol)
            edited.GetAtomWithIdx(number).SetAtomicNum(element)
            edited.GetAtomWithIdx(number).SetFormalCharge(0)
            edited.GetAtomWithIdx(number).SetNumExplicitHs(0)
            yield edited.GetMol()


def _zip() -> Chem.MolzipParams:
    parameters = Chem.MolzipParams()
    parameters.label = Chem.MolzipLabel.Isotope
    return parameters


JOIN = _zip()


@dataclass(slots=True)
class Search:
    """One search: what was tried, what is left of its budget, and the best so far."""

    target: Bits
    space: MoleculeSpace
    left: int
    tried: set[str] = field(default_factory=set)
    seen: dict[str, Grown] = field(default_factory=dict)
    mols: dict[str, Chem.Mol] = field(default_factory=dict)

    def take(self, mol: Chem.Mol) -> None:
        """Weigh ``mol`` unless it was weighed before or the budget is spent."""
        text = flat_smiles(mol)
        if self.left <= 0 or text in self.tried:
            return
        self.tried.add(text)
        self.left -= 1
        # Reading the text back is the test that such a molecule exists, and drops written-out hydrogens.
        found = Chem.MolFromSmiles(text)
        name = "*" if found is None else flat_smiles(found)
        if name not in self.seen and "*" not in name and "." not in name:
            self.seen[name] = Grown(tanimoto(self.space.of(found), self.target), name)
            self.mols[name] = found

    def beam(self) -> list[Grown]:
        """Return the best molecules, the best first."""
        return sorted(self.seen.values(), reverse=True)[:WIDTH]


def _offcuts(mols: Iterable[Chem.Mol], search: Search, known: Sequence[Piece] = ()) -> list[Piece]:
    """Return the pieces of ``mols`` and those that are ``known``: the ones that the target explains best, each once."""
    best = {flat_smiles(piece.mol): piece for piece in known}
    for mol in mols:
        for piece in pieces_of(mol, search.target, search.space):
            name = flat_smiles(piece.mol)
            if name not in best or best[name].score < piece.score:
                best[name] = piece
    return sorted(best.values(), key=lambda piece: -piece.score)[:PIECES]


def _step(parent: Chem.Mol, pieces: Sequence[Piece], search: Search) -> None:
    """Try the neighbours of ``parent``: a piece in the place of another, a piece in the place of a hydrogen, an element."""
    agreement = search.space.agreement(parent, search.target)
    worst = np.argsort(agreement)[:OPEN]
    for mol in changed(parent, worst.tolist()):
        search.take(mol)
    kept = sorted(pieces_of(parent, search.target, search.space), key=lambda piece: -piece.score)[:OPEN]
    for mol in [*(piece.mol for piece in kept), *opened(parent)]:
        for piece in pieces:
            if search.left <= 0:
                return
            search.take(Chem.molzip(mol, piece.mol, JOIN))


def grow(target: Bits, library: Sequence[str], space: MoleculeSpace, *, evaluations: int) -> Grown:
    """Return the molecule whose bits came nearest to ``target``.

    Args:
        library: SMILES of compounds like the target: where the search begins, and whose pieces it joins.
        evaluations: fingerprints that may be computed.

    >>> space = MoleculeSpace(radius=3, bits=2048, order=np.zeros(0, dtype=np.int32))
    >>> target = space.of(Chem.MolFromSmiles("CCOc1ccc(Cl)cc1"))
    >>> grow(target, ["CCOc1ccccc1", "Clc1ccc(Br)cc1"], space, evaluations=800)
    Grown(similarity=1.0, smiles='CCOc1ccc(Cl)cc1')
    """
    search = Search(target, space, evaluations)
    with quiet():
        parents = [mol for mol in map(Chem.MolFromSmiles, library) if mol is not None]
        for mol in parents:
            search.take(mol)
        done: set[str] = set()
        pieces = _offcuts(parents, search)
        small = [Piece(Chem.MolFromSmiles(text, sanitize=False), 0.0) for text in SUBSTITUENTS]
        while search.left > 0 and search.beam() and search.beam()[0].similarity < 1.0:
            fresh = [one for one in search.beam() if one.smiles not in done]
            if not fresh:
                break
            pieces = _offcuts([search.mols[one.smiles] for one in fresh], search, pieces)
            done.add(fresh[0].smiles)
            _step(search.mols[fresh[0].smiles], [*pieces, *small], search)
    return max(search.seen.values(), default=Grown(0.0, ""))
