"""What a report rests on, file by file: SHA-256 and size of everything in a run's folder that its figures come from.

Left out are what the report itself writes, caches (``data``, ``shadows``: the dataset is named by its own hash in ``run.json``)
the folders of a sweep's own runs, of which ``sweep/options.json`` is the result, and what a crate holds beside a run's files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from securefl.errors import InputError
from securefl.evidence import InputRecord
from securefl.secagg.keyfile import FORMAT as KEY_FORMAT

CACHES = ("data", "shadows", "sweep", "policy", "prices", "grid", "ro-crate-metadata.json")
SWEEP_FILE = "sweep/options.json"
OUTPUT_STEM = "report"
"""Every file or folder of a run whose name begins so was written by the report."""
_CHUNK = 1 << 20
_HEAD = 64
"""A key's file names its format in its first bytes (:mod:`securefl.secagg.keyfile`)."""


def run_inputs(run: Path) -> tuple[InputRecord, ...]:
    """Return the inputs in a run's folder, by name.

    Raises:
        InputError: a file can't be read, or is somebody's private key: every input goes into the auditor's crate.
    """
    return tuple(input_record(run / name, name) for name in sorted(_names(run)))


def input_record(path: Path, name: str) -> InputRecord:
    """Return the record of one file.

    Raises:
        InputError: it can't be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                if size == 0 and KEY_FORMAT.encode() in chunk[:_HEAD]:
                    raise InputError(f"{path} is a private key, and would go into the auditor's crate: keep it elsewhere")
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error
    return InputRecord(name=name, sha256=digest.hexdigest(), size=size)


def _names(run: Path) -> Iterator[str]:
    for path in run.rglob("*"):
        name = path.relative_to(run).as_posix()
        top = name.split("/", 1)[0]
        skipped = top.startswith((OUTPUT_STEM, ".")) or (top in CACHES and name != SWEEP_FILE) or path.suffix == ".partial"
        if path.is_file() and not skipped:
            yield name
