"""``securefl doctor``: what this machine would use: cipher, cores, versions, and the extras that are missing."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from securefl.cli.output import emit_json, emit_table
from securefl.evaluation.toolkit import package_version, toolkit_record

EXTRAS = {"paillier": ("gmpy2", "phe"), "bench-flower": ("flwr",), "test": ("pytest", "hypothesis", "mypy", "ruff")}
PROBE_BYTES = 1 << 24


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print for a program.")] = False) -> None:
    """Say which cipher generates the masks, how fast it is here, how many cores there are, and what is missing."""
    toolkit = toolkit_record()
    content: dict[str, object] = {
        "version": toolkit.version,
        "commit": toolkit.commit,
        "python": toolkit.python,
        "platform": toolkit.platform,
        "cores": os.cpu_count(),
        "cipher": cipher_choice(),
        "packages": toolkit.packages,
        "missing_extras": {extra: gone for extra, names in EXTRAS.items() if (gone := missing(names))},
    }
    if as_json:
        emit_json(content)
        return
    rows = [{"what": key, "found": spelled(value)} for key, value in content.items()]
    emit_table("securefl doctor", rows)


def missing(names: tuple[str, ...]) -> list[str]:
    """Return those of ``names`` that are not installed."""
    return [name for name in names if package_version(name) is None]


def spelled(value: object) -> str:
    """Return a value in one line: a mapping as ``name value`` pairs."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {' '.join(v) if isinstance(v, list) else v}" for k, v in value.items()) or "none"
    return str(value)
