"""The sum under packed Paillier encryption, exact, opened by a ``single-decryptor`` or by t of n decryptors.

Each client packs 95 signed 32-bit coordinates into a plaintext of 3072 bits and encrypts it with a short exponent: 8.1 bytes
a coordinate. The protocol around the ciphertexts (commit, upload, open) and what it guarantees is in
:mod:`securefl.secagg.committed`; the assumptions are in :mod:`securefl.crypto.paillier`.

Every partner has a decryptor of its own with a share of the key, the roster's threshold of them must answer, and each proves
its answer; it costs a full-length power for each ciphertext and decryptor (minutes at 10^5 coordinates).
``Decryption.SINGLE`` is the cheap configuration, in which one party could decrypt alone: it must be asked for by its name.

NOT protected: a single decryptor can open whatever it is given; it is neither the operator nor a partner's data node, and its
set-up says so in the warnings. It makes a new key every round; a threshold's key lives the run, and its dealer is trusted to
have forgotten it. Paillier is malleable, so every upload proves that its sender knows what is in it, in this round
(:mod:`securefl.crypto.plaintext_proof`): a dishonest partner can't mix in a ciphertext that the operator shows it, of an
earlier round or of a partner to whom it gave another list of commitments. A partner can encrypt any value: too large a one
carries into the neighbouring coordinate. Decryptors learn the sum.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import ClassVar

from securefl.crypto.packing import Packing
from securefl.crypto.paillier import DEFAULT_BITS, EXPONENT_BITS, Encryptor, PublicKey, generate_key, require_bits
from securefl.crypto.shipped_primes import is_shipped, shipped_primes
from securefl.crypto.threshold_paillier import deal, generate_safe_prime
from securefl.errors import ParameterError
from securefl.quantize import Quantizer
from securefl.secagg.base import DECRYPTOR_BASE, RoundContext
from securefl.secagg.committed import CommittedScheme
from securefl.secagg.committed_setup import Consortium, Founding, default_policy, found
from securefl.secagg.paillier_cipher import WIRE_ID, PaillierCipher, PaillierOpener, ThresholdOpener
from securefl.secagg.policy import Policy
from securefl.secagg.round_keys import RoundKeys
from securefl.types import ClientId, Rng

HALF_LENGTH = 0
"""Asks for exponents of half the modulus's length, as published."""


