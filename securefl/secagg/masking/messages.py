"""What the masking protocol puts into envelopes and bundles; SPEC.md has the table of sizes that a test checks.

A *bundle* is the operator's message: the envelopes of one phase in ascending order of their senders, the same bytes for every
client. In the phase ``CONSISTENCY`` it lists the survivors by their detached masked-input envelopes, so that the operator
can name nobody who did not sign an input. Bundles are not signed: each client checks what is inside.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from securefl.crypto.agreement import PUBLIC_SIZE, require_canonical
from securefl.crypto.commitment import COMMITMENT_SIZE
from securefl.crypto.sealed import OVERHEAD_SIZE
from securefl.crypto.shamir import SHARE_SIZE, read_share
from securefl.errors import AbortReason, DecodeError
from securefl.secagg.base import RoundContext
from securefl.secagg.codec import HASH_SIZE, Reader, context_digest, party_list, read_party_list, u8, u16, u32
from securefl.secagg.envelope import Channel, Envelope, head_size, open_envelope
from securefl.types import ClientId, Secret

WIRE_ID = b"masking/1"


class Phase(IntEnum):
    """The client messages of a round, in order."""

    ADVERTISE_KEYS = 1
    SHARE_KEYS = 2
    MASKED_INPUT = 3
    CONSISTENCY = 4
    UNMASK = 5


PHASES = tuple(phase.name.lower() for phase in Phase)
ADVERT_SIZE = 2 * PUBLIC_SIZE + COMMITMENT_SIZE
SEALED_PAIR_SIZE = 2 * SHARE_SIZE + OVERHEAD_SIZE


class ShareKind(IntEnum):
    """Which of a partner's two secrets a share is of; for each partner a client releases one kind, once."""

    SELF_MASK_SEED = 1
    MASK_KEY = 2


@dataclass(frozen=True, slots=True)
class Advert:
    """A client's public keys of the round, and the commitment to its self-mask seed; 96 bytes."""

    mask_key: bytes
    seal_key: bytes
    commitment: bytes

    def encode(self) -> bytes:
        """Return the three fields."""
        return self.mask_key + self.seal_key + self.commitment

    @classmethod
    def decode(cls, payload: memoryview) -> Advert:
        """Return the advert in ``payload``; raises DecodeError."""
        reader = Reader(payload)
        advert = cls(reader.take(PUBLIC_SIZE), reader.take(PUBLIC_SIZE), reader.take(COMMITMENT_SIZE))
        reader.finish()
        require_canonical(advert.mask_key)
        require_canonical(advert.seal_key)
        return advert


@dataclass(frozen=True, slots=True)
class SharePair:
    """The shares of one partner's self-mask seed and mask key that one client holds; 66 or 98 bytes, always sealed."""

    seed_share: Secret
    key_share: Secret
    contribution: Secret

    def encode(self) -> Secret:
        """Return both shares, and the contribution to the key of a verifiable sum (empty where sums are not tagged)."""
        return Secret(self.seed_share.expose() + self.key_share.expose() + self.contribution.expose())

    @classmethod
    def decode(cls, plain: Secret, contribution_size: int) -> SharePair:
        """Return the shares in ``plain``; raises DecodeError.

        A share outside the field is its dealer's fault and named here: whoever released it would be blamed for it.
        """
        reader = Reader(plain.expose())
        pair = cls(*(Secret(reader.take(size)) for size in (SHARE_SIZE, SHARE_SIZE, contribution_size)))
        reader.finish()
        read_share(pair.seed_share)
        read_share(pair.key_share)
        return pair


def encode_sealed(sealed: Mapping[ClientId, bytes]) -> bytes:
    """Return the sealed share pairs for every recipient, ascending."""
    return u16(len(sealed)) + b"".join(u16(client) + sealed[client] for client in sorted(sealed))


def decode_sealed(payload: memoryview, contribution_size: int = 0) -> dict[ClientId, bytes]:
    """Return the sealed share pairs by recipient; raises DecodeError."""
    reader = Reader(payload)
    size = SEALED_PAIR_SIZE + contribution_size
    rows = [(ClientId(reader.u16()), reader.take(size)) for _ in range(reader.u16())]
    reader.finish()
    _require_ascending([client for client, _ in rows])
    return dict(rows)


