"""Many signed integers in one plaintext of an additively homomorphic scheme, so that slots never carry into each other.

Slot j holds ``v_j * 2^(slot_bits * j)``; values are signed, and the packed plaintext is the plain signed integer sum. Adding
packed plaintexts adds the slots as long as every slot of the *sum* stays in ``[-2^(slot_bits-1), 2^(slot_bits-1))``. The
quantiser proves that bound before a run (``n * max_weight * largest step < 2^(ring_bits-1)``), and ``slot_bits = ring_bits``.
All slots together stay under a quarter of the modulus, so that the sign survives as well.

NOT protected: a partner who encrypts a value outside its range carries into the neighbouring coordinate; nobody sees it in
a ciphertext (range proofs would). The sum of honest partners is never affected by honest values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.errors import CapacityError, DecodeError, ParameterError

SLOT_BITS = (32, 64)
"""Slot widths that map onto machine words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """``slots`` signed values of ``slot_bits`` bits each in one plaintext."""

    slot_bits: int
    slots: int

    def __post_init__(self) -> None:
        if self.slot_bits not in SLOT_BITS:
            raise ParameterError(f"slot_bits={self.slot_bits} must be 32 or 64")
        if self.slots < 1:
            raise CapacityError(f"slots={self.slots} must be >= 1: the modulus is too short for slot_bits={self.slot_bits}")

    @classmethod
    def for_modulus(cls, modulus_bits: int, *, slot_bits: int = 32) -> Packing:
        """Return the packing with as many slots as a modulus of ``modulus_bits`` carries with the sign.

        >>> Packing.for_modulus(3072).slots
        95
        """
        return cls(slot_bits=slot_bits, slots=(modulus_bits - 2) // slot_bits)

    @property
    def offset(self) -> int:
        """Half the slot range in every slot: added before the slots are cut apart, so that each is non-negative."""
        ones = ((1 << (self.slot_bits * self.slots)) - 1) // ((1 << self.slot_bits) - 1)
        return ones << (self.slot_bits - 1)

    def plaintexts(self, size: int) -> int:
        """Return how many plaintexts carry ``size`` values."""
        return -(-size // self.slots)

    def pack(self, values: NDArray[np.int64]) -> list[int]:
        """Return the signed plaintexts of ``values``, shape (d,); the last one is padded with zeros.

        Raises:
            CapacityError: a value is outside its slot.
        """
        half = 1 << (self.slot_bits - 1)
        if values.size and not (-half <= int(values.min()) and int(values.max()) < half):
            raise CapacityError(f"value {_largest(values)} must be in [-2^{self.slot_bits - 1}, 2^{self.slot_bits - 1})")
        rows = np.zeros((self.plaintexts(values.size), self.slots), dtype=self._word)
        # Two's complement plus 2^(b-1) is the value with its sign bit flipped: no wider integers are needed.
        rows.reshape(-1)[: values.size] = values.astype(self._word) ^ self._word.type(half)
        rows.reshape(-1)[values.size :] = half
        offset = self.offset
        return [int.from_bytes(row.tobytes(), "little") - offset for row in rows]

    def unpack(self, plaintexts: Sequence[int], size: int) -> NDArray[np.int64]:
        """Return the ``size`` signed values of ``plaintexts``, shape (size,).

        Raises:
            DecodeError: the number of plaintexts is wrong, or one is no packed sum (a slot at the top has overflowed).
        """
        if len(plaintexts) != self.plaintexts(size):
            raise DecodeError(f"plaintexts={len(plaintexts)} must be {self.plaintexts(size)} for {size} values")
        offset, width = self.offset, self.slots * self.slot_bits // 8
        try:
            content = b"".join((int(plaintext) + offset).to_bytes(width, "little") for plaintext in plaintexts)
        except OverflowError as error:
            raise DecodeError(f"a plaintext is outside its {self.slots} slots of {self.slot_bits} bits") from error
        words = np.frombuffer(content, dtype=self._word)[:size] ^ self._word.type(1 << (self.slot_bits - 1))
        values: NDArray[np.int64] = words.view(f"<i{self.slot_bits // 8}").astype(np.int64)
        return values

    @property
    def _word(self) -> np.dtype[np.unsignedinteger]:
        return np.dtype(f"<u{self.slot_bits // 8}")


def _largest(values: NDArray[np.int64]) -> int:
    low, high = int(values.min()), int(values.max())
    return low if -low > high else high
