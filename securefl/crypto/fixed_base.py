"""Powers of one fixed base by a comb table: the exponentiation that makes packed Paillier affordable.

The base never changes for a key, so all ``base^(digit * 256^i)`` are computed once; a power is then one modular product for
each exponent byte, without any squaring. At a 6144-bit modulus and a 320-bit exponent this takes about 0.3 ms, a plain
power with a full-length exponent about 25 ms.

NOT protected: the table is read at secret positions, so whoever shares a cache with the process may learn the exponent
bytes; Python gives no constant-time arithmetic. Exponents are fresh for each ciphertext and never kept.

Reference: [BGMW92] Brickell, Gordon, McCurley, Wilson: Fast exponentiation with precomputation.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from securefl.errors import MissingExtraError, ParameterError


def gmp() -> ModuleType:
    """Return the module gmpy2.

    Raises:
        MissingExtraError: the extra ``paillier`` is not installed.
    """
    try:
        import gmpy2
    except ImportError as error:
        raise MissingExtraError("gmpy2 is not installed: pip install 'securefl[paillier]'") from error
    return gmpy2  # type: ignore[no-any-return]


class FixedBase:
    """The table of one base: ``exponent_size`` rows of 256 powers each (8 MB at 6144 bits and 40 bytes)."""

    __slots__ = ("_modulus", "_table", "exponent_size")

    def __init__(self, base: int, modulus: int, *, exponent_size: int) -> None:
        """Compute the table for exponents of ``exponent_size`` bytes.

        Raises:
            ParameterError: the exponent is empty, or the modulus is under 3.
        """
        if exponent_size < 1 or modulus < 3:
            raise ParameterError(f"exponent_size={exponent_size} must be >= 1 and the modulus >= 3")
        mpz = gmp().mpz
        self.exponent_size = exponent_size
        self._modulus = mpz(modulus)
        self._table = _comb(mpz(base), self._modulus, exponent_size)

    def power(self, exponent: bytes) -> Any:
        """Return ``base^exponent`` as an mpz; ``exponent`` is little-endian and ``exponent_size`` bytes long.

        >>> int(FixedBase(3, 1000003, exponent_size=2).power(bytes([5, 1])) - pow(3, 261, 1000003))
        0
        """
        modulus, result = self._modulus, 1
        for row, digit in zip(self._table, exponent, strict=True):
            result = result * row[digit] % modulus
        return result


def _comb(base: Any, modulus: Any, rows: int) -> list[list[Any]]:
    """Row i holds ``base^(j * 256^i)`` for j from 0 to 255."""
    table = []
    for _ in range(rows):
        row = [base**0]
        for _ in range(255):
            row.append(row[-1] * base % modulus)
        table.append(row)
        base = row[-1] * base % modulus
    return table
