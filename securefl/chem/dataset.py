"""A prepared dataset: compounds, fingerprints, folds, and each partner's tasks and activities.

On disk it is a folder: ``compounds.parquet`` (inchikey, smiles, cluster, fold), ``fingerprints.npz`` (CSR without pickle),
``tasks.parquet`` (partner, name, kind, weight, judged), ``activities.parquet`` (task, compound, value, relation),
``rejects.csv`` and ``manifest.json`` with the SHA-256 of each file. Names of tasks and partners are for their owners: nothing
of them enters a federated message.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from securefl.chem.encoding import Encoding
from securefl.chem.graphs import MoleculeGraphs
from securefl.errors import InputError


class Fold(IntEnum):
    """What a compound is used for, the same at every partner.

    AUDIT compounds are drawn at random by InChIKey and never trained on and never tested on: they are the non-members of
    every membership attack. The other three are whole scaffold clusters (or what :mod:`securefl.chem.folds` was asked for).
    """

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    AUDIT = 3


class TaskKind(Enum):
    """What a task's values mean."""

    REGRESSION = "regression"
    CLASSIFICATION = "classification"


class Relation(IntEnum):
    """How the true value relates to the reported one: ``LESS`` means it lies below (left-censored)."""

    LESS = -1
    EQUAL = 0
    GREATER = 1


@dataclass(frozen=True, slots=True)
class Task:
    """One assay of one partner. ``partner`` counts from 0; ``name`` is private to that partner.

    ``weight`` multiplies its losses in training. A task that is not ``judged`` is trained and enters no metric: an
    auxiliary one, or one that has too few test values.
    """

    partner: int
    name: str
    kind: TaskKind = TaskKind.REGRESSION
    weight: float = 1.0
    judged: bool = True


@dataclass(frozen=True, slots=True)
class Activities:
    """Measured cells in columns of equal length: ``task`` and ``compound`` are row numbers, ``value`` is pX or 0/1."""

    task: NDArray[np.int32]
    compound: NDArray[np.int32]
    value: NDArray[np.float32]
    relation: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.task)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Activities:
        """Return the cells that ``rows`` (a mask or row numbers) picks, in that order."""
        return Activities(self.task[rows], self.compound[rows], self.value[rows], self.relation[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Everything that training, evaluation and attacks read. Rows of all compound arrays are in the same order.

    Attributes:
        fingerprints: CSR uint8, shape (n_compounds, n_bits), indices sorted, every stored value 1; or, where preparation
            was asked for counts, how often the environments of a column occur.
        fold: int8, shape (n_compounds,), values of :class:`Fold`.
        cluster: int32, shape (n_compounds,), the scaffold cluster: the unit of every bootstrap over compounds.
        sha256: hash over the dataset's files (or content, for one built in memory), hex.
        encoding: how structures became fingerprints, where that is known: what new molecules need for a prediction.
        graphs: the molecules as graphs, for models that read them; never part of the dataset's files or hash.
    """

    inchikeys: tuple[str, ...]
    smiles: tuple[str, ...]
    fingerprints: sp.csr_matrix
    fold: NDArray[np.int8]
    cluster: NDArray[np.int32]
    tasks: tuple[Task, ...]
    partners: tuple[str, ...]
    activities: Activities
    sha256: str
    name: str = "dataset"
    licence: str = "not stated"
    citation: str = "not stated"
    rejects: int = 0
    encoding: Encoding | None = None
    graphs: MoleculeGraphs | None = None

    def __post_init__(self) -> None:
        n = len(self.inchikeys)
        lengths = {
            "smiles": len(self.smiles),
            "fingerprints": self.fingerprints.shape[0],
            "fold": len(self.fold),
            "cluster": len(self.cluster),
        }
        for name, length in lengths.items():
            if length != n:
                raise InputError(f"dataset: {name} has {length} rows, must be {n}")
        if not np.isfinite(self.activities.value).all():
            raise InputError("dataset: activities hold NaN or infinite values")

    @property
    def bits(self) -> int:
        """Number of fingerprint bits."""
        return int(self.fingerprints.shape[1])

    def partner_number(self, name: str = "") -> int:
        """Return the row number of the partner of that name, or of that number from 1; of the only one if no name is given.

        Raises:
            InputError: there is none, or no name is given and there are several.
        """
        if name in self.partners:
            return self.partners.index(name)
        if not name and len(self.partners) == 1:
            return 0
        if name.isdecimal() and 1 <= int(name) <= len(self.partners):
            return int(name) - 1
        raise InputError(f"partner {name!r} is unknown, must be one of {', '.join(self.partners)} or 1..{len(self.partners)}")

    def tasks_of(self, partner: int) -> NDArray[np.int32]:
        """Return the row numbers of the tasks that ``partner`` owns, shape (k,)."""
        return np.array([i for i, task in enumerate(self.tasks) if task.partner == partner], dtype=np.int32)

    def cells(self, partner: int | None = None, fold: Fold | None = None) -> Activities:
        """Return the activities of one partner (or of all) in one fold (or in all)."""
        keep = np.ones(len(self.activities), dtype=bool)
        if partner is not None:
            owner = np.array([task.partner for task in self.tasks], dtype=np.int32)
            keep &= owner[self.activities.task] == partner
        if fold is not None:
            keep &= self.fold[self.activities.compound] == fold
        return self.activities.select(keep)
