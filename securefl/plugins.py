"""What other packages bring, by entry points: a protocol of one's own stays in a package of one's own.

A package names its scheme in the group ``securefl.schemes`` (``ring = "ring_sum:set_up"``). It is found by that name alone and
imported when the scheme is asked for, never to list it. No name can stand for two things: one that securefl has itself, or that
two packages claim, is refused wherever it is asked for.

A plug-in is other people's code and runs with all rights of the process: nothing here, and none of securefl's proofs and
protocol tests, vouches for it.
"""

from __future__ import annotations

import sys
from collections.abc import Container
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from securefl.errors import ParameterError

GROUP = "securefl.schemes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """What an installed package offers under ``name``."""

    name: str
    package: str
    version: str
    entry: EntryPoint = field(repr=False)

    @property
    def origin(self) -> str:
        """The package with its version."""
        return f"{self.package} {self.version}"

    def load(self) -> object:
        """Import the package's module and return what it names.

        Raises:
            ParameterError: it can't be imported, or does not have that name.
        """
        try:
            return self.entry.load()
        except (ImportError, AttributeError) as error:
            what = f"scheme {self.name!r} of package {self.origin}"
            raise ParameterError(f"{what}: {self.entry.value} can't be imported: {error}") from error


def plugins() -> tuple[Plugin, ...]:
    """Return every scheme that installed packages offer; nothing is imported for it."""
    return _installed(tuple(sys.path))


def plugin_of(name: str, *, own: Container[str]) -> Plugin | None:
    """Return the plug-in that offers ``name``, ``None`` if no package does.

    Args:
        own: the names that are securefl's.

    Raises:
        ParameterError: two packages claim the name, securefl being one that can.
    """
    found = [plugin for plugin in plugins() if plugin.name == name]
    claims = [*(["securefl itself"] if name in own else []), *(f"package {plugin.origin}" for plugin in found)]
    if found and len(claims) > 1:
        raise ParameterError(f"scheme {name!r} is claimed by {' and by '.join(claims)}: rename or uninstall one")
    return found[0] if found else None


@lru_cache(maxsize=8)
def _installed(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Return every plug-in on the search ``path``, which is looked through once."""
    return tuple(
        Plugin(
            name=entry.name,
            package=entry.dist.name if entry.dist else "unknown",
            version=entry.dist.version if entry.dist else "unknown",
            entry=entry,
        )
        for entry in entry_points(group=GROUP)
    )
