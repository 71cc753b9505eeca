"""Masks at memory speed: many keystreams added to a ring vector, chunk by chunk, inside the processor's cache.

A mask is the keystream of AES-256 in counter mode or of ChaCha20 (RFC 8439), read as little-endian ring words. Protocol
constants: the stream is cut into chunks of 2^18 bytes; chunk ``i`` has nonce ``i`` (12 bytes, little-endian); AES starts each
chunk at counter block ``nonce || 00000002``, which is where the library's GCM mode starts, so that the authenticated mode on
zero blocks gives this stream with the processor's widest instructions; its tag is discarded and never leaves this file.
ChaCha20 starts at block counter 0. Both ends of a pair must use the same cipher: the roster names it.

A key must be used for one vector only. Nothing here is authenticated, and a mask hides its vector only while the key is
secret and fresh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Protocol, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher as LibraryCipher
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from securefl.errors import ParameterError
from securefl.types import RingVector, Secret

CHUNK_SIZE = 1 << 18
"""Bytes of a chunk. A protocol constant: a chunk has a nonce of its own."""

_TAG_SIZE = 16
_ZEROS = memoryview(bytes(CHUNK_SIZE))


class Cipher(Enum):
    """The mask generator; a field of the signed roster, never negotiated."""

    AES_256 = "aes-256"
    CHACHA20 = "chacha20"


class _Stream(Protocol):
    def fill(self, index: int, size: int, scratch: memoryview) -> None:
        """Write ``size`` bytes of chunk ``index`` to the front of ``scratch``."""
        ...


class _AesStream:
    """AES-256 counter mode through GCM on zero blocks."""

    __slots__ = ("_aead",)

    def __init__(self, key: Secret) -> None:
        self._aead = AESGCM(key.expose())

    def fill(self, index: int, size: int, scratch: memoryview) -> None:
        self._aead.encrypt_into(index.to_bytes(12, "little"), _ZEROS[:size], None, scratch[: size + _TAG_SIZE])


class _ChaChaStream:
    """ChaCha20 with block counter 0 and the chunk's index as nonce."""

    __slots__ = ("_context",)

    def __init__(self, key: Secret) -> None:
        self._context = LibraryCipher(algorithms.ChaCha20(key.expose(), bytes(16)), None).encryptor()

    def fill(self, index: int, size: int, scratch: memoryview) -> None:
        self._context.reset_nonce(bytes(4) + index.to_bytes(12, "little"))
        self._context.update_into(_ZEROS[:size], scratch)


Masks: TypeAlias = Sequence[Secret]
"""Mask keys of 32 bytes, each for one vector."""


def _open(key: Secret, cipher: Cipher) -> _Stream:
    match cipher:
        case Cipher.AES_256:
            return _AesStream(key)
        case Cipher.CHACHA20:
            return _ChaChaStream(key)


def keystream(key: Secret, length: int, dtype: np.dtype[np.uint32] | np.dtype[np.uint64], *, cipher: Cipher) -> RingVector:
    """Return the mask of ``key``, shape (length,), as ring words."""
    vector = np.zeros(length, "<u4") if dtype.itemsize == 4 else np.zeros(length, "<u8")
    apply_masks(vector, add=[key], subtract=[], cipher=cipher)
    return vector


def keystream_chunks(
    keys: Masks, length: int, dtype: np.dtype[np.uint32] | np.dtype[np.uint64], *, cipher: Cipher
) -> Iterator[RingVector]:
    """Yield the first chunk of every key's mask, then the second chunk of every key's, in scratch that the next overwrites."""
    step = CHUNK_SIZE // dtype.itemsize
    kernel = _Kernel(dtype, keys, [], cipher)
    for index, start in enumerate(range(0, length, step)):
        for key in range(len(keys)):
            yield kernel.stream(key, index, min(step, length - start))


def masked_chunks(vector: RingVector, *, add: Masks, subtract: Masks, cipher: Cipher) -> Iterator[RingVector]:
    """Yield ``vector`` plus the masks of ``add`` minus those of ``subtract``, a chunk at a time.

    The yielded array is scratch that the next step overwrites: consume it first. ``vector`` is not changed, so a client
    never holds a second vector beside the message that it writes.
    """
    _require_ring(vector)
    step = CHUNK_SIZE // vector.dtype.itemsize
    out = np.empty(min(step, len(vector)), vector.dtype)
    kernel = _Kernel(vector.dtype, add, subtract, cipher)
    for index, start in enumerate(range(0, len(vector), step)):
        chunk = vector[start : start + step]
        target = out[: len(chunk)]
        kernel.apply(index, chunk, target)
        yield target


def apply_masks(vector: RingVector, *, add: Masks, subtract: Masks, cipher: Cipher, workers: int = 1) -> None:
    """Add the masks of ``add`` to ``vector`` and subtract those of ``subtract``, in place, modulo the ring.

    Args:
        vector: uint32 or uint64, shape (d,), little-endian.
        workers: threads; the library and numpy release the interpreter lock inside.
    """
    _require_ring(vector)
    step = CHUNK_SIZE // vector.dtype.itemsize
    chunks = list(enumerate(range(0, len(vector), step)))

    def work(part: Sequence[tuple[int, int]]) -> None:
        kernel = _Kernel(vector.dtype, add, subtract, cipher)
        for index, start in part:
            kernel.apply(index, vector[start : start + step], vector[start : start + step])

    if workers <= 1 or len(chunks) <= workers:
        work(chunks)
        return
    with ThreadPoolExecutor(workers) as pool:
        for finished in [pool.submit(work, chunks[first::workers]) for first in range(workers)]:
            finished.result()


class _Kernel:
    """The streams of one call with their scratch: keystream and sum both stay in the second-level cache."""

    def __init__(self, dtype: np.dtype[np.uint32] | np.dtype[np.uint64], add: Masks, subtract: Masks, cipher: Cipher) -> None:
        self._add = [_open(key, cipher) for key in add]
        self._subtract = [_open(key, cipher) for key in subtract]
        scratch = bytearray(CHUNK_SIZE + _TAG_SIZE)
        self._bytes = memoryview(scratch)
        words = memoryview(scratch)[:CHUNK_SIZE]
        self._words: RingVector = np.frombuffer(words, "<u4") if dtype.itemsize == 4 else np.frombuffer(words, "<u8")
        self._itemsize = dtype.itemsize

    def stream(self, key: int, index: int, length: int) -> RingVector:
        """Return ``length`` words of chunk ``index`` of the stream of added key ``key``, in scratch."""
        self._add[key].fill(index, length * self._itemsize, self._bytes)
        return self._words[:length]

    def apply(self, index: int, source: RingVector, target: RingVector) -> None:
        """Write ``source`` with chunk ``index`` of every stream to ``target``, which may be ``source`` itself."""
        size = len(source) * self._itemsize
        words = self._words[: len(source)]
        for stream in self._add:
            stream.fill(index, size, self._bytes)
            np.add(source, words, out=target)
            source = target
        for stream in self._subtract:
            stream.fill(index, size, self._bytes)
            np.subtract(source, words, out=target)
            source = target
        if source is not target:
            np.copyto(target, source)


def _require_ring(vector: RingVector) -> None:
    if vector.ndim != 1 or vector.dtype not in (np.dtype("<u4"), np.dtype("<u8")):
        raise ParameterError(f"dtype={vector.dtype} shape={vector.shape} must be a vector of <u4 or <u8")