class Decryption(Enum):
    """Who can decrypt."""

    SINGLE = "single-decryptor"
    THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaillierOptions:
    """Key length, exponent length, policy, and who decrypts.

    Attributes:
        bits: of the modulus; under 3072 the set-up warns.
        exponent_bits: of the masks' exponents; :data:`HALF_LENGTH` is the published variant, about five times slower.
        policy: thresholds; the smallest one that tolerates a colluding partner where it is ``None``.
        decryption: one holder of the key, or the policy's threshold of the partners.
        safe_primes: for a threshold's modulus, of ``bits / 2`` bits each; made by the dealer (a minute or more) where ``None``.

    Raises:
        ParameterError: ``bits`` is outside its bounds.
    """

    bits: int = DEFAULT_BITS
    exponent_bits: int = EXPONENT_BITS
    policy: Policy | None = None
    decryption: Decryption = Decryption.THRESHOLD
    safe_primes: tuple[int, int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # Here and not after the minutes, or without end, in which a dealer would look for safe primes of that length.
        require_bits(self.bits)

    @property
    def public_knowledge(self) -> bool:
        """Whether the key is one that ships with the package: a run refuses it."""
        return self.safe_primes is not None and is_shipped(*self.safe_primes)


def shipped_options(bits: int = DEFAULT_BITS) -> PaillierOptions:
    """Return options for tests and measurements: a threshold key that everybody knows, so that no dealer is waited for."""
    return PaillierOptions(bits=bits, safe_primes=shipped_primes(bits))


@dataclass(frozen=True, slots=True, kw_only=True)
class PaillierSum(CommittedScheme):
    """One round of the Paillier sum."""

    wire_id: ClassVar[bytes] = WIRE_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleSetup:
    """A run with a single decryptor, which makes a key for every round: an old ciphertext is worth nothing in a new round."""

    run_id: bytes
    consortium: Consortium
    options: PaillierOptions
    keys: RoundKeys[PaillierOpener] = field(repr=False)
    setup_seconds: float
    warnings: tuple[str, ...]
    name: ClassVar[str] = "paillier"

    @property
    def roster_hash(self) -> bytes:
        """SHA-256 over roster, decryptor and parameters, 32 bytes."""
        return self.consortium.hash

    def round(self, context: RoundContext) -> PaillierSum:
        """Return the scheme of one round, under a fresh key (about half a second at 3072 bits).

        Raises:
            ProtocolAbort: the context is of another run or roster; BAD_KEY, the decryptor announced an unusable key.
        """
        opener = self.keys.opener(context.round)
        announced = self.keys.announced(opener, context)
        with self.keys.reading(context):
            if PublicKey.decode(announced).bits != self.options.bits:
                raise ParameterError(f"the announced Paillier key must have {self.options.bits} bits")
        cipher = replace(opener.cipher, context=context)
        return PaillierSum(
            terms=self.consortium.terms(context, run_id=self.run_id, public_key=announced, answers=1),
            cipher=cipher,
            parties=self.consortium.parties,
            openers={self.keys.decryptor: replace(opener, cipher=cipher)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSetup:
    """A run with a decryptor for each partner and one dealt key."""

    run_id: bytes
    consortium: Consortium
    cipher: PaillierCipher
    openers: Mapping[ClientId, ThresholdOpener] = field(repr=False)
    answers: int
    setup_seconds: float
    warnings: tuple[str, ...]
    name: ClassVar[str] = "paillier"

    @property
    def roster_hash(self) -> bytes:
        """SHA-256 over roster, decryptors and public key, 32 bytes."""
        return self.consortium.hash

    def round(self, context: RoundContext) -> PaillierSum:
        """Return the scheme of one round.

        Raises:
            ProtocolAbort: the context is of another run or roster.
        """
        public, cipher = self.cipher.encode_key(), replace(self.cipher, context=context)
        return PaillierSum(
            terms=self.consortium.terms(context, run_id=self.run_id, public_key=public, answers=self.answers),
            cipher=cipher,
            parties=self.consortium.parties,
            openers={me: replace(opener, cipher=cipher) for me, opener in self.openers.items()},
        )


def set_up(
    clients: Sequence[ClientId], *, quantizer: Quantizer, run_id: bytes, rng: Rng, options: object | None = None
) -> SingleSetup | ThresholdSetup:
    """Return a run under Paillier; ``options`` is a :class:`PaillierOptions`.

    Raises:
        ParameterError: the options are another scheme's, fewer than three clients, or a length is out of bounds.
        CapacityError: the sum of all clients could wrap.
        MissingExtraError: gmpy2 is not installed.
    """
    chosen = PaillierOptions() if options is None else options
    if not isinstance(chosen, PaillierOptions):
        raise ParameterError(f"paillier takes PaillierOptions, not {type(chosen).__name__}")
    founding = Founding(
        wire_id=WIRE_ID,
        quantizer=quantizer,
        policy=chosen.policy or default_policy(len(clients)),
        decryptors=1,
        parameters=f"{chosen.decryption.value} {chosen.bits} {chosen.exponent_bits}".encode(),
    )
    make = _single if chosen.decryption is Decryption.SINGLE else _threshold
    return make(clients, founding, run_id, chosen, rng=rng)


def _single(
    clients: Sequence[ClientId], founding: Founding, run_id: bytes, options: PaillierOptions, *, rng: Rng
) -> SingleSetup:
    started = time.process_time()
    consortium = found(clients, founding, rng=rng)
    return SingleSetup(
        run_id=run_id,
        consortium=consortium,
        options=options,
        keys=RoundKeys(consortium, partial(_fresh_opener, options, founding.quantizer, rng=rng)),
        setup_seconds=time.process_time() - started,
        warnings=(
            "single-decryptor: one party holds the whole Paillier key and could open any single update it is given",
            _exponent(options),
            *_short_key(options.bits),
        ),
    )


def _threshold(
    clients: Sequence[ClientId], founding: Founding, run_id: bytes, options: PaillierOptions, *, rng: Rng
) -> ThresholdSetup:
    """The trusted dealer: what it made is dropped when this returns, and nothing more can be promised in Python."""
    started = time.process_time()
    threshold, half = founding.policy.threshold, options.bits // 2
    p, q = options.safe_primes or (generate_safe_prime(half, rng=rng), generate_safe_prime(half, rng=rng))
    key, shares = deal(p, q, parties=len(clients), threshold=threshold, rng=rng)
    cipher = replace(_cipher(key.public, options, founding.quantizer), threshold=key)
    openers = {ClientId(DECRYPTOR_BASE + i): ThresholdOpener(cipher, key, share) for i, share in shares.items()}
    founding = replace(founding, decryptors=len(openers), parameters=founding.parameters + key.encode())
    return ThresholdSetup(
        run_id=run_id,
        consortium=found(clients, founding, rng=rng),
        cipher=cipher,
        openers=openers,
        answers=threshold,
        setup_seconds=time.process_time() - started,
        warnings=(
            "trusted-dealer: the Paillier key was dealt by one party, which is trusted to have forgotten it",
            *_shipped_key(options),
            _exponent(options),
            *_short_key(key.public.bits),
        ),
    )


def _fresh_opener(options: PaillierOptions, quantizer: Quantizer, *, rng: Rng) -> PaillierOpener:
    key = generate_key(options.bits, rng=rng)
    return PaillierOpener(_cipher(key.public, options, quantizer), key)


def _cipher(public: PublicKey, options: PaillierOptions, quantizer: Quantizer) -> PaillierCipher:
    encryptor = Encryptor(public, exponent_bits=options.exponent_bits or public.bits // 2)
    return PaillierCipher(encryptor, Packing.for_modulus(public.bits, slot_bits=quantizer.ring_bits), quantizer)


def _exponent(options: PaillierOptions) -> str:
    """What the masks' exponents rest on, and their price."""
    if options.exponent_bits == HALF_LENGTH:
        return "half-length exponents: composite residuosity alone is assumed; encryption takes five times as long"
    assumed = "that short powers can't be told from uniform ones is assumed, beside composite residuosity"
    return f"{options.exponent_bits}-bit exponents: {assumed}; half-length ones don't need that and take five times as long"


def _shipped_key(options: PaillierOptions) -> tuple[str, ...]:
    return ("test-key: the Paillier key ships with the package, everybody knows it",) if options.public_knowledge else ()


def _short_key(bits: int) -> tuple[str, ...]:
    return (f"the Paillier key has {bits} bits, fewer than {DEFAULT_BITS}",) if bits < DEFAULT_BITS else ()
