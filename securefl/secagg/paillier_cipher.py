"""Packed Paillier as a sum's cipher: the public side, the single decryptor, and a decryptor with a share of the key.

Uploads begin with a proof that their sender knows what it encrypted (:mod:`securefl.crypto.plaintext_proof`), bound to run,
round, model, roster and sender; whoever opens a sum checks every proof first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from securefl.crypto.domain import Usage, tag
from securefl.crypto.packing import Packing
from securefl.crypto.paillier import (
    Encryptor,
    PrivateKey,
    add_ciphertexts,
    decode_ciphertexts,
    encode_ciphertexts,
    require_units,
)
from securefl.crypto.plaintext_proof import proof_size, prove_plaintexts, verify_plaintexts
from securefl.crypto.powers import CHALLENGE_SIZE
from securefl.crypto.threshold_paillier import (
    KeyShare,
    ThresholdKey,
    combine,
    partially_decrypt,
    prove,
    verify,
)
from securefl.errors import DecodeError, VerificationError
from securefl.quantize import Quantizer
from securefl.secagg.base import DECRYPTOR_BASE, OpenedSum, RoundContext
from securefl.secagg.codec import context_digest, u16
from securefl.secagg.committed import BadAnswerError, BadCiphertextError, Bodies, blame
from securefl.secagg.integer_sum import client_limit, encode_sum, random_values, signed_values, sum_of_one
from securefl.types import ClientId, RingVector, Rng

WIRE_ID = b"paillier/1"
UNBOUND = RoundContext(run_id=bytes(32), round=0, roster_hash=bytes(32), model_hash=bytes(32))
"""The context of a cipher before a round begins."""


@dataclass(frozen=True, slots=True)
class PaillierCipher:
    """The public side of a round: packs, encrypts, adds, and reads answers.

    ``threshold`` is ``None`` with a single decryptor; ``context`` is what proofs are bound to.
    """

    encryptor: Encryptor = field(repr=False)
    packing: Packing
    quantizer: Quantizer
    threshold: ThresholdKey | None = None
    context: RoundContext = UNBOUND

    def encode_key(self) -> bytes:
        """Return the public key as bytes, with what a threshold's proofs are checked with."""
        return self.encryptor.public.encode() if self.threshold is None else self.threshold.encode()

    def maximum_body(self, length: int) -> int:
        """Return the bytes of the proof and the ciphertexts of ``length`` coordinates: always exactly this many."""
        return proof_size(self.encryptor) + self.packing.plaintexts(length) * self.encryptor.public.ciphertext_size

    def encrypt(self, update: RingVector, *, me: ClientId, rng: Rng) -> bytes:
        """Return the proof and the packed ciphertexts of ``update``, shape (d,); slots left over in the last are random."""
        values = signed_values(update, self.quantizer)
        padding = random_values(-len(values) % self.packing.slots, client_limit(self.quantizer), rng=rng)
        return self.encrypt_packed(self.packing.pack(np.concatenate((values, padding))), me=me, rng=rng)

    def encrypt_packed(self, plaintexts: Sequence[int], *, me: ClientId, rng: Rng) -> bytes:
        """Return the proof that client ``me`` knows the ``plaintexts``, and their ciphertexts."""
        exponents = [rng.bytes(self.encryptor.exponent_size) for _ in plaintexts]
        ciphertexts = [self.encryptor.encrypt_with(*pair) for pair in zip(plaintexts, exponents, strict=True)]
        proof = prove_plaintexts(
            self.encryptor, ciphertexts, plaintexts, exponents, binding=self._binding(me), rng=rng
        )  # fmt: skip
        return proof + encode_ciphertexts(self.encryptor.public, ciphertexts)

    def add(self, bodies: Bodies, length: int) -> list[Any]:
        """Return the ciphertexts of the sum. Lengths and ranges are checked before any arithmetic, units on the products.

        Raises:
            BadCiphertextError: a client's ciphertexts have another length, are out of range, or no units modulo n^2.
        """
        return self._total(self._read(bodies, length))

    def add_proven(self, bodies: Bodies, length: int) -> list[Any]:
        """Return the ciphertexts of the sum, every client's proof verified: what a decryptor opens.

        Raises:
            BadCiphertextError: as :meth:`add`, or a client does not prove that it knows its plaintexts.
        """
        vectors = self._read(bodies, length)
        total = self._total(vectors)
        for sender, vector in vectors.items():
            proof = bytes(bodies[sender][: proof_size(self.encryptor)])
            try:
                verify_plaintexts(self.encryptor, vector, proof, binding=self._binding(sender))
            except VerificationError as error:
                raise BadCiphertextError(sender, str(error)) from error
        return total

    def _binding(self, sender: ClientId) -> bytes:
        return tag(WIRE_ID, Usage.PLAINTEXT_PROOF, context_digest(WIRE_ID, self.context), u16(sender))

    def _read(self, bodies: Bodies, length: int) -> dict[ClientId, list[Any]]:
        """Every client's ciphertexts, behind its proof."""
        public, count, start = self.encryptor.public, self.packing.plaintexts(length), proof_size(self.encryptor)
        return {
            sender: blame(sender, partial(decode_ciphertexts, public, body[start:], count=count))
            for sender, body in bodies.items()
        }

    def _total(self, vectors: Mapping[ClientId, list[Any]]) -> list[Any]:
        public = self.encryptor.public
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
            return OpenedSum(sum_of_one(answers, length), frozenset(bodies))
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
        plaintexts = self.key.decrypt_all(self.cipher.add_proven(bodies, length))
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
        ciphertexts = self.cipher.add_proven(bodies, length)
        partials = partially_decrypt(self.key, self.share, ciphertexts)
        proof = prove(self.key, self.share, ciphertexts, partials, rng=rng)
        return proof + encode_ciphertexts(self.key.public, partials)


def _verified(key: ThresholdKey, decryptor: ClientId, ciphertexts: list[Any], answer: memoryview) -> list[Any]:
    """The partial decryptions in ``answer``, their proof checked."""
    end = CHALLENGE_SIZE + key.response_size
    try:
        partials = decode_ciphertexts(key.public, answer[end:], count=len(ciphertexts))
        require_units(key.public, partials)
        verify(key, decryptor - DECRYPTOR_BASE, ciphertexts, partials, bytes(answer[:end]))
    except (DecodeError, VerificationError) as error:
        raise BadAnswerError(decryptor, str(error)) from error
    return partials
