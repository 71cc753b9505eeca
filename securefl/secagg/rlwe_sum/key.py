"""What a decryptor keeps of a key epoch, and its sealed storage.

A share alone says nothing about the key; ``threshold`` of them are the key. On disk it lies under AES-256-GCM with a key that
is derived for this very file from the party's sealing secret and a fresh salt. Whoever has the sealing secret and the file
has the share; Python can't wipe either from memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import KEY_SIZE, derive
from securefl.crypto.rlwe.encoding import decode_elements, element_size, encode_elements
from securefl.crypto.rlwe.ring import Residues, Ring
from securefl.crypto.sealed import decrypt_once, encrypt_once
from securefl.errors import DecodeError, InputError, VerificationError
from securefl.files import write_durably
from securefl.secagg.codec import HASH_SIZE, Reader, u16, u32
from securefl.types import ClientId, Rng, Secret

WIRE_ID = b"rlwe/1"
SALT_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberKey:
    """One decryptor's part of an epoch's key.

    Attributes:
        epoch: the first round that the key serves.
        key_hash: SHA-256 of the joint public key, as every decryptor confirmed it.
        public: the joint public key, shape (primes, N).
        share: of the joint secret, at the decryptor's point, shape (primes, N).
        masks: a key shared with every other decryptor, for masks that cancel.
    """

    me: ClientId
    epoch: int
    key_hash: bytes
    public: Residues = field(repr=False)
    share: Residues = field(repr=False)
    masks: Mapping[ClientId, Secret] = field(repr=False)

    def encode(self, ring: Ring) -> Secret:
        """Return all of it as bytes, never to be sent."""
        parts = [u16(self.me), u32(self.epoch), self.key_hash, u16(len(self.masks))]
        parts += [u16(peer) + self.masks[peer].expose() for peer in sorted(self.masks)]
        parts += [encode_elements(element[None], ring).tobytes() for element in (self.public, self.share)]
        return Secret(b"".join(parts))

    @classmethod
    def decode(cls, content: Secret, ring: Ring) -> MemberKey:
        """Return the key in ``content``; raises DecodeError."""
        reader = Reader(content.expose())
        me, epoch, key_hash = ClientId(reader.u16()), reader.u32(), reader.take(HASH_SIZE)
        masks = {ClientId(reader.u16()): Secret(reader.take(KEY_SIZE)) for _ in range(reader.u16())}
        public, share = (decode_elements(reader.view(element_size(ring)), ring, 1)[0] for _ in range(2))
        reader.finish()
        return cls(me=me, epoch=epoch, key_hash=key_hash, public=public, share=share, masks=masks)


def save_key(key: MemberKey, path: Path, *, ring: Ring, binding: bytes, sealing: Secret, rng: Rng) -> None:
    """Write ``key`` to ``path`` with mode 0600, sealed under ``sealing``.

    Args:
        binding: what the file belongs to: the hash of run and roster.

    Raises:
        InputError: the file can't be written; what was there is untouched.
    """
    salt = rng.bytes(SALT_SIZE)
    # The salt is fresh, so the sealing key is used for this message alone.
    sealed = encrypt_once(_sealing_key(sealing, salt), key.encode(ring), _associated(binding))
    write_durably(path, salt + sealed)


def load_key(path: Path, *, ring: Ring, binding: bytes, sealing: Secret) -> MemberKey:
    """Return the key in ``path``.

    Raises:
        InputError: the file can't be read, or holds no key of this ring.
        VerificationError: the sealing secret is wrong, the file was changed, or it belongs to another run or roster.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"key share {path}: {error.strerror}") from error
    try:
        key = _sealing_key(sealing, content[:SALT_SIZE])
        return MemberKey.decode(decrypt_once(key, content[SALT_SIZE:], _associated(binding)), ring)
    except VerificationError as error:
        raise VerificationError(f"key share {path}: wrong secret, another run, or the file was changed") from error
    except DecodeError as error:
        raise InputError(f"key share {path}: {error}") from error


def _sealing_key(sealing: Secret, salt: bytes) -> Secret:
    return derive(sealing, tag(WIRE_ID, Usage.KEY_FILE, salt))


def _associated(binding: bytes) -> bytes:
    return tag(WIRE_ID, Usage.KEY_FILE, b"share", binding)
