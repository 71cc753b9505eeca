"""Key generation without a dealer: the joint secret is a sum of every decryptor's, and never exists anywhere.

1. *commit* to a public part b_i = e_i - a s_i with an X25519 key, and to a coin. 2. *reveal* the part: nobody could choose
its own by the others' (no rogue key). 3. *deal*: Shamir shares of s_i, sealed for each holder, with shares of blinding
values. 4. *coin*: opened after all dealing is fixed; together the coins are the challenge. 5. *check*: every holder publishes
a random combination of what it was dealt and complains of a dealer whose share does not open; shares on no polynomial of
degree threshold - 1 are found with probability above 1 - 2^-60 for each prime. 6. *confirm*: everyone signs the hash of the
joint key; clients verify all signatures.

Each message is a signed envelope that names the hash of what its sender was shown before, so that an operator that shows
parties different things is found out one step later. Every abort ends the whole generation; nothing of it is used again.

Guarantees, given one honest decryptor: its secret is uniform ternary and independent of the others', so that the joint key is
at least as good as a key of its own; up to threshold - 1 parties learn nothing about its share of it. NOT protected: the
*length* of a part: nothing shows that a holder's secret and error are as short as they should be, and with an oversized error
the operator and that holder learn the sum of the uploads' ephemeral secrets (attacks/conformance/rlwe_toy_part.py), so that
holders must be honest here. *Robustness*. One party can stop a generation, a false check value of a holder looks like a false
dealer (the complaint is signed: people decide), and a dealer that shares another secret than that of its public part is
noticed at the first opening only, which fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from securefl.crypto import agreement
from securefl.crypto.commitment import COMMITMENT_SIZE, commit, verify_commitment
from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import KEY_SIZE
from securefl.crypto.rlwe import sharing
from securefl.crypto.rlwe.cipher import KeyPart, generate_part
from securefl.crypto.rlwe.encoding import decode_elements, element_size, encode_elements
from securefl.crypto.rlwe.ring import Residues, Ring, zeros
from securefl.crypto.rlwe.samplers import expand_uniform
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason, DecodeError, ProtocolAbort, VerificationError
from securefl.secagg.base import Continue, Finished
from securefl.secagg.codec import HASH_SIZE, Reader, context_digest, party_list, read_party_list, u16
from securefl.secagg.envelope import open_envelope
from securefl.secagg.rlwe_sum.dealing import Dealt, PairKeys, deal_all, encode_values, read_values, sealed_size
from securefl.secagg.rlwe_sum.key import MemberKey
from securefl.secagg.rlwe_sum.messages import encode_bundle
from securefl.secagg.rlwe_sum.talk import KEYGEN_WIRE_ID, KeyTerms, Talk, point_of
from securefl.types import ClientId, Rng, Secret

COMMIT, REVEAL, DEAL, COIN, CHECK, CONFIRM = range(1, 7)
PHASES = ("commit", "reveal", "deal", "coin", "check", "confirm")

HolderStep: TypeAlias = "Continue[HolderState, bytes] | Finished[MemberKey]"


class HolderState(Protocol):
    """A holder that waits for the bundle of everyone's last messages."""

    def next(self, inbound: bytes) -> HolderStep:
        """Take the bundle and give the next step.

        Raises:
            ProtocolAbort: somebody broke a rule; the party is named where it can be.
        """
        ...


@dataclass(frozen=True, slots=True)
class Contribution:
    """A holder's own secrets of one generation."""

    part: KeyPart
    exchange: Secret
    coin: Secret
    rng: Rng = field(repr=False)

    def reveal(self, ring: Ring) -> bytes:
        """Return what phase *reveal* shows: X25519 key and public part."""
        return agreement.public_key(self.exchange) + encode_elements(self.part.public[None], ring).tobytes()


