"""The operator of the masking protocol: relays, adds, and takes the masks off the sum with the shares it is given.

The operator is not trusted with anything but availability: it holds no key, and every message that it relays is signed by its
author. It sees the survivors' sum, who takes part, and when. A reconstructed secret that does not match what its owner
advertised is never used. An honest operator also checks every signature, so that a broken message is named by its sender and
not blamed on the relay. It aborts the round; but of the answers that release shares a bad one is left out and its sender named,
and up to c shares of a secret may be wrong: who has released binds itself to the sum, so that one liar must not lose it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from securefl.crypto import agreement, shamir
from securefl.crypto.keystream import apply_masks
from securefl.errors import AbortReason, InvalidShare, ProtocolAbort, TooFewClients, VerificationError
from securefl.secagg.base import Continue, Finished, OpenedSum, ServerState
from securefl.secagg.envelope import NO_VIEW, Channel, Envelope, open_envelope
from securefl.secagg.masking.graph import Graph
from securefl.secagg.masking.inputs import sum_inputs
from securefl.secagg.masking.keys import VECTOR_STREAM, KeyEnd, KeySchedule
from securefl.secagg.masking.messages import (
    Advert,
    Phase,
    ReleasedShare,
    ShareKind,
    decode_released,
    encode_bundle,
    read_signed,
)
from securefl.secagg.masking.sum_tags import TAG_STREAM
from securefl.secagg.roster import Roster
from securefl.types import ClientId, RingVector, Secret

Outbound: TypeAlias = Mapping[ClientId, bytes]

MAX_CHOICES = 1000
"""Sets of holders that are tried for one secret, where shares are wrong."""

UNMASK_WORKERS = 2
"""Threads that take masks off the sum; the cipher and numpy release the interpreter lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What the operator knows for a whole round, all of it public."""

    channel: Channel
    roster: Roster
    graph: Graph

    def ask(self, phase: Phase, envelopes: Mapping[ClientId, bytes]) -> dict[ClientId, bytes]:
        """Return the bundle that asks for ``phase``, the same bytes for each of its senders."""
        return dict.fromkeys(envelopes, encode_bundle(self.channel.context, phase, envelopes))

    def open(self, inbound: Outbound, phase: Phase, seen: Seen) -> dict[ClientId, Envelope]:
        """Return the verified envelopes of one phase by sender, ascending; those missing have dropped out.

        Raises:
            ProtocolAbort: an envelope breaks a rule (its sender is named), or too few are left.
        """
        envelopes = {sender: self.open_one(sender, inbound[sender], phase, seen) for sender in sorted(inbound)}
        self.require(len(envelopes))
        return envelopes

    def open_one(self, sender: ClientId, message: bytes, phase: Phase, seen: Seen) -> Envelope:
        """Return the verified envelope in what came from ``sender``.

        Raises:
            ProtocolAbort: it breaks a rule; its sender is named.
        """
        envelope = open_envelope(self.channel, message, phase)
        if envelope.sender != sender or sender not in seen.chain:
            raise self.channel.abort(AbortReason.UNKNOWN_PARTY, sender, "is not expected to send this")
        if envelope.view != seen.view:
            raise self.channel.abort(AbortReason.INCONSISTENT_VIEW, sender)
        if envelope.previous != seen.chain[sender]:
            raise self.channel.abort(AbortReason.BROKEN_CHAIN, sender)
        return envelope

    def require(self, have: int) -> None:
        """Check that enough clients are left to go on.

        Raises:
            TooFewClients: fewer than the policy requires.
        """
        if have < self.roster.policy.required:
            raise TooFewClients(round=self.channel.context.round, have=have, need=self.roster.policy.required)


@dataclass(frozen=True, slots=True)
class Seen:
    """The digest of each party's last envelope, and the hash of the bundle that the next envelopes answer."""

    chain: Mapping[ClientId, bytes] = field(repr=False)
    view: bytes


@dataclass(frozen=True, slots=True)
class Advertising:
    """The operator waits for the cohort's keys."""

    operator: Operator
    cohort: frozenset[ClientId]

    def next(self, inbound: Outbound) -> Continue[ServerState, Outbound]:
        """Relay all advertised keys."""
        operator = self.operator
        chain = {client: operator.channel.genesis(client) for client in self.cohort}
        envelopes = operator.open(inbound, Phase.ADVERTISE_KEYS, Seen(chain, NO_VIEW))
        adverts = {}
        for sender, envelope in envelopes.items():
            with operator.channel.decoding(sender):
                adverts[sender] = Advert.decode(envelope.content)
        outbound, seen = _relay(operator, Phase.SHARE_KEYS, envelopes, inbound)
        return Continue(Sharing(operator, adverts, seen), outbound)


