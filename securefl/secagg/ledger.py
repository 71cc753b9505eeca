"""Which sums a client helped to open, and what they say together: the defence against differencing across rounds.

Sums over the *same* inputs (a re-run on the same model, sample counts, metrics on one model) are rows of one matrix over the
rationals. If its row space holds a non-zero vector on fewer than ``minimum + colluders`` partners, the sums together show that
few partners, and the client refuses to sign the survivors. Inputs are the same if their *lineage* is: the model hash, for
updates. Updates of different rounds are different inputs, so a dropout in one round is no differencing; but they are alike
where the model hardly moved, so the ledger reports how exposed the partners would be if they were equal, and the roster says
whether to warn, to insist on a fixed cohort, or to refuse.

What is static and travels in every round (sample weights) is exposed exactly as the report says. Each client keeps a ledger of
its own; nothing here rests on the operator.

A client knows the sums that it took part in, and three sums can show what no two of them do while no partner was in all three.
So clients tell each other what they have on record before they open a further sum over the same inputs (:meth:`Ledger.told`,
:meth:`Ledger.compare`). Under 2t > n + c an honest client that released shares for the sum of an earlier round is among the
signers of any later one, and tells of it. A client whose ledger is lost or put back to an earlier state tells of less: it
counts among the c. A new run has new ledgers, so it must not begin from a model whose sum was opened for other partners.
Decryptors hear nothing of each other, so they open the same inputs for one cohort alone (:meth:`Ledger.admit_cohort`): the
honest one that two openings have in common refuses the second.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from securefl.errors import AbortReason, InputError, ParameterError, ProtocolAbort
from securefl.files import parse_json, write_durably
from securefl.secagg.policy import ExposureRule, Policy
from securefl.types import ClientId, FloatVector

SUBSET_LIMIT = 1_000_000
"""A roster whose subsets of ``minimum + colluders - 1`` partners are more than this is refused: each would be tested."""

_EXPOSURE_SUBSETS = 20_000

Row = list[Fraction]


@dataclass(frozen=True, slots=True)
class Exposure:
    """What all opened updates would show if every round's inputs were the same.

    ``smallest`` are the partners of the smallest combination that was found, ``None`` if none was found within the search.
    ``distance`` is the largest Euclidean distance between two models whose openings are on record: the smaller it is, the
    nearer the updates are to being the same inputs; ``None`` where fewer than two of the models are known.
    """

    openings: int
    rank: int
    smallest: frozenset[ClientId] | None
    distance: float | None = None


class Ledger:
    """One client's record of the sums that it helped to open in a run, kept in ``path`` if there is one."""

    def __init__(
        self, clients: Iterable[ClientId], policy: Policy, *, rule: ExposureRule = ExposureRule.WARN, path: Path | None = None
    ) -> None:
        """Open the ledger.

        Raises:
            ParameterError: the roster has too many subsets to test.
            InputError: ``path`` holds something that is no ledger.
        """
        self._size = policy.minimum + policy.colluders - 1
        self._rule = rule
        self._path = path
        self._rows = _load(path) if path is not None and os.path.lexists(path) else {}
        # Who was in an earlier sum and is on the roster no more is what the difference of the two would show.
        self._clients = tuple(sorted({*clients, *itertools.chain.from_iterable(self._all())}))
        subsets = math.comb(len(self._clients), self._size)
        if subsets > SUBSET_LIMIT:
            n = len(self._clients)
            raise ParameterError(f"{subsets} subsets of {self._size} of {n} partners must be <= {SUBSET_LIMIT}")

    def require(self, lineage: bytes, survivors: frozenset[ClientId], *, round: int) -> None:
        """Check that the sum of ``survivors`` over the inputs of ``lineage`` may be opened; nothing is recorded.

        Raises:
            ProtocolAbort: DIFFERENCING, with the combination that would expose too few partners.
        """
        earlier = self._rows.get(lineage, [])
        if survivors in earlier:
            return
        found = self._combination([*earlier, survivors], self._size)
        if found is not None:
            raise ProtocolAbort(AbortReason.DIFFERENCING, round=round, detail=f"sums over the same inputs: {_written(found)}")
        self._apply_rule(survivors, round)

    def admit(self, lineage: bytes, survivors: frozenset[ClientId], *, round: int) -> None:
        """Record that the sum of ``survivors`` over the inputs of ``lineage`` is opened; written before it returns.

        Raises:
            ProtocolAbort: as :meth:`require`; nothing is recorded.
            InputError: the file can't be written; nothing is recorded.
        """
        self.require(lineage, survivors, round=round)
        earlier = self._rows.get(lineage, [])
        if survivors in earlier:
            return
        rows = {**self._rows, lineage: [*earlier, survivors]}
        if self._path is not None:
            content = {key.hex(): [sorted(row) for row in found] for key, found in rows.items()}
            write_durably(self._path, json.dumps(content).encode())
        # After the disk: what could not be written is written at the next try, and not taken for recorded.
        self._rows = rows

    def admit_cohort(self, lineage: bytes, survivors: frozenset[ClientId], *, round: int) -> None:
        """As :meth:`admit`, for one cohort a lineage: for whoever hears nothing of the sums that others opened.

        Raises:
            ProtocolAbort: as :meth:`require_cohort`.
        """
        self.require_cohort(lineage, survivors, round=round)
        self.admit(lineage, survivors, round=round)

    def require_cohort(self, lineage: bytes, survivors: frozenset[ClientId], *, round: int) -> None:
        """Check what :meth:`admit_cohort` would, and record nothing: what opens nothing in the end must not bind its cohort.

        Raises:
            ProtocolAbort: DIFFERENCING, another cohort's sum over the inputs of ``lineage`` was opened, or as :meth:`require`.
        """
        for earlier in self._rows.get(lineage, []):
            if earlier != survivors:
                detail = f"the sum over these inputs was opened for {sorted(earlier)}, not {sorted(survivors)}"
                raise ProtocolAbort(AbortReason.DIFFERENCING, round=round, detail=detail)
        self.require(lineage, survivors, round=round)

    def told(self, lineage: bytes, survivors: frozenset[ClientId]) -> tuple[frozenset[ClientId], ...]:
        """Return the earlier sums that the others must know of before the sum of ``survivors`` over ``lineage`` is opened.

        Sums that follow from others by addition and subtraction are left out: there are at most as many as clients.
        """
        rows = self._all() if self._rule is ExposureRule.REFUSE else self._rows.get(lineage, [])
        basis = _reduced(self._matrix([survivors]))
        return tuple(row for row in dict.fromkeys(rows) if _extend(basis, *self._matrix([row])))

    def compare(
        self, survivors: frozenset[ClientId], told: Mapping[ClientId, Sequence[frozenset[ClientId]]], *, round: int
    ) -> None:
        """Check the sum of ``survivors`` with what its clients told of earlier sums; nothing is recorded.

        Whether one of them made a sum up can't be seen here, so the refusal names all who told of any: the transcript shows
        which rounds there were, and of a sum that was opened all who helped to open it should have told.

        Raises:
            ProtocolAbort: DIFFERENCING, with the combination that would expose too few partners, and who told.
        """
        rows = sorted(set(itertools.chain.from_iterable(told.values())), key=sorted)
        found = self._combination([*rows, survivors], self._size) if rows else None
        if found is not None:
            tellers = sorted(client for client, sums in told.items() if sums)
            detail = f"sums that no client has all of: {_written(found)}; told by {tellers}"
            raise ProtocolAbort(AbortReason.DIFFERENCING, round=round, detail=detail)

    def exposure(self, models: Mapping[bytes, FloatVector] | None = None) -> Exposure:
        """Return what all openings would show together if the inputs of all rounds were the same.

        Args:
            models: flat models by their hash (the lineage of their updates), as far as this client still has them.
        """
        rows = self._all()
        basis = _reduced(self._matrix(rows))
        smallest = None
        budget = _EXPOSURE_SUBSETS
        for size in range(1, len(self._clients) + 1):
            budget -= math.comb(len(self._clients), size)
            if budget < 0 or smallest is not None:
                break
            found = self._combination(rows, size)
            smallest = None if found is None else frozenset(found)
        known = [models[lineage] for lineage in self._rows if models is not None and lineage in models]
        distances = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(known, 2)]
        return Exposure(openings=len(rows), rank=len(basis), smallest=smallest, distance=max(distances, default=None))

    def _apply_rule(self, survivors: frozenset[ClientId], round: int) -> None:
        rows = self._all()
        match self._rule:
            case ExposureRule.WARN:
                return
            case ExposureRule.FIXED_COHORT:
                if any(row != survivors for row in rows):
                    detail = f"the cohort of this run is {sorted(rows[0])}, not {sorted(survivors)}"
                    raise ProtocolAbort(AbortReason.DIFFERENCING, round=round, detail=detail)
            case ExposureRule.REFUSE:
                found = self._combination([*rows, survivors], self._size)
                if found is not None:
                    detail = f"sums of alike updates: {_written(found)}"
                    raise ProtocolAbort(AbortReason.DIFFERENCING, round=round, detail=detail)

    def _all(self) -> list[frozenset[ClientId]]:
        return list(dict.fromkeys(row for rows in self._rows.values() for row in rows))

    def _matrix(self, rows: Sequence[frozenset[ClientId]]) -> list[Row]:
        return [[Fraction(client in row) for client in self._clients] for row in dict.fromkeys(rows)]

    def _combination(self, rows: Sequence[frozenset[ClientId]], size: int) -> dict[ClientId, Fraction] | None:
        """Return a non-zero combination of the rows on at most ``size`` partners, or ``None``.

        In the reduced echelon form a combination's pivot entries are its coefficients, so only rows whose pivot lies in
        the subset can take part: the test of a subset is a matrix of at most ``size`` rows.
        """
        basis = _reduced(self._matrix(rows))
        for columns in itertools.combinations(range(len(self._clients)), size):
            used = [row for pivot, row in basis.items() if pivot in columns]
            outside = [[entry for column, entry in enumerate(row) if column not in columns] for row in used]
            coefficients = _dependency(outside)
            if coefficients is not None:
                return dict(self._sum(coefficients, used))
        return None

    def _sum(self, coefficients: Sequence[Fraction], rows: Sequence[Row]) -> Iterator[tuple[ClientId, Fraction]]:
        for column, client in enumerate(self._clients):
            entry = sum((c * row[column] for c, row in zip(coefficients, rows, strict=True)), Fraction(0))
            if entry:
                yield client, entry


