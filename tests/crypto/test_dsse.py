"""DSSE envelopes and the ML-DSA-65 key beside Ed25519: the published encoding, both signatures, every corruption."""

from __future__ import annotations

import base64
import json

import pytest

from securefl.crypto import dsse, mldsa
from securefl.crypto.signature import SigningKey
from securefl.errors import DecodeError, MissingExtraError, VerificationError
from securefl.types import Secret

KEY = SigningKey(Secret(bytes(range(32))))
OTHER = SigningKey(Secret(bytes(32)))


def envelope(payload: bytes = b'{"a": 1}') -> dict[str, object]:
    """Return an envelope's JSON."""
    content: dict[str, object] = json.loads(dsse.sign("application/x", payload, KEY))
    return content


@pytest.mark.vector
def test_the_encoding_is_the_published_one() -> None:
    # github.com/secure-systems-lab/dsse, protocol.md, test vector
    assert dsse.pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_both_keys_sign_and_verify() -> None:
    found = dsse.verify(dsse.sign("application/x", b"payload", KEY))
    second = mldsa.key_hash(mldsa.SecondKey(KEY).public_key)
    assert (found.payload_type, found.payload) == ("application/x", b"payload")
    assert found.signed_by(KEY.verify_key)
    assert found.signed_by(KEY.verify_key, second)
    assert not found.signed_by(OTHER.verify_key)
    assert not found.signed_by(KEY.verify_key, mldsa.key_hash(mldsa.SecondKey(OTHER).public_key))


def test_the_second_key_is_the_same_every_time_and_its_signatures_are_not() -> None:
    one, again = mldsa.SecondKey(KEY), mldsa.SecondKey(KEY)
    assert one.public_key == again.public_key
    assert len(one.public_key) == mldsa.PUBLIC_KEY_SIZE
    assert one.sign(b"x") != one.sign(b"x")
    assert one.public_key.hex() not in repr(one)


@pytest.mark.parametrize("which", [0, 1])
def test_a_changed_payload_type_or_signature_is_refused(which: int) -> None:
    for field, value in (("payload", base64.b64encode(b"other").decode()), ("payloadType", "application/y")):
        with pytest.raises(VerificationError):
            dsse.verify(json.dumps(envelope() | {field: value}).encode())
    content = envelope()
    signatures = content["signatures"]
    assert isinstance(signatures, list)
    raw = bytearray(base64.b64decode(signatures[which]["sig"]))
    raw[5] ^= 1
    signatures[which]["sig"] = base64.b64encode(raw).decode()
    with pytest.raises(VerificationError):
        dsse.verify(json.dumps(content).encode())


def test_a_second_key_under_anothers_name_is_refused() -> None:
    content = envelope()
    signatures = content["signatures"]
    assert isinstance(signatures, list)
    signatures[1]["keyid"] = "00" * 32
    with pytest.raises(VerificationError, match="hash"):
        dsse.verify(json.dumps(content).encode())


def test_no_ed25519_signature_is_no_signature() -> None:
    content = envelope()
    signatures = content["signatures"]
    assert isinstance(signatures, list)
    for kept in ([], signatures[1:]):
        with pytest.raises(VerificationError, match="no Ed25519"):
            dsse.verify(json.dumps(content | {"signatures": kept}).encode())


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"[" * 100_000, b'{"payloadType": "x", "payload": "!", "signatures": []}']
)
def test_what_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(DecodeError):
        dsse.verify(content)


def test_an_unknown_scheme_is_refused() -> None:
    content = envelope()
    signatures = content["signatures"]
    assert isinstance(signatures, list)
    signatures[0]["scheme"] = "rot13"
    with pytest.raises(DecodeError):
        dsse.verify(json.dumps(content).encode())


def test_lengths_are_checked_before_the_library_sees_them() -> None:
    with pytest.raises(VerificationError, match="no such thing"):
        mldsa.verify_second(b"short", b"x", bytes(mldsa.SIGNATURE_SIZE))


def test_without_ml_dsa_one_signature_is_made_and_a_second_one_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    both = dsse.sign("application/x", b"payload", KEY)
    monkeypatch.setattr(mldsa, "AVAILABLE", False)
    alone = dsse.sign("application/x", b"payload", KEY)
    assert dsse.verify(alone).signers[dsse.ML_DSA] == frozenset()
    with pytest.raises(MissingExtraError, match="cryptography"):
        dsse.verify(both)
