"""A partner's identity key on disk: mode 0600, sealed under a passphrase where one is given.

The file holds an Ed25519 seed. Without a passphrase, whoever reads the file is the partner. With one, scrypt (RFC 7914) makes a
guess cost about 32 MiB and a tenth of a second; a weak passphrase is still a weak passphrase. A lost key can't be restored:
the consortium signs a new roster with a new key (:meth:`~securefl.secagg.roster.Roster.with_key`).
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from securefl.crypto.domain import Usage, tag
from securefl.crypto.sealed import decrypt_once, encrypt_once
from securefl.crypto.signature import SigningKey, fingerprint
from securefl.errors import InputError, VerificationError
from securefl.files import parse_json, write_durably
from securefl.types import Rng, Secret

FORMAT = "securefl key 1"
SALT_SIZE = 32
SCRYPT_COST = 1 << 15
_SCRYPT_BLOCK = 8
_SCRYPT_MEMORY = 64 << 20


def create_key(path: Path, *, rng: Rng, passphrase: Secret | None = None) -> str:
    """Write a fresh identity key to ``path`` with mode 0600 and return its fingerprint, to be compared out of band.

    Raises:
        InputError: the file exists (a key is never overwritten) or can't be written.
    """
    key = SigningKey.generate(rng=rng)
    try:
        # An empty file takes the name: of two who make a key there at once, one finds it taken.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise InputError(f"key {path} exists: a key is never overwritten") from error
    except OSError as error:
        raise InputError(f"can't write {path}: {error.strerror}") from error
    try:
        save_key(key, path, rng=rng, passphrase=passphrase)
    except InputError:
        path.unlink(missing_ok=True)
        raise
    return fingerprint(key.verify_key)


def save_key(key: SigningKey, path: Path, *, rng: Rng, passphrase: Secret | None = None) -> None:
    """Write ``key`` to ``path`` with mode 0600, sealed where a passphrase is given.

    Raises:
        InputError: the file can't be written.
    """
    content: dict[str, object] = {"format": FORMAT, "verify_key": key.verify_key.hex()}
    if passphrase is None:
        content["seed"] = key.seed().expose().hex()
    else:
        salt = rng.bytes(SALT_SIZE)
        # The salt is fresh, so the sealing key is used for this message alone.
        sealed = encrypt_once(_stretch(passphrase, salt, SCRYPT_COST), key.seed(), _binding(key.verify_key))
        content |= {"salt": salt.hex(), "scrypt_cost": SCRYPT_COST, "sealed": sealed.hex()}
    write_durably(path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


def load_key(path: Path, *, passphrase: Secret | None = None) -> SigningKey:
    """Return the key in ``path``.

    Raises:
        InputError: the file can't be read, is no key file, is open to other users, or needs a passphrase.
        VerificationError: the passphrase is wrong, or the file was changed.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise InputError(f"key {path} is open to other users: chmod 600 {path}")
        content = parse_json(path.read_text(encoding="utf-8"))
        key = SigningKey(_seed(content, path, passphrase))
        expected = bytes.fromhex(content["verify_key"])
    except OSError as error:
        raise InputError(f"key {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"key {path} is no key file: {type(error).__name__}") from error
    if key.verify_key != expected:
        raise VerificationError(f"key {path}: the seed does not belong to the public key beside it")
    return key


def _seed(content: dict[str, Any], path: Path, passphrase: Secret | None) -> Secret:
    if content["format"] != FORMAT:
        raise ValueError("unknown format")
    if "seed" in content:
        return Secret(bytes.fromhex(content["seed"]))
    if passphrase is None:
        raise InputError(f"key {path} is sealed: it needs its passphrase")
    cost = int(content["scrypt_cost"])
    if not 2 <= cost <= SCRYPT_COST:
        raise ValueError("scrypt cost is out of range")
    sealing = _stretch(passphrase, bytes.fromhex(content["salt"]), cost)
    try:
        return decrypt_once(sealing, bytes.fromhex(content["sealed"]), _binding(bytes.fromhex(content["verify_key"])))
    except VerificationError as error:
        raise VerificationError(f"key {path}: wrong passphrase, or the file was changed") from error


def _stretch(passphrase: Secret, salt: bytes, cost: int) -> Secret:
    stretched = hashlib.scrypt(
        passphrase.expose(), salt=salt, n=cost, r=_SCRYPT_BLOCK, p=1, maxmem=_SCRYPT_MEMORY, dklen=32
    )  # fmt: skip
    return Secret(stretched)


def _binding(verify_key: bytes) -> bytes:
    return tag(b"", Usage.KEY_FILE, verify_key)