def _reduced(rows: Iterable[Row]) -> dict[int, Row]:
    """Return the rows' reduced echelon form over the rationals, by pivot column."""
    basis: dict[int, Row] = {}
    for row in rows:
        _extend(basis, row)
    return basis


def _extend(basis: dict[int, Row], row: Row) -> bool:
    """Add ``row`` to a reduced echelon form, in place; return whether it does not follow from the rows before."""
    rest = list(row)
    for pivot, other in basis.items():
        if rest[pivot]:
            rest = [a - rest[pivot] * b for a, b in zip(rest, other, strict=True)]
    pivot = next((column for column, entry in enumerate(rest) if entry), -1)
    if pivot < 0:
        return False
    rest = [entry / rest[pivot] for entry in rest]
    for known, other in basis.items():
        if other[pivot]:
            basis[known] = [a - other[pivot] * b for a, b in zip(other, rest, strict=True)]
    basis[pivot] = rest
    return True


def _dependency(rows: Sequence[Row]) -> list[Fraction] | None:
    """Return non-zero coefficients that take the rows to zero, or ``None`` if they are independent."""
    done: dict[int, tuple[Row, Row]] = {}
    for index, row in enumerate(rows):
        rest, made_of = list(row), [Fraction(column == index) for column in range(len(rows))]
        for pivot, (other, other_made_of) in done.items():
            if rest[pivot]:
                factor = rest[pivot] / other[pivot]
                rest = [a - factor * b for a, b in zip(rest, other, strict=True)]
                made_of = [a - factor * b for a, b in zip(made_of, other_made_of, strict=True)]
        pivot = next((column for column, entry in enumerate(rest) if entry), -1)
        if pivot < 0:
            return made_of
        done[pivot] = (rest, made_of)
    return None


def _written(combination: Mapping[ClientId, Fraction]) -> str:
    terms = (f"{'-' if coefficient < 0 else '+'} {abs(coefficient)} x partner {c}" for c, coefficient in combination.items())
    return "a combination shows " + " ".join(terms)


def _load(path: Path) -> dict[bytes, list[frozenset[ClientId]]]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        return {bytes.fromhex(key): [frozenset(ClientId(int(c)) for c in row) for row in rows] for key, rows in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"ledger {path} can't be read: {error}") from error
