"""What homomorphic sums of ring vectors share: the range that a client may encrypt, sums of ciphertexts, the opened sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from securefl.errors import CapacityError, DecodeError
from securefl.quantize import Quantizer
from securefl.secagg.codec import Reader
from securefl.secagg.committed import BadAnswerError, BadCiphertextError
from securefl.types import ClientId, RingVector, Rng


def client_limit(quantizer: Quantizer) -> int:
    """Return the largest absolute value that one client's coordinate may have: max_weight * round(clip * 2^s)."""
    return quantizer.max_weight * max(quantizer.limit, 1)


def signed_values(update: RingVector, quantizer: Quantizer) -> NDArray[np.int64]:
    """Return the signed values of a ring vector, shape (d,), checked so that the sum of all clients is proven not to wrap.

    Raises:
        CapacityError: a coordinate is larger than one client's limit.
    """
    values = quantizer.decode(update)
    limit = client_limit(quantizer)
    low, high = int(values.min()), int(values.max())
    if low < -limit or high > limit:
        raise CapacityError(f"coordinate {low if -low > high else high} must be in [-{limit}, {limit}]")
    return values


def random_values(size: int, limit: int, *, rng: Rng) -> NDArray[np.int64]:
    """Return ``size`` padding values in [-limit, limit], shape (size,); the bias of the remainder is below 2^-12."""
    words = np.frombuffer(rng.bytes(8 * size), "<u8") % np.uint64(2 * limit + 1)
    return words.astype(np.int64) - limit


def encode_sum(total: NDArray[np.int64]) -> bytes:
    """Return an opened sum as little-endian words of eight bytes."""
    return total.astype("<i8").tobytes()


def decode_sum(content: bytes | memoryview, length: int) -> NDArray[np.int64]:
    """Return the opened sum in ``content``, shape (length,).

    Raises:
        DecodeError: it has another length.
    """
    if len(content) != 8 * length:
        raise DecodeError(f"opened sum of {len(content)} bytes must have {8 * length}")
    return np.frombuffer(content, "<i8").astype(np.int64)


def sum_of_one(answers: Mapping[ClientId, memoryview], length: int) -> NDArray[np.int64]:
    """Return the opened sum that a single decryptor answered, shape (length,).

    Raises:
        BadAnswerError: it has another length.
    """
    ((decryptor, answer),) = answers.items()
    try:
        return decode_sum(answer, length)
    except DecodeError as error:
        raise BadAnswerError(decryptor, str(error)) from error


def sum_next(readers: Mapping[ClientId, Reader], read: Callable[[bytes], Any]) -> Any:
    """Return the sum of every client's next ciphertext, a TenSEAL vector; ``read`` checks each before it is added.

    Raises:
        BadCiphertextError: a client's is refused.
    """
    total: Any = None
    for sender, reader in readers.items():
        try:
            ciphertext = read(reader.prefixed())
        except DecodeError as error:
            raise BadCiphertextError(sender, str(error)) from error
        total = ciphertext if total is None else total.add_(ciphertext)
    return total
