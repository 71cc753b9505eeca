"""Which code ran: version, commit, Python and the versions of the packages that results depend on."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import securefl
from securefl.records import ToolkitRecord

PACKAGES = ("numpy", "scipy", "torch", "rdkit", "scikit-learn", "cryptography", "tenseal", "opacus", "phe", "gmpy2")


def toolkit_record() -> ToolkitRecord:
    """Return the record of this installation; a package that is missing is left out."""
    return ToolkitRecord(
        version=securefl.__version__,
        commit=commit(),
        python=sys.version.split()[0],
        platform=f"{platform.system()} {platform.machine()}",
        packages={name: found for name in PACKAGES if (found := package_version(name))},
        dependencies=dependencies(),
    )


def dependencies() -> dict[str, str]:
    """Return every installed package as ``name: version sha256``, the hash being that of its list of files and their hashes.

    pip wrote that list at installation; files that were changed since show only when they are compared with it.
    """
    found = {}
    for package in distributions():
        listed = package.read_text("RECORD")
        digest = hashlib.sha256(listed.encode()).hexdigest() if listed else "unknown"
        found[package.metadata["Name"]] = f"{package.version} {digest}"
    return dict(sorted(found.items()))


def package_version(name: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """Return the git commit of the source tree (``+changes`` where it is modified), or ``unknown`` outside of one."""
    root = Path(securefl.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return "unknown"
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout.strip()
