"""One party's side of a key generation's message exchange: what it signs, and what it accepts of the others.

All parties speak in every phase. Each envelope names its sender's previous one and the hash of the bundle that its sender was
shown, so that whoever was shown something else is found out in the next phase.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from securefl.crypto.domain import Usage, tag
from securefl.crypto.rlwe.budget import NoiseBudget
from securefl.crypto.rlwe.cipher import reference_element
from securefl.crypto.rlwe.ring import Residues, Ring
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason
from securefl.secagg.base import DECRYPTOR_BASE
from securefl.secagg.codec import u32
from securefl.secagg.envelope import NO_VIEW, Channel, Slip, seal
from securefl.secagg.rlwe_sum.messages import Expected, read_bundle
from securefl.types import ClientId

KEYGEN_WIRE_ID = b"rlwe-keys/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTerms:
    """What every holder insists on: who takes part, for which epoch (the channel's round), with which noise budget."""

    channel: Channel
    budget: NoiseBudget

    @property
    def members(self) -> list[ClientId]:
        """The holders' party numbers."""
        return sorted(self.channel.keys)

    @property
    def ring(self) -> Ring:
        """The ring of the key."""
        return self.budget.ring

    @property
    def epoch(self) -> int:
        """The first round that the key serves."""
        return self.channel.context.round

    @property
    def reference(self) -> Residues:
        """The common reference element, derived from roster hash and epoch."""
        return epoch_reference(self.ring, self.channel.context.roster_hash, self.epoch)


def epoch_reference(ring: Ring, roster_hash: bytes, epoch: int) -> Residues:
    """Return the common reference element of an epoch, shape (primes, N)."""
    return reference_element(ring, tag(KEYGEN_WIRE_ID, Usage.ROSTER, roster_hash, u32(epoch)))


def point_of(member: ClientId) -> int:
    """Return the point at which a decryptor's shares are evaluated."""
    return member - DECRYPTOR_BASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Where a party is: everyone's last envelope by its digest, the bundle it was shown last, and what it said itself."""

    terms: KeyTerms
    me: ClientId
    signer: SigningKey = field(repr=False)
    previous: Mapping[ClientId, bytes]
    view: bytes = NO_VIEW
    said: bytes = b""

    @classmethod
    def begin(cls, terms: KeyTerms, me: ClientId, signer: SigningKey) -> Talk:
        """Return the state before the first message."""
        return cls(terms=terms, me=me, signer=signer, previous={one: terms.channel.genesis(one) for one in terms.members})

    def say(self, phase: int, payload: Iterable[bytes | memoryview]) -> tuple[bytes, Talk]:
        """Return the signed message of ``phase``, and the state that has said it."""
        slip = Slip(phase=phase, sender=self.me, previous=self.previous[self.me], view=self.view)
        sealed = seal(self.terms.channel, slip, payload, key=self.signer)
        return sealed.message, replace(self, said=sealed.digest)

    def hear(self, inbound: bytes, phase: int) -> tuple[dict[ClientId, memoryview], Talk]:
        """Return everyone's payload of ``phase``, and the state that has heard it.

        Raises:
            ProtocolAbort: an envelope is refused or missing, or this party's own is not what it said.
        """
        expected = Expected(phase=phase, previous=self.previous, view=self.view)
        found = read_bundle(self.terms.channel, inbound, expected)
        if found[self.me].digest != self.said:
            raise self.terms.channel.abort(AbortReason.MISSING_SELF, self.me)
        payloads = {sender: envelope.payload or memoryview(b"") for sender, envelope in found.items()}
        digests = {sender: envelope.digest for sender, envelope in found.items()}
        return payloads, replace(self, previous=digests, view=hashlib.sha256(inbound).digest())
