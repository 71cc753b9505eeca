"""Key agreement, derivation, signatures, sealing and commitments: official vectors first, then what must fail."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securefl.crypto.agreement import exchange, generate_secret, public_key
from securefl.crypto.commitment import commit, verify_commitment
from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import derive
from securefl.crypto.sealed import OVERHEAD_SIZE, decrypt_once, encrypt_once
from securefl.crypto.signature import SigningKey, fingerprint, verify_signature
from securefl.errors import VerificationError
from securefl.types import Secret, SystemRng


def secret(text: str) -> Secret:
    return Secret(bytes.fromhex(text))


@pytest.mark.vector
@pytest.mark.parametrize(
    ("scalar", "point", "result"),
    [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ],
)
def test_x25519_rfc_7748_section_5(scalar: str, point: str, result: str) -> None:
    assert exchange(secret(scalar), bytes.fromhex(point)) == secret(result)


@pytest.mark.vector
def test_x25519_rfc_7748_section_6_1() -> None:
    alice_public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    bob = secret("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert public_key(bob).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert exchange(bob, alice_public) == secret("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")


@pytest.mark.vector
@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ],
)
def test_ed25519_rfc_8032_section_7_1(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(secret(seed))
    assert key.verify_key.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    verify_signature(key.verify_key, bytes.fromhex(message), bytes.fromhex(signature))


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 from its text, for up to 255 blocks: the second implementation."""
    prk = hmac.digest(salt, ikm, hashlib.sha256)
    out, block = b"", b""
    for counter in range(1, 1 + (length + 31) // 32):
        block = hmac.digest(prk, block + info + bytes([counter]), hashlib.sha256)
        out += block
    return out[:length]


@pytest.mark.vector
def test_hkdf_rfc_5869_case_1_and_ours_is_that_hkdf() -> None:
    okm = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    key = Secret(b"k" * 32)
    assert derive(key, b"info").expose() == hkdf(b"k" * 32, b"securefl hkdf salt, version 1", b"info", 32)


@pytest.mark.parametrize("order", [1, 2, 8])
def test_points_of_low_order_are_refused(order: int) -> None:
    points = {1: bytes(32), 2: (1).to_bytes(32, "little"), 8: bytes.fromhex(
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")}  # fmt: skip
    with pytest.raises(VerificationError, match="not a usable X25519 point"):
        exchange(generate_secret(rng=SystemRng()), points[order])


def test_both_ends_agree_and_a_short_key_is_refused() -> None:
    left, right = generate_secret(rng=SystemRng()), generate_secret(rng=SystemRng())
    assert exchange(left, public_key(right)) == exchange(right, public_key(left))
    with pytest.raises(VerificationError):
        exchange(left, b"short")


@pytest.mark.parametrize("corrupt", ["message", "signature", "key"])
def test_a_signature_over_something_else_is_refused(corrupt: str) -> None:
    key = SigningKey.generate(rng=SystemRng())
    fields = {"key": key.verify_key, "message": b"round 1", "signature": key.sign(b"round 1")}
    verify_signature(fields["key"], fields["message"], fields["signature"])
    fields[corrupt] = bytes([fields[corrupt][0] ^ 1]) + fields[corrupt][1:]
    with pytest.raises(VerificationError, match="signature does not verify"):
        verify_signature(fields["key"], fields["message"], fields["signature"])


def test_a_signing_key_comes_back_from_its_seed_and_shows_only_its_fingerprint() -> None:
    key = SigningKey.generate(rng=SystemRng())
    assert SigningKey(key.seed()).verify_key == key.verify_key
    assert repr(key) == f"SigningKey({fingerprint(key.verify_key)})"
    assert len(fingerprint(key.verify_key).replace("-", "")) == 32


@pytest.mark.parametrize("corrupt", ["key", "ciphertext", "associated", "truncated"])
def test_a_sealed_message_opens_only_as_it_was_sealed(corrupt: str) -> None:
    key, message = Secret(b"k" * 32), Secret(b"share")
    ciphertext = encrypt_once(key, message, b"round 1")
    assert len(ciphertext) == len(message) + OVERHEAD_SIZE
    assert decrypt_once(key, ciphertext, b"round 1") == message
    cases = {
        "key": (Secret(b"K" * 32), ciphertext, b"round 1"),
        "ciphertext": (key, bytes([ciphertext[0] ^ 1]) + ciphertext[1:], b"round 1"),
        "associated": (key, ciphertext, b"round 2"),
        "truncated": (key, ciphertext[:-1], b"round 1"),
    }
    with pytest.raises(VerificationError, match="does not verify"):
        decrypt_once(*cases[corrupt])


def test_a_commitment_binds_secret_and_tag() -> None:
    seed = Secret(b"s" * 32)
    commitment = commit(seed, b"tag")
    verify_commitment(commitment, seed, b"tag")
    for wrong, info in ((Secret(b"t" * 32), b"tag"), (seed, b"gat")):
        with pytest.raises(VerificationError, match="commitment"):
            verify_commitment(commitment, wrong, info)


@pytest.mark.property
@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_tags_of_different_fields_differ(left: list[bytes], right: list[bytes]) -> None:
    same = tag(b"p/1", Usage.PAIR_MASK, *left) == tag(b"p/1", Usage.PAIR_MASK, *right)
    assert same == (left == right)
    assert tag(b"p/1", Usage.PAIR_MASK, *left) != tag(b"p/1", Usage.SELF_MASK, *left)
