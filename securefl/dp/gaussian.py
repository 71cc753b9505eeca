"""Gaussian noise and Poisson sampling from the injected secure generator.

Noise is Box and Muller (1958) in float64 on 53-bit uniforms of an AES-256 keystream under a fresh key per vector. A seeded
numpy or torch generator is no substitute: whoever knows or guesses its state subtracts the noise.

What this does not protect from: the continuous Gaussian is only approximated. Its tail ends at 8.57 standard deviations
(probability 1e-17 beyond), values lie on the grid of floating point numbers, and an adversary who sees exact outputs can
in principle tell neighbouring inputs apart by the low bits (Mironov 2012). In the federated arms the quantiser rounds every
noised update to its own coarse grid before it leaves, which removes the low bits from what others see; that is a mitigation,
not a proof. Exact discrete noise belongs to the noise inside the secure sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.keystream import Cipher, keystream
from securefl.errors import ParameterError
from securefl.types import Rng, Secret

KEY_SIZE = 32
CHUNK = 1 << 14
"""Pairs that are transformed at a time, so that all passes stay in the second-level cache."""
TAIL = 8.5717
"""No draw is larger: sqrt(-2 ln 2^-53)."""
_U64 = np.dtype("<u8")


def gaussian(size: int, *, rng: Rng) -> NDArray[np.float32]:
    """Return ``size`` standard normal draws, float32 (computed in float64), shape (size,)."""
    pairs = (size + 1) // 2
    words = keystream(Secret(rng.bytes(KEY_SIZE)), 2 * pairs, _U64, cipher=Cipher.AES_256)
    out = np.empty((pairs, 2), dtype=np.float32)
    for start in range(0, pairs, CHUNK):
        stop = min(start + CHUNK, pairs)
        out[start:stop] = _box_muller(words[2 * start : 2 * stop].reshape(2, -1))
    return out.reshape(-1)[:size]


def _box_muller(words: NDArray[np.uint64] | NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return independent normals, shape (n, 2), from words of shape (2, n)."""
    uniform = (words >> np.uint64(11)).astype(np.float64)
    # The radius must not take the logarithm of zero: (k + 1) / 2^53 lies in (0, 1].
    radius = np.sqrt(-2.0 * np.log((uniform[0] + 1.0) * 2.0**-53))
    angle = uniform[1] * (2.0 * np.pi * 2.0**-53)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


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
