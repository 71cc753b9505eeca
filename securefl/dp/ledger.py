"""A partner's privacy ledger: what it has released, in an append-only, hash-chained file, and a hard stop before the budget.

One line of JSON for each entry. The first names the partner, the protected unit, the neighbouring relation and the budget;
every other is a release. Each line carries the hash of the line before it and its own. :meth:`PrivacyLedger.spend` takes the
file's lock, reads and verifies the whole chain, composes the new release with everything before it, and either raises
:class:`BudgetExceededError` and writes nothing, or appends, syncs to disk, and returns. The release may happen only after it
has returned. Restarts and two processes at once therefore share one budget; a release that a crash prevented stays paid.

Not protected: the partner is trusted with its own ledger. Cutting entries off the end leaves a valid chain, so publish the last
hash (``securefl dp ledger --last-hash``) where that matters; a copy of the file on another machine is another ledger. The
lock is the operating system's (flock): file systems without it don't protect from two processes at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import RawIOBase
from math import inf, isfinite
from pathlib import Path

from securefl.dp.accountant import SampledGaussian
from securefl.dp.composition import FixedPrice, Mechanism, Spent, Unpriced, composed
from securefl.dp.noisy_sums import Family, NoisySums
from securefl.errors import BudgetExceededError, InputError, ParameterError, VerificationError
from securefl.files import sync_folder

VERSION = 1
_TAG = b"securefl/privacy-ledger/1"
_START = bytes(32)
SLACK = 1e-9
"""Relative; a training whose noise was solved for exactly this budget fits it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the ledger guards: at most ``epsilon`` at ``delta`` for each ``unit`` of ``partner``; infinity stops nothing."""

    partner: str
    unit: str
    neighbouring: str
    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ParameterError(f"epsilon={self.epsilon} must be > 0")
        if not 0 < self.delta < 1:
            raise ParameterError(f"delta={self.delta} must be in (0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release: ``what`` (training, metric, query, hyper-parameter), in which ``arm``, of which ``data`` (their hash).

    ``clipping_norm`` is what noise multipliers are in units of; ``None`` where nothing is clipped.
    """

    what: str
    arm: str
    data: str
    mechanism: Mechanism
    clipping_norm: float | None = None


@dataclass(frozen=True, slots=True)
class LedgerState:
    """A verified ledger: the budget, every release in order, and the hash that its chain ends with."""

    budget: Budget
    releases: tuple[Release, ...]
    last_hash: bytes

    @property
    def spent(self) -> Spent:
        """What all releases cost together."""
        return composed([one.mechanism for one in self.releases], delta=self.budget.delta)


class PrivacyLedger:
    """The ledger file at ``path``; every call reads it anew, because another process may have written."""

    def __init__(self, path: Path, budget: Budget) -> None:
        """Open the ledger, or begin it.

        Raises:
            InputError: the file can't be used, or guards another budget.
            VerificationError: its chain is broken.
        """
        self._path = path
        with _locked(path) as handle:
            text = _whole_lines(handle)
            if not text:
                _append(handle, _line({**_budget_json(budget), "previous": _START.hex()})[1] + b"\n")
            elif (found := _verified(text, path).budget) != budget:
                raise InputError(f"ledger {path} guards {found}, not {budget}")

    def spend(self, releases: Sequence[Release]) -> Spent:
        """Record ``releases`` together, or none of them, and return what is then spent.

        Raises:
            BudgetExceededError: they would cost more than is left; nothing is written, and nothing may be released.
            VerificationError: the chain is broken.
            InputError: the file can't be written.
        """
        with _locked(self._path) as handle:
            state = _verified(_whole_lines(handle), self._path)
            after = _within(state, releases)
            previous, lines = state.last_hash, b""
            for release in releases:
                previous, line = _line({**release_json(release), "previous": previous.hex()})
                lines += line + b"\n"
            _append(handle, lines)
        return after

    def require(self, releases: Sequence[Release]) -> Spent:
        """Return what would be spent after ``releases``, without recording them; errors as for :meth:`spend`."""
        return _within(self.state(), releases)

    def state(self) -> LedgerState:
        """Return the verified content."""
        return read_ledger(self._path)


def _within(state: LedgerState, releases: Sequence[Release]) -> Spent:
    """Return what is spent after ``releases``.

    Raises:
        BudgetExceededError: it is more than the budget.
    """
    budget = state.budget
    after = composed([one.mechanism for one in (*state.releases, *releases)], delta=budget.delta)
    if after.upper > budget.epsilon * (1 + SLACK):
        raise BudgetExceededError(
            f"{budget.partner}: epsilon={after.upper:.4g} after this release must be <= {budget.epsilon:g} "
            f"(delta={budget.delta:g}, {len(state.releases)} releases before)"
        )
    return after


