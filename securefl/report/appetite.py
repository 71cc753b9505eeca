"""The risk appetite: how much leak the reader's organisation accepts, for each view, attack and metric, in a TOML file.

The file is the reader's, the rule is ours (see :mod:`securefl.report.verdicts`). A limit is found by the attack's name;
where a policy names only the beginning of it (``membership``), the longest beginning wins, then ``any``. A result for which
the policy has no limit can't pass: silence is not consent.

    [appetite.V1.fingerprint_recovery]
    max_exact = 0.06                    # the metric's value itself
    [appetite.V1.label_inference]
    max_accuracy_above_chance = 0.10    # the metric's value beyond what guessing gives
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import get_args

from pydantic import Field, ValidationError

from securefl.config import Section
from securefl.errors import InputError
from securefl.records import AttackRecord, View
from securefl.report.numbers import key

VIEWS: tuple[View, ...] = get_args(View)
ABOVE_CHANCE = "_above_chance"
ANY = "any"


class _Policy(Section):
    """The file as a person writes it."""

    title: str
    statement: str
    not_judged: tuple[str, ...] = Field((), description="metrics that describe an attack and need no limit")
    valid_days: int = Field(180, ge=1, le=1096, description="how long a report counts")
    appetite: dict[View, dict[str, dict[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One line of an appetite; ``above_chance`` measures from what guessing gives."""

    view: View
    attack: str
    metric: str
    value: float
    above_chance: bool

    def bound(self, chance: float | None) -> float | None:
        """Return the limit in the metric's own unit, ``None`` where it needs a chance level that wasn't recorded."""
        if not self.above_chance:
            return self.value
        return None if chance is None else chance + self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Appetite:
    """A whole appetite; ``sha256`` is that of the file's bytes, so that a reader can tell which policy was applied."""

    title: str
    statement: str
    sha256: str
    not_judged: frozenset[str]
    valid_days: int
    limits: tuple[Limit, ...]

    def limit_for(self, attack: AttackRecord) -> Limit | None:
        """Return the limit for an attack's result, ``None`` where the policy is silent."""
        name, metric = key(attack.name), key(attack.metric or "")
        fitting = [
            limit
            for limit in self.limits
            if limit.view == attack.view and limit.metric == metric and (limit.attack == ANY or name.startswith(limit.attack))
        ]
        return max(fitting, key=lambda limit: (limit.attack != ANY, len(limit.attack)), default=None)

    def as_tables(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return the limits as nested tables, as the file has them."""
        tables: dict[str, dict[str, dict[str, float]]] = {}
        for limit in self.limits:
            name = f"max_{limit.metric}{ABOVE_CHANCE if limit.above_chance else ''}"
            tables.setdefault(limit.view, {}).setdefault(limit.attack, {})[name] = limit.value
        return tables


def _limit(view: View, attack: str, name: str, value: float, source: str) -> Limit:
    where = f"appetite {source}: {view}.{attack}.{name}"
    if not name.startswith("max_"):
        raise InputError(f"{where}: a limit's name must be max_METRIC or max_METRIC_above_chance")
    if not 0 <= value <= 1:
        raise InputError(f"{where}={value} must be between 0 and 1")
    metric = key(name.removeprefix("max_"))
    above = metric.endswith(ABOVE_CHANCE)
    return Limit(view=view, attack=key(attack), metric=metric.removesuffix(ABOVE_CHANCE), value=value, above_chance=above)


def load_appetite(path: Path | None = None) -> Appetite:
    """Return the appetite in a TOML file, or the one that ships with securefl.

    Raises:
        InputError: the file can't be read, is not TOML, names a view that doesn't exist, or has a limit outside [0, 1].
    """
    source = "appetite.toml (shipped)" if path is None else str(path)
    try:
        content = (files(__package__) / "appetite.toml").read_bytes() if path is None else path.read_bytes()
        policy = _Policy.model_validate(tomllib.loads(content.decode("utf-8")))
    except OSError as error:
        raise InputError(f"appetite {source}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"appetite {source}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise InputError(f"appetite {source}: {where}: {first['msg']}") from error
    limits = [
        _limit(view, attack, name, value, source)
        for view, attacks in policy.appetite.items()
        for attack, table in attacks.items()
        for name, value in table.items()
    ]
    return Appetite(
        title=policy.title,
        statement=policy.statement,
        sha256=hashlib.sha256(content).hexdigest(),
        not_judged=frozenset(key(name) for name in policy.not_judged),
        valid_days=policy.valid_days,
        limits=tuple(limits),
    )