def begin(terms: KeyTerms, me: ClientId, signer: SigningKey, *, rng: Rng) -> Continue[HolderState, bytes]:
    """Return holder ``me``'s first state, with its commitments."""
    own = Contribution(
        part=generate_part(terms.reference, terms.ring, rng=rng),
        exchange=agreement.generate_secret(rng=rng),
        coin=Secret(rng.bytes(KEY_SIZE)),
        rng=rng,
    )
    commitments = _part_hash(terms, me, own.reveal(terms.ring)) + commit(own.coin, _coin_tag(terms, me))
    message, talk = Talk.begin(terms, me, signer).say(COMMIT, (commitments,))
    return Continue(Committed(talk, own), message)


@dataclass(frozen=True, slots=True)
class Committed:
    """A holder that has committed."""

    talk: Talk
    own: Contribution

    def next(self, inbound: bytes) -> Continue[HolderState, bytes]:
        """Reveal the part."""
        payloads, talk = self.talk.hear(inbound, COMMIT)
        for sender, payload in payloads.items():
            if len(payload) != HASH_SIZE + COMMITMENT_SIZE:
                raise talk.terms.channel.abort(AbortReason.MALFORMED, sender)
        promised = {sender: bytes(payload) for sender, payload in payloads.items()}
        message, talk = talk.say(REVEAL, (self.own.reveal(talk.terms.ring),))
        return Continue(Revealed(talk, self.own, promised), message)


@dataclass(frozen=True, slots=True)
class Revealed:
    """A holder that has revealed its part."""

    talk: Talk
    own: Contribution
    promised: Mapping[ClientId, bytes]

    def next(self, inbound: bytes) -> Continue[HolderState, bytes]:
        """Check the revealed parts against their commitments, add them up, and deal shares.

        Raises:
            ProtocolAbort: BAD_COMMITMENT, a part is not the committed one; DUPLICATE_PARTY, a copied part; MALFORMED.
        """
        payloads, talk = self.talk.hear(inbound, REVEAL)
        terms = talk.terms
        public = zeros(terms.ring, 1)[0]
        publics: dict[ClientId, bytes] = {}
        for sender, payload in payloads.items():
            if _part_hash(terms, sender, payload) != self.promised[sender][:HASH_SIZE]:
                raise terms.channel.abort(AbortReason.BAD_COMMITMENT, sender)
            with terms.channel.decoding(sender):
                reader = Reader(payload)
                publics[sender] = reader.take(agreement.PUBLIC_SIZE)
                terms.ring.add(public, decode_elements(reader.view(element_size(terms.ring)), terms.ring, 1)[0])
                reader.finish()
        if len(set(publics.values())) != len(publics):
            raise terms.channel.abort(AbortReason.DUPLICATE_PARTY, None, "two holders have the same exchange key")
        pairs = PairKeys(terms, talk.me, self.own.exchange, publics)
        dealt = deal_all(self.own.part.secret, terms, rng=self.own.rng)
        message, talk = talk.say(DEAL, (self._sealed(pairs, dealt),))
        return Continue(Dealing(talk, self.own.coin, self.promised, public, pairs, dealt[talk.me]), message)

    def _sealed(self, pairs: PairKeys, dealt: Mapping[ClientId, Dealt]) -> bytes:
        try:
            return b"".join(pairs.seal(to, dealt[to]) for to in pairs.terms.members if to != pairs.me)
        except VerificationError as error:
            raise pairs.terms.channel.abort(AbortReason.BAD_KEY, None, str(error)) from error


@dataclass(frozen=True, slots=True)
class Dealing:
    """A holder that has dealt shares of its secret; it has dropped the secret itself."""

    talk: Talk
    coin: Secret
    promised: Mapping[ClientId, bytes]
    public: Residues = field(repr=False)
    pairs: PairKeys
    mine: Dealt

    def next(self, inbound: bytes) -> Continue[HolderState, bytes]:
        """Open what the others dealt, remember who must be complained of, and show the coin."""
        payloads, talk = self.talk.hear(inbound, DEAL)
        dealt: dict[ClientId, Dealt] = {talk.me: self.mine}
        for dealer, payload in payloads.items():
            if dealer == talk.me:
                continue
            try:
                dealt[dealer] = self.pairs.open(dealer, self._mine(payload, dealer))
            except (VerificationError, DecodeError):
                continue  # whoever is missing is complained of in the next message
        message, talk = talk.say(COIN, (self.coin.expose(),))
        return Continue(Tossed(talk, self.promised, self.public, self.pairs, dealt), message)

    def _mine(self, payload: memoryview, dealer: ClientId) -> bytes:
        size = sealed_size(self.talk.terms.ring)
        others = [member for member in self.talk.terms.members if member != dealer]
        if len(payload) != size * len(others):
            raise DecodeError(f"dealt shares of {len(payload)} bytes must have {size * len(others)}")
        at = others.index(self.talk.me) * size
        return bytes(payload[at : at + size])