@dataclass(frozen=True, slots=True)
class Sharing:
    """The operator waits for the sealed shares."""

    operator: Operator
    adverts: Mapping[ClientId, Advert] = field(repr=False)
    seen: Seen

    def next(self, inbound: Outbound) -> Continue[ServerState, Outbound]:
        """Relay all sealed shares."""
        envelopes = self.operator.open(inbound, Phase.SHARE_KEYS, self.seen)
        outbound, seen = _relay(self.operator, Phase.MASKED_INPUT, envelopes, inbound)
        return Continue(Summing(self.operator, self.adverts, seen), outbound)


@dataclass(frozen=True, slots=True)
class Summing:
    """The operator waits for the masked inputs."""

    operator: Operator
    adverts: Mapping[ClientId, Advert] = field(repr=False)
    seen: Seen

    def next(self, inbound: Outbound) -> Continue[ServerState, Outbound]:
        """Add the masked inputs up, and name those whose input arrived."""
        envelopes = self.operator.open(inbound, Phase.MASKED_INPUT, self.seen)
        roster = self.operator.roster
        total, tags = sum_inputs(self.operator.channel, envelopes, roster.quantizer.dtype, tags=roster.sum_tags)
        heads = {sender: envelope.head for sender, envelope in envelopes.items()}
        outbound, seen = _relay(self.operator, Phase.CONSISTENCY, envelopes, heads)
        dropped = frozenset(self.seen.chain) - frozenset(envelopes)
        opening = Opening(self.operator, self.adverts, total, tags, frozenset(envelopes), dropped)
        return Continue(Checking(opening, seen), outbound)


@dataclass(frozen=True, slots=True)
class Opening:
    """The masked sum with all that is needed to take its masks off, but for the shares."""

    operator: Operator
    adverts: Mapping[ClientId, Advert] = field(repr=False)
    total: RingVector = field(repr=False)
    tags: RingVector = field(repr=False)
    survivors: frozenset[ClientId]
    dropped: frozenset[ClientId]

    def open(self, shares: Mapping[ClientId, Mapping[ClientId, Secret]]) -> OpenedSum:
        """Return the sum; ``shares`` has, for each survivor and each dropped client, its shares by their holders.

        Raises:
            ProtocolAbort: too few shares for a secret, or a secret that does not match what was advertised.
        """
        refused: dict[ClientId, str] = {}
        seeds = {owner: self._secret(owner, shares[owner], self._verify_seed, refused) for owner in sorted(self.survivors)}
        secrets = {owner: self._secret(owner, shares[owner], self._verify_key, refused) for owner in sorted(self.dropped)}
        total, tags = self.total.copy(), self.tags.copy()
        for vector, stream in ((total, VECTOR_STREAM), (tags, TAG_STREAM)):
            if len(vector):
                add, subtract = self._masks(seeds, secrets, stream)
                cipher = self.operator.roster.cipher
                apply_masks(vector, add=add, subtract=subtract, cipher=cipher, workers=UNMASK_WORKERS)
        opened = tuple(int(found) for found in tags)
        return OpenedSum(self.operator.roster.quantizer.decode(total), self.survivors, tags=opened, refused=refused)

    def _masks(
        self, seeds: Mapping[ClientId, Secret], secrets: Mapping[ClientId, Secret], stream: int
    ) -> tuple[list[Secret], list[Secret]]:
        """Return the masks to add and to subtract, from the survivors' seeds and the dropped clients' mask keys."""
        keys = KeySchedule(self.operator.channel)
        add: list[Secret] = []
        subtract = [keys.self_mask(seed, owner, stream=stream) for owner, seed in seeds.items()]
        for owner, secret in secrets.items():
            end = KeyEnd(owner, self.adverts[owner].mask_key)
            for survivor in sorted(self.operator.graph.circles[owner] & self.survivors):
                key = keys.pair_mask(secret, end, KeyEnd(survivor, self.adverts[survivor].mask_key), stream=stream)
                # The survivor added this mask if its number is the lower one; it has to go the other way.
                (subtract if survivor < owner else add).append(key)
        return add, subtract

    def _verify_seed(self, seed: Secret, owner: ClientId) -> None:
        KeySchedule(self.operator.channel).verify_seed(seed, owner, self.adverts[owner].commitment)

    def _verify_key(self, secret: Secret, owner: ClientId) -> None:
        if agreement.public_key(secret) != self.adverts[owner].mask_key:
            raise self.operator.channel.abort(AbortReason.BAD_COMMITMENT, owner, "mask key is not the advertised one")

    def _secret(
        self,
        owner: ClientId,
        shares: Mapping[ClientId, Secret],
        verify: Callable[[Secret, ClientId], None],
        refused: dict[ClientId, str],
    ) -> Secret:
        """Return the secret of ``owner`` that ``verify`` accepts; whose shares had to be left out is noted in ``refused``."""
        need, round = self.operator.graph.threshold, self.operator.channel.context.round
        holders = sorted(shares)
        if len(holders) < need:
            raise TooFewClients(round=round, have=len(holders), need=need)
        errors: list[ProtocolAbort] = []
        for chosen in _choices(holders, need, self.operator.roster.policy.colluders):
            try:
                secret = shamir.combine({holder: shares[holder] for holder in chosen})
                verify(secret, owner)
            except VerificationError as error:
                errors.append(InvalidShare(round=round, party=owner, detail=str(error)))
            except ProtocolAbort as error:
                errors.append(error)
            else:
                for holder in set(holders[:need]) - set(chosen):
                    refused[holder] = f"its share of the secret of {owner} fits no others: one of the two lies"
                return secret
        raise errors[0]


