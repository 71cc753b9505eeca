"""The sum under packed Paillier encryption, exact, opened by a ``single-decryptor``.

Each client packs 95 signed 32-bit coordinates into a plaintext of 3072 bits and encrypts it with a short exponent: 8.1 bytes
a coordinate. The protocol around the ciphertexts (commit, upload, open) and what it guarantees is in
:mod:`securefl.secagg.committed`; the assumptions are in :mod:`securefl.crypto.paillier`.

NOT protected: whoever holds the key can open whatever it is given; here that is *one* decryptor, neither the operator nor a
partner's data node, and every set-up says so in its warnings. A partner can encrypt any value: too large a one carries into
the neighbouring coordinate of the sum. The decryptor learns the sum.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from securefl.crypto.packing import Packing
from securefl.crypto.paillier import (
    DEFAULT_BITS,
    EXPONENT_BITS,
    Encryptor,
    PrivateKey,
    PublicKey,
    add_ciphertexts,
    decode_ciphertexts,
    encode_ciphertexts,
    generate_key,
)
from securefl.errors import DecodeError, ParameterError
from securefl.quantize import Quantizer
from securefl.secagg.base import OpenedSum, RoundContext
from securefl.secagg.committed import BadCiphertextError, Bodies, CommittedScheme
from securefl.secagg.committed_setup import Consortium, Founding, default_policy, found
from securefl.secagg.integer_sum import decode_sum, encode_sum, signed_values
from securefl.secagg.policy import Policy
from securefl.types import ClientId, RingVector, Rng

WIRE_ID = b"paillier/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaillierOptions:
    """Key length, exponent length and policy.

    Attributes:
        bits: of the modulus; under 3072 the set-up warns.
        exponent_bits: of the masks' exponents; 0 is the published half-length variant, about five times slower.
        policy: thresholds; the smallest one that tolerates a colluding partner where it is ``None``.
    """

    bits: int = DEFAULT_BITS
    exponent_bits: int = EXPONENT_BITS
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class PaillierCipher:
    """The public side: packs, encrypts, and reads the decryptor's opened sum."""

    encryptor: Encryptor = field(repr=False)
    packing: Packing
    quantizer: Quantizer

    def maximum_body(self, length: int) -> int:
        """Return the bytes of the ciphertexts of ``length`` coordinates: always exactly this many."""
        return self.packing.plaintexts(length) * self.encryptor.public.ciphertext_size

    def encrypt(self, update: RingVector, *, rng: Rng) -> bytes:
        """Return the packed ciphertexts of ``update``, shape (d,)."""
        plaintexts = self.packing.pack(signed_values(update, self.quantizer))
        return encode_ciphertexts(self.encryptor.public, self.encryptor.encrypt(plaintexts, rng=rng))

    def add(self, bodies: Bodies, length: int) -> list[Any]:
        """Return the ciphertexts of the sum, every client's checked before any arithmetic.

        Raises:
            BadCiphertextError: a client's ciphertexts have another length, are out of range, or no units modulo n^2.
        """
        public, vectors = self.encryptor.public, []
        for sender, body in bodies.items():
            try:
                vectors.append(decode_ciphertexts(public, body, count=self.packing.plaintexts(length)))
            except DecodeError as error:
                raise BadCiphertextError(sender, str(error)) from error
        return add_ciphertexts(public, vectors)

    def combine(self, answers: Mapping[ClientId, memoryview], bodies: Bodies, length: int) -> OpenedSum:
        """Return the sum that the single decryptor opened."""
        (answer,) = answers.values()
        return OpenedSum(decode_sum(answer, length), frozenset(bodies))


@dataclass(frozen=True, slots=True)
class PaillierOpener:
    """The single decryptor: it holds the whole private key."""

    cipher: PaillierCipher
    key: PrivateKey = field(repr=False)

    def open(self, bodies: Bodies, length: int, *, rng: Rng) -> bytes:
        """Return the opened sum of ``bodies``.

        Raises:
            BadCiphertextError: a body is refused.
            DecodeError: the sum is no packed vector: a partner encrypted values outside their range.
        """
        plaintexts = [self.key.decrypt(ciphertext) for ciphertext in self.cipher.add(bodies, length)]
        return encode_sum(self.cipher.packing.unpack(plaintexts, length))


@dataclass(frozen=True, slots=True, kw_only=True)
class PaillierSum(CommittedScheme):
    """One round of the Paillier sum."""

    wire_id: ClassVar[bytes] = WIRE_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class PaillierSetup:
    """A run's key, cipher and parties. One key serves the run: every ciphertext is fresh."""

    run_id: bytes
    consortium: Consortium
    opener: PaillierOpener
    setup_seconds: float
    warnings: tuple[str, ...]
    name: ClassVar[str] = "paillier"

    @property
    def roster_hash(self) -> bytes:
        """SHA-256 over roster, decryptor and public key, 32 bytes."""
        return self.consortium.hash

    def round(self, context: RoundContext) -> PaillierSum:
        """Return the scheme of one round.

        Raises:
            ProtocolAbort: the context is of another run or roster.
        """
        public = self.opener.cipher.encryptor.public.encode()
        return PaillierSum(
            terms=self.consortium.terms(context, run_id=self.run_id, public_key=public, answers=1),
            cipher=self.opener.cipher,
            parties=self.consortium.parties,
            openers=dict.fromkeys(self.consortium.decryptors, self.opener),
        )


def set_up(
    clients: Sequence[ClientId], *, quantizer: Quantizer, run_id: bytes, rng: Rng, options: object | None = None
) -> PaillierSetup:
    """Return a run under a fresh Paillier key with a single decryptor; ``options`` is a :class:`PaillierOptions`.

    Raises:
        ParameterError: the options are another scheme's, fewer than three clients, or a length is out of bounds.
        CapacityError: the sum of all clients could wrap.
        MissingExtraError: gmpy2 is not installed.
    """
    started = time.process_time()
    chosen = PaillierOptions() if options is None else options
    if not isinstance(chosen, PaillierOptions):
        raise ParameterError(f"paillier takes PaillierOptions, not {type(chosen).__name__}")
    policy = chosen.policy or default_policy(len(clients))
    key = generate_key(chosen.bits, rng=rng)
    packing = Packing.for_modulus(chosen.bits, slot_bits=quantizer.ring_bits)
    cipher = PaillierCipher(_encryptor(key.public, chosen), packing, quantizer)
    founding = Founding(
        wire_id=WIRE_ID, quantizer=quantizer, policy=policy, decryptors=1, parameters=key.public.encode()
    )
    return PaillierSetup(
        run_id=run_id,
        consortium=found(clients, founding, rng=rng),
        opener=PaillierOpener(cipher, key),
        setup_seconds=time.process_time() - started,
        warnings=_warnings(chosen),
    )


def _encryptor(public: PublicKey, options: PaillierOptions) -> Encryptor:
    return Encryptor(public, exponent_bits=options.exponent_bits or public.bits // 2)


def _warnings(options: PaillierOptions) -> tuple[str, ...]:
    found = ["single-decryptor: one party holds the whole Paillier key and could open any single update it is given"]
    if options.bits < DEFAULT_BITS:
        found.append(f"the Paillier key has {options.bits} bits, fewer than {DEFAULT_BITS}")
    return tuple(found)
