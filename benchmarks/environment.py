"""What a figure depends on beside the code: processor, cores, load, and the versions of the packages that do the work."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any


def environment(*packages: str) -> dict[str, Any]:
    """Return where a figure was measured; of ``packages`` those that are installed, with their versions."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line for line in lines if line.startswith("model name")), "")
    installed = {distribution.name for distribution in importlib.metadata.distributions()}
    return {
        "python": platform.python_version(),
        "cpu": model.partition(":")[2].strip() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        **{name: importlib.metadata.version(name) for name in packages if name in installed},
    }
