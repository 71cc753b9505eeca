"""One molecule: from SMILES to a standardised structure, its InChIKey, its scaffold, or the reason why not.

Each molecule is handled on its own, so that a batch and a single molecule give the same result. Steps, in order: parse,
size limit, largest organic fragment, normalise functional groups, neutralise, canonical tautomer (optional, capped:
219 instead of 59 molecules a second at the same answer in 99.5 %), drop stereo (optional).

Two limits stand between a molecule and endless tautomers. ``max_tautomers`` is a count, so it decides alike on every
machine: where it is reached, the best-scored tautomer found so far is taken, from the canonical SMILES on, so that two
spellings agree. ``tautomer_seconds`` is a clock and depends on the load: a molecule that passes it is therefore refused,
with that reason, never kept in another form.

Speed: a molecule without a charge or an unusual valence is not shown to RDKit's normaliser and neutraliser, which would
return it as it is, and a SMILES that is canonical already is parsed once. Neither changes a result (tests compare).

What is NOT done: no salt dictionary, no metal disconnection, no check of the chemistry beyond RDKit's sanitisation. Only
tautomers have a time limit; the other steps are bounded by the size limits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from rdkit import Chem, rdBase
from rdkit.Chem import rdinchi
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold

from securefl.errors import ParameterError

# RDKit writes a line to stderr for every molecule that it dislikes; the same facts go to rejects.csv.
rdBase.DisableLog("rdApp.*")

# RDKit's Python layer has no annotations; its C++ layer has.
_inchikey: Callable[[Chem.Mol, str], str] = rdinchi.MolToInchiKey
_scaffold: Callable[[Chem.Mol], Chem.Mol] = MurckoScaffold.GetScaffoldForMol
_generic: Callable[[Chem.Mol], Chem.Mol] = MurckoScaffold.MakeScaffoldGeneric

WITHOUT_AUXILIARY = "/AuxNone"
"""InChI's record of how the atoms were numbered goes into no key: a fourteenth of the time of a key."""
MAX_SMILES_LEN = 5_000
"""A longer text is no small molecule, and parsing it could take minutes."""
SKELETON_SIZE = 14
"""Letters of an InChIKey that hash the connectivity alone: stereoisomers share them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How to standardise. ``max_heavy_atoms`` is checked before anything slow runs."""

    normalise: bool = True
    uncharge: bool = True
    tautomer: bool = False
    max_tautomers: int = 100
    tautomer_seconds: float = 10.0
    keep_stereo: bool = True
    min_heavy_atoms: int = 1
    max_heavy_atoms: int = 100
    generic_scaffold: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.min_heavy_atoms <= self.max_heavy_atoms:
            raise ParameterError(f"min_heavy_atoms={self.min_heavy_atoms} must be in 1..{self.max_heavy_atoms}")
        if self.max_tautomers < 1:
            raise ParameterError(f"max_tautomers={self.max_tautomers} must be >= 1")
        if not self.tautomer_seconds > 0:
            raise ParameterError(f"tautomer_seconds={self.tautomer_seconds} must be > 0")


