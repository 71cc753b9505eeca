"""Static masking: the whole roster or nothing, one message a round after a signed key exchange, a ratchet for each pair.

For small consortia on reliable links. Pairwise masks cancel only in the sum over everybody, so there is nothing to recover and
nothing to unmask: a missing client means no sum, and the next round goes on with fresh masks. Each pair's chain key is hashed
forward every round and the old one dropped, so that keys stolen later open no earlier round.

Against a malicious operator: adverts and inputs are signed and bound to run, round, roster and model; an operator that shows
partners different models or rounds gets vectors whose masks don't cancel. NOT protected: availability against a single
missing partner; a partner whose ratchet was set back by its owner; the sum itself. Python can't wipe dropped keys.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from securefl.crypto import agreement
from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import derive
from securefl.crypto.keystream import masked_chunks
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason, ParameterError, ProtocolAbort, TooFewClients
from securefl.quantize import Quantizer
from securefl.secagg.base import ClientState, Continue, Finished, OpenedSum, RoundContext, ServerState
from securefl.secagg.codec import context_digest
from securefl.secagg.envelope import NO_VIEW, Channel, Slip, open_envelope, seal
from securefl.secagg.journal import MAX_SKIP, Journal, MemoryJournal
from securefl.secagg.masking.inputs import require_input, sum_inputs
from securefl.secagg.masking.keys import KeyEnd, KeySchedule
from securefl.secagg.masking.protocol import MaskingOptions, make_roster
from securefl.secagg.roster import Roster, SignedRoster
from securefl.types import ClientId, RingVector, Rng, Secret

WIRE_ID = b"masking-static/1"
ADVERT_PHASE = 1
INPUT_PHASE = 2

class Ratchet:
    """One client's chain keys with every other client; it only turns forward."""

    def __init__(self, chains: Mapping[ClientId, Secret]) -> None:
        self._chains = dict(chains)
        self._round = 0

    def turn(self, context: RoundContext) -> dict[ClientId, Secret]:
        """Return the mask keys of ``context`` by peer, and forget what they came from; each skipped round costs a step.

        Raises:
            ProtocolAbort: ROUND_REUSED, the ratchet is at this round or past it, or the round skips too many.
        """
        steps = context.round - self._round
        if not 1 <= steps <= MAX_SKIP:
            detail = f"round={context.round} must be in {self._round + 1}..{self._round + MAX_SKIP}"
            raise ProtocolAbort(AbortReason.ROUND_REUSED, round=context.round, detail=detail)
        bound = tag(WIRE_ID, Usage.PAIR_MASK, context_digest(WIRE_ID, context))
        keys = {}
        for peer, chain in self._chains.items():
            for _ in range(steps):
                current, chain = chain, derive(chain, tag(WIRE_ID, Usage.RATCHET))
            keys[peer], self._chains[peer] = derive(current, bound), chain
        self._round = context.round
        return keys


@dataclass(frozen=True, slots=True)
class StaticParty:
    """One client's side of a run."""

    identity: SigningKey
    journal: Journal
    ratchet: Ratchet


def advertise(channel: Channel, me: ClientId, secret: Secret, *, identity: SigningKey) -> bytes:
    """Return the signed envelope with ``me``'s static X25519 key, sent once a run (round 0)."""
    slip = Slip(phase=ADVERT_PHASE, sender=me, previous=channel.genesis(me), view=NO_VIEW)
    return seal(channel, slip, [agreement.public_key(secret)], key=identity).message


def agree(channel: Channel, me: ClientId, secret: Secret, adverts: Mapping[ClientId, bytes]) -> Ratchet:
    """Return ``me``'s ratchet after checking the signed adverts of the whole roster.

    Raises:
        ProtocolAbort: an advert is missing, not of this run, not signed by its sender, or holds a key that is taken.
    """
    if set(adverts) != set(channel.keys):
        raise TooFewClients(round=0, have=len(adverts), need=len(channel.keys))
    publics: dict[ClientId, bytes] = {}
    for sender in sorted(adverts):
        envelope = open_envelope(channel, adverts[sender], ADVERT_PHASE)
        public = bytes(envelope.content)
        if envelope.sender != sender:
            raise channel.abort(AbortReason.MALFORMED, sender)
        with channel.decoding(sender):
            agreement.require_canonical(public)
        if public in publics.values():
            raise channel.abort(AbortReason.DUPLICATE_PARTY, sender, "advertises a key that is taken")
        publics[sender] = public
    if publics[me] != agreement.public_key(secret):
        raise channel.abort(AbortReason.MISSING_SELF, me)
    keys = KeySchedule(channel)
    ends = {client: KeyEnd(client, public) for client, public in publics.items()}
    return Ratchet({peer: keys.pair_mask(secret, ends[me], ends[peer]) for peer in ends if peer != me})


@dataclass(frozen=True, slots=True)
class StaticSent:
    """A client that has sent its input; a retry sends ``message`` again."""

    message: bytes = field(repr=False)

    def next(self, inbound: bytes) -> Finished[None]:
        """End the round: the operator owes the client no message."""
        return Finished(None)


