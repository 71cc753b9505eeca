"""Packed Paillier as a sum's cipher: the public side, the single decryptor, and a decryptor with a share of the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from securefl.crypto.packing import Packing
from securefl.crypto.paillier import (
    Encryptor,
    PrivateKey,
    add_ciphertexts,
    decode_ciphertexts,
    encode_ciphertexts,
    require_units,
)
from securefl.crypto.threshold_paillier import (
    CHALLENGE_SIZE,
    KeyShare,
    ThresholdKey,
    combine,
    partially_decrypt,
    prove,
    verify,
)
from securefl.errors import DecodeError, VerificationError
from securefl.quantize import Quantizer
from securefl.secagg.base import DECRYPTOR_BASE, OpenedSum
from securefl.secagg.committed import BadAnswerError, Bodies, blame
from securefl.secagg.integer_sum import client_limit, decode_sum, encode_sum, random_values, signed_values
from securefl.types import ClientId, RingVector, Rng


@dataclass(frozen=True, slots=True)
class PaillierCipher:
    """The public side: packs, encrypts, adds, and reads answers. ``threshold`` is ``None`` with a single decryptor."""

    encryptor: Encryptor = field(repr=False)
    packing: Packing
    quantizer: Quantizer
    threshold: ThresholdKey | None = None

    def encode_key(self) -> bytes:
        """Return the public key as bytes, with what a threshold's proofs are checked with."""
        return self.encryptor.public.encode() if self.threshold is None else self.threshold.encode()

    def maximum_body(self, length: int) -> int:
        """Return the bytes of the ciphertexts of ``length`` coordinates: always exactly this many."""
        return self.packing.plaintexts(length) * self.encryptor.public.ciphertext_size

    def encrypt(self, update: RingVector, *, rng: Rng) -> bytes:
        """Return the packed ciphertexts of ``update``, shape (d,); slots left over in the last one are random."""
        values = signed_values(update, self.quantizer)
        padding = random_values(-len(values) % self.packing.slots, client_limit(self.quantizer), rng=rng)
        plaintexts = self.packing.pack(np.concatenate((values, padding)))
        return encode_ciphertexts(self.encryptor.public, self.encryptor.encrypt(plaintexts, rng=rng))

    def add(self, bodies: Bodies, length: int) -> list[Any]:
        """Return the ciphertexts of the sum. Lengths and ranges are checked before any arithmetic, units on the products.

        Raises:
            BadCiphertextError: a client's ciphertexts have another length, are out of range, or no units modulo n^2.
        """
        public, count = self.encryptor.public, self.packing.plaintexts(length)
        vectors = {
            sender: blame(sender, partial(decode_ciphertexts, public, body, count=count)) for sender, body in bodies.items()
        }
        total = add_ciphertexts(public, list(vectors.values()))
        try:
            require_units(public, total)
        except DecodeError:
            for sender, vector in vectors.items():
                blame(sender, partial(require_units, public, vector))
            raise
        return total

    def combine(self, answers: Mapping[ClientId, memoryview], bodies: Bodies, length: int) -> OpenedSum:
        """Return the sum that the decryptors' ``answers`` open.

        Raises:
            BadAnswerError: an answer is malformed or does not verify; it names the decryptor.
        """
        if self.threshold is None:
            ((decryptor, answer),) = answers.items()
            try:
                return OpenedSum(decode_sum(answer, length), frozenset(bodies))
            except DecodeError as error:
                raise BadAnswerError(decryptor, str(error)) from error
        ciphertexts = self.add(bodies, length)
        partials = {
            decryptor - DECRYPTOR_BASE: _verified(self.threshold, decryptor, ciphertexts, answer)
            for decryptor, answer in answers.items()
        }
        return OpenedSum(self.packing.unpack(combine(self.threshold, partials), length), frozenset(bodies))


@dataclass(frozen=True, slots=True)
class PaillierOpener:
    """The single decryptor: it holds the whole private key."""

    cipher: PaillierCipher
    key: PrivateKey = field(repr=False)

    def encode_key(self) -> bytes:
        """Return the public key as bytes."""
        return self.cipher.encode_key()

    def open(self, bodies: Bodies, length: int, *, rng: Rng) -> bytes:
        """Return the opened sum of ``bodies``.

        Raises:
            BadCiphertextError: a body is refused.
            DecodeError: the sum is no packed vector: a partner encrypted values outside their range.
        """
        plaintexts = self.key.decrypt_all(self.cipher.add(bodies, length))
        return encode_sum(self.cipher.packing.unpack(plaintexts, length))


@dataclass(frozen=True, slots=True)
class ThresholdOpener:
    """A decryptor that holds one share: alone it opens nothing."""

    cipher: PaillierCipher
    key: ThresholdKey
    share: KeyShare = field(repr=False)

    def open(self, bodies: Bodies, length: int, *, rng: Rng) -> bytes:
        """Return the partial decryptions of the sum of ``bodies`` with their proof.

        Raises:
            BadCiphertextError: a body is refused.
        """
        ciphertexts = self.cipher.add(bodies, length)
        partials = partially_decrypt(self.key, self.share, ciphertexts)
        proof = prove(self.key, self.share, ciphertexts, partials, rng=rng)
        return proof + encode_ciphertexts(self.key.public, partials)


def _verified(key: ThresholdKey, decryptor: ClientId, ciphertexts: list[Any], answer: memoryview) -> list[Any]:
    """The partial decryptions in ``answer``, their proof checked."""
    proof_size = CHALLENGE_SIZE + key.response_size
    try:
        partials = decode_ciphertexts(key.public, answer[proof_size:], count=len(ciphertexts))
        require_units(key.public, partials)
        verify(key, decryptor - DECRYPTOR_BASE, ciphertexts, partials, bytes(answer[:proof_size]))
    except (DecodeError, VerificationError) as error:
        raise BadAnswerError(decryptor, str(error)) from error
    return partials