def _choices(holders: Sequence[ClientId], need: int, colluders: int) -> Iterator[tuple[ClientId, ...]]:
    """Yield sets of ``need`` holders: the first ones, then those without each, each two, ... of whom ``colluders`` may lie."""
    out = itertools.chain.from_iterable(itertools.combinations(holders, count) for count in range(colluders + 1))
    tried = set()
    for left_out in itertools.islice(out, MAX_CHOICES):
        chosen = tuple(holder for holder in holders if holder not in left_out)[:need]
        if len(chosen) == need and chosen not in tried:
            tried.add(chosen)
            yield chosen


@dataclass(frozen=True, slots=True)
class Checking:
    """The operator waits for the signatures over the survivors."""

    opening: Opening
    seen: Seen

    def next(self, inbound: Outbound) -> Continue[ServerState, Outbound]:
        """Relay the signatures and ask for shares."""
        operator = self.opening.operator
        envelopes = operator.open(inbound, Phase.CONSISTENCY, self.seen)
        read_signed(operator.channel, envelopes, operator.roster.clients, self.opening.survivors)
        outbound, seen = _relay(operator, Phase.UNMASK, envelopes, inbound)
        return Continue(Unmasking(self.opening, seen), outbound)


@dataclass(frozen=True, slots=True)
class Unmasking:
    """The operator waits for shares."""

    opening: Opening
    seen: Seen

    def next(self, inbound: Outbound) -> Finished[OpenedSum]:
        """Take the masks off and open the sum; bad answers are left out.

        Raises:
            ProtocolAbort: too few answers are good (the first bad one is named), or the shares don't open the sum.
        """
        opening, operator = self.opening, self.opening.operator
        shares: dict[ClientId, dict[ClientId, Secret]] = {c: {} for c in opening.survivors | opening.dropped}
        refused: dict[ClientId, ProtocolAbort] = {}
        for sender in sorted(inbound):
            try:
                answer = self._read(sender, operator.open_one(sender, inbound[sender], Phase.UNMASK, self.seen))
            except ProtocolAbort as error:
                refused[sender] = error
                continue
            for released in answer:
                shares[released.owner][sender] = released.share
        good = len(inbound) - len(refused)
        if refused and good < operator.roster.policy.required:
            raise next(iter(refused.values()))
        operator.require(good)
        opened = opening.open(shares)
        told = {sender: str(why) for sender, why in refused.items()}
        return Finished(replace(opened, refused={**opened.refused, **told}))

    def _read(self, sender: ClientId, envelope: Envelope) -> tuple[ReleasedShare, ...]:
        """Return the shares in an envelope: one for each partner of the sender's circle, of the kind that was asked for."""
        opening, channel = self.opening, self.opening.operator.channel
        with channel.decoding(sender):
            released = decode_released(envelope.content)
        expected = opening.operator.graph.circles[sender] & (opening.survivors | opening.dropped)
        if {row.owner for row in released} != expected:
            raise InvalidShare(round=channel.context.round, party=sender, detail="shares of other partners than asked for")
        for row in released:
            wanted = ShareKind.SELF_MASK_SEED if row.owner in opening.survivors else ShareKind.MASK_KEY
            if row.kind is not wanted:
                detail = f"share of {row.owner} is of the wrong kind"
                raise InvalidShare(round=channel.context.round, party=sender, detail=detail)
            with channel.decoding(sender):
                shamir.read_share(row.share)
        return released


def _relay(
    operator: Operator, asks: Phase, envelopes: Mapping[ClientId, Envelope], messages: Outbound
) -> tuple[Outbound, Seen]:
    """Return the bundle for everyone in it, and what their answers must follow."""
    outbound = operator.ask(asks, {sender: messages[sender] for sender in envelopes})
    view = hashlib.sha256(next(iter(outbound.values()))).digest()
    return outbound, Seen({sender: envelope.digest for sender, envelope in envelopes.items()}, view)
