"""Poisson sampling from the injected secure generator: who joins a step must be as unpredictable as the noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from securefl.errors import ParameterError
from securefl.types import Rng

_U64 = np.dtype("<u8")


def sampling_threshold(rate: float) -> int:
    """Return how many of the 2^64 words accept a record; the rate that is really drawn is this over 2^64.

    Raises:
        ParameterError: ``rate`` is outside (0, 1].
    """
    if not 0 < rate <= 1:
        raise ParameterError(f"sampling_rate={rate} must be > 0 and <= 1")
    # Rounded down: sampling a little less often than was paid for is on the safe side.
    return int(rate * 2**64)


def poisson_sample(records: int, *, rate: float, rng: Rng) -> NDArray[np.int64]:
    """Return the rows, ascending, that join a step: each of ``records`` on its own with probability ``rate``.

    The size varies and may be 0, and must: batches of a fixed size are another mechanism with another price.
    """
    threshold = sampling_threshold(rate)
    if threshold == 2**64:
        return np.arange(records)
    words = np.frombuffer(rng.bytes(8 * records), dtype=_U64)
    return np.flatnonzero(words < np.uint64(threshold))