def read_ledger(path: Path) -> LedgerState:
    """Return the verified ledger in ``path``. Half a last line was never acknowledged, and is left out.

    Raises:
        InputError: the file can't be read.
        VerificationError: it is no ledger, or its chain is broken.
    """
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH)
            content = handle.read()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error
    return _verified(_whole(content), path)


@contextmanager
def _locked(path: Path) -> Iterator[RawIOBase]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without a buffer: what a full disk refused would be written again when the file closes.
        handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"can't open ledger {path}: {error.strerror}") from error
    with handle:
        # Held until the handle closes, also by a crash: the system releases it.
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle


def _whole(content: bytes) -> bytes:
    """Return the whole lines. The rest of a crash was never acknowledged; a last entry that only lacks its end is paid."""
    end = content.rfind(b"\n") + 1
    try:
        json.loads(content[end:])
    except ValueError:
        return content[:end]
    return content + b"\n"


def _whole_lines(handle: RawIOBase) -> bytes:
    """Return the file's whole lines, leave nothing else in it, and stand behind them."""
    content = handle.read() or b""
    whole = _whole(content)
    if whole != content:
        handle.seek(min(len(whole), len(content)))
        _append(handle, whole[len(content) :])
        handle.truncate()
    return whole


def _append(handle: RawIOBase, lines: bytes) -> None:
    """Write ``lines`` durably where ``handle`` stands."""
    left = memoryview(lines)
    try:
        while left:
            left = left[handle.write(left) :]
        os.fsync(handle.fileno())
    except OSError as error:
        raise InputError(f"can't write the ledger: {error.strerror}") from error


def _line(entry: Mapping[str, object]) -> tuple[bytes, bytes]:
    """Return an entry's hash and its one canonical line."""
    digest = hashlib.sha256(_TAG + _canonical(entry)).digest()
    return digest, _canonical({"entry": entry, "hash": digest.hex()})


def _canonical(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _verified(text: bytes, path: Path) -> LedgerState:
    previous, entries = _START, []
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            entry = json.loads(line)["entry"]
            digest, canonical = _line(entry)
            linked = canonical == line and entry.pop("previous") == previous.hex()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise VerificationError(f"ledger {path}: line {number} is no entry: {error}") from error
        if not linked:
            raise VerificationError(f"ledger {path}: line {number} was changed, or does not follow the line before it")
        previous = digest
        entries.append(entry)
    if not entries:
        raise VerificationError(f"ledger {path} is empty")
    try:
        return LedgerState(_budget_of(entries[0]), tuple(release_of(entry) for entry in entries[1:]), previous)
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(f"ledger {path}: an entry can't be read: {error}") from error


def _budget_json(budget: Budget) -> dict[str, object]:
    # JSON has no infinity: null is a budget that stops nothing.
    epsilon = budget.epsilon if isfinite(budget.epsilon) else None
    return {"version": VERSION, "budget": {**asdict(budget), "epsilon": epsilon}}


def _budget_of(entry: Mapping[str, object]) -> Budget:
    content = entry["budget"]
    if entry["version"] != VERSION or not isinstance(content, dict):
        raise ValueError(f"version {entry['version']} must be {VERSION}")
    return Budget(**{**content, "epsilon": inf if content["epsilon"] is None else content["epsilon"]})


_KINDS: Mapping[str, type[SampledGaussian] | type[NoisySums] | type[FixedPrice] | type[Unpriced]] = {
    "sampled gaussian": SampledGaussian,
    "noisy sums": NoisySums,
    "fixed price": FixedPrice,
    "unpriced": Unpriced,
}


def kind_of(mechanism: Mechanism) -> str:
    """Return the name under which a ledger keeps ``mechanism``."""
    return next(name for name, kind in _KINDS.items() if isinstance(mechanism, kind))


def release_json(release: Release) -> dict[str, object]:
    """Return ``release`` as JSON."""
    parameters = asdict(release.mechanism)
    if isinstance(release.mechanism, NoisySums):
        parameters["family"] = release.mechanism.family.value
    return {
        "what": release.what,
        "arm": release.arm,
        "data": release.data,
        "mechanism": {"kind": kind_of(release.mechanism), **parameters},
        "clipping_norm": release.clipping_norm,
    }


def release_of(content: Mapping[str, object]) -> Release:
    """Return the release that ``content`` describes; ``release_json`` gives it back.

    Raises:
        KeyError, TypeError, ValueError: it describes none.
    """
    parameters = dict(_mapping(content["mechanism"]))
    kind = _KINDS[str(parameters.pop("kind"))]
    if kind is NoisySums:
        parameters["family"] = Family(parameters["family"])
    return Release(**{**content, "mechanism": kind(**parameters)})  # type: ignore[arg-type]


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"mechanism is {type(value).__name__}, must be an object")
    return value