@dataclass(frozen=True, slots=True)
class Tossed:
    """A holder that has shown its coin."""

    talk: Talk
    promised: Mapping[ClientId, bytes]
    public: Residues = field(repr=False)
    pairs: PairKeys
    dealt: Mapping[ClientId, Dealt] = field(repr=False)

    def next(self, inbound: bytes) -> Continue[HolderState, bytes]:
        """Check the coins, and publish a random combination of every dealt share, or the complaint of its dealer.

        Raises:
            ProtocolAbort: BAD_COMMITMENT, a coin is not the committed one.
        """
        payloads, talk = self.talk.hear(inbound, COIN)
        terms = talk.terms
        for sender, payload in payloads.items():
            try:
                verify_commitment(self.promised[sender][HASH_SIZE:], Secret(bytes(payload)), _coin_tag(terms, sender))
            except VerificationError as error:
                raise terms.channel.abort(AbortReason.BAD_COMMITMENT, sender, "coin") from error
        # All dealing is fixed before a coin is seen, and the coins by their commitments. The envelopes around them are not:
        # with their hash in the challenge, the last holder could sign its coin anew until false shares pass.
        coins = (bytes(payloads[member]) for member in terms.members)
        seed = Secret(hashlib.sha256(tag(KEYGEN_WIRE_ID, Usage.EXPANSION, self.talk.view, *coins)).digest())
        challenge = expand_uniform(seed, terms.ring, sharing.repetitions(terms.ring))
        accused = frozenset(terms.members) - set(self.dealt)
        values = [
            encode_values(sharing.check_values(self.dealt[dealer].share, self.dealt[dealer].blinding, challenge, terms.ring))
            for dealer in terms.members
            if dealer not in accused
        ]
        message, talk = talk.say(CHECK, (party_list(accused), *values))
        return Continue(Checked(talk, self.public, self.pairs, self.dealt), message)


