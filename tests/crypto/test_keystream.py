"""The mask kernel against official vectors, against other implementations, and against plain numpy arithmetic."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher as LibraryCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl.crypto.keystream import CHUNK_SIZE, Cipher, apply_masks, keystream, masked_chunks
from securefl.errors import ParameterError
from securefl.types import RingVector, Secret

U32, U64 = np.dtype("<u4"), np.dtype("<u8")
ZERO_KEY = Secret(bytes(32))
KEYS = [Secret(bytes([i]) * 32) for i in range(1, 7)]


def chacha20_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    """RFC 8439 section 2.3, written from the text: the second implementation."""
    state = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
    work = list(state)
    columns = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            for first, second, third, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                work[first] = (work[first] + work[second]) & 0xFFFFFFFF
                mixed = work[third] ^ work[first]
                work[third] = (mixed << turn | mixed >> (32 - turn)) & 0xFFFFFFFF
    return struct.pack("<16I", *((x + y) & 0xFFFFFFFF for x, y in zip(work, state, strict=True)))


def second_implementation(key: Secret, size: int, cipher: Cipher) -> bytes:
    out = b""
    for index in range((size + CHUNK_SIZE - 1) // CHUNK_SIZE):
        wanted = min(CHUNK_SIZE, size - index * CHUNK_SIZE)
        nonce = index.to_bytes(12, "little")
        if cipher is Cipher.AES_256:
            mode = modes.CTR(nonce + bytes([0, 0, 0, 2]))
            out += LibraryCipher(algorithms.AES(key.expose()), mode).encryptor().update(bytes(wanted))
        else:
            blocks = range((wanted + 63) // 64)
            out += b"".join(chacha20_block(key.expose(), block, nonce) for block in blocks)[:wanted]
    return out


@pytest.mark.vector
def test_aes_256_gcm_test_case_14() -> None:
    """GCM specification, test case 14: the encryption of one zero block under the zero key is the first keystream block."""
    assert keystream(ZERO_KEY, 4, U32, cipher=Cipher.AES_256).tobytes().hex() == "cea7403d4d606b6e074ec5d3baf39d18"


@pytest.mark.vector
def test_aes_256_fips_197_c3() -> None:
    """FIPS 197 C.3 through the electronic-codebook mode, then our stream as that block function of the counter blocks."""
    aes = LibraryCipher(algorithms.AES(bytes(range(32))), modes.ECB()).encryptor()  # noqa: S305
    assert aes.update(bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == "8ea2b7ca516745bfeafc49904b496089"
    counters = b"".join(bytes(12) + (2 + i).to_bytes(4, "big") for i in range(5))
    assert keystream(Secret(bytes(range(32))), 20, U32, cipher=Cipher.AES_256).tobytes() == aes.update(counters)


@pytest.mark.vector
def test_chacha20_rfc_8439_a1() -> None:
    """RFC 8439 appendix A.1, test vectors 1 and 2: zero key, zero nonce, block counters 0 and 1."""
    stream = keystream(ZERO_KEY, 32, U32, cipher=Cipher.CHACHA20).tobytes()
    assert stream[:64].hex() == (
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    assert stream[64:].hex() == (
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
    )


@pytest.mark.vector
def test_the_reference_block_function_is_rfc_8439s() -> None:
    """RFC 8439 section 2.3.2."""
    block = chacha20_block(bytes(range(32)), 1, bytes.fromhex("000000090000004a00000000"))
    assert block.hex().startswith("10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e")


@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize("size", [4, 12, 256, 1000])
def test_two_implementations_agree_on_a_short_stream(cipher: Cipher, size: int) -> None:
    stream = keystream(KEYS[0], size // 4, U32, cipher=cipher).tobytes()
    assert stream == second_implementation(KEYS[0], size, cipher)


def test_two_implementations_agree_across_chunks() -> None:
    size = 2 * CHUNK_SIZE + 1236
    stream = keystream(KEYS[1], size // 4, U32, cipher=Cipher.AES_256).tobytes()
    assert stream == second_implementation(KEYS[1], size, Cipher.AES_256)


def test_a_chunk_of_chacha20_has_its_index_as_nonce() -> None:
    words = CHUNK_SIZE // 4
    stream = keystream(KEYS[1], words + 16, U32, cipher=Cipher.CHACHA20)[words:].tobytes()
    assert stream == chacha20_block(KEYS[1].expose(), 0, (1).to_bytes(12, "little"))


@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize("dtype", [U32, U64])
def test_words_are_little_endian_whatever_their_width(cipher: Cipher, dtype: np.dtype[np.uint32]) -> None:
    stream = keystream(KEYS[2], 40, dtype, cipher=cipher)
    assert stream.tobytes() == second_implementation(KEYS[2], 40 * dtype.itemsize, cipher)
    assert int(stream[0]) == int.from_bytes(stream.tobytes()[: dtype.itemsize], "little")




@settings(max_examples=30, deadline=None)
@given(
    length=st.integers(1, 300),
    add=st.lists(st.sampled_from(KEYS), max_size=3),
    subtract=st.lists(st.sampled_from(KEYS), max_size=3),
    cipher=st.sampled_from(Cipher),
    wide=st.booleans(),
)
@pytest.mark.property
def test_masks_are_added_and_subtracted_modulo_the_ring(
    length: int, add: list[Secret], subtract: list[Secret], cipher: Cipher, wide: bool
) -> None:
    generator = np.random.default_rng(length)
    bits: RingVector = np.frombuffer(generator.bytes(8 * length), "<u8")
    vector = bits.copy() if wide else bits.astype(np.uint32)
    expected = vector.copy()
    for key in add:
        expected += keystream(key, length, vector.dtype, cipher=cipher)
    for key in subtract:
        expected -= keystream(key, length, vector.dtype, cipher=cipher)
    before = vector.copy()
    chunks = [chunk.copy() for chunk in masked_chunks(vector, add=add, subtract=subtract, cipher=cipher)]
    assert np.array_equal(np.concatenate(chunks), expected)
    assert np.array_equal(vector, before)
    apply_masks(vector, add=subtract, subtract=add, cipher=cipher)
    apply_masks(vector, add=add, subtract=subtract, cipher=cipher)
    assert np.array_equal(vector, before)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_threads_give_the_same_bits(workers: int, chunks: int) -> None:
    length = chunks * CHUNK_SIZE // 4 - 17
    vector = np.arange(length, dtype="<u4")
    apply_masks(vector, add=KEYS[:2], subtract=KEYS[2:3], cipher=Cipher.AES_256, workers=workers)
    streams = [keystream(key, length, U32, cipher=Cipher.AES_256) for key in KEYS[:3]]
    assert np.array_equal(vector, np.arange(length, dtype="<u4") + streams[0] + streams[1] - streams[2])


def test_a_float_or_signed_vector_is_refused() -> None:
    with pytest.raises(ParameterError, match="int32"):
        apply_masks(np.zeros(3, np.int32).view(np.int32), add=[], subtract=[], cipher=Cipher.AES_256)  # type: ignore[arg-type]
