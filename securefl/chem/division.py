"""Division: which partner gets which cells, and the tasks that every partner is left with.

The rehearsal of a consortium on one table: the table says who owns a row, or tasks or series are dealt out until every
partner has a task that meets the quorum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.chem.partners import Groups, Plan, by_series, by_target
from securefl.chem.rejects import summarise
from securefl.chem.replicates import Cells
from securefl.chem.table import Role
from securefl.chem.tasks import Owned, OwnedTasks, Quorum, own_tasks
from securefl.config import DataConfig
from securefl.errors import InputError
from securefl.types import Secret

SMALL_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Material:
    """What the division among partners reads: cells without replicates, and what is known of their compounds and tasks."""

    cells: Cells
    inchikeys: list[str]
    digests: list[str]
    labels: list[tuple[str, str]]
    roles: tuple[Role, ...]
    classes: NDArray[np.bool_]
    groups: Groups
    fold: NDArray[np.int8]


def divide(material: Material, config: DataConfig, key: Secret) -> OwnedTasks:
    """Return the tasks that partners own. A small partner whose tasks miss the quorum gets the next ones of its draw.

    Raises:
        InputError: a partner stays without a task.
    """
    quorum = Quorum(
        config.min_train, config.min_test, config.min_train_class, config.min_test_class, config.unjudged == "train"
    )
    names = tuple(name for _, name in material.labels)
    owned: OwnedTasks | None = None
    for attempt in range(SMALL_ATTEMPTS if config.split == "series" else 1):
        partner, partners = _assign(material, config, key, attempt)
        owned = own_tasks(
            Owned(material.cells, partner, partners, names, material.classes, material.roles),
            material.fold,
            material.inchikeys,
            quorum,
        )
        if config.split == "column" or len(owned.partners) == config.partners:
            return owned
    left, why = (0, "no attempt") if owned is None else (len(owned.partners), summarise(owned.rejects))
    raise InputError(
        f"partners={config.partners}: only {left} of them have a task left ({why}): "
        "use fewer partners, or lower the quorum (min_train, min_test, min_train_class, min_test_class)"
    )


def _assign(
    material: Material, config: DataConfig, key: Secret, attempt: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return each cell's partner and the partners' names."""
    if config.split == "column":
        return _by_column(material.cells, material.digests, material.labels)
    plan = Plan(
        partners=config.partners,
        small_compounds=config.small_partner_compounds,
        equal=config.sizes == "equal",
        key=key,
        attempt=attempt,
    )
    names = tuple(f"partner-{i + 1}" for i in range(config.partners))
    if config.split == "target":
        return by_target(material.cells, material.digests, plan), names
    return by_series(material.cells, material.digests, material.groups, plan), names


def _by_column(
    cells: Cells, digests: list[str], labels: list[tuple[str, str]]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Order the partners by the content of their tasks, so that their names decide nothing."""
    content: dict[str, list[str]] = {}
    for source, digest in enumerate(digests):
        content.setdefault(labels[source][0], []).append(digest)
    names = tuple(sorted(content, key=lambda name: sorted(content[name])))
    number = {name: i for i, name in enumerate(names)}
    owner = np.array([number[labels[source][0]] for source in range(len(digests))], dtype=np.int64)
    return owner[cells.source], names

