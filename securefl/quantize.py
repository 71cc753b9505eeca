"""From float updates to ring vectors and back: clip, scale by a power of two, round, and prove that the sum can't wrap.

The ring is Z_2^32 or Z_2^64 in two's complement. A client clips first, scales by 2^s (exact in floating point), rounds half
to even, and multiplies by its weight; because ``n * max_weight * round(clip * 2^s) < 2^(ring_bits - 1)`` is checked before
the run, the sum of all n weighted vectors decodes to the integer sum exactly (Quantize.v: ``no_overflow``, ``sum_error``).
Clipping is counted, never silent. Nothing here hides anything: that is the protocol's work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl.errors import CapacityError, ParameterError
from securefl.types import FloatVector, RingVector, Rng

Steps: TypeAlias = NDArray[np.int32] | NDArray[np.int64]
"""Shape (d,), signed multiples of the quantiser's step; int32 in Z_2^32, int64 in Z_2^64."""

Rounded: TypeAlias = FloatVector | NDArray[np.int64]
"""A chunk of whole steps, as floats or integers."""

CHUNK_LEN = 1 << 16
"""Coordinates worked on at a time: float and integer scratch of this length stay in the second-level cache."""

_FRACTION_BITS = 16
"""Stochastic rounding draws 16 bits a coordinate: the value is first put on a grid of 2^-16 steps."""

MAX_SCALE_BITS = 52
"""A larger scale would ask for more bits than a double has."""

