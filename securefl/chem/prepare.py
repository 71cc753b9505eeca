"""From a table to a dataset folder: structures, replicates, folds, partners, tasks, fingerprints.

Names never decide anything: compounds are in the order of their InChIKeys, tasks and partners in the order of a hash of
their content. Renaming an assay or a partner leaves every array as it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securefl.chem.cache import describe_cached
from securefl.chem.compounds import Description, Recipe
from securefl.chem.dataset import Activities, Dataset, Fold
from securefl.chem.division import Material, divide
from securefl.chem.encoding import Encoding
from securefl.chem.fingerprint import fold_bits, fold_counts
from securefl.chem.folder import check_free, prepared, save
from securefl.chem.folds import audit_mask, clusters, minhash_clusters, random_folds, scaffold_folds, time_folds
from securefl.chem.keyed import bit_order, key_check
from securefl.chem.partners import Groups, task_digests
from securefl.chem.plausible import plausible
from securefl.chem.rejects import Reject, Stage, summarise
from securefl.chem.replicates import Cells, merge_replicates
from securefl.chem.standardise import Rules
from securefl.chem.table import PLAIN, Labels, Role, Table
from securefl.chem.tasks import OwnedTasks
from securefl.chem.thresholds import with_thresholds
from securefl.config import DataConfig
from securefl.errors import InputError
from securefl.types import Progress, Secret, silent


@dataclass(frozen=True, slots=True)
class Compounds:
    """The table's compounds in the order of their InChIKeys, and the compound of each distinct SMILES (-1: refused)."""

    found: list[Description]
    of_smiles: NDArray[np.int64]

    @property
    def inchikeys(self) -> list[str]:
        """InChIKeys, ascending."""
        return [one.inchikey for one in self.found]

    @property
    def scaffolds(self) -> list[str]:
        """Scaffold names, in the compounds' order."""
        return [one.scaffold for one in self.found]

    def groups(self, config: DataConfig, key: Secret) -> list[str]:
        """Return the name of each compound's cluster: its scaffold, or its min-hash where the folds go by that."""
        if config.folds == "cluster":
            return minhash_clusters([one.hashes for one in self.found], self.inchikeys, key=key)
        return self.scaffolds


