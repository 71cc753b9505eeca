"""A client of the masking protocol: Advertised -> Shared -> Masked -> Checked -> Unmasked, one frozen class for each.

Reference: Bonawitz et al. 2017, Fig. 4, the malicious variant, with the survivors' masked inputs named by signed envelopes.
What a client enforces against a malicious operator: signatures under the roster's keys over everything relayed; the same view
for everyone; the round, the roster and the model that it agreed to; itself among the survivors; the policy's numbers; one
unmasking request a round, and for each partner one kind of share. A byte-identical repeat of the last request gets the stored
bytes; nothing is computed twice.

NOT protected: the sum itself; a client whose journal was set back by its owner; a partner that lies about its own input;
availability (any party can stop a round). Python can't wipe the secrets that a state drops, and only the libraries' part of
the arithmetic runs in constant time. With n = 3 and one colluder, the colluder and the operator know the sum of two partners.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from securefl.crypto import agreement, shamir
from securefl.crypto.keystream import apply_masks, masked_chunks
from securefl.crypto.sealed import decrypt_once, encrypt_once
from securefl.errors import AbortReason, TooFewClients, VerificationError
from securefl.secagg.base import ClientState, Continue, OpenedSum
from securefl.secagg.envelope import NO_VIEW, Envelope
from securefl.secagg.masking.keys import VECTOR_STREAM, KeyEnd
from securefl.secagg.masking.member import Answered, Member
from securefl.secagg.masking.messages import (
    Advert,
    Phase,
    ReleasedShare,
    ShareKind,
    SharePair,
    Signed,
    decode_sealed,
    encode_released,
    encode_sealed,
    read_signed,
)
from securefl.secagg.masking.sum_tags import TAG_STREAM, SumCheck, agree_tag_keys, tag_vector
from securefl.types import ClientId, RingVector, Rng, Secret

Step: TypeAlias = "Continue[ClientState, bytes]"


@dataclass(frozen=True, slots=True)
class RoundSecrets:
    """What a client draws for one round: two X25519 keys, the self-mask seed, and the coins of its Shamir polynomials."""

    mask_key: Secret
    seal_key: Secret
    seed: Secret
    coins: Secret
    contribution: Secret

    @classmethod
    def draw(cls, threshold: int, contribution_size: int, *, rng: Rng) -> RoundSecrets:
        """Return fresh secrets for shares with ``threshold``."""
        coins = Secret(rng.bytes(2 * shamir.rand_size(threshold)))
        seed = Secret(rng.bytes(shamir.SECRET_SIZE))
        keys = agreement.generate_secret(rng=rng), agreement.generate_secret(rng=rng)
        return cls(*keys, seed, coins, Secret(rng.bytes(contribution_size)))


def advertise_keys(member: Member, update: RingVector, *, rng: Rng) -> Continue[ClientState, bytes]:
    """Begin the round: record it, draw its secrets, advertise public keys and the seed's commitment.

    Raises:
        ProtocolAbort: ROUND_REUSED, the journal knows this round or a later one; nothing was drawn or sent.
    """
    member.journal.begin(member.channel.context.round)
    secrets = RoundSecrets.draw(member.graph.threshold, member.contribution_size, rng=rng)
    advert = Advert(
        agreement.public_key(secrets.mask_key),
        agreement.public_key(secrets.seal_key),
        member.keys.commitment(secrets.seed, member.me),
    )
    sealed = member.write(Phase.ADVERTISE_KEYS, [advert.encode()], member.channel.genesis(member.me), NO_VIEW)
    chain = {client: member.channel.genesis(client) for client in member.roster.clients}
    return Continue(Advertised(member, update, secrets, Answered(NO_VIEW, sealed, chain)), sealed.message)


@dataclass(frozen=True, slots=True)
class Advertised:
    """The client has advertised its keys and waits for everyone's."""

    member: Member
    update: RingVector = field(repr=False)
    secrets: RoundSecrets
    answered: Answered

    def next(self, inbound: bytes) -> Step:
        """Check the advertised keys, share both secrets with the circle."""
        member = self.member
        envelopes = member.collect(inbound, Phase.SHARE_KEYS, self.answered)
        member.require(len(envelopes))
        adverts = read_adverts(member, envelopes)
        view = hashlib.sha256(inbound).digest()
        own_pair, sealed_pairs = self._share(adverts, view)
        sent = member.write(Phase.SHARE_KEYS, [encode_sealed(sealed_pairs)], self.answered.sent.digest, view)
        later = Shared(member, self.update, self.secrets, own_pair, adverts, Answered(view, sent, _digests(envelopes)))
        return Continue(later, sent.message)

    def _share(self, adverts: Mapping[ClientId, Advert], key_list: bytes) -> tuple[SharePair, dict[ClientId, bytes]]:
        """Split seed and mask key among the circle; the client's own pair stays with it, the others are sealed."""
        member, secrets = self.member, self.secrets
        points = sorted(member.circle & set(adverts))
        if len(points) < member.graph.threshold:
            raise TooFewClients(round=member.channel.context.round, have=len(points), need=member.graph.threshold)
        coins, half = secrets.coins.expose(), shamir.rand_size(member.graph.threshold)
        seed_shares = shamir.split(secrets.seed, threshold=member.graph.threshold, points=points, rand=coins[:half])
        key_shares = shamir.split(secrets.mask_key, threshold=member.graph.threshold, points=points, rand=coins[half:])
        pairs = {client: SharePair(seed_shares[client], key_shares[client], secrets.contribution) for client in points}
        me = KeyEnd(member.me, adverts[member.me].seal_key)
        sealed = {}
        for client in points:
            if client != member.me:
                peer = KeyEnd(client, adverts[client].seal_key)
                key = member.keys.share_seal(secrets.seal_key, me, peer, sending=True)
                binding = member.keys.share_binding(key_list, member.me, client)
                sealed[client] = encrypt_once(key, pairs[client].encode(), binding)
        return pairs[member.me], sealed


