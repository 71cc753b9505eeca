"""The audit hook that an attack's process installs on itself: from then on it can open its view and nothing else.

Once added, a hook can't be taken away (PEP 578). It sees what the interpreter does, not what compiled code does by itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

REFUSED = (
    "socket.", "subprocess.", "ctypes.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "pty.",
    "os.chdir", "os.putenv", "urllib.", "http.", "ftplib.", "smtplib.", "sqlite3.", "webbrowser.", "shutil.", "signal.",
)  # fmt: skip
"""Beginnings of the events that end an attack: network, other programs, other folders."""
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def interpreter_roots() -> tuple[str, ...]:
    """Return the folders of the interpreter, its packages, and this toolkit's two packages."""
    here = Path(__file__).resolve().parents[2]
    roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(here / "attacks"), str(here / "securefl")}
    roots |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages", "lib-dynload", ".zip"))}
    return tuple(sorted(os.path.realpath(root) for root in roots))


def lock(*, view: Path, answer: Path) -> None:
    """Let this process read ``view``, its working folder and the interpreter, write into ``answer``, and nothing else."""
    writable = (os.path.realpath(answer),)
    readable = (*interpreter_roots(), os.path.realpath(view), os.getcwd(), *writable)

    def inside(path: object, roots: tuple[str, ...]) -> bool:
        if isinstance(path, int) or path is None:
            # A descriptor that is open already: the process was started without any but the standard ones.
            return path is not None
        found = os.path.realpath(os.fsdecode(path))  # type: ignore[arg-type]
        return any(found == root or found.startswith(root + os.sep) for root in roots)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not inside(path, writable if flags & WRITING else readable):
                raise PermissionError(f"an attack may not open {path!r}")
        elif event in ("os.listdir", "os.scandir"):
            if not inside("." if arguments[0] is None else arguments[0], readable):
                raise PermissionError(f"an attack may not list {arguments[0]!r}")
        elif event in CHANGES:
            if not all(inside(path, writable) for path in arguments if isinstance(path, str | bytes)):
                raise PermissionError(f"an attack may not change {arguments!r}")
        elif event.startswith(REFUSED):
            raise PermissionError(f"an attack may not do {event}")

    sys.addaudithook(hook)