@dataclass(frozen=True, slots=True)
class Signed:
    """What a client signs in the consistency round: the survivors, and the earlier sums that it tells the others of.

    Earlier sums are those over the same inputs (:meth:`securefl.secagg.ledger.Ledger.told`); in most rounds there are none.
    """

    survivors: frozenset[ClientId]
    earlier: tuple[frozenset[ClientId], ...] = ()

    def encode(self) -> bytes:
        """Return the lists of parties, the survivors first."""
        return b"".join(party_list(parties) for parties in (self.survivors, *self.earlier))

    @classmethod
    def decode(cls, payload: memoryview, roster: frozenset[ClientId]) -> Signed:
        """Return the lists in ``payload``, at most as many earlier ones as clients on the ``roster``; raises DecodeError."""
        reader = Reader(payload)
        survivors = read_party_list(reader)
        earlier: list[frozenset[ClientId]] = []
        while reader.left and len(earlier) <= len(roster):
            earlier.append(read_party_list(reader))
        if len(earlier) > len(roster) or not roster.issuperset(survivors.union(*earlier)):
            raise DecodeError(f"{len(earlier)} earlier sums must be <= {len(roster)}, of clients on the roster")
        return cls(survivors, tuple(earlier))


@dataclass(frozen=True, slots=True)
class ReleasedShare:
    """A share that a client gives to the operator: of whose secret, of which kind."""

    owner: ClientId
    kind: ShareKind
    share: Secret = field(repr=False)


def encode_released(shares: Iterable[ReleasedShare]) -> bytes:
    """Return the released shares, ascending by owner."""
    rows = sorted(shares, key=lambda released: released.owner)
    return u16(len(rows)) + b"".join(u16(row.owner) + u8(row.kind) + row.share.expose() for row in rows)


def decode_released(payload: memoryview) -> tuple[ReleasedShare, ...]:
    """Return the released shares; raises DecodeError."""
    reader = Reader(payload)
    rows = []
    for _ in range(reader.u16()):
        owner, kind = ClientId(reader.u16()), reader.u8()
        if kind not in tuple(ShareKind):
            raise DecodeError(f"share kind {kind} is unknown")
        rows.append(ReleasedShare(owner, ShareKind(kind), Secret(reader.take(SHARE_SIZE))))
    reader.finish()
    _require_ascending([row.owner for row in rows])
    return tuple(rows)


def encode_bundle(context: RoundContext, phase: Phase, envelopes: Mapping[ClientId, bytes]) -> bytes:
    """Return the operator's message that asks for ``phase``."""
    head = context_digest(WIRE_ID, context) + u8(phase) + u16(len(envelopes))
    return b"".join((head, *(u32(len(envelopes[c])) + envelopes[c] for c in sorted(envelopes))))


def bundle_overhead() -> int:
    """Return the bytes of a bundle beside 4 bytes and the envelope of each sender."""
    return HASH_SIZE + 1 + 2


def open_bundle(channel: Channel, inbound: bytes, asks: Phase) -> dict[ClientId, Envelope]:
    """Return the verified envelopes in the operator's message that asks for phase ``asks``, by sender.

    Raises:
        ProtocolAbort: WRONG_ROUND, MALFORMED, DUPLICATE_PARTY, or what :func:`~securefl.secagg.envelope.open_envelope` finds.
    """
    detached = asks is Phase.CONSISTENCY
    found: dict[ClientId, Envelope] = {}
    with channel.decoding():
        reader = Reader(inbound)
        if reader.take(HASH_SIZE) != context_digest(WIRE_ID, channel.context) or reader.u8() != asks:
            raise channel.abort(AbortReason.WRONG_ROUND, detail="the operator's message asks for something else")
        for _ in range(reader.u16()):
            message = reader.view(reader.u32())
            envelope = open_envelope(channel, message, asks - 1, detached=detached)
            if envelope.sender in found:
                raise channel.abort(AbortReason.DUPLICATE_PARTY, envelope.sender)
            found[envelope.sender] = envelope
        reader.finish()
        _require_ascending(list(found))
    return found


def read_signed(
    channel: Channel, envelopes: Mapping[ClientId, Envelope], roster: frozenset[ClientId], survivors: frozenset[ClientId]
) -> dict[ClientId, Signed]:
    """Return what each client signed in the consistency round; everybody must have signed the same ``survivors``.

    Raises:
        ProtocolAbort: MALFORMED or INCONSISTENT_SURVIVORS, naming the client.
    """
    found = {}
    for sender, envelope in envelopes.items():
        with channel.decoding(sender):
            signed = Signed.decode(envelope.content, roster)
        if signed.survivors != survivors:
            raise channel.abort(AbortReason.INCONSISTENT_SURVIVORS, sender)
        found[sender] = signed
    return found


def masked_input_size(length: int, itemsize: int, tags: int = 0) -> int:
    """Return the size of a masked-input envelope: 4 or 8 bytes a coordinate and a constant."""
    return head_size(WIRE_ID) + length * itemsize + 8 * tags


def _require_ascending(clients: list[ClientId]) -> None:
    if any(left >= right for left, right in itertools.pairwise(clients)):
        raise DecodeError("parties are not strictly ascending")
