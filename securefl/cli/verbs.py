"""The verbs of ``securefl`` by name. A verb's module is imported when it is called for, and no other one.

Training and attacks bring torch, opacus and matplotlib, which take many seconds to import; whoever verifies a report, makes a
key or asks for help needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

VERBS = {
    "demo": "The main job on real ChEMBL activities, from the data to the report.",
    "data": "Prepare datasets from your own tables or from a ChEMBL release, and export them.",
    "run": "Train every arm of a config; --plan says what it will take and runs nothing.",
    "attack": "Attack every arm of a run, or read an update of your own (--update).",
    "sweep": "Measure what a setting does to leak and to performance.",
    "report": "Build, sign, verify, compare and check reports.",
    "gate": "Say whether private data may be run under a config, and why not.",
    "transcript": "Replay the messages of a run and verify them.",
    "keys": "Make and show identity keys.",
    "roster": "Create, sign, verify and change the consortium's roster.",
    "dp": "Plan privacy budgets, verify a partner's ledger, bound epsilon from an audit's counts.",
    "aggregate": "One round of a protocol, with its error, its bound and its cost.",
    "train": "Train alone on shards that don't fit into memory.",
    "predict": "Predict with a model that a run or 'train' left.",
    "doctor": "Say what this machine would use, and what is missing.",
}
"""What each is for, in the order in which a person needs them. Verb NAME is ``app`` or function NAME of securefl.cli.NAME."""


def imported(name: str) -> Any:
    """Return the command of a verb; its module is imported for it."""
    module = import_module(f"securefl.cli.{name}")
    host = typer.Typer(rich_markup_mode="rich")
    if hasattr(module, "app"):
        host.add_typer(module.app, name=name)
    else:
        host.command(name)(getattr(module, name))
    return get_group(host).commands[name]


class Verbs(TyperGroup):
    """Lists every verb with what it is for, and imports the one that is called."""

    def __init__(self, **more: Any) -> None:
        """Take what Typer gives a group; the verbs are this one's own."""
        super().__init__(**more)
        self.commands = {name: TyperCommand(name, help=purpose) for name, purpose in VERBS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the name of the verb that ``args`` begin with, its command, and the other arguments."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else imported(name), rest
