"""What one client knows for a whole round, and the checks that it makes on everything that the operator relays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason, TooFewClients
from securefl.secagg.envelope import Channel, Envelope, Sealed, Slip, seal
from securefl.secagg.journal import Journal
from securefl.secagg.ledger import Ledger
from securefl.secagg.masking.graph import Graph
from securefl.secagg.masking.keys import KeySchedule
from securefl.secagg.masking.messages import Phase, open_bundle
from securefl.secagg.masking.sum_tags import CONTRIBUTION_SIZE
from securefl.secagg.roster import Roster
from securefl.types import ClientId


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Client ``me`` in one round: the roster that it signed, its identity key, its journal and ledger, the round's graph."""

    me: ClientId
    channel: Channel
    roster: Roster
    identity: SigningKey
    journal: Journal
    ledger: Ledger
    graph: Graph

    @property
    def circle(self) -> frozenset[ClientId]:
        """The clients that this one shares masks and secrets with, itself included."""
        return self.graph.circles[self.me]

    @property
    def contribution_size(self) -> int:
        """The bytes that each partner contributes to the key of a verifiable sum."""
        return CONTRIBUTION_SIZE if self.roster.sum_tags else 0

    @property
    def keys(self) -> KeySchedule:
        """The key schedule of the round."""
        return KeySchedule(self.channel)

    def write(self, phase: Phase, payload: Iterable[bytes | memoryview], previous: bytes, view: bytes) -> Sealed:
        """Return this client's signed envelope of ``phase``."""
        return seal(self.channel, Slip(phase=phase, sender=self.me, previous=previous, view=view), payload, key=self.identity)

    def collect(self, inbound: bytes, asks: Phase, answered: Answered) -> dict[ClientId, Envelope]:
        """Return the envelopes that the operator relays, each checked against what this client already knows.

        Raises:
            ProtocolAbort: a stranger or somebody who dropped out before, a broken chain, another view, this client's own
                envelope missing or changed, or whatever :func:`~securefl.secagg.masking.messages.open_bundle` finds.
        """
        envelopes = open_bundle(self.channel, inbound, asks)
        split = AbortReason.INCONSISTENT_SURVIVORS if asks is Phase.UNMASK else AbortReason.INCONSISTENT_VIEW
        for sender, envelope in envelopes.items():
            if sender not in answered.chain:
                raise self.channel.abort(AbortReason.UNKNOWN_PARTY, sender, "is not part of this round any more")
            if envelope.view != answered.view:
                raise self.channel.abort(split, sender)
            if envelope.previous != answered.chain[sender]:
                raise self.channel.abort(AbortReason.BROKEN_CHAIN, sender)
        own = envelopes.get(self.me)
        if own is None or own.head != answered.sent.head:
            raise self.channel.abort(AbortReason.MISSING_SELF, self.me)
        return envelopes

    def require(self, have: int) -> None:
        """Check that enough clients are left to go on.

        Raises:
            TooFewClients: fewer than the policy requires.
        """
        if have < self.roster.policy.required:
            raise TooFewClients(round=self.channel.context.round, have=have, need=self.roster.policy.required)


@dataclass(frozen=True, slots=True)
class Answered:
    """A client's last answer, and what the others' envelopes must follow that the operator relays next.

    ``sent`` answered the operator's message with hash ``view``; a byte-identical repeat of that gets the same bytes again.
    ``chain`` has the digest of the last envelope of everybody who is still in the round.
    """

    view: bytes
    sent: Sealed
    chain: Mapping[ClientId, bytes] = field(repr=False)