@dataclass(frozen=True, slots=True)
class Shared:
    """The client has shared its secrets and waits for the shares of the others."""

    member: Member
    update: RingVector = field(repr=False)
    secrets: RoundSecrets
    own_pair: SharePair
    adverts: Mapping[ClientId, Advert] = field(repr=False)
    answered: Answered

    def next(self, inbound: bytes) -> Step:
        """Check and open the shares, then send the masked input."""
        view = hashlib.sha256(inbound).digest()
        if view == self.answered.view:
            return Continue(self, self.answered.sent.message)
        member = self.member
        envelopes = member.collect(inbound, Phase.MASKED_INPUT, self.answered)
        member.require(len(envelopes))
        held = {member.me: self.own_pair}
        for sender in sorted(member.circle & set(envelopes) - {member.me}):
            held[sender] = self._open_pair(sender, envelopes[sender])
        if len(held) < member.graph.threshold:
            raise TooFewClients(round=member.channel.context.round, have=len(held), need=member.graph.threshold)
        contributions = {client: pair.contribution for client, pair in held.items()}
        tag_keys = agree_tag_keys(member.channel, contributions, member.roster.sum_tags)
        payload = itertools.chain(self._masked(frozenset(held)), self._masked_tags(frozenset(held), tag_keys))
        sent = member.write(Phase.MASKED_INPUT, payload, self.answered.sent.digest, view)
        check = SumCheck(len(self.update), tag_keys)
        return Continue(Masked(member, held, check, Answered(view, sent, _digests(envelopes))), sent.message)

    def _open_pair(self, sender: ClientId, envelope: Envelope) -> SharePair:
        member, channel = self.member, self.member.channel
        with channel.decoding(sender):
            sealed = decode_sealed(envelope.content, member.contribution_size)
        if set(sealed) != (member.graph.circles[sender] & set(self.adverts)) - {sender}:
            raise channel.abort(AbortReason.MALFORMED, sender, "shares for other recipients than it has")
        mine, peer = KeyEnd(member.me, self.adverts[member.me].seal_key), KeyEnd(sender, self.adverts[sender].seal_key)
        key = member.keys.share_seal(self.secrets.seal_key, peer, mine, sending=False)
        try:
            binding = member.keys.share_binding(self.answered.view, sender, member.me)
            plain = decrypt_once(key, sealed[member.me], binding)
        except VerificationError as error:
            raise channel.abort(AbortReason.BAD_CIPHERTEXT, sender) from error
        with channel.decoding(sender):
            pair = SharePair.decode(plain, member.contribution_size)
        return pair

    def _masked(self, circle: frozenset[ClientId]) -> Iterator[memoryview]:
        """Yield the input under its masks, a chunk at a time."""
        add, subtract = self._masks(circle, VECTOR_STREAM)
        for chunk in masked_chunks(self.update, add=add, subtract=subtract, cipher=self.member.roster.cipher):
            yield chunk.data

    def _masked_tags(self, circle: frozenset[ClientId], tag_keys: tuple[Secret, ...]) -> Iterator[memoryview]:
        """Yield the tags of a verifiable sum under masks of their own; nothing where sums are not tagged."""
        if tag_keys:
            cipher = self.member.roster.cipher
            tags = tag_vector(self.update, tag_keys, cipher)
            add, subtract = self._masks(circle, TAG_STREAM)
            apply_masks(tags, add=add, subtract=subtract, cipher=cipher)
            yield tags.data

    def _masks(self, circle: frozenset[ClientId], stream: int) -> tuple[list[Secret], list[Secret]]:
        """Return the masks to add and to subtract: one's own, and of each pair the lower number adds, the higher subtracts."""
        member, keys = self.member, self.member.keys
        me = KeyEnd(member.me, self.adverts[member.me].mask_key)
        add: list[Secret] = [keys.self_mask(self.secrets.seed, member.me, stream=stream)]
        subtract: list[Secret] = []
        for peer in sorted(circle - {member.me}):
            end = KeyEnd(peer, self.adverts[peer].mask_key)
            mask = keys.pair_mask(self.secrets.mask_key, me, end, stream=stream)
            (add if member.me < peer else subtract).append(mask)
        return add, subtract


