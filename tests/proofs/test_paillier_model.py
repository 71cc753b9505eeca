"""Paillier as Paillier.v models it: (1 + m n) r^n, decryption by CRT, the product is the sum, and which keys are refused."""

from __future__ import annotations

from math import gcd
from typing import Any
from unittest.mock import patch

import pytest
from product_under_proof import Bytes, toy_key

from securefl.crypto import paillier
from securefl.errors import ParameterError

PLAIN = [0, 1, -1, 2, 17, -1000, 12345, 30245, -30245]


def units(n: int) -> list[int]:
    """Return some units modulo n."""
    return [r for r in (1, 2, 3, 1234, 59999, n - 1) if gcd(r, n) == 1]


def enc(n: int, m: int, r: int) -> int:
    """Paillier.enc."""
    return (1 + m * n) * pow(r, n, n * n) % (n * n)


def test_decryption_is_the_theorem_s() -> None:
    """`paillier_crt`: decrypting enc m r gives m modulo n (signed), for every unit r."""
    key = toy_key()
    n = key.public.n
    for m in PLAIN:
        for r in units(n):
            assert key.decrypt(enc(n, m % n, r)) == m


def test_encryption_is_the_theorem_s() -> None:
    """What the encryptor sends is enc m r for r = (h^e)^(1/n): h is an n-th power, so the theorem's r exists."""
    key = toy_key()
    n, h = key.public.n, int(key.public.h)
    root = next(r for r in range(2, n) if gcd(r, n) == 1 and pow(r, n, n * n) == h)
    encryptor = paillier.Encryptor(key.public)
    size = encryptor._masks.exponent_size
    drawn = bytes(range(size))
    # The exponent that these bytes stand for is found from an encryption of 0, which is the mask alone.
    (mask,) = encryptor.encrypt([0], rng=Bytes(drawn))
    assert any(mask == pow(h, int.from_bytes(drawn, order), n * n) for order in ("little", "big"))
    exponent = next(e for e in (int.from_bytes(drawn, "little"), int.from_bytes(drawn, "big")) if pow(h, e, n * n) == mask)
    for m in PLAIN:
        (ciphertext,) = encryptor.encrypt([m], rng=Bytes(drawn))
        assert ciphertext == enc(n, m % n, pow(root, exponent, n))


def test_product_decrypts_to_the_sum() -> None:
    """`paillier_sum`, for lists of up to five clients."""
    key = toy_key()
    encryptor = paillier.Encryptor(key.public)
    size = encryptor._masks.exponent_size
    for count in range(1, 6):
        plain = [PLAIN[client : client + 3] for client in range(count)]
        vectors = [encryptor.encrypt(row, rng=Bytes(bytes([client + 1]) * 3 * size)) for client, row in enumerate(plain)]
        opened = [key.decrypt(c) for c in paillier.add_ciphertexts(key.public, vectors)]
        assert opened == [sum(column) for column in zip(*plain, strict=True)]


def test_keys_that_the_theorem_excludes() -> None:
    """Equal primes, no primes, and gcd(n, (p-1)(q-1)) > 1 (Controls.paillier_bad_pq scaled up) are refused."""

    def build(p: int, q: int) -> Any:
        with patch.object(paillier, "MINIMUM_BITS", 16):
            return paillier.import_key(p, q, rng=Bytes(bytes(range(7, 90))))

    assert build(251, 241).public.n == 251 * 241
    # 503 = 2 * 251 + 1, so 251 divides q - 1; 17 bits are no whole bytes, so the check itself is called.
    public: Any = toy_key().public
    for p, q in [(251, 251), (251, 243), (241, 251 + 2)]:
        with pytest.raises(ParameterError):
            paillier.PrivateKey(p, q, public)
    fake: Any = type("Public", (), {"n": 251 * 503, "bits": 17})()
    with pytest.raises(ParameterError, match="coprime"):
        paillier.PrivateKey(251, 503, fake)
