"""DSSE envelopes: a payload with its signatures, readable by any in-toto tool.

Reference: DSSE 1.0.2 (github.com/secure-systems-lab/dsse). What is signed is the pre-authentication encoding of type and
payload, never the JSON around it. Two signatures stand side by side: Ed25519 under the identity key and ML-DSA-65 under the key
derived from it. ``keyid`` is the Ed25519 public key, or the SHA-256 of the ML-DSA one, in hexadecimal.

Not protected: nothing here says *who* owns a key. The caller compares the key ids with those that it trusts.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from securefl.crypto import mldsa
from securefl.crypto.signature import SigningKey, verify_signature
from securefl.errors import DecodeError, VerificationError
from securefl.files import parse_json

ED25519 = "ed25519"
ML_DSA = "ml-dsa-65"


@dataclass(frozen=True, slots=True)
class Verified:
    """A payload and the keys whose signatures over it verify: ``signers[scheme]`` are key ids in hexadecimal."""

    payload_type: str
    payload: bytes
    signers: Mapping[str, frozenset[str]]

    def signed_by(self, verify_key: bytes, second_key: bytes = b"") -> bool:
        """Return whether the owner of ``verify_key`` signed; where ``second_key`` (SHA-256) is given, with both keys."""
        first = verify_key.hex() in self.signers[ED25519]
        return first and (not second_key or second_key.hex() in self.signers[ML_DSA])


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed.

    >>> pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, key: SigningKey) -> bytes:
    """Return the envelope of ``payload`` as JSON, signed with ``key`` and, where available, its ML-DSA-65 companion."""
    message = pre_authentication_encoding(payload_type, payload)
    signatures = [{"keyid": key.verify_key.hex(), "scheme": ED25519, "sig": _text(key.sign(message))}]
    if mldsa.AVAILABLE:
        second = mldsa.SecondKey(key)
        signatures.append({
            "keyid": mldsa.key_hash(second.public_key).hex(), "scheme": ML_DSA,
            "publicKey": _text(second.public_key), "sig": _text(second.sign(message)),
        })  # fmt: skip
    envelope = {"payloadType": payload_type, "payload": _text(payload), "signatures": signatures}
    return json.dumps(envelope, indent=1, sort_keys=True).encode() + b"\n"


def verify(envelope: bytes) -> Verified:
    """Return the payload with the keys that signed it; every signature in the envelope must verify.

    Raises:
        DecodeError: the bytes are no envelope.
        VerificationError: a signature does not verify, or there is none.
    """
    try:
        content = parse_json(envelope)
        payload_type, payload = str(content["payloadType"]), _bytes(content["payload"])
        signatures = list(content["signatures"])
        message = pre_authentication_encoding(payload_type, payload)
        found: dict[str, set[str]] = {ED25519: set(), ML_DSA: set()}
        for signature in signatures:
            scheme = str(signature["scheme"])
            found[scheme].add(_verified(signature, scheme, message))
    except (ValueError, KeyError, TypeError) as error:
        raise DecodeError(f"no DSSE envelope: {type(error).__name__}: {error}") from error
    if not found[ED25519]:
        raise VerificationError("the envelope has no Ed25519 signature")
    return Verified(payload_type, payload, {scheme: frozenset(keys) for scheme, keys in found.items()})


def _verified(signature: Mapping[str, Any], scheme: str, message: bytes) -> str:
    if scheme == ED25519:
        key = bytes.fromhex(signature["keyid"])
        verify_signature(key, message, _bytes(signature["sig"]))
        return key.hex()
    key = _bytes(signature["publicKey"])
    mldsa.verify_second(key, message, _bytes(signature["sig"]))
    if mldsa.key_hash(key).hex() != signature["keyid"]:
        raise VerificationError("the ML-DSA-65 key does not have the hash that the envelope names")
    return mldsa.key_hash(key).hex()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
