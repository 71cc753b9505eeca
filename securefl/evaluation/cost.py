"""What an arm cost: CPU seconds and bytes of a round from the protocol's own meter, wall time, and peak memory.

All parties run in one process, so peak memory is the whole consortium's: an upper bound of one partner's.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from securefl.federation.releases import Trained
from securefl.records import CostRecord
from securefl.secagg import RoundCost

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"


class Meter:
    """Wall time and peak memory since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        try:
            # Linux keeps a high-water mark that a process may reset for itself: without it an arm inherits its
            # predecessors' peak.
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        except OSError:
            return

    def wall_seconds(self) -> float:
        """Return seconds of wall time."""
        return time.perf_counter() - self._started

    @staticmethod
    def peak_rss_mb() -> float:
        """Return the peak resident memory in MB (10^6 bytes); the whole process's where the system can't reset it."""
        try:
            lines = _STATUS.read_text(encoding="ascii").splitlines()
        except OSError:
            # kilobytes on Linux, bytes on macOS
            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def _median(rounds: Sequence[RoundCost], name: str) -> float:
    return statistics.median(float(getattr(cost, name)) for cost in rounds) if rounds else 0.0


def cost_record(trained: Sequence[Trained], meter: Meter) -> CostRecord:
    """Return the cost of an arm over its seeds: medians of a round's figures, training time summed.

    Where nothing was aggregated the protocol's figures are 0, because no protocol ran.
    """
    rounds = [one.costs for one in trained if one.costs is not None]
    parameters = max((one.parameters for one in trained), default=0)
    return CostRecord(
        setup_seconds=_median(rounds, "setup_seconds"),
        client_seconds=_median(rounds, "client_seconds"),
        server_seconds=_median(rounds, "server_seconds"),
        decryptor_seconds=_median(rounds, "decryptor_seconds"),
        key_seconds=_median(rounds, "key_seconds"),
        bytes_up_per_parameter=_median(rounds, "bytes_up_per_client") / max(parameters, 1),
        bytes_down_per_parameter=_median(rounds, "bytes_down_per_client") / max(parameters, 1),
        peak_rss_mb=meter.peak_rss_mb(),
        training_seconds=sum(one.training_seconds for one in trained),
        wall_seconds=meter.wall_seconds(),
    )
