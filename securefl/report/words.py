"""The report's own words (``words.toml``): what an arm is, what a view sees, the glossary. No figure stands there."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from securefl.config import Section


class ViewWords(Section):
    """What an observer is, sees and would ask; ``access`` names rows of the access matrix."""

    who: str
    short: str
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
    """A question of the call: the views that answer it, or where else the answer stands; ``attacks`` narrow what counts."""

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
    releases: dict[str, str]
    questions: tuple[Question, ...]
    pictures: dict[str, str]
    triggers: tuple[str, ...]
    glossary: dict[str, str]

    def arm(self, name: str) -> ArmWords:
        """Return the words on an arm; one that the file doesn't know is called by its own name."""
        found = self.arms.get(name)
        return found if found is not None else self.arms["other"].model_copy(update={"name": name})


@cache
def words() -> Words:
    """Return the words that ship with the report."""
    return Words.model_validate(tomllib.loads((files(__package__) / "words.toml").read_text(encoding="utf-8")))
