"""What a partner lets out of its own metrics: the same values in one sum, and never in another.

Two sums over the same values differ by what is in one alone: a partner that left meanwhile, a task that one of them lacks. So
a partner helps to open its values once. Asked again for the same ones it insists on the same cohort, the same own tasks, and
the same numbers of partners and of tasks, which are opened first: whoever has no answer sends zeros, and shows in these alone.
A difference of two models tells either side where the other is known, so it counts as a sum over both sides' values too.

Values are the same if they are to six decimals, whatever the operator calls the model. What is NOT covered: two models that
hardly differ have different values; sums that differ in the own tasks of *every* partner that has some; two partners that
change places with as many tasks; and what partners know of each other from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from securefl.crypto.domain import Usage, tag
from securefl.errors import AbortReason, InputError, ProtocolAbort
from securefl.evaluation.metrics import Floats
from securefl.files import made, parse_json, write_durably
from securefl.types import ClientId

OPENED_FILE = "opened.json"
WIRE_ID = b"metrics/1"
DECIMALS = 6


def lineage_of(question: str, values: Floats) -> bytes:
    """Return 32 bytes for a partner's inputs to ``question``: its own values of that metric, all of its tasks, in order."""
    # Adding zero makes -0.0 the 0.0 that it is.
    rounded = np.round(values, DECIMALS) + 0.0
    return hashlib.sha256(tag(WIRE_ID, Usage.METRIC, question.encode(), rounded.tobytes())).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A sum as a partner sees it: the cohort, its ``own`` tasks, and how many ``partners`` and ``tasks`` have an answer."""

    cohort: tuple[ClientId, ...]
    own: tuple[int, ...]
    partners: int
    tasks: int


class MetricLedger:
    """One partner's ledger of the metrics that it helped to open, kept in ``folder`` if there is one.

    The folder is the partner's own: it names the numbers of its tasks.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Open the ledger.

        Raises:
            InputError: the folder holds something that is no ledger, or can't be made.
        """
        self._path = made(folder) / OPENED_FILE if folder else None
        self._opened = _load(self._path) if self._path is not None and self._path.exists() else {}

    def admit(self, lineages: Iterable[bytes], opening: Opening, *, round: int) -> None:
        """Record that ``opening`` shows the values of all ``lineages``; written before it returns.

        Raises:
            ProtocolAbort: DIFFERENCING, some of these values were opened in another sum; nothing is recorded.
            InputError: the file can't be written; nothing is recorded.
        """
        asked = {lineage.hex(): opening for lineage in lineages}
        before = next((self._opened[one] for one in asked if self._opened.get(one, opening) != opening), None)
        if before is not None:
            other = ", ".join(one.name for one in fields(Opening) if getattr(before, one.name) != getattr(opening, one.name))
            raise ProtocolAbort(AbortReason.DIFFERENCING, round=round, detail=f"the same values were opened with other {other}")
        if asked.items() <= self._opened.items():
            return
        opened = self._opened | asked
        if self._path is not None:
            write_durably(self._path, json.dumps({lineage: asdict(one) for lineage, one in opened.items()}).encode())
        # After the disk: what could not be written is written at the next try, and not taken for recorded.
        self._opened = opened


def _load(path: Path) -> dict[str, Opening]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        return {
            lineage: Opening(
                cohort=tuple(map(ClientId, one["cohort"])), own=tuple(one["own"]), partners=one["partners"], tasks=one["tasks"]
            )
            for lineage, one in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"ledger {path} can't be read: {error}") from error
