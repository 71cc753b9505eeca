"""The requests whose answers are the committed vectors: edge cases by hand, the rest from a fixed stream of SHAKE-256.

The oracle's protocol is in oracle/oracle.ml. Values are chosen inside the bounds of the product (ring of 32 or 64 bits,
slots of 32 or 64 bits, the prime of securefl.crypto.shamir), so that every vector can be asked of the Python code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations

PRIME = (1 << 256) + 297
GRID = 1 << 16


class Stream:
    """Numbers from SHAKE-256 of a label: the same on every machine and in every version."""

    def __init__(self, label: str) -> None:
        self._bytes, self._at = hashlib.shake_256(label.encode()).digest(1 << 18), 0

    def below(self, bound: int) -> int:
        """Return a number in 0..bound-1 (its bias does not matter here)."""
        size = (bound.bit_length() + 7) // 8 + 4
        chunk = self._bytes[self._at : self._at + size]
        self._at += size
        return int.from_bytes(chunk, "big") % bound

    def between(self, low: int, high: int) -> int:
        """Return a number in low..high."""
        return low + self.below(high - low + 1)


def fraction(value: float) -> str:
    """Return the exact numerator and denominator of a float, as two arguments."""
    return "{} {}".format(*value.as_integer_ratio())


def scale(bits: int) -> str:
    """Return 2^bits as the two arguments up and down."""
    return f"{1 << max(bits, 0)} {1 << max(-bits, 0)}"


def listed(values: Sequence[int]) -> str:
    """Return a list argument."""
    return ",".join(map(str, values)) or "-"


def requests() -> list[str]:
    """Return every request, in order."""
    return [*_quantizer(), *_stochastic(), *_ring(), *_packing(), *_masking(), *_shamir()]


def _quantizer() -> list[str]:
    stream, rows = Stream("quantizer"), []
    edges = [0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999999999999994, 1.0, -1.0, 3.0, -3.0, 5e-324, -1e308, 0.1, -0.3]
    for bits, clip in [(0, 4.0), (20, 1.0), (-3, 100.0), (7, 0.3), (30, 0.75), (1, 1.25)]:
        rows.append(f"limit {scale(bits)} {fraction(clip)}")
        values = [*edges, clip, -clip, stream.between(-(1 << 40), 1 << 40) / (1 << 40) * clip * 1.1]
        values += [stream.between(-64, 64) * 2.0 ** -(bits + 1) for _ in range(12)]
        rows += [f"quantize {scale(bits)} {fraction(clip)} {fraction(value)}" for value in values]
    return rows


def _stochastic() -> list[str]:
    stream, rows = Stream("stochastic"), []
    for _ in range(40):
        limit = stream.between(1, 50)
        grid = stream.between(-limit * GRID, limit * GRID)
        rows.append(f"quantize_stochastic {GRID} {limit} {grid} {stream.below(GRID)}")
    rows += [f"quantize_stochastic {GRID} 2 {grid} {u}" for grid in (163840, -163840, 131072, 0, -1) for u in (0, 1, 65535)]
    return rows


def _ring() -> list[str]:
    stream, rows = Stream("ring"), []
    for bits in (32, 64):
        top = (1 << (bits - 1)) // 255 - 1
        for _ in range(15):
            rows.append(f"encode {bits} {stream.below(256)} {stream.between(-top, top)}")
            rows.append(f"centre {bits} {stream.below(1 << bits)}")
        rows += [f"centre {bits} {word}" for word in (0, 1, (1 << (bits - 1)) - 1, 1 << (bits - 1), (1 << bits) - 1)]
    return rows


def _packing() -> list[str]:
    stream, rows = Stream("packing"), []
    for bits in (32, 64):
        half = 1 << (bits - 1)
        for length in (1, 2, 3, 7, 12):
            values = [stream.between(-half, half - 1) for _ in range(length)]
            rows.append(f"pack {half} {listed(values)}")
            packed = sum(value << (bits * slot) for slot, value in enumerate(values))
            rows.append(f"unpack_signed {half} {length} {packed}")
        rows.append(f"unpack_signed {half} 2 {half}")
    modulus = 60491
    rows += [f"signed {modulus} {value}" for value in (0, 1, -1, 30245, -30245, 30246, -30246, 12345, -29999, 60490)]
    return rows


def _masking() -> list[str]:
    stream, rows = Stream("masking"), []
    for n in (2, 3, 5):
        cohort = list(range(1, n + 1))
        pairs = ";".join(f"{i}:{j}:{stream.below(1 << 64)}" for i, j in combinations(cohort, 2))
        own = ";".join(f"{i}:{stream.below(1 << 64)}" for i in cohort)
        inputs = ";".join(f"{i}:{stream.below(1 << 64)}" for i in cohort)
        rows += [f"masked_input 64 {pairs} {own} {inputs} {listed(cohort)} {i}" for i in cohort]
        for size in range(1, n + 1):
            survivors = list(combinations(cohort, size))[stream.below(2) % len(list(combinations(cohort, size)))]
            rows.append(f"unmask 64 {pairs} {own} {listed(cohort)} {listed(survivors)} {stream.below(1 << 64)}")
    return rows


def _shamir() -> list[str]:
    stream, rows = Stream("shamir"), []
    for threshold in (1, 2, 3, 5):
        coefficients = [stream.below(1 << 256)] + [stream.below(PRIME) for _ in range(threshold - 1)]
        points = sorted({stream.between(1, 999) for _ in range(threshold + 3)})[:threshold]
        while len(points) < threshold:
            points.append(points[-1] + 1)
        shares = [sum(c * x**k for k, c in enumerate(coefficients)) % PRIME for x in points]
        rows += [f"horner {PRIME} {listed(coefficients)} {x}" for x in points]
        rows.append(f"combine {PRIME} {listed(points)} {listed(shares)}")
    return rows
