"""Proofs of plaintext knowledge: own ciphertexts pass; changed, copied, scaled and mixed ones do not."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gmpy2
import pytest
from stand_ins import CountingRng

from securefl.crypto.paillier import Encryptor, add_ciphertexts, import_key
from securefl.crypto.plaintext_proof import proof_size, prove_plaintexts, verify_plaintexts
from securefl.crypto.shipped_primes import shipped_primes
from securefl.errors import VerificationError

PLAIN = [0, 1, -1, 2**1500, -(2**1500) + 7, 123456789]
ME = b"partner 1, round 7"


@lru_cache(maxsize=2)
def encryptor(exponent_bits: int = 320) -> Encryptor:
    return Encryptor(import_key(*shipped_primes(2048), rng=CountingRng(1)).public, exponent_bits=exponent_bits)


def encrypted(maker: Encryptor, seed: int, plain: list[int]) -> tuple[list[Any], list[bytes]]:
    rng = CountingRng(seed)
    exponents = [rng.bytes(maker.exponent_size) for _ in plain]
    return [maker.encrypt_with(m, a) for m, a in zip(plain, exponents, strict=True)], exponents


def proven(seed: int = 2, *, exponent_bits: int = 320) -> tuple[list[Any], bytes]:
    maker = encryptor(exponent_bits)
    ciphertexts, exponents = encrypted(maker, seed, PLAIN)
    return ciphertexts, prove_plaintexts(maker, ciphertexts, PLAIN, exponents, binding=ME, rng=CountingRng(seed + 100))


@pytest.mark.parametrize("exponent_bits", [320, 1024])
def test_own_ciphertexts_verify(exponent_bits: int) -> None:
    maker = encryptor(exponent_bits)
    ciphertexts, proof = proven(exponent_bits=exponent_bits)
    assert len(proof) == proof_size(maker)
    verify_plaintexts(maker, ciphertexts, proof, binding=ME)


def test_a_proof_is_of_its_sender_round_and_ciphertexts_alone() -> None:
    ciphertexts, proof = proven()
    others, _ = proven(seed=3)
    refused(ciphertexts, proof, binding=b"partner 2, round 7")
    for changed in (ciphertexts[:-1], [*ciphertexts[:-1], others[-1]], [*ciphertexts[1:], ciphertexts[0]], others):
        refused(changed, proof)


def test_any_changed_byte_is_refused() -> None:
    ciphertexts, proof = proven()
    for at in (0, 15, 16, 100, 16 + 256, len(proof) - 1):
        forged = bytearray(proof)
        forged[at] ^= 1
        refused(ciphertexts, bytes(forged))
    for malformed in (b"", proof[:-1], proof + b"\0", proof[:16] + b"\xff" * 256 + proof[16 + 256 :]):
        refused(ciphertexts, malformed)


def test_a_plaintext_or_an_exponent_that_is_not_the_ciphertext_s_proves_nothing() -> None:
    maker = encryptor()
    ciphertexts, exponents = encrypted(maker, 2, PLAIN)
    wrong = [*exponents[:-1], exponents[0]]
    for plain, used in (([*PLAIN[:-1], PLAIN[-1] + 1], exponents), (PLAIN, wrong)):
        refused(ciphertexts, prove_plaintexts(maker, ciphertexts, plain, used, binding=ME, rng=CountingRng(4)))


def test_who_scales_or_mixes_anothers_ciphertexts_can_not_prove_them() -> None:
    """The cheat knows its own plaintexts and the factor, and not what it multiplied in."""
    maker = encryptor()
    victims, _ = proven()
    own, exponents = encrypted(maker, 5, PLAIN)
    mixed = add_ciphertexts(maker.public, [own, [c**32 % maker.public.n_squared for c in victims]])
    refused(mixed, prove_plaintexts(maker, mixed, PLAIN, exponents, binding=ME, rng=CountingRng(6)))


def test_elements_of_small_order_zero_responses_and_a_zero_challenge_prove_nothing() -> None:
    maker = encryptor()
    public = maker.public
    victims, theirs = proven()
    blank = bytes(proof_size(maker))
    for proof in (theirs, blank, blank[:16] + theirs[16:], theirs[:16] + blank[16:]):
        # -c holds what c holds: another ciphertext of the victim's plaintext, and as unknown to whoever sends it.
        refused([public.n_squared - c for c in victims], proof)
    for trivial in (1, public.n_squared - 1, 1 + public.n):
        refused([gmpy2.mpz(trivial)] * 3, blank)


def test_plain_zeros_under_zero_exponents_are_proven_like_any_other() -> None:
    maker = encryptor()
    exponents = [bytes(maker.exponent_size)] * 2
    ciphertexts = [maker.encrypt_with(0, exponents[0]), maker.encrypt_with(5, exponents[1])]
    proof = prove_plaintexts(maker, ciphertexts, [0, 5], exponents, binding=ME, rng=CountingRng(1))
    verify_plaintexts(maker, ciphertexts, proof, binding=ME)
    refused(ciphertexts, prove_plaintexts(maker, ciphertexts, [0, 6], exponents, binding=ME, rng=CountingRng(1)))


def test_proofs_of_the_same_plaintexts_differ() -> None:
    assert proven(2)[1] != proven(3)[1]


def refused(ciphertexts: list[Any], proof: bytes, *, binding: bytes = ME) -> None:
    with pytest.raises(VerificationError, match="proof of plaintexts"):
        verify_plaintexts(encryptor(), ciphertexts, proof, binding=binding)