@dataclass(frozen=True, slots=True)
class Checked:
    """A holder that has published its check values."""

    talk: Talk
    public: Residues = field(repr=False)
    pairs: PairKeys
    dealt: Mapping[ClientId, Dealt] = field(repr=False)

    def next(self, inbound: bytes) -> Continue[HolderState, bytes]:
        """Check every dealer's shares, add up this holder's, and confirm the joint key.

        Raises:
            ProtocolAbort: BAD_SHARE, somebody complains of a dealer, or its shares are of no polynomial; the dealer is named.
        """
        payloads, talk = self.talk.hear(inbound, CHECK)
        terms = talk.terms
        values = {sender: _read_check(terms, sender, payload) for sender, payload in payloads.items()}
        for dealer in terms.members:
            try:
                rows = {point_of(holder): values[holder][dealer] for holder in terms.members}
                sharing.verify_degree(rows, terms.budget.threshold, terms.ring)
            except VerificationError as error:
                raise terms.channel.abort(AbortReason.BAD_SHARE, dealer, str(error)) from error
        share = zeros(terms.ring, 1)[0]
        for dealt in self.dealt.values():
            terms.ring.add(share, dealt.share)
        key_hash = public_hash(terms, self.public)
        key = MemberKey(
            me=talk.me, epoch=terms.epoch, key_hash=key_hash, public=self.public, share=share, masks=self.pairs.masks()
        )
        message, talk = talk.say(CONFIRM, (key_hash,))
        return Continue(Confirmed(talk, key), message)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A holder that has signed the joint key."""

    talk: Talk
    key: MemberKey

    def next(self, inbound: bytes) -> Finished[MemberKey]:
        """Check that everybody confirmed the same key.

        Raises:
            ProtocolAbort: INCONSISTENT_VIEW, somebody confirmed another key.
        """
        payloads, talk = self.talk.hear(inbound, CONFIRM)
        for sender, payload in payloads.items():
            if payload != self.key.key_hash:
                raise talk.terms.channel.abort(AbortReason.INCONSISTENT_VIEW, sender, "confirms another key")
        return Finished(self.key)


def generate(terms: KeyTerms, signers: Mapping[ClientId, SigningKey], *, rng: Rng) -> tuple[dict[ClientId, MemberKey], bytes]:
    """Return every holder's key and the bundle of confirmations, all holders and the relay in this process.

    Raises:
        ProtocolAbort: a holder stopped the generation.
    """
    states: dict[ClientId, HolderState] = {}
    said: dict[ClientId, bytes] = {}
    for member in terms.members:
        step = begin(terms, member, signers[member], rng=rng)
        states[member], said[member] = step.state, step.outbound
    for _ in PHASES[1:]:
        bundle = encode_bundle(said)
        for member, state in states.items():
            onward = state.next(bundle)
            if isinstance(onward, Finished):
                raise ProtocolAbort(AbortReason.MALFORMED, round=terms.epoch, party=member, detail="ended early")
            states[member], said[member] = onward.state, onward.outbound
    bundle = encode_bundle(said)
    ends = {member: state.next(bundle) for member, state in states.items()}
    return {member: end.result for member, end in ends.items() if isinstance(end, Finished)}, bundle


def verify_confirmations(terms: KeyTerms, public: Residues, confirmations: bytes) -> None:
    """Check, as every client does, that all holders confirmed the joint key ``public``.

    Raises:
        ProtocolAbort: a confirmation is missing, is another epoch's, does not verify, or is of another key.
    """
    expected, missing = public_hash(terms, public), set(terms.members)
    with terms.channel.decoding():
        reader = Reader(confirmations)
        for _ in range(reader.u16()):
            envelope = open_envelope(terms.channel, reader.view(reader.u64()), CONFIRM)
            if bytes(envelope.payload or b"") != expected:
                raise terms.channel.abort(AbortReason.INCONSISTENT_VIEW, envelope.sender, "confirms another key")
            missing.discard(envelope.sender)
        reader.finish()
    if missing:
        raise terms.channel.abort(AbortReason.TOO_FEW_CLIENTS, min(missing), "did not confirm the key")


def public_hash(terms: KeyTerms, public: Residues) -> bytes:
    """Return the hash that names a joint key with its roster, epoch and ring, 32 bytes."""
    content = encode_elements(public[None], terms.ring).tobytes()
    context = context_digest(KEYGEN_WIRE_ID, terms.channel.context)
    return hashlib.sha256(tag(KEYGEN_WIRE_ID, Usage.ENVELOPE, context, repr(terms.budget).encode(), content)).digest()


def _read_check(terms: KeyTerms, sender: ClientId, payload: memoryview) -> dict[ClientId, Residues]:
    with terms.channel.decoding(sender):
        reader = Reader(payload)
        accused = read_party_list(reader)
        if accused:
            raise terms.channel.abort(AbortReason.BAD_SHARE, min(accused), f"party {sender} complains: its share does not open")
        values = {dealer: read_values(reader, terms.ring) for dealer in terms.members}
        reader.finish()
    return values


def _part_hash(terms: KeyTerms, sender: ClientId, content: bytes | memoryview) -> bytes:
    context = context_digest(KEYGEN_WIRE_ID, terms.channel.context)
    return hashlib.sha256(tag(KEYGEN_WIRE_ID, Usage.SEED_COMMITMENT, b"part", context, u16(sender), bytes(content))).digest()


def _coin_tag(terms: KeyTerms, sender: ClientId) -> bytes:
    context = context_digest(KEYGEN_WIRE_ID, terms.channel.context)
    return tag(KEYGEN_WIRE_ID, Usage.SEED_COMMITMENT, b"coin", context, u16(sender))
