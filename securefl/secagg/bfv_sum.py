"""The sum under BFV (TenSEAL), bit-exact, opened by a ``single-decryptor``: 15 bytes a coordinate for 32-bit sums.

The decryptor recomputes the sum ciphertext by ciphertext and releases integers, so no noise is needed: an exact result says
nothing about the key. The key lives one round.

NOT protected: RLWE decryption is not safe against chosen ciphertexts, so partners are honest when they encrypt (semi-honest
encryptors): a malformed ciphertext by a partner who sees the result could help to extract that round's key. Padding is
random. TenSEAL has no threshold keys: *one* decryptor could open any single update, and every set-up says so in its warnings.
The protocol around the ciphertexts is in :mod:`securefl.secagg.committed`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.bfv import BfvKey, BfvParams, BfvPublic
from securefl.errors import ParameterError
from securefl.quantize import Quantizer
from securefl.secagg.base import OpenedSum, RoundContext
from securefl.secagg.codec import Reader, prefixed
from securefl.secagg.committed import Bodies, CommittedScheme, blame
from securefl.secagg.committed_setup import Consortium, Founding, default_policy, found
from securefl.secagg.integer_sum import client_limit, encode_sum, random_values, signed_values, sum_next, sum_of_one
from securefl.secagg.policy import Policy
from securefl.secagg.round_keys import RoundKeys
from securefl.types import ClientId, RingVector, Rng

WIRE_ID = b"bfv/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class BfvOptions:
    """The policy: the smallest one that tolerates a colluding partner where it is ``None``."""

    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class BfvCipher:
    """The public side: encrypts, and reads the decryptor's opened sum."""

    public: BfvPublic = field(repr=False)
    quantizer: Quantizer

    def maximum_body(self, length: int) -> int:
        """Return the most bytes that the ciphertexts of ``length`` coordinates take."""
        rings = self.public.params.rings
        return _ciphertexts(self.public.params, length) * sum(4 + ring.maximum_size for ring in rings)

    def encrypt(self, update: RingVector, *, me: ClientId, rng: Rng) -> bytes:
        """Return the ciphertexts of ``update``, shape (d,), each with its length in front, padding slots random."""
        values = signed_values(update, self.quantizer)
        slots = self.public.params.degree
        padding = -len(values) % slots
        rows = np.concatenate((values, random_values(padding, client_limit(self.quantizer), rng=rng))).reshape(-1, slots)
        return b"".join(prefixed(part) for row in rows for part in self.public.encrypt(row))

    def combine(self, answers: Mapping[ClientId, memoryview], bodies: Bodies, length: int) -> OpenedSum:
        """Return the sum that the single decryptor opened.

        Raises:
            BadAnswerError: the answer has another length.
        """
        return OpenedSum(sum_of_one(answers, length), frozenset(bodies))


class BfvOpener:
    """The single decryptor under one key."""

    __slots__ = ("_key",)

    def __init__(self, params: BfvParams) -> None:
        """Make a fresh key."""
        self._key = BfvKey(params)

    def encode_key(self) -> bytes:
        """Return the public key as bytes."""
        return self._key.public.encode()

    def open(self, bodies: Bodies, length: int, *, rng: Rng) -> bytes:
        """Return the opened sum of ``bodies``, one ciphertext at a time.

        Raises:
            BadCiphertextError: a body is refused.
        """
        params = self._key.public.params
        readers = {sender: Reader(body) for sender, body in bodies.items()}
        rows: list[NDArray[np.int64]] = []
        for _ in range(_ciphertexts(params, length)):
            residues = range(len(params.plain_primes))
            rows.append(self._key.decrypt([sum_next(readers, partial(self._key.public.read, residue=r)) for r in residues]))
        for sender, reader in readers.items():
            blame(sender, reader.finish)
        return encode_sum(np.concatenate(rows)[:length])


@dataclass(frozen=True, slots=True, kw_only=True)
class BfvSum(CommittedScheme):
    """One round of the BFV sum."""

    wire_id: ClassVar[bytes] = WIRE_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class BfvSetup:
    """A run's parties and the single decryptor's keys."""

    run_id: bytes
    consortium: Consortium
    params: BfvParams
    keys: RoundKeys[BfvOpener] = field(repr=False)
    setup_seconds: float
    warnings: tuple[str, ...]
    name: ClassVar[str] = "bfv"

    @property
    def roster_hash(self) -> bytes:
        """SHA-256 over roster, decryptor and parameters, 32 bytes."""
        return self.consortium.hash

    def round(self, context: RoundContext) -> BfvSum:
        """Return the scheme of one round, under a fresh key.

        Raises:
            ProtocolAbort: the context is of another run or roster.
        """
        opener = self.keys.opener(context.round)
        announced = self.keys.announced(opener, context)
        with self.keys.reading(context):
            cipher = BfvCipher(BfvPublic.decode(announced, self.params), self.consortium.roster.quantizer)
        return BfvSum(
            terms=self.consortium.terms(context, run_id=self.run_id, public_key=announced, answers=1),
            cipher=cipher,
            parties=self.consortium.parties,
            openers={self.keys.decryptor: opener},
        )


def set_up(
    clients: Sequence[ClientId], *, quantizer: Quantizer, run_id: bytes, rng: Rng, options: object | None = None
) -> BfvSetup:
    """Return a run under BFV with a single decryptor; ``options`` is a :class:`BfvOptions`.

    Raises:
        ParameterError: the options are another scheme's, or fewer than three clients.
        CapacityError: the sum of all clients could wrap, or the clients are too many for exact decryption.
    """
    started = time.process_time()
    chosen = BfvOptions() if options is None else options
    if not isinstance(chosen, BfvOptions):
        raise ParameterError(f"bfv takes BfvOptions, not {type(chosen).__name__}")
    policy = chosen.policy or default_policy(len(clients))
    params = BfvParams.for_sum(len(clients) * client_limit(quantizer), len(clients))
    founding = Founding(wire_id=WIRE_ID, quantizer=quantizer, policy=policy, decryptors=1, parameters=repr(params).encode())
    consortium = found(clients, founding, rng=rng)
    return BfvSetup(
        run_id=run_id,
        consortium=consortium,
        params=params,
        keys=RoundKeys(consortium, partial(BfvOpener, params)),
        setup_seconds=time.process_time() - started,
        warnings=(
            "single-decryptor: one party holds the BFV key and could open any single update it is given",
            "BFV decryption is not safe against malformed ciphertexts: encryptors must be honest",
        ),
    )


def _ciphertexts(params: BfvParams, length: int) -> int:
    return -(-length // params.degree)