MAX_SUM_BITS = 50
"""Chosen scales keep the sum below 2^50, so that a double holds it exactly with bits to spare, also in Z_2^64."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """Integer ``steps`` of an update, shape (d,), and how many coordinates were ``clipped``."""

    steps: Steps
    clipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer:
    """A fixed-point code with ``scale_bits`` fractional bits for values in [-clip, clip] and weights in 0..max_weight.

    >>> q = Quantizer.for_sum(5, clip=1.0)
    >>> q.scale_bits
    20
    >>> q.decode(q.encode(q.quantize(np.array([0.5, -3.0])).steps, 2)).tolist()
    [1048576, -2097152]
    """

    clip: float
    scale_bits: int
    ring_bits: Literal[32, 64] = 32
    max_weight: int = 255

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise ParameterError(f"clip={self.clip} must be finite and > 0")
        if self.ring_bits not in (32, 64):
            raise ParameterError(f"ring_bits={self.ring_bits} must be 32 or 64")
        if not 1 <= self.max_weight < 1 << 31:
            raise ParameterError(f"max_weight={self.max_weight} must be in 1..2^31-1")
        if not -64 <= self.scale_bits <= MAX_SCALE_BITS:
            raise ParameterError(f"scale_bits={self.scale_bits} must be in -64..{MAX_SCALE_BITS}")
        self.require_capacity(1)

    @classmethod
    def for_sum(cls, n: int, *, clip: float, ring_bits: Literal[32, 64] = 32, max_weight: int = 255) -> Quantizer:
        """Return the quantiser with the largest power-of-two scale at which the sum of ``n`` weighted vectors can't wrap.

        Raises:
            CapacityError: no scale of at least one step a clip fits.
            ParameterError: ``n`` or a field is outside its bound.
        """
        if n < 1:
            raise ParameterError(f"n={n} must be >= 1")
        for bits in range(MAX_SCALE_BITS, -65, -1):
            limit = _limit(clip, bits)
            if limit >= 1 and n * max_weight * limit < 1 << min(ring_bits - 1, MAX_SUM_BITS):
                return cls(clip=clip, scale_bits=bits, ring_bits=ring_bits, max_weight=max_weight)
        raise CapacityError(f"n={n} x max_weight={max_weight} leaves no step in a ring of {ring_bits} bits")

    @property
    def limit(self) -> int:
        """The largest absolute number of steps that one unweighted coordinate can have: round(clip * 2^s)."""
        return _limit(self.clip, self.scale_bits)

    @property
    def step(self) -> float:
        """The value of one step, 2^-s."""
        return math.ldexp(1.0, -self.scale_bits)

    @property
    def dtype(self) -> np.dtype[np.uint32] | np.dtype[np.uint64]:
        """The ring's little-endian word type."""
        return np.dtype("<u4") if self.ring_bits == 32 else np.dtype("<u8")

    def require_capacity(self, n: int) -> None:
        """Check that the sum of ``n`` weighted vectors, and of ``n`` weights, can't wrap.

        Raises:
            CapacityError: n * max_weight * limit reaches 2^(ring_bits - 1).
        """
        largest = n * self.max_weight * max(self.limit, 1)
        if largest >= 1 << (self.ring_bits - 1):
            raise CapacityError(
                f"n={n} x max_weight={self.max_weight} x steps={self.limit} = {largest} must be < 2^{self.ring_bits - 1}"
            )

    def require_noise_capacity(self, n: int, *, noise: float, length: int, bits: int = 40) -> None:
        """Check that sub-Gaussian noise in the sum wraps any of ``length`` coordinates with probability at most 2^-bits.

        The values keep their proven share of the ring; what is left of it bounds the noise:
        length * 2 exp(-(room / sigma)^2 / 2) <= 2^-bits.

        Args:
            noise: sigma of the whole noise in a coordinate of the sum, in units of the update.

        Raises:
            CapacityError: the room for noise is too small.
        """
        if not (math.isfinite(noise) and noise >= 0) or length < 1:
            raise ParameterError(f"noise={noise} must be finite and >= 0, length={length} must be >= 1")
        room = (1 << (self.ring_bits - 1)) - 1 - n * self.max_weight * self.limit
        needed = noise / self.step * math.sqrt(2 * math.log(2 * length * 2.0**bits))
        if needed > room:
            raise CapacityError(f"noise needs {needed:.0f} steps beside n={n} weighted values, must be <= {room}")

    def quantize(self, update: FloatVector, *, name: str = "update", rng: Rng | None = None) -> Quantized:
        """Return ``update`` in steps: clipped to [-clip, clip], scaled by 2^s, rounded half to even.

        With an ``rng`` the rounding is stochastic and unbiased on a grid of 2^-16 steps: floor(x + u), u uniform; each
        coordinate then differs by less than one step instead of half a step.

        Args:
            update: float32 or float64, shape (d,).
            name: the tensor's name, for the error.

        Raises:
            ParameterError: the update is not a float vector, or holds NaN or infinity; ``name`` is in the message.
        """
        steps: Steps = np.empty(len(update), np.int32) if self.ring_bits == 32 else np.empty(len(update), np.int64)
        clipped = 0
        for part, rounded, outside in self._rounded(update, name, rng):
            steps[part] = rounded
            clipped += outside
        return Quantized(steps, clipped)

    def encode_update(self, update: FloatVector, weight: int, *, out: RingVector, name: str = "update") -> int:
        """Write the weighted, quantised ``update`` to ``out`` as ring words, in one pass; return how many values were clipped.

        The same words as :meth:`quantize` and then :meth:`encode`, without a vector in between.

        Raises:
            ParameterError: as for :meth:`quantize` and :meth:`encode`; ``out`` may be half written.
        """
        self._require_weight(weight)
        signed = out.view(np.int32 if self.ring_bits == 32 else np.int64)
        clipped = 0
        for part, rounded, outside in self._rounded(update, name, None):
            signed[part] = rounded
            np.multiply(signed[part], signed.dtype.type(weight), out=signed[part])
            clipped += outside
        return clipped

    def _rounded(self, update: FloatVector, name: str, rng: Rng | None) -> Iterator[tuple[slice, Rounded, int]]:
        """Yield each chunk in steps, in scratch that the next one overwrites, and how many of its values were clipped."""
        if update.ndim != 1 or update.dtype not in (np.float32, np.float64):
            raise ParameterError(f"{name}: dtype={update.dtype} shape={update.shape} must be a float vector")
        scratch = np.empty(min(CHUNK_LEN, len(update)), update.dtype)
        for start in range(0, len(update), CHUNK_LEN):
            chunk, outside = update[start : start + CHUNK_LEN], 0
            high, low = float(chunk.max()), float(chunk.min())
            if not (math.isfinite(high) and math.isfinite(low)):
                raise ParameterError(f"{name}: coordinate {_first_bad(update)} is not finite")
            if high > self.clip or low < -self.clip:
                # Clipping happens in double precision: the nearest float32 of ``clip`` may lie above it.
                chunk = chunk.astype(np.float64)
                outside = int(np.count_nonzero(np.abs(chunk) > self.clip))
                chunk = np.clip(chunk, -self.clip, self.clip)
            rounded = self._round(chunk, scratch) if rng is None else self._round_stochastic(chunk, rng)
            yield slice(start, start + len(chunk)), rounded, outside

    def _round(self, chunk: FloatVector, scratch: FloatVector) -> FloatVector:
        """Scale and round half to even; a power of two scales exactly, so float32 input needs no wider type."""
        target = scratch[: len(chunk)] if chunk.dtype == scratch.dtype else chunk
        np.multiply(chunk, chunk.dtype.type(math.ldexp(1.0, self.scale_bits)), out=target)
        return np.rint(target, out=target)

    def _round_stochastic(self, chunk: FloatVector, rng: Rng) -> NDArray[np.int64]:
        grid = np.rint(chunk.astype(np.float64) * math.ldexp(1.0, self.scale_bits + _FRACTION_BITS)).astype(np.int64)
        grid += np.frombuffer(rng.bytes(2 * len(chunk)), "<u2")
        # An arithmetic shift is a floor; the clip keeps the proven capacity when a value at the limit is rounded away.
        steps: NDArray[np.int64] = np.clip(grid >> _FRACTION_BITS, -self.limit, self.limit)
        return steps

    def encode(self, steps: Steps, weight: int, *, out: RingVector | None = None) -> RingVector:
        """Return ``weight * steps`` as ring words, shape (d,), written into ``out`` where given.

        Raises:
            ParameterError: the weight is outside 0..max_weight.
        """
        self._require_weight(weight)
        ring = np.empty(len(steps), self.dtype) if out is None else out
        signed = ring.view(np.int32 if self.ring_bits == 32 else np.int64)
        np.multiply(steps, signed.dtype.type(weight), out=signed, casting="same_kind")
        return ring

    def _require_weight(self, weight: int) -> None:
        if not 0 <= weight <= self.max_weight:
            raise ParameterError(f"weight={weight} must be in 0..{self.max_weight}")

    def decode(self, ring: RingVector) -> NDArray[np.int64]:
        """Return the signed integers that the ring words stand for, shape (d,)."""
        return ring.view(np.int32 if self.ring_bits == 32 else np.int64).astype(np.int64)

    def dequantize(self, steps: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of ``steps``, shape (d,): steps * 2^-s."""
        return steps.astype(np.float64) * self.step

    def error_bound(self, total_weight: int) -> float:
        """Return the most that a coordinate of an opened sum differs from the exact sum of unclipped updates.

        Half a step for each unit of weight: |sum w_i (u_i - q_i)| <= sum w_i * 2^-s / 2.
        """
        return total_weight * self.step / 2


def _limit(clip: float, scale_bits: int) -> int:
    return round(math.ldexp(clip, scale_bits))


def _first_bad(update: FloatVector) -> int:
    return int(np.flatnonzero(~np.isfinite(update))[0])
