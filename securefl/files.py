"""Files that hold what is private: written whole or not at all, and on request only in this process's memory.

:func:`in_memory` is like a mount: under that folder nothing reaches the disk, whoever writes there, and everything is gone
with the process, also when it is killed. What it can't promise: that the system doesn't swap memory out or dump it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"can't write {path}: {error.strerror}") from error
    write_durably(path, data, mode=0o666)


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write ``content`` under a temporary name, sync it, rename it, sync the folder: after a crash it is old or new.

    Raises:
        InputError: the file can't be written; what was there is untouched.
    """
    with written_whole(path, mode=mode) as handle, writing(path):
        handle.write(content)


@contextmanager
def written_whole(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Give a file to write to that takes the name ``path`` at the end of the block, as :func:`write_durably` does.

    Raises:
        InputError: the file can't be made, synced or renamed. After any error, also the block's own, ``path`` is as it was;
            where nothing but the folder could not be synced, it is new.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        with writing(path):
            # What lies under the temporary name is no file of ours: its mode and where it points to are not taken over.
            temporary.unlink(missing_ok=True)
            handle = os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")
        try:
            yield handle
            with writing(path):
                handle.flush()
                os.fsync(handle.fileno())
        finally:
            # A full disc would say so once more here, in place of the error that there was.
            with suppress(OSError):
                handle.close()
        with writing(path):
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong with the disk inside the block into one line that names ``path``.

    Raises:
        InputError: it can't be written.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"can't write {path}: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Sync the names in ``folder``: without it a new file, synced itself, may be gone after a power failure.

    Raises:
        OSError: it can't be done.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def made(folder: Path) -> Path:
    """Return ``folder``, made where it is not there.

    Raises:
        InputError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"can't make {folder}: {error.strerror}") from error
    return folder


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep ``folder`` for this process while the block runs; the system lets go of it also when the process is killed.

    File systems without flock don't protect from a second process.

    Raises:
        InputError: another process has it, or there is no such folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"can't open {folder}: {error.strerror}") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{folder} is in use by another process: two would spend one budget and one round twice") from error


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


def parse_json(text: str | bytes) -> Any:
    """Return what ``text`` says as JSON, if every reader must read it alike: no key twice, no NaN, no bottomless nesting.

    Raises:
        ValueError: it is no such JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_each_once, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"JSON has a key twice among {', '.join(sorted(found))[:200]}")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has the number {name}")


def _mount(path: Path) -> dict[Path, bytes] | None:
    if not _mounts:
        return None
    parents = path.resolve().parents
    return next((files for root, files in _mounts.items() if root in parents), None)
