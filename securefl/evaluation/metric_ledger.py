"""What a partner lets out of its own metrics: its ledger of opened sums, and the two ways in which they must not be combined.

Over partners: the same inputs summed over two cohorts differ by the partners who are in one alone. The rank test of
:class:`securefl.secagg.ledger.Ledger` refuses a cohort that, with earlier ones, would show too few partners.

Over tasks: the same metric asked for two groups of tasks differs by the tasks that are in one alone. Every linear combination
of released sums is constant on the *atoms* of the groups that were asked (tasks that are in exactly the same ones), so what it
shows is a union of atoms. A group is refused if with earlier ones it would cut any of them into an atom of fewer than
``min_tasks`` own tasks. A group that was never cut may be small: it hides among the other partners' tasks, like any first
release.

Inputs are the same if the partner's own values of the metric are, whatever the operator calls the model. What is NOT covered:
two models that hardly differ have different values; and what partners know of each other from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from securefl.crypto.domain import Usage, tag
from securefl.errors import AbortReason, InputError, ProtocolAbort
from securefl.evaluation.metrics import Floats
from securefl.files import write_durably
from securefl.secagg.ledger import Ledger
from securefl.secagg.policy import Policy
from securefl.types import ClientId

COHORTS_FILE = "cohorts.json"
TASKS_FILE = "tasks.json"
WIRE_ID = b"metrics/1"


def lineage_of(question: str, values: Floats) -> bytes:
    """Return 32 bytes for a partner's inputs to ``question``: its own values of that metric, all of its tasks, in order."""
    return hashlib.sha256(tag(WIRE_ID, Usage.METRIC, question.encode(), values.tobytes())).digest()


class MetricLedger:
    """One partner's ledger of the metrics that it helped to open, kept in ``folder`` if there is one.

    The folder is the partner's own: it names the numbers of its tasks.
    """

    def __init__(self, clients: Iterable[ClientId], policy: Policy, *, min_tasks: int, folder: Path | None = None) -> None:
        """Open the ledger.

        Raises:
            InputError: the folder holds something that is no ledger, or can't be made.
            ParameterError: the roster has too many subsets to test.
        """
        self._min_tasks = min_tasks
        self._path = folder / TASKS_FILE if folder else None
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise InputError(f"can't make {folder}: {error.strerror}") from error
        self._cohorts = Ledger(clients, policy, path=folder / COHORTS_FILE if folder else None)
        self._groups = _load(self._path) if self._path is not None and self._path.exists() else {}

    def admit(self, lineage: bytes, *, cohort: frozenset[ClientId], tasks: frozenset[int], round: int) -> None:
        """Record that the sum over ``cohort`` and over the own ``tasks`` is opened; written before it returns.

        Raises:
            ProtocolAbort: DIFFERENCING, with what would be shown; nothing is recorded.
        """
        groups = self._groups.get(lineage, [])
        cut = smallest_cut([*groups, tasks])
        if tasks not in groups and cut is not None and len(cut) < self._min_tasks:
            detail = f"groups of tasks over the same values show {len(cut)} own tasks, must be >= {self._min_tasks}"
            raise ProtocolAbort(AbortReason.DIFFERENCING, round=round, detail=detail)
        self._cohorts.admit(lineage, cohort, round=round)
        if tasks in groups:
            return
        self._groups[lineage] = [*groups, tasks]
        if self._path is not None:
            content = {key.hex(): [sorted(group) for group in found] for key, found in self._groups.items()}
            write_durably(self._path, json.dumps(content).encode())


def smallest_cut(groups: Sequence[frozenset[int]]) -> frozenset[int] | None:
    """Return the smallest atom that is only a part of some group, ``None`` if no group is cut.

    >>> sorted(smallest_cut([frozenset({1, 2, 3}), frozenset({1, 2})]))
    [3]
    >>> smallest_cut([frozenset({1, 2}), frozenset({3})]) is None
    True
    """
    atoms: dict[tuple[bool, ...], set[int]] = {}
    for task in frozenset().union(*groups):
        atoms.setdefault(tuple(task in group for group in groups), set()).add(task)
    parts = [
        frozenset(atom)
        for inside, atom in atoms.items()
        if any(within and len(atom) < len(group) for within, group in zip(inside, groups, strict=True))
    ]
    return min(parts, key=lambda atom: (len(atom), sorted(atom)), default=None)


def _load(path: Path) -> dict[bytes, list[frozenset[int]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {bytes.fromhex(key): [frozenset(map(int, group)) for group in found] for key, found in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"ledger {path} can't be read: {error}") from error
