"""The report's own words (``words.toml``): what an arm is, what a view sees, the glossary. No figure stands there."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from securefl.config import Section
from securefl.recipes import Recipe, Unit, parsed
from securefl.records import ArmRecord


class ViewWords(Section):
    """What an observer is, sees and would ask; ``column`` heads a narrow column, ``access`` names rows of the access matrix."""

    who: str
    short: str
    column: str
    sees: str
    asks: str
    access: tuple[str, ...]


class ArmWords(Section):
    """What an arm is, what it protects and what it doesn't."""

    name: str
    what: str
    protects: tuple[str, ...]
    exposes: tuple[str, ...]


class Question(Section):
    """What a consortium asks: the views that answer it, or where else the answer stands; ``attacks`` narrow what counts."""

    ask: str
    views: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    where: str = ""
    note: str = ""


class Words(Section):
    """The whole file."""

    views: dict[str, ViewWords]
    access: dict[str, str]
    arms: dict[str, ArmWords]
    assets: dict[str, str]
    assets_plain: dict[str, str]
    losses: dict[str, str]
    meanings: dict[str, str]
    releases: dict[str, str]
    released: dict[str, str]
    questions: tuple[Question, ...]
    pictures: dict[str, str]
    triggers: tuple[str, ...]
    glossary: dict[str, str]

    def arm(self, arm: ArmRecord) -> ArmWords:
        """Return the words on an arm: its own, or those of its recipe's parts; an unknown one is called by its own name.

        No installed package has a say in it: from the same record the words are the same on every machine.
        """
        if arm.plugin is None and arm.name in self.arms:
            return self.arms[arm.name]
        try:
            recipe = parsed(arm.name)
        except ValueError:
            recipe = None
        scheme = "plugin" if arm.plugin is not None else recipe.scheme if recipe else ""
        if recipe is None or scheme not in self.arms:
            return self.arms["other"].model_copy(update={"name": arm.name})
        return _together([self.arms[part] for part in (scheme, *_parts(recipe))], arm.name)


def _parts(recipe: Recipe) -> tuple[str, ...]:
    """Return the keys of the words on what an arm adds to its scheme."""
    units = {Unit.RECORD: "dp", Unit.PARTNER: "partner-dp", Unit.CENTRAL: "central-dp"}
    guard = ("guard",) if recipe.guarded else ()
    return (*guard, *((units[recipe.privacy.unit],) if recipe.privacy else ()))


def _together(parts: Sequence[ArmWords], name: str) -> ArmWords:
    return ArmWords(
        name=f"{parts[-1].name}: {name}" if len(parts) > 1 else parts[0].name,
        what=" ".join(part.what for part in parts),
        protects=tuple(dict.fromkeys(line for part in parts for line in part.protects)),
        exposes=tuple(dict.fromkeys(line for part in parts for line in part.exposes)),
    )


@cache
def words() -> Words:
    """Return the words that ship with the report."""
    return Words.model_validate(tomllib.loads((files(__package__) / "words.toml").read_text(encoding="utf-8")))
