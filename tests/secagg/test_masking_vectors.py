"""The masking vectors: our bytes are those in the files, and a second implementation of the key schedule agrees."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from masking_vectors import ASKS, CORRUPTIONS, FOLDER, POSITIVE, describe, negative, play, receiver_at
from masking_world import HashRng

from securefl.errors import AbortReason, ProtocolAbort
from securefl.secagg.masking.messages import Phase

pytestmark = pytest.mark.vector
REFUSED = sorted((FOLDER / "masking-refused").glob("*.json"))


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.parametrize("name", POSITIVE)
def test_a_round_gives_the_bytes_of_its_vector(name: str) -> None:
    stored = read(FOLDER / "masking" / f"{name}.json")
    assert json.loads(json.dumps(describe(name))) == stored


def test_every_vector_is_named_and_every_name_has_its_vector() -> None:
    expected = {f"{a.name.lower()}-{c}" for a in ASKS for c in CORRUPTIONS if negative(a, c) is not None}
    assert {path.stem for path in REFUSED} == expected


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_a_corrupted_message_is_refused_for_its_reason(path: Path) -> None:
    vector = read(path)
    world, receiver = receiver_at(Phase[vector["asks"].upper()])
    with pytest.raises(ProtocolAbort) as caught:
        world.states[receiver].next(bytes.fromhex(vector["message"]))
    assert caught.value.reason is AbortReason[vector["refused_because"]], caught.value


# The second implementation: OpenSSL's X25519 and Ed25519, HKDF from hmac, plain counter modes, and no code of ours.


def tagged(usage: int, *fields: bytes) -> bytes:
    head = b"securefl\x01" + usage.to_bytes(2, "little")
    return head + b"".join(len(f).to_bytes(4, "little") + f for f in (b"masking/1", *fields))


def hkdf(secret: bytes, info: bytes) -> bytes:
    extracted = hmac.digest(b"securefl hkdf salt, version 1", secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def stream(key: bytes, size: int, cipher: str) -> bytes:
    if cipher == "aes-256":
        return Cipher(algorithms.AES(key), modes.CTR(bytes(15) + b"\x02")).encryptor().update(bytes(size))
    return Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor().update(bytes(size))


@pytest.mark.parametrize("name", POSITIVE)
def test_a_second_implementation_masks_and_signs_alike(name: str) -> None:
    vector = read(FOLDER / "masking" / f"{name}.json")
    roster = json.loads(vector["roster"])
    width = roster["quantizer"]["ring_bits"] // 8
    context = hashlib.sha256(
        b"securefl round"
        + b"".join(
            len(f).to_bytes(4, "little") + f
            for f in (b"masking/1", bytes.fromhex(vector["run_id"]), vector["round"].to_bytes(4, "little"),
                      bytes.fromhex(vector["roster_hash"]), bytes.fromhex(vector["model_hash"]))
        )
    ).digest()  # fmt: skip
    secrets = {}
    for client in map(int, vector["inputs"]):
        rng = HashRng(f"{name} round 1 client {client}")
        rng.bytes(2 * 48 * (roster["threshold"] - 1))
        seed, mask_key = rng.bytes(32), rng.bytes(32)
        secrets[client] = (seed, mask_key, X25519PrivateKey.from_private_bytes(mask_key).public_key().public_bytes_raw())
    for client_text, message in vector["client_messages"]["masked_input"].items():
        client, data = int(client_text), bytes.fromhex(message)
        words = np.frombuffer(bytes.fromhex(vector["inputs"][client_text]), f"<u{width}").copy()
        seed, mask_key, public = secrets[client]
        size = words.nbytes
        words += np.frombuffer(stream(hkdf(seed, tagged(4, context, client.to_bytes(2, "little"), b"\0")), size,
                                      roster["cipher"]), words.dtype)  # fmt: skip
        for peer, (_, _, peer_public) in secrets.items():
            if peer == client:
                continue
            low, high = sorted(((client, public), (peer, peer_public)))
            fields = (low[0].to_bytes(2, "little"), low[1], high[0].to_bytes(2, "little"), high[1], b"\0")
            shared = X25519PrivateKey.from_private_bytes(mask_key).exchange(X25519PublicKey.from_public_bytes(peer_public))
            key = hkdf(shared, tagged(5, context, *fields))
            mask = np.frombuffer(stream(key, size, roster["cipher"]), words.dtype)
            words = words + mask if client < peer else words - mask
        assert data[-size:] == words.tobytes()
        fields_end = len(data) - size - 64
        verify_key = next(p["verify_key"] for p in roster["partners"] if p["client"] == client)
        signature, signed = data[fields_end : fields_end + 64], tagged(1, data[:fields_end])
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(verify_key)).verify(signature, signed)


def test_the_sums_in_the_vectors_are_the_sums_of_their_inputs() -> None:
    for name in POSITIVE:
        vector = read(FOLDER / "masking" / f"{name}.json")
        kind = "<i4" if json.loads(vector["roster"])["quantizer"]["ring_bits"] == 32 else "<i8"
        inputs = [np.frombuffer(bytes.fromhex(vector["inputs"][str(c)]), kind).astype(np.int64) for c in vector["survivors"]]
        assert np.sum(inputs, axis=0).tolist() == vector["sum"]
        assert play(name).open().total.tolist() == vector["sum"]