@dataclass(frozen=True, slots=True)
class StaticSumming:
    """The operator, waiting for the input of every client."""

    channel: Channel
    roster: Roster

    def next(self, inbound: Mapping[ClientId, bytes]) -> Finished[OpenedSum]:
        """Add the inputs up; their masks cancel.

        Raises:
            ProtocolAbort: somebody is missing, or an envelope breaks a rule.
        """
        if not self.roster.clients <= set(inbound):
            raise TooFewClients(round=self.channel.context.round, have=len(inbound), need=len(self.roster.clients))
        envelopes = {}
        for sender in sorted(inbound):
            envelopes[sender] = open_envelope(self.channel, inbound[sender], INPUT_PHASE)
            if envelopes[sender].sender != sender:
                raise self.channel.abort(AbortReason.MALFORMED, sender)
        total, _ = sum_inputs(self.channel, envelopes, self.roster.quantizer.dtype)
        return Finished(OpenedSum(self.roster.quantizer.decode(total), self.roster.clients))


@dataclass(frozen=True, slots=True)
class StaticMasking:
    """One round of static masking."""

    context: RoundContext
    roster: Roster
    parties: Mapping[ClientId, StaticParty] = field(repr=False)
    wire_id: ClassVar[bytes] = WIRE_ID
    phases: ClassVar[tuple[str, ...]] = ("masked_input",)

    @property
    def channel(self) -> Channel:
        """What envelopes of this round are written and checked with."""
        return Channel(wire_id=WIRE_ID, context=self.context, keys=self.roster.keys)

    def client(self, me: ClientId, update: RingVector, *, rng: Rng) -> Continue[ClientState, bytes]:
        """Send the masked input; nothing random is drawn.

        Raises:
            ProtocolAbort: WRONG_ROSTER or ROUND_REUSED; nothing was sent.
            ParameterError: the update is no vector of the roster's ring.
        """
        require_input(self.context, self.roster, update)
        party = self.parties[me]
        # The ratchet first: a round number that it refuses must not go into the journal, where it would end the run.
        keys = party.ratchet.turn(self.context)
        party.journal.begin(self.context.round)
        slip = Slip(phase=INPUT_PHASE, sender=me, previous=self.channel.genesis(me), view=NO_VIEW)
        masked = self._masked(me, update, keys)
        message = seal(self.channel, slip, masked, key=party.identity).message
        return Continue(StaticSent(message), message)

    def _masked(self, me: ClientId, update: RingVector, keys: Mapping[ClientId, Secret]) -> Iterator[memoryview]:
        add = [key for peer, key in sorted(keys.items()) if me < peer]
        subtract = [key for peer, key in sorted(keys.items()) if me > peer]
        for chunk in masked_chunks(update, add=add, subtract=subtract, cipher=self.roster.cipher):
            yield chunk.data

    def server(self, cohort: frozenset[ClientId]) -> ServerState:
        """Return the operator, waiting for everyone on the roster."""
        return StaticSumming(self.channel, self.roster)

    def decryptors(self, *, rng: Rng) -> Mapping[ClientId, ClientState]:
        """There are none."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticSetup:
    """A run of static masking, every party's side in one process."""

    run_id: bytes
    signed: SignedRoster
    parties: Mapping[ClientId, StaticParty] = field(repr=False)
    setup_seconds: float
    warnings: tuple[str, ...] = ("a single missing partner stops the round",)
    name: ClassVar[str] = "masking-static"

    @property
    def roster_hash(self) -> bytes:
        """SHA-256 of the roster, 32 bytes."""
        return self.signed.roster.hash

    def round(self, context: RoundContext) -> StaticMasking:
        """Return the scheme of one round."""
        return StaticMasking(context, self.signed.roster, self.parties)


def set_up_static(
    clients: Sequence[ClientId], *, quantizer: Quantizer, run_id: bytes, rng: Rng, options: object | None = None
) -> StaticSetup:
    """Return a run for ``clients``: a signed roster, and one signed key exchange.

    Raises:
        ParameterError: too few clients, or ``options`` are not
            :class:`~securefl.secagg.masking.protocol.MaskingOptions`, or ask for tags or a ring.
        CapacityError: the sum of all clients could wrap.
    """
    started = time.process_time()
    identities = {client: SigningKey.generate(rng=rng) for client in sorted(clients)}
    signed = make_roster(identities, quantizer, MaskingOptions() if options is None else options)
    roster = signed.roster
    if roster.sum_tags or roster.neighbours:
        raise ParameterError(f"sum_tags={roster.sum_tags}, neighbours={roster.neighbours} must be 0: static masking has none")
    context = RoundContext(run_id=run_id, round=0, roster_hash=roster.hash, model_hash=bytes(32))
    channel = Channel(wire_id=WIRE_ID, context=context, keys=roster.keys)
    secrets = {client: agreement.generate_secret(rng=rng) for client in identities}
    adverts = {client: advertise(channel, client, secrets[client], identity=key) for client, key in identities.items()}
    parties = {
        client: StaticParty(identity, MemoryJournal(), agree(channel, client, secrets[client], adverts))
        for client, identity in identities.items()
    }
    return StaticSetup(run_id=run_id, signed=signed, parties=parties, setup_seconds=time.process_time() - started)