@dataclass(frozen=True, slots=True)
class Masked:
    """The client has sent its masked input and waits to hear whose inputs arrived."""

    member: Member
    held: Mapping[ClientId, SharePair] = field(repr=False)
    check: SumCheck
    answered: Answered

    def next(self, inbound: bytes) -> Step:
        """Check the survivors against the policy and sign them."""
        view = hashlib.sha256(inbound).digest()
        if view == self.answered.view:
            return Continue(self, self.answered.sent.message)
        member, channel = self.member, self.member.channel
        envelopes = member.collect(inbound, Phase.CONSISTENCY, self.answered)
        survivors = frozenset(envelopes)
        required = member.roster.policy.required
        if len(survivors) < required or len(survivors & member.circle) < member.graph.threshold:
            detail = f"survivors={len(survivors)} must be >= {required}"
            raise channel.abort(AbortReason.THRESHOLD_LOWERED, detail=detail)
        size = envelopes[member.me].payload_size
        for sender, envelope in envelopes.items():
            if envelope.payload_size != size:
                raise channel.abort(AbortReason.MALFORMED, sender, f"input of {envelope.payload_size} bytes, not {size}")
        # Equal model, equal inputs: a re-run of a round with other survivors must not show a few partners' difference.
        lineage = channel.context.model_hash
        member.ledger.require(lineage, survivors, round=channel.context.round)
        if member.roster.neighbours:
            # On a ring fewer than t may release: there the signers are those whom two openings have in common.
            member.ledger.admit(lineage, survivors, round=channel.context.round)
        signed = Signed(survivors, member.ledger.told(lineage, survivors))
        sent = member.write(Phase.CONSISTENCY, [signed.encode()], self.answered.sent.digest, view)
        later = Checked(member, self.held, self.check, survivors, Answered(view, sent, _digests(envelopes)))
        return Continue(later, sent.message)


