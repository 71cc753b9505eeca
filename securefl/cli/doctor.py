"""``securefl doctor``: what this machine would use: cipher, cores, versions, and the extras that are missing."""

from __future__ import annotations

import os
import time
from typing import Annotated

import numpy as np
import typer

from securefl.cli.output import emit_json, emit_table
from securefl.crypto.keystream import Cipher, keystream
from securefl.evaluation.toolkit import package_version, toolkit_record
from securefl.plugins import plugins
from securefl.secagg.masking import MaskingOptions
from securefl.types import Secret

EXTRAS = {
    "paillier": ("gmpy2", "phe"),
    "pdf": ("weasyprint",),
    "bench-flower": ("flwr",),
    "test": ("pytest", "hypothesis", "mypy", "ruff"),
}
PROBE_LEN = 1 << 22
"""Ring words of the probe: 16 MiB, long enough to time and short enough not to wait for."""
PROBE_RUNS = 3
"""The first run pays for the library's start; the best one counts."""


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
        "schemes_of_others": {plugin.name: plugin.origin for plugin in plugins()},
        "missing_extras": {extra: gone for extra, names in EXTRAS.items() if (gone := missing(names))},
    }
    if as_json:
        emit_json(content)
        return
    rows = [{"what": key, "found": spelled(value)} for key, value in content.items()]
    emit_table("securefl doctor", rows)


def cipher_choice() -> dict[str, str]:
    """Return the cipher that a new roster gets, and the measured speed of each mask generator on one core."""
    speeds = {}
    for cipher in Cipher:
        seconds = []
        for _ in range(PROBE_RUNS):
            begin = time.process_time()
            keystream(Secret(bytes(32)), PROBE_LEN, np.dtype(np.uint32), cipher=cipher)
            seconds.append(time.process_time() - begin)
        speeds[cipher.value] = f"{4 * PROBE_LEN / 1e9 / max(min(seconds), 1e-9):.1f} GB/s"
    return {"chosen": MaskingOptions().cipher.value, **speeds}


def missing(names: tuple[str, ...]) -> list[str]:
    """Return those of ``names`` that are not installed."""
    return [name for name in names if package_version(name) is None]


def spelled(value: object) -> str:
    """Return a value in one line: a mapping as ``name value`` pairs."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {' '.join(v) if isinstance(v, list) else v}" for k, v in value.items()) or "none"
    return str(value)
