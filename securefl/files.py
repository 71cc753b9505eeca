"""Files that hold what is private: written whole or not at all, and on request only in this process's memory.

:func:`in_memory` is like a mount: under that folder nothing reaches the disk, whoever writes there, and everything is gone
with the process, also when it is killed. What it can't promise: that the system doesn't swap memory out or dump it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from securefl.errors import InputError

_mounts: dict[Path, dict[Path, bytes]] = {}


@contextmanager
def in_memory(folder: Path) -> Iterator[None]:
    """Keep what is written under ``folder`` in memory while the block runs, and drop it at its end; inside of itself, go on."""
    root = folder.resolve()
    if root in _mounts:
        yield
        return
    _mounts[root] = {}
    try:
        yield
    finally:
        del _mounts[root]


def is_in_memory(path: Path) -> bool:
    """Return whether a file written to ``path`` would stay in memory."""
    return _mount(path) is not None


def exists(path: Path) -> bool:
    """Return whether :func:`read_bytes` would find something at ``path``."""
    mount = _mount(path)
    return path.exists() if mount is None else path.resolve() in mount


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name, then rename.

    Raises:
        InputError: the file can't be written; what was there before is still there.
    """
    mount = _mount(path)
    if mount is not None:
        mount[path.resolve()] = data
        return
    write_to_disk(path, data)


def write_to_disk(path: Path, data: bytes) -> None:
    """Write ``data`` as :func:`write_bytes` does, also where private files stay in memory: records, which hold none of that.

    Raises:
        InputError: the file can't be written; what was there before is still there.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise InputError(f"can't write {path}: {error.strerror}") from error


def read_bytes(path: Path) -> bytes:
    """Return the content of ``path``.

    Raises:
        OSError: it can't be read.
    """
    mount = _mount(path)
    if mount is None:
        return path.read_bytes()
    if path.resolve() not in mount:
        raise FileNotFoundError(2, "No such file in memory", str(path))
    return mount[path.resolve()]


def _mount(path: Path) -> dict[Path, bytes] | None:
    if not _mounts:
        return None
    parents = path.resolve().parents
    return next((files for root, files in _mounts.items() if root in parents), None)
