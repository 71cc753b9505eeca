"""The sum under CKKS (TenSEAL), approximate, flooded with noise before it leaves its ``single-decryptor``.

Each client sends 32 bytes a coordinate. The decryptor recomputes the sum ciphertext by ciphertext, adds Gaussian noise to
every number and rounds to whole quantiser steps (:mod:`securefl.crypto.flooding` says how much and why); the opened sum
states its error bound *after* that. The last coordinate, the weight, is scaled up and repeated, so that it comes out exact.

The key lives one round by default; the decryptor counts what it released under each key and refuses more. NOT protected:
RLWE decryption is not safe against chosen ciphertexts, so partners are honest when they encrypt (semi-honest encryptors); a
malformed ciphertext by a partner who sees the result could help to extract that round's key. TenSEAL has no threshold keys:
*one* decryptor could open any single update, and every set-up says so in its warnings. The protocol around the ciphertexts
is in :mod:`securefl.secagg.committed`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.ckks import CkksKey, CkksParams, CkksPublic
from securefl.crypto.flooding import SumPrecision, gaussian
from securefl.errors import CapacityError, ParameterError
from securefl.quantize import Quantizer
from securefl.secagg.base import OpenedSum, RoundContext
from securefl.secagg.codec import Reader, prefixed
from securefl.secagg.committed import Bodies, CommittedScheme, blame
from securefl.secagg.committed_setup import Consortium, Founding, default_policy, found
from securefl.secagg.integer_sum import client_limit, encode_sum, random_values, signed_values, sum_next, sum_of_one
from securefl.secagg.policy import Policy
from securefl.secagg.round_keys import RoundKeys
from securefl.types import ClientId, RingVector, Rng

WIRE_ID = b"ckks/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CkksOptions:
    """Ring, noise and policy.

    Attributes:
        statistical_bits: k of the noise flooding; 40 costs 20 bits of precision.
        releases_per_key: rounds that a key lives; the noise grows with its square root.
        policy: thresholds; the smallest one that tolerates a colluding partner where it is ``None``.
    """

    params: CkksParams = field(default_factory=CkksParams)
    statistical_bits: int = 40
    releases_per_key: int = 1
    policy: Policy | None = None

    def __post_init__(self) -> None:
        if self.releases_per_key < 1:
            raise ParameterError(f"releases_per_key={self.releases_per_key} must be >= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CkksCode:
    """How a ring vector of ``clients`` lies in ciphertexts: coordinates, then the weight repeated, then random padding."""

    params: CkksParams
    quantizer: Quantizer
    clients: int
    statistical_bits: int
    releases: int

    def precision(self, length: int) -> SumPrecision:
        """Return scale, noise and error bound of a vector of ``length`` coordinates, the weight included.

        Raises:
            CapacityError: the modulus leaves no precision, or the weight would not come out exact.
        """
        return SumPrecision(
            degree=self.params.degree,
            modulus_bits=self.params.ring.modulus_bits,
            clients=self.clients,
            limit=self.clients * client_limit(self.quantizer),
            ciphertexts=self.ciphertexts(length),
            releases=self.releases,
            statistical_bits=self.statistical_bits,
        )

    @property
    def gain(self) -> int:
        """What the weight is multiplied by: as much as keeps it within the range of the other coordinates."""
        return max(self.quantizer.limit, 1)

    @property
    def copies(self) -> int:
        """Slots that repeat the weight; their mean has an eighth to a thirty-second of one slot's noise."""
        return min(1024, self.params.slots // 4)

    def ciphertexts(self, length: int) -> int:
        """Return how many ciphertexts carry ``length`` coordinates, the weight included."""
        return -(-(length - 1 + self.copies) // self.params.slots)

    def require_exact_weight(self, length: int) -> None:
        """Check that the opened weight rounds to the right integer.

        Raises:
            CapacityError: the noise on the mean of the weight's copies could pass half a unit.
        """
        bound = self.precision(length).error_bound / self.copies**0.5 / self.gain
        if bound >= 0.5:
            raise CapacityError(f"noise of {bound:.2f} on the weight must be < 0.5: use fewer clients or statistical_bits")

    def lay_out(self, values: NDArray[np.int64], *, rng: Rng) -> NDArray[np.float64]:
        """Return the slots of all ciphertexts, shape (ciphertexts, slots): coordinates, weight, random padding.

        Raises:
            CapacityError: the weight is outside its range.
        """
        weight = int(values[-1])
        if not 0 <= weight <= self.quantizer.max_weight:
            raise CapacityError(f"weight={weight} (the last coordinate) must be in 0..{self.quantizer.max_weight}")
        rows = np.empty((self.ciphertexts(len(values)), self.params.slots))
        flat, end = rows.reshape(-1), len(values) - 1
        flat[:end] = values[:-1]
        flat[end : end + self.copies] = weight * self.gain
        padding = flat[end + self.copies :]
        padding[:] = random_values(len(padding), client_limit(self.quantizer), rng=rng)
        return rows

    def read_out(self, slots: NDArray[np.float64], length: int) -> NDArray[np.int64]:
        """Return the ``length`` coordinates of released slots, shape (length,), the weight last."""
        total = np.empty(length, np.int64)
        total[:-1] = np.rint(slots[: length - 1])
        total[-1] = round(float(slots[length - 1 : length - 1 + self.copies].mean()) / self.gain)
        return total


@dataclass(frozen=True, slots=True)
class CkksCipher:
    """The public side: encrypts, and reads the decryptor's opened sum."""

    code: CkksCode
    public: CkksPublic = field(repr=False)

    def maximum_body(self, length: int) -> int:
        """Return the most bytes that the ciphertexts of ``length`` coordinates take."""
        return self.code.ciphertexts(length) * (4 + self.code.params.ring.maximum_size)

    def encrypt(self, update: RingVector, *, me: ClientId, rng: Rng) -> bytes:
        """Return the ciphertexts of ``update``, shape (d,), each with its length in front."""
        self.code.require_exact_weight(len(update))
        scale = self.code.precision(len(update)).scale
        rows = self.code.lay_out(signed_values(update, self.code.quantizer), rng=rng)
        return b"".join(prefixed(self.public.encrypt(row, scale=scale)) for row in rows)

    def combine(self, answers: Mapping[ClientId, memoryview], bodies: Bodies, length: int) -> OpenedSum:
        """Return the sum that the single decryptor released, with its error bound.

        Raises:
            BadAnswerError: the answer has another length.
        """
        total = sum_of_one(answers, length).astype(np.float64)
        return OpenedSum(total, frozenset(bodies), self.code.precision(length).error_bound)


class CkksOpener:
    """The single decryptor under one key; it counts what it released under it."""

    __slots__ = ("_key", "_released", "code")

    def __init__(self, code: CkksCode) -> None:
        """Make a fresh key."""
        self.code = code
        self._key = CkksKey(code.params)
        self._released = 0

    @property
    def public(self) -> CkksPublic:
        """The public key."""
        return self._key.public

    def encode_key(self) -> bytes:
        """Return the public key as bytes."""
        return self._key.public.encode()

    def open(self, bodies: Bodies, length: int, *, rng: Rng) -> bytes:
        """Return the flooded sum of ``bodies``, one ciphertext at a time: memory stays at one ciphertext for each client.

        Raises:
            BadCiphertextError: a body is refused.
            CapacityError: the key has given all its releases.
        """
        if self._released >= self.code.releases:
            raise CapacityError(f"releases={self._released} under this key must be < {self.code.releases}: make a new key")
        precision, slots = self.code.precision(length), self.code.params.slots
        readers = {sender: Reader(body) for sender, body in bodies.items()}
        released = np.empty(self.code.ciphertexts(length) * slots)
        for start in range(0, len(released), slots):
            total = sum_next(readers, partial(self.public.read, scale=precision.scale))
            noise = gaussian(slots, precision.flooding_std, rng=rng)
            released[start : start + slots] = self._key.decrypt(total) + noise
        for sender, reader in readers.items():
            blame(sender, reader.finish)
        self._released += 1
        return encode_sum(self.code.read_out(released, length))


@dataclass(frozen=True, slots=True, kw_only=True)
class CkksSum(CommittedScheme):
    """One round of the CKKS sum."""

    wire_id: ClassVar[bytes] = WIRE_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class CkksSetup:
    """A run's parties and the single decryptor's keys."""

    run_id: bytes
    consortium: Consortium
    code: CkksCode
    keys: RoundKeys[CkksOpener] = field(repr=False)
    setup_seconds: float
    warnings: tuple[str, ...]
    name: ClassVar[str] = "ckks"

    @property
    def roster_hash(self) -> bytes:
        """SHA-256 over roster, decryptor and parameters, 32 bytes."""
        return self.consortium.hash

    def round(self, context: RoundContext) -> CkksSum:
        """Return the scheme of one round, under a fresh key where the last one has served its rounds.

        Raises:
            ProtocolAbort: the context is of another run or roster.
        """
        opener = self.keys.opener(context.round)
        announced = self.keys.announced(opener, context)
        with self.keys.reading(context):
            cipher = CkksCipher(self.code, CkksPublic.decode(announced, self.code.params))
        return CkksSum(
            terms=self.consortium.terms(context, run_id=self.run_id, public_key=announced, answers=1),
            cipher=cipher,
            parties=self.consortium.parties,
            openers={self.keys.decryptor: opener},
        )


def set_up(
    clients: Sequence[ClientId], *, quantizer: Quantizer, run_id: bytes, rng: Rng, options: object | None = None
) -> CkksSetup:
    """Return a run under CKKS with a single decryptor; ``options`` is a :class:`CkksOptions`.

    Raises:
        ParameterError: the options are another scheme's, or fewer than three clients.
        CapacityError: the sum of all clients could wrap, or the modulus leaves no precision.
    """
    started = time.process_time()
    chosen = CkksOptions() if options is None else options
    if not isinstance(chosen, CkksOptions):
        raise ParameterError(f"ckks takes CkksOptions, not {type(chosen).__name__}")
    code = CkksCode(
        params=chosen.params,
        quantizer=quantizer,
        clients=len(clients),
        statistical_bits=chosen.statistical_bits,
        releases=chosen.releases_per_key,
    )
    code.require_exact_weight(1)
    policy = chosen.policy or default_policy(len(clients))
    founding = Founding(wire_id=WIRE_ID, quantizer=quantizer, policy=policy, decryptors=1, parameters=repr(code).encode())
    consortium = found(clients, founding, rng=rng)
    return CkksSetup(
        run_id=run_id,
        consortium=consortium,
        code=code,
        keys=RoundKeys(consortium, partial(CkksOpener, code), rounds_each=chosen.releases_per_key),
        setup_seconds=time.process_time() - started,
        warnings=(
            "single-decryptor: one party holds the CKKS key and could open any single update it is given",
            f"CKKS results carry noise of {code.statistical_bits}-bit statistical security; encryptors must be honest",
        ),
    )
