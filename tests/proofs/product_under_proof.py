"""Every operation of the oracle, computed by the product: what the committed vectors and the live oracle are compared with.

The names are the oracle's (proofs/oracle/oracle.ml); each function calls the code that securefl itself runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import Literal, cast
from unittest.mock import patch

import numpy as np
from recorded_round import RecordedRound, Words, record

from securefl.crypto import packing, paillier, shamir
from securefl.quantize import Quantizer
from securefl.types import RingVector, Secret

GRID = 1 << 16
TOY_PRIMES = (251, 241)
"""A Paillier modulus of 16 bits, 60491: small enough to check by hand, and coprime to its lambda."""


class Bytes:
    """A source of bytes that gives out what it was made with, once."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def bytes(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        taken, self._content = self._content[:size], self._content[size:]
        assert len(taken) == size
        return taken


def answer(request: str) -> str:
    """Return the product's answer to one request."""
    operation, *arguments = request.split(" ")
    return OPERATIONS[operation](*arguments)


def quantizer(up: str, down: str, cn: str, cd: str) -> Quantizer:
    """Return the quantiser with scale up/down and clip cn/cd, with the widest ring."""
    bits = int(up).bit_length() - int(down).bit_length()
    return Quantizer(clip=exact(cn, cd), scale_bits=bits, ring_bits=64, max_weight=1)


def exact(numerator: str, denominator: str) -> float:
    """Return the float that is exactly this fraction."""
    value = int(numerator) / int(denominator)
    assert Fraction(value) == Fraction(int(numerator), int(denominator))
    return value


def limit(up: str, down: str, cn: str, cd: str) -> str:
    """``Quantizer.limit``."""
    return str(quantizer(up, down, cn, cd).limit)


def quantize(up: str, down: str, cn: str, cd: str, n: str, d: str) -> str:
    """``Quantizer.quantize`` on float64, and on float32 too where the value is one; both must agree."""
    code, value = quantizer(up, down, cn, cd), exact(n, d)
    steps = int(code.quantize(np.array([value])).steps[0])
    with np.errstate(all="ignore"):
        narrow = np.float32(value)
    if float(narrow) == value and abs(value) > 2.0**-100:
        assert int(code.quantize(np.array([narrow])).steps[0]) == steps
    return str(steps)


def quantize_stochastic(grid_size: str, limit: str, grid: str, u: str) -> str:
    """``Quantizer.quantize`` with a generator that draws ``u``; the value is ``grid`` steps of 2^-16."""
    assert int(grid_size) == GRID
    value = int(grid) / GRID
    code = Quantizer(clip=max(float(limit), abs(value)), scale_bits=0, ring_bits=64, max_weight=1)
    assert code.limit == int(limit)
    drawn = Bytes(int(u).to_bytes(2, "little"))
    return str(int(code.quantize(np.array([value]), rng=drawn).steps[0]))


def encode(bits: str, weight: str, steps: str) -> str:
    """``Quantizer.encode``."""
    code = _ring(bits)
    number = int(steps)
    signed = np.array([number], np.int32) if code.ring_bits == 32 else np.array([number], np.int64)
    return str(int(code.encode(signed, int(weight))[0]))


def centre(bits: str, word: str) -> str:
    """``Quantizer.decode``."""
    code = _ring(bits)
    number = int(word)
    ring: RingVector = np.array([number], np.uint32) if code.ring_bits == 32 else np.array([number], np.uint64)
    return str(int(code.decode(ring)[0]))


def pack(half: str, values: str) -> str:
    """``Packing.pack`` into one plaintext."""
    numbers = np.array(_numbers(values), np.int64)
    (plaintext,) = _slots(half, len(numbers)).pack(numbers)
    return str(plaintext)


def unpack_signed(half: str, length: str, plaintext: str) -> str:
    """``Packing.unpack`` of one plaintext."""
    values = _slots(half, int(length)).unpack([int(plaintext)], int(length))
    return ",".join(str(int(value)) for value in values)


def signed(modulus: str, value: str) -> str:
    """``PrivateKey.decrypt`` of an encryption of ``value`` under the toy key."""
    key = toy_key()
    assert key.public.n == int(modulus)
    n = key.public.n
    return str(key.decrypt((1 + int(value) * n) * pow(2, n, n * n) % (n * n)))


def masked_input(bits: str, pairs: str, own: str, values: str, cohort: str, me: str) -> str:
    """``Shared._masked`` with these masks."""
    assert bits == "64"
    words = Words(_pair_table(pairs), _table(own), _table(values))
    return str(int(recorded(len(_numbers(cohort))).masked_input(int(me), words)))


def unmask(bits: str, pairs: str, own: str, cohort: str, survivors: str, total: str) -> str:
    """``Opening.open`` with these masks."""
    assert bits == "64"
    words = Words(_pair_table(pairs), _table(own), {})
    opened = recorded(len(_numbers(cohort))).unmask(_numbers(survivors), np.uint64(int(total)), words)
    return str(int(opened))


def horner(prime: str, coefficients: str, point: str) -> str:
    """The share at ``point`` that ``shamir.split`` deals with these coefficients; the first is the secret."""
    assert int(prime) == shamir.PRIME
    secret, *coins = _numbers(coefficients)
    rand = b"".join(coin.to_bytes(48, "little") for coin in coins)
    points = [int(point), *(p for p in range(1, 20) if p != int(point))]
    shares = shamir.split(Secret(secret.to_bytes(32, "little")), threshold=len(coins) + 1, points=points, rand=rand)
    return str(shamir.read_share(shares[int(point)]))


def combine(prime: str, points: str, shares: str) -> str:
    """``shamir.combine``."""
    assert int(prime) == shamir.PRIME
    given = zip(_numbers(points), _numbers(shares), strict=True)
    secret = shamir.combine({point: Secret(share.to_bytes(shamir.SHARE_SIZE, "little")) for point, share in given})
    return str(int.from_bytes(secret.expose(), "little"))


OPERATIONS: Mapping[str, Callable[..., str]] = {
    "limit": limit,
    "quantize": quantize,
    "quantize_stochastic": quantize_stochastic,
    "encode": encode,
    "centre": centre,
    "pack": pack,
    "unpack_signed": unpack_signed,
    "signed": signed,
    "masked_input": masked_input,
    "unmask": unmask,
    "horner": horner,
    "combine": combine,
}


def toy_key() -> paillier.PrivateKey:
    """Return the toy key."""
    with patch.object(paillier, "MINIMUM_BITS", 16):
        return paillier.import_key(*TOY_PRIMES, rng=Bytes(bytes(range(7, 60))))


@cache
def recorded(n: int) -> RecordedRound:
    """Return a round of ``n`` clients, made once: its states do not change."""
    return record(n)


def _ring(bits: str) -> Quantizer:
    return Quantizer(clip=1.0, scale_bits=8, ring_bits=cast(Literal[32, 64], int(bits)))


def _slots(half: str, slots: int) -> packing.Packing:
    return packing.Packing(slot_bits=int(half).bit_length(), slots=slots)


def _numbers(text: str) -> list[int]:
    return [] if text == "-" else [int(part) for part in text.split(",")]


def _pair_table(text: str) -> dict[tuple[int, int], np.uint64]:
    rows = (entry.split(":") for entry in text.split(";") if text != "-")
    return {(int(i), int(j)): np.uint64(int(value)) for i, j, value in rows}


def _table(text: str) -> dict[int, np.uint64]:
    rows = (entry.split(":") for entry in text.split(";"))
    return {int(i): np.uint64(int(value)) for i, value in rows}