@dataclass(frozen=True, slots=True)
class Structure:
    """A standardised molecule. ``scaffold`` names its cluster (:func:`scaffold_of`)."""

    mol: Chem.Mol
    inchikey: str
    smiles: str
    scaffold: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a SMILES gave no structure."""

    reason: str


def standardise(smiles: str, rules: Rules) -> Structure | Refusal:
    """Return the standardised structure of ``smiles``, or why there is none."""
    if len(smiles) > MAX_SMILES_LEN:
        return Refusal(f"SMILES has {len(smiles)} characters, must be <= {MAX_SMILES_LEN}")
    try:
        return _standardised(smiles, rules)
    except (ValueError, RuntimeError) as error:  # RDKit's sanitisation errors derive from ValueError
        reason = str(error).strip() or type(error).__name__
        return Refusal(f"can't be standardised: {reason.splitlines()[0]}")


def _standardised(smiles: str, rules: Rules) -> Structure | Refusal:
    parsed = Chem.MolFromSmiles(smiles)
    if parsed is None:
        return Refusal("SMILES can't be parsed")
    mol = _cleaned(parsed, smiles, rules)
    if isinstance(mol, Refusal):
        return mol
    heavy = mol.GetNumHeavyAtoms()
    if not rules.min_heavy_atoms <= heavy <= rules.max_heavy_atoms:
        return Refusal(f"{heavy} heavy atoms, must be {rules.min_heavy_atoms} to {rules.max_heavy_atoms}")
    canonical = Chem.MolToSmiles(mol)
    # The result is a function of the canonical SMILES alone: batch, single and second run agree bit for bit.
    mol = parsed if canonical == smiles else Chem.MolFromSmiles(canonical)
    inchikey = "" if mol is None else _inchikey(mol, WITHOUT_AUXILIARY)
    if not inchikey:
        return Refusal("no InChIKey")
    return Structure(mol, inchikey, canonical, scaffold_of(mol, inchikey, generic=rules.generic_scaffold))


def scaffold_of(mol: Chem.Mol, inchikey: str, *, generic: bool = False) -> str:
    """Return the name of the molecule's scaffold cluster.

    The Bemis-Murcko scaffold without stereo, so that stereoisomers stay together; ``generic`` makes every atom a carbon and
    every bond single (coarser clusters). For an acyclic molecule its whole generic skeleton; where RDKit can't perceive
    either, the connectivity part of the InChIKey, so that every molecule has a fold.
    """
    try:
        core = _scaffold(mol)
        if core.GetNumAtoms() and not generic:
            return Chem.MolToSmiles(core, isomericSmiles=False)
        if core.GetNumAtoms():
            # A carbonyl on the ring survives the first pass as a methyl group: the second one takes it off.
            return Chem.MolToSmiles(_scaffold(_generic(core)))
        return "acyclic:" + Chem.MolToSmiles(_generic(mol))
    except (ValueError, RuntimeError):
        return "unperceived:" + inchikey[:SKELETON_SIZE]


def _cleaned(mol: Chem.Mol, smiles: str, rules: Rules) -> Chem.Mol | Refusal:
    tools = _tools(rules.max_tautomers)
    if "." in smiles and len(Chem.GetMolFrags(mol)) > 1:
        mol = tools.fragment.choose(mol)
    if mol.GetNumHeavyAtoms() > rules.max_heavy_atoms:
        return mol
    if mol.HasSubstructMatch(tools.unusual):
        # A charge is unusual too, and the normaliser makes none in a molecule that it returns as it is.
        if rules.normalise:
            mol = tools.normalizer.normalize(mol)
        if rules.uncharge and mol.HasSubstructMatch(tools.charged):
            mol = tools.uncharger.uncharge(mol)
    if rules.tautomer:
        found = _tautomer(mol, tools, rules)
        if isinstance(found, Refusal):
            return found
        mol = found
    if not rules.keep_stereo:
        mol = Chem.Mol(mol)
        Chem.RemoveStereochemistry(mol)
    return mol


def _tautomer(mol: Chem.Mol, tools: _Tools, rules: Rules) -> Chem.Mol | Refusal:
    """Return the canonical tautomer, or the best-scored one of the first ``max_tautomers``."""
    tools.deadline.until = time.monotonic() + rules.tautomer_seconds
    # Which tautomers come before the cap depends on the order of the atoms: the canonical one, whatever the spelling was.
    found = tools.tautomers.Enumerate(Chem.MolFromSmiles(Chem.MolToSmiles(mol)))
    if found.status == rdMolStandardize.TautomerEnumeratorStatus.Canceled:
        return Refusal(f"tautomers took longer than {rules.tautomer_seconds:g} s")
    return tools.tautomers.PickCanonical(found)


class _Deadline(rdMolStandardize.TautomerEnumeratorCallback):
    """Asked by RDKit after each transform whether to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.until = 0.0

    def __call__(self, mol: Chem.Mol, result: object) -> bool:  # type: ignore[override]
        """Return whether there is time left."""
        return time.monotonic() < self.until


@dataclass(frozen=True, slots=True)
class _Tools:
    """RDKit's objects, made once a process: building them costs more than a molecule."""

    fragment: rdMolStandardize.LargestFragmentChooser
    normalizer: rdMolStandardize.Normalizer
    uncharger: rdMolStandardize.Uncharger
    tautomers: rdMolStandardize.TautomerEnumerator
    deadline: _Deadline
    unusual: Chem.Mol
    charged: Chem.Mol


UNUSUAL = "[!+0,SX3,#7v5,#15,#33,#51]"
"""Every transform of RDKit's normaliser has such an atom on its left side: a charge, a sulfoxide's sulphur, N(V), P, As, Sb."""


@lru_cache(maxsize=4)
def _tools(max_tautomers: int) -> _Tools:
    enumerator, deadline = rdMolStandardize.TautomerEnumerator(), _Deadline()
    enumerator.SetMaxTautomers(max_tautomers)
    enumerator.SetMaxTransforms(max_tautomers)
    enumerator.SetCallback(deadline)
    return _Tools(
        rdMolStandardize.LargestFragmentChooser(preferOrganic=True),
        rdMolStandardize.Normalizer(),
        rdMolStandardize.Uncharger(),
        enumerator,
        deadline,
        Chem.MolFromSmarts(UNUSUAL),
        Chem.MolFromSmarts("[!+0]"),
    )
