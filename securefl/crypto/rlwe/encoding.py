"""Ring elements as bytes: every residue in exactly its prime's bits, every byte string of the right length read one way.

An element is, prime by prime, the low 16 bits of all its residues, their next 8 bits, four more bits of the polynomial's two
halves side by side in a byte, and the remaining bits one plane after the other: all cut and joined with whole-array
operations, two nanoseconds a residue. Residues that are not below their prime are refused, so that decode then encode gives
the same bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.rlwe.ring import Residues, Ring
from securefl.errors import DecodeError

_WORD_BITS = 16
_NIBBLE = 4


def element_size(ring: Ring) -> int:
    """Return the bytes of an element. Pre-condition: the degree is a multiple of 8."""
    return sum(ring.prime_bits) * ring.degree // 8


def encode_elements(elements: Residues, ring: Ring) -> NDArray[np.uint8]:
    """Return elements, shape (count, primes, N), as bytes, shape (count, element_size)."""
    count = len(elements)
    out = np.empty((count, element_size(ring)), np.uint8)
    at = 0
    for row, bits in enumerate(ring.prime_bits):
        residues = elements[:, row]
        for plane in _cut(residues, bits):
            size = plane.shape[1]
            out[:, at : at + size] = plane
            at += size
    return out


def _cut(residues: NDArray[np.uint32], bits: int) -> list[NDArray[np.uint8]]:
    words = min(bits, _WORD_BITS)
    planes = []
    if words == _WORD_BITS:
        planes.append(residues.astype("<u2").view(np.uint8))
    done = _WORD_BITS if words == _WORD_BITS else 0
    if bits - done >= 8:
        planes.append((residues >> np.uint32(done)).astype(np.uint8))
        done += 8
    rest = (residues >> np.uint32(done)).astype(np.uint8)  # fewer than eight bits
    if bits - done >= _NIBBLE:
        low, high = np.split(rest & np.uint8(15), 2, axis=-1)
        planes.append(low | high * np.uint8(16))  # numpy multiplies bytes much faster than it shifts them left
        rest, done = rest >> np.uint8(_NIBBLE), done + _NIBBLE
    return planes + [np.packbits(rest & np.uint8(1 << bit), axis=-1) for bit in range(bits - done)]


def decode_elements(content: bytes | memoryview, ring: Ring, count: int) -> Residues:
    """Return the elements in ``content``, shape (count, primes, N).

    Raises:
        DecodeError: another length, or a residue that is not below its prime.
    """
    size = element_size(ring)
    if len(content) != count * size:
        raise DecodeError(f"{len(content)} bytes of ring elements must be {count * size}")
    rows = np.frombuffer(content, np.uint8).reshape(count, size)
    out = np.empty((count, len(ring.primes), ring.degree), np.uint32)
    at = 0
    for row, bits in enumerate(ring.prime_bits):
        at = _join(rows, at, bits, out[:, row])
        if count and int(out[:, row].max()) >= ring.primes[row]:
            raise DecodeError(f"a residue is not below its prime {ring.primes[row]}")
    return out


def _join(rows: NDArray[np.uint8], at: int, bits: int, out: NDArray[np.uint32]) -> int:
    """Write the residues of one prime to ``out``, shape (count, N), and return where the next prime's begin."""
    degree, done = out.shape[1], 0
    if bits >= _WORD_BITS:
        out[...] = np.ascontiguousarray(rows[:, at : at + 2 * degree]).view("<u2")
        at, done = at + 2 * degree, _WORD_BITS
    else:
        out[...] = 0
    if bits - done >= 8:
        out |= rows[:, at : at + degree].astype(np.uint32) << np.uint32(done)
        at, done = at + degree, done + 8
    if bits - done >= _NIBBLE:
        folded = rows[:, at : at + degree // 2]
        fields = np.concatenate((folded & np.uint8(15), folded >> np.uint8(_NIBBLE)), axis=-1)
        out |= fields.astype(np.uint32) << np.uint32(done)
        at, done = at + degree // 2, done + _NIBBLE
    for bit in range(done, bits):
        plane = np.unpackbits(rows[:, at : at + degree // 8], axis=-1)
        out |= plane.astype(np.uint32) << np.uint32(bit)
        at += degree // 8
    return at