def prepare(
    table: Table,
    config: DataConfig,
    out: Path,
    *,
    key: Secret,
    rules: Rules | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Write the dataset of ``table`` to the folder ``out`` and return it; the same request again returns what is there.

    Args:
        key: 32 bytes that all partners share: folds, audit draw, bit order (see :mod:`securefl.chem.keyed`).
        rules: how structures are standardised.
        cache: folder for described structures, which another preparation of the same structures reads.

    Raises:
        InputError: nothing usable is left (with the reasons), or ``out`` holds something else.
    """
    recipe = Recipe(rules or Rules(), config.radius)
    request = _request(table, config, key, recipe)
    there = prepared(out, request)
    if there is not None:
        return there
    check_free(out)
    # Structures are the slow part: what a killed run had finished lies beside its output until the output is complete.
    kept = out.with_name(out.name + ".unfinished") if cache is None else cache
    descriptions = describe_cached(table.smiles.names, recipe, kept, progress)
    dataset, rejects, counts = build(table, descriptions, config, key=key)
    encoding = Encoding(
        bits=config.bits,
        radius=config.radius,
        counts=config.counts,
        rules=recipe.rules,
        key_check=key_check(key),
        seed=config.seed,
    )
    about = {**counts, "notes": list(table.notes), "encoding": encoding.as_json(), "config": config.model_dump(mode="json")}
    saved = save(replace(dataset, encoding=encoding), out, rejects, request=request, about=about)
    if cache is None:
        shutil.rmtree(kept, ignore_errors=True)
    return saved


def build(
    table: Table, descriptions: list[Description], config: DataConfig, *, key: Secret
) -> tuple[Dataset, list[Reject], dict[str, int]]:
    """Return the dataset of ``table`` in memory, its rejects, and the counts of what happened to the rows.

    ``descriptions`` belong to ``table.smiles.names``, one each. A row of which thresholds make several tasks counts once for
    each of them.

    Raises:
        InputError: nothing usable is left.
    """
    if config.split == "column":
        table = _by_owner(table)
    table = plausible(table, config.min_value, config.max_value)
    table = with_thresholds(table, config.thresholds, keep_values=config.keep_values)
    compounds = _unique(descriptions)
    rejects = list(table.rejects) + _structure_rejects(table, descriptions)
    compound = compounds.of_smiles[table.smiles.code]
    good = compound >= 0
    if not good.any():
        raise InputError(f"{table.name}: no parsable SMILES: {summarise(rejects)}")
    sources, labels, roles = _sources(table, config)
    classes = _are_classes(sources, table.value)
    rows = Cells(sources[good], compound[good], table.value[good], table.relation[good], table.row[good])
    # A class is never censored: what a qualifier beside a 0 or 1 was meant to say, nobody knows. They are counted.
    ignored = int((rows.relation[classes[rows.source]] != 0).sum())
    rows.relation[classes[rows.source]] = 0
    merged = merge_replicates(rows, classes, max_spread=config.max_spread)
    rejects += merged.rejects
    if not len(merged.cells):
        raise InputError(f"{table.name}: no value is left: {summarise(rejects)}")
    names = compounds.groups(config, key)
    base = _folds(table, compounds, names, config, key)
    fold = base.copy()
    fold[audit_mask(compounds.inchikeys, config.audit_fraction, key=key)] = Fold.AUDIT
    digests = task_digests(merged.cells, compounds.inchikeys)
    groups = Groups(clusters(names), names, base)
    material = Material(merged.cells, compounds.inchikeys, digests, labels, roles, classes, groups, fold)
    owned = divide(material, config, key)
    rejects += owned.rejects
    dataset = _dataset(compounds, owned, material, config, key)
    counts = {
        "rows": len(table) + len(table.rejects), "rejects": len(rejects), "merged": merged.merged,
        "qualifiers_of_classes_ignored": ignored,
    }  # fmt: skip
    dataset = replace(
        dataset, name=table.name, licence=table.licence, citation=table.citation, rejects=len(rejects)
    )
    return dataset, rejects, counts


def _dataset(compounds: Compounds, owned: OwnedTasks, material: Material, config: DataConfig, key: Secret) -> Dataset:
    """Return the dataset of the compounds that some task uses."""
    used, compound_row = np.unique(owned.cells.compound, return_inverse=True)
    kept = [compounds.found[i] for i in used]
    order = bit_order(key, config.bits)
    if config.counts:
        matrix = fold_counts(((one.hashes, one.counts) for one in kept), config.bits, order=order)
    else:
        matrix = fold_bits((one.hashes for one in kept), config.bits, order=order)
    return Dataset(
        inchikeys=tuple(one.inchikey for one in kept),
        smiles=tuple(one.smiles for one in kept),
        fingerprints=matrix,
        fold=material.fold[used],
        cluster=clusters([material.groups.scaffolds[i] for i in used]),
        tasks=owned.tasks,
        partners=owned.partners,
        activities=Activities(
            owned.cells.source.astype(np.int32),
            compound_row.astype(np.int32),
            owned.cells.value.astype(np.float32),
            owned.cells.relation,
        ),
        sha256="",
    )


def _request(table: Table, config: DataConfig, key: Secret, recipe: Recipe) -> str:
    content = [table.sha256(), config.model_dump(mode="json"), key_check(key), recipe.identity()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _unique(descriptions: list[Description]) -> Compounds:
    """One compound per InChIKey; of several standardised structures the alphabetically first stands for it."""
    best: dict[str, Description] = {}
    for one in descriptions:
        if not one.reason and (one.inchikey not in best or one.smiles < best[one.inchikey].smiles):
            best[one.inchikey] = one
    number = {inchikey: i for i, inchikey in enumerate(sorted(best))}
    of_smiles = np.array([-1 if one.reason else number[one.inchikey] for one in descriptions], dtype=np.int64)
    return Compounds([best[inchikey] for inchikey in number], of_smiles)


def _structure_rejects(table: Table, descriptions: list[Description]) -> list[Reject]:
    reasons = [one.reason for one in descriptions]
    refused = np.array([bool(reason) for reason in reasons], dtype=bool)[table.smiles.code]
    return [
        Reject(int(table.row[i]), Stage.STRUCTURE, reasons[table.smiles.code[i]]) for i in np.flatnonzero(refused)
    ]


def _by_owner(table: Table) -> Table:
    """Return ``table`` with a task for each partner's own: what two partners call alike are two assays."""
    if table.partner is None:
        raise InputError(f"{table.name}: split 'column' needs a partner column")
    width = len(table.task.names)
    pairs, code = np.unique(table.partner.code.astype(np.int64) * width + table.task.code, return_inverse=True)
    tasks = (pairs % width).tolist()
    names = Labels(tuple(table.task.names[task] for task in tasks), code.astype(np.int32))
    return replace(table, task=names, roles=tuple(table.roles[task] for task in tasks) if table.roles else ())


def _sources(table: Table, config: DataConfig) -> tuple[NDArray[np.int64], list[tuple[str, str]], tuple[Role, ...]]:
    """Number the table's tasks that have a row; with each one's (partner, task), the partner where that owns it, and role."""
    tasks, first, source = np.unique(table.task.code, return_index=True, return_inverse=True)
    owners = table.partner if config.split == "column" else None
    partner = [owners.names[owners.code[row]] if owners else "" for row in first]
    roles = table.roles or (PLAIN,) * len(table.task.names)
    labels = [(who, table.task.names[task]) for who, task in zip(partner, tasks, strict=True)]
    return source.astype(np.int64), labels, tuple(roles[task] for task in tasks)


def _are_classes(source: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which tasks hold nothing but 0 and 1."""
    other = (value != 0) & (value != 1)
    return np.asarray(np.bincount(source[other], minlength=int(source.max()) + 1) == 0)


def _folds(table: Table, compounds: Compounds, names: list[str], config: DataConfig, key: Secret) -> NDArray[np.int8]:
    """Return the fold of each compound, ``names`` its cluster, before the audit fold is taken out.

    Raises:
        InputError: folds by time need a time column.
    """
    if config.folds in ("scaffold", "cluster"):
        return scaffold_folds(names, key=key)
    if config.folds == "random":
        return random_folds(compounds.inchikeys, key=key)
    if table.time is None or np.isnan(table.time).all():
        raise InputError(f"{table.name}: folds 'time' need a time column")
    first = np.full(len(compounds.found), np.inf)
    compound = compounds.of_smiles[table.smiles.code]
    timed = (compound >= 0) & ~np.isnan(table.time)
    np.minimum.at(first, compound[timed], table.time[timed])
    return time_folds(np.where(np.isinf(first), np.nan, first))
