"""Modular powers in bulk: one exponent for many bases on all cores, and one product of many powers, for batched proofs.

NOT protected: time and memory access depend on the numbers; GMP's powers are not constant time.

Reference: [Pip76] Pippenger: On the evaluation of powers and related problems.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from securefl.crypto.fixed_base import gmp

CHALLENGE_SIZE = 16
"""Bytes of a proof's challenge and of a combination exponent: 2^-128 each."""

_SMALLEST_BATCH = 8
"""Fewer powers than this are not worth a thread."""


def powers(bases: Sequence[Any], exponent: int, modulus: Any) -> list[Any]:
    """Return ``base^exponent`` for every base; gmpy2 gives up the interpreter's lock meanwhile, so threads help."""
    workers = min(len(os.sched_getaffinity(0)), -(-len(bases) // _SMALLEST_BATCH))
    if workers <= 1:
        return list(gmp().powmod_base_list(list(bases), exponent, modulus)) if bases else []
    size = -(-len(bases) // workers)
    parts = [list(bases[i : i + size]) for i in range(0, len(bases), size)]
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(lambda part: gmp().powmod_base_list(part, exponent, modulus), parts)
        return [power for part in done for power in part]


def batch_exponents(seed: bytes, count: int) -> list[bytes]:
    """Return ``count`` exponents that ``seed``, a hash of the statements, fixes: they combine many statements into one."""
    return [hashlib.sha256(seed + i.to_bytes(4, "big")).digest()[:CHALLENGE_SIZE] for i in range(count)]


def product_of_powers(bases: Sequence[Any], exponents: Sequence[bytes], modulus: Any) -> Any:
    """Return the product of ``base^exponent``; exponents are big-endian and of one length ([Pip76], a bucket for each digit).

    >>> int(product_of_powers([3, 5], [bytes([2]), bytes([3])], 1000003))
    1125
    """
    bits = 8 * len(exponents[0]) if exponents else 0
    width = min(range(1, 13), key=lambda width: -(-bits // width) * (len(bases) + (2 << width)))
    numbers = [int.from_bytes(exponent, "big") for exponent in exponents]
    result = gmp().mpz(1)
    for shift in reversed(range(0, bits, width)):
        result = gmp().powmod(result, 1 << width, modulus)
        buckets = [gmp().mpz(1)] * (1 << width)
        for base, number in zip(bases, numbers, strict=True):
            digit = number >> shift & (1 << width) - 1
            buckets[digit] = buckets[digit] * base % modulus
        # The bucket of digit j must come in j times: running products from the top do that with two products a digit.
        running = window = gmp().mpz(1)
        for bucket in reversed(buckets[1:]):
            running = running * bucket % modulus
            window = window * running % modulus
        result = result * window % modulus
    return result
