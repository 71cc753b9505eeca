"""The sum under packed Paillier encryption, exact, opened by a ``single-decryptor`` or by t of n decryptors.

Each client packs 95 signed 32-bit coordinates into a plaintext of 3072 bits and encrypts it with a short exponent: 8.1 bytes
a coordinate. The protocol around the ciphertexts (commit, upload, open) and what it guarantees is in
:mod:`securefl.secagg.committed`; the assumptions are in :mod:`securefl.crypto.paillier`.

With ``Decryption.THRESHOLD`` every partner has a decryptor of its own with a share of the key, the roster's threshold of them
must answer, and each proves its answer; it costs a full-length power for each ciphertext and decryptor (minutes at 10^5
coordinates). ``Decryption.SINGLE`` is the cheap configuration and the default.

NOT protected: a single decryptor can open whatever it is given; it is neither the operator nor a partner's data node, and its
set-up says so in the warnings. A threshold's dealer is trusted to have forgotten the key. A partner can encrypt any value: too
large a one carries into the neighbouring coordinate of the sum. Decryptors learn the sum.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar

from securefl.crypto.packing import Packing
from securefl.crypto.paillier import DEFAULT_BITS, EXPONENT_BITS, Encryptor, PublicKey, generate_key
from securefl.crypto.threshold_paillier import deal, generate_safe_prime
from securefl.errors import ParameterError
from securefl.quantize import Quantizer
from securefl.secagg.base import DECRYPTOR_BASE, RoundContext
from securefl.secagg.codec import u16
from securefl.secagg.committed import CommittedScheme
from securefl.secagg.committed_setup import Consortium, Founding, default_policy, found
from securefl.secagg.paillier_cipher import PaillierCipher, PaillierOpener, ThresholdOpener
from securefl.secagg.policy import Policy
from securefl.types import ClientId, Rng

WIRE_ID = b"paillier/1"


class Decryption(Enum):
    """Who can decrypt."""

    SINGLE = "single-decryptor"
    THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaillierOptions:
    """Key length, exponent length, policy, and who decrypts.

    Attributes:
        bits: of the modulus; under 3072 the set-up warns.
        exponent_bits: of the masks' exponents; 0 is the published half-length variant, about five times slower.
        policy: thresholds; the smallest one that tolerates a colluding partner where it is ``None``.
        decryption: one holder of the key, or the policy's threshold of the partners.
        safe_primes: for a threshold's modulus, of ``bits / 2`` bits each; made by the dealer (a minute or more) where ``None``.
    """

    bits: int = DEFAULT_BITS
    exponent_bits: int = EXPONENT_BITS
    policy: Policy | None = None
    decryption: Decryption = Decryption.SINGLE
    safe_primes: tuple[int, int] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaillierSum(CommittedScheme):
    """One round of the Paillier sum."""

    wire_id: ClassVar[bytes] = WIRE_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class PaillierSetup:
    """A run's key, cipher and parties. One key serves the run: every ciphertext is fresh."""

    run_id: bytes
    consortium: Consortium
    cipher: PaillierCipher
    openers: Mapping[ClientId, PaillierOpener | ThresholdOpener]
    answers: int
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
        public = self.cipher.encode_key()
        return PaillierSum(
            terms=self.consortium.terms(context, run_id=self.run_id, public_key=public, answers=self.answers),
            cipher=self.cipher,
            parties=self.consortium.parties,
            openers=self.openers,
        )


def set_up(
    clients: Sequence[ClientId], *, quantizer: Quantizer, run_id: bytes, rng: Rng, options: object | None = None
) -> PaillierSetup:
    """Return a run under a fresh Paillier key; ``options`` is a :class:`PaillierOptions`.

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
    make = _single_decryptor if chosen.decryption is Decryption.SINGLE else _threshold_decryptors
    cipher, openers = make(len(clients), policy, chosen, quantizer, rng=rng)
    answers = 1 if chosen.decryption is Decryption.SINGLE else policy.threshold
    founding = Founding(
        wire_id=WIRE_ID,
        quantizer=quantizer,
        policy=policy,
        decryptors=len(openers),
        parameters=b"".join((chosen.decryption.value.encode(), u16(answers), cipher.encode_key())),
    )
    return PaillierSetup(
        run_id=run_id,
        consortium=found(clients, founding, rng=rng),
        cipher=cipher,
        openers=openers,
        answers=answers,
        setup_seconds=time.process_time() - started,
        warnings=_warnings(cipher.encryptor.public.bits, chosen),
    )


def _single_decryptor(
    clients: int, policy: Policy, options: PaillierOptions, quantizer: Quantizer, *, rng: Rng
) -> tuple[PaillierCipher, dict[ClientId, PaillierOpener]]:
    key = generate_key(options.bits, rng=rng)
    cipher = _cipher(key.public, options, quantizer)
    return cipher, {ClientId(DECRYPTOR_BASE + 1): PaillierOpener(cipher, key)}


def _threshold_decryptors(
    clients: int, policy: Policy, options: PaillierOptions, quantizer: Quantizer, *, rng: Rng
) -> tuple[PaillierCipher, dict[ClientId, ThresholdOpener]]:
    """The trusted dealer: what it made is dropped when this returns, and nothing more can be promised in Python."""
    half = options.bits // 2
    p, q = options.safe_primes or (generate_safe_prime(half, rng=rng), generate_safe_prime(half, rng=rng))
    key, shares = deal(p, q, parties=clients, threshold=policy.threshold, rng=rng)
    cipher = replace(_cipher(key.public, options, quantizer), threshold=key)
    return cipher, {ClientId(DECRYPTOR_BASE + i): ThresholdOpener(cipher, key, share) for i, share in shares.items()}


def _cipher(public: PublicKey, options: PaillierOptions, quantizer: Quantizer) -> PaillierCipher:
    encryptor = Encryptor(public, exponent_bits=options.exponent_bits or public.bits // 2)
    return PaillierCipher(encryptor, Packing.for_modulus(public.bits, slot_bits=quantizer.ring_bits), quantizer)


def _warnings(bits: int, options: PaillierOptions) -> tuple[str, ...]:
    if options.decryption is Decryption.SINGLE:
        found = ["single-decryptor: one party holds the whole Paillier key and could open any single update it is given"]
    else:
        found = ["trusted-dealer: the Paillier key was dealt by one party, which is trusted to have forgotten it"]
    if bits < DEFAULT_BITS:
        found.append(f"the Paillier key has {bits} bits, fewer than {DEFAULT_BITS}")
    return tuple(found)