@dataclass(frozen=True, slots=True)
class Checked:
    """The client has signed the survivors and waits for the others' signatures over the same."""

    member: Member
    held: Mapping[ClientId, SharePair] = field(repr=False)
    check: SumCheck
    survivors: frozenset[ClientId]
    answered: Answered

    def next(self, inbound: bytes) -> Step:
        """Check that enough survivors signed the same, then release one kind of share for each partner."""
        view = hashlib.sha256(inbound).digest()
        if view == self.answered.view:
            return Continue(self, self.answered.sent.message)
        member, channel = self.member, self.member.channel
        envelopes = member.collect(inbound, Phase.UNMASK, self.answered)
        signed = read_signed(channel, envelopes, member.roster.clients, self.survivors)
        member.require(len(envelopes))
        told = {sender: one.earlier for sender, one in signed.items()}
        member.ledger.compare(self.survivors, told, round=channel.context.round)
        # Both written down before the answer: a client set back to this state still refuses a second request. Not earlier:
        # a partner that signs and then stops must not bind the others to its presence by a sum that nobody could open.
        member.ledger.admit(channel.context.model_hash, self.survivors, round=channel.context.round)
        member.journal.answer(channel.context.round, view)
        payload = [encode_released(self._release(owner) for owner in self.held)]
        sent = member.write(Phase.UNMASK, payload, self.answered.sent.digest, view)
        return Continue(Unmasked(member, self.check, self.survivors, Answered(view, sent, {})), sent.message)

    def _release(self, owner: ClientId) -> ReleasedShare:
        pair = self.held[owner]
        if owner in self.survivors:
            return ReleasedShare(owner, ShareKind.SELF_MASK_SEED, pair.seed_share)
        return ReleasedShare(owner, ShareKind.MASK_KEY, pair.key_share)


@dataclass(frozen=True, slots=True)
class Unmasked:
    """The client has released its shares; its secrets are dropped. It answers the same request with the same bytes."""

    member: Member
    check: SumCheck
    survivors: frozenset[ClientId]
    answered: Answered

    def next(self, inbound: bytes) -> Step:
        """Repeat the answer, or refuse.

        Raises:
            ProtocolAbort: SECOND_UNMASKING, the request is not the one that was answered.
        """
        if hashlib.sha256(inbound).digest() != self.answered.view:
            raise self.member.channel.abort(AbortReason.SECOND_UNMASKING)
        return Continue(self, self.answered.sent.message)

    def verify_sum(self, opened: OpenedSum) -> None:
        """Check the sum that the operator says it opened; without tags in the roster only survivors and length are.

        Raises:
            ProtocolAbort: BAD_TAG, or INCONSISTENT_SURVIVORS.
        """
        channel = self.member.channel
        if opened.survivors != self.survivors:
            raise channel.abort(AbortReason.INCONSISTENT_SURVIVORS, detail="the opened sum names others")
        if not self.check.holds(opened, self.member.roster.cipher):
            raise channel.abort(AbortReason.BAD_TAG)


def read_adverts(member: Member, envelopes: Mapping[ClientId, Envelope]) -> dict[ClientId, Advert]:
    """Return the advertised keys; no public key may appear twice.

    Raises:
        ProtocolAbort: MALFORMED, or DUPLICATE_PARTY for a key that somebody else has advertised too.
    """
    adverts: dict[ClientId, Advert] = {}
    seen: set[bytes] = set()
    for sender, envelope in envelopes.items():
        with member.channel.decoding(sender):
            advert = Advert.decode(envelope.content)
        if {advert.mask_key, advert.seal_key} & seen or advert.mask_key == advert.seal_key:
            raise member.channel.abort(AbortReason.DUPLICATE_PARTY, sender, "advertises a key that is taken")
        seen |= {advert.mask_key, advert.seal_key}
        adverts[sender] = advert
    return adverts


def _digests(envelopes: Mapping[ClientId, Envelope]) -> dict[ClientId, bytes]:
    return {sender: envelope.digest for sender, envelope in envelopes.items()}
