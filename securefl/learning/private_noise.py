"""Gaussian noise for private steps, from the keystream of an injected secure generator, added where it is needed.

A seeded torch generator is no substitute: whoever knows or guesses its state subtracts the noise. Opacus's ``secure_mode``
needs a library that does not exist any more. Here an AES-256 keystream under a fresh key per call gives 32 bits a draw, and the
inverse error function makes them normal: no slower than torch's own generator.

Quality. Up to 3.29 standard deviations a draw is one of 2^24 or more quantiles, whose spacing is under 2^-13 of the probability
that lies beyond. The 2^-10 of draws beyond are drawn again, conditionally, in double precision with 53 fresh bits: the tail
ends at 9.2 standard deviations (probability 2^-64 beyond; over a hundred steps of two million parameters that is 10^-11 of
delta, which nobody pays for).

What this does not protect from: the continuous Gaussian is only approximated. Values lie on the grid of float32, and an
adversary who sees exact outputs can in principle tell neighbouring inputs apart by the low bits (Mironov 2012). In the
federated arms the quantiser rounds every noised update to its own coarse grid before it leaves, which removes the low bits from
what others see; that is a mitigation, not a proof. Exact integer noise is inside the secure sum
(:mod:`securefl.dp.distributed`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from securefl.crypto.keystream import CHUNK_SIZE, Cipher, keystream_chunks
from securefl.dp.exact_coin import words
from securefl.types import Rng, Secret

KEY_SIZE = 32
TAIL = 9.2
"""No draw is larger: the quantile of 2^-64."""
_TAIL_BITS = 10
_EDGE = 2**31 - 2 ** (31 - _TAIL_BITS)
_U32 = np.dtype("<u4")


def normal(size: int, *, rng: Rng) -> Tensor:
    """Return ``size`` standard normal draws, float32, shape (size,)."""
    out = torch.zeros(size)
    start = 0
    for chunk in normal_chunks(size, rng=rng):
        out[start : start + len(chunk)] = chunk
        start += len(chunk)
    return out


def normal_chunks(size: int, *, rng: Rng) -> Iterator[Tensor]:
    """Yield ``size`` standard normal draws, float32, in chunks that stay in the cache and that the next overwrites."""
    key = Secret(rng.bytes(KEY_SIZE))
    scratch = torch.empty(min(size, CHUNK_SIZE // _U32.itemsize))
    shifted = np.empty(len(scratch), dtype=np.uint32)
    for chunk in keystream_chunks([key], size, _U32, cipher=Cipher.AES_256):
        draws = scratch[: len(chunk)].copy_(torch.from_numpy(chunk.view(np.int32)))
        # Words whose absolute value as signed ones is at least 2^31 - 2^21, found by one wrapping subtraction.
        moved = np.subtract(chunk, np.uint32(_EDGE), out=shifted[: len(chunk)])
        tail = torch.from_numpy(np.flatnonzero(moved < np.uint32(2 * (2**31 - _EDGE))))
        signs = draws[tail].sign()
        draws.mul_(2.0**-31).erfinv_().mul_(math.sqrt(2.0))
        draws[tail] = signs * torch.from_numpy(_beyond(len(tail), rng=rng))
        yield draws


def _beyond(size: int, *, rng: Rng) -> NDArray[np.float32]:
    """Return absolute values of normal draws that are known to lie in the tail, in double precision."""
    uniform = ((words(size, rng=rng) >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53
    # Half of the tail's probability is on this side.
    return np.asarray(-ndtri(uniform * 2.0 ** -(_TAIL_BITS + 1)), dtype=np.float32)


@torch.no_grad()
def noised_descent(parameter: Tensor, gradient: Tensor, *, deviation: float, rate: float, rng: Rng) -> None:
    """Subtract ``rate`` times (``gradient`` plus normal noise of ``deviation`` in every coordinate) in one pass."""
    flat, slope, start = parameter.view(-1), gradient.reshape(-1), 0
    for chunk in normal_chunks(flat.numel(), rng=rng):
        part = slice(start, start + len(chunk))
        flat[part].sub_(chunk.mul_(deviation).add_(slope[part]), alpha=rate)
        start += len(chunk)
