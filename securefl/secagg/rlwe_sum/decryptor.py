"""A decryptor's side of a round: agree to one sum and one set, then answer once, masked and smudged.

1. *open*: the operator names an attempt and relays commitments and uploads. The decryptor verifies all of it, adds the
ciphertexts itself, and signs that it will open this sum in this set. 2. *answer*: shown the agreements of the whole set, it
answers lambda_j s_j c1 + E_j + masks. From the second attempt on an agreement commits to an encryption of zero; once all
agreements are fixed everyone shows it, and everyone adds them all before it answers.

The masks are keystreams of the keys that each pair of the set shares, added by one and subtracted by the other: they cancel
in the sum of the set's answers, and nothing but that sum is ever seen. Without them partial decryptions that are linear in
shares which the adversary partly knows would show the noise of the summed ciphertexts (:mod:`securefl.crypto.rlwe.cipher`).
The keys of masks cover the bundle of agreements, so that a decryptor which signs two of them gets answers that do not cancel.

The journal is written before anything is sent; a decryptor that is killed and started again repeats its messages byte for
byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import derive
from securefl.crypto.rlwe.cipher import Half, PartialDecryptor, chunks
from securefl.crypto.rlwe.encoding import element_size, encode_elements
from securefl.crypto.rlwe.ring import Residues
from securefl.crypto.rlwe.samplers import expand_uniform
from securefl.crypto.rlwe.sharing import weights_at_zero
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason
from securefl.secagg.base import ClientState, Continue
from securefl.secagg.codec import Reader, context_digest, u32
from securefl.secagg.committed import BadCiphertextError
from securefl.secagg.committed_messages import ANSWER, Terms, read_request
from securefl.secagg.envelope import Envelope, Slip, seal
from securefl.secagg.ledger import Ledger
from securefl.secagg.rlwe_sum.cipher import RlweCipher
from securefl.secagg.rlwe_sum.decryption_journal import DecryptionJournal, Kept
from securefl.secagg.rlwe_sum.key import WIRE_ID, MemberKey
from securefl.secagg.rlwe_sum.messages import (
    AGREE,
    ZERO,
    Agreement,
    Asks,
    Attempt,
    Expected,
    read_agreement,
    read_attempt,
    read_bundle,
    zero_hash,
)
from securefl.secagg.rlwe_sum.talk import point_of
from securefl.types import ClientId, Rng, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Decryptor:
    """What a decryptor holds during a round."""

    terms: Terms
    cipher: RlweCipher
    signer: SigningKey
    key: MemberKey = field(repr=False)
    journal: DecryptionJournal
    ledger: Ledger | None = None
    rng: Rng = field(repr=False)

    def sign(self, phase: int, *, previous: bytes, view: bytes, payload: bytes) -> bytes:
        """Return this decryptor's signed envelope."""
        slip = Slip(phase=phase, sender=self.key.me, previous=previous, view=view)
        return seal(self.terms.channel, slip, (payload,), key=self.signer).message


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """The sum that this decryptor agreed to open: its name, its keyed halves, and who opens it."""

    request: bytes
    cohort: frozenset[ClientId]
    length: int
    attempt: Attempt
    keyed: Residues = field(repr=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A decryptor that waits to be asked."""

    party: Decryptor

    def next(self, inbound: bytes) -> Continue[ClientState, bytes]:
        """Verify the request, add its ciphertexts up, and agree to open the sum in this set.

        Raises:
            ProtocolAbort: anything in the request is refused, the key is not of this epoch, or the journal knows another sum or
                set.
        """
        party, terms = self.party, self.party.terms
        with terms.channel.decoding():
            reader = Reader(inbound)
            if reader.u8() != Asks.OPEN:
                raise terms.channel.abort(AbortReason.WRONG_ROUND, None, "nothing was agreed to yet")
            attempt = read_attempt(reader)
            content = bytes(reader.view(reader.u64()))
            reader.finish()
        self._require_set(attempt)
        request = read_request(terms, content, maximum_body=party.cipher.maximum_body)
        self._require_epoch()
        bodies = {sender: one.body for sender, one in request.uploads.items()}
        length, context = request.commitments.length, terms.channel.context
        if party.ledger is not None:
            # Equal model, equal inputs: another cohort's sum could show a few partners beside what other decryptors opened.
            party.ledger.require_cohort(context.model_hash, frozenset(bodies), round=context.round)
        try:
            keyed = party.cipher.sum_half(bodies, Half.KEYED, length)
        except BadCiphertextError as error:
            raise terms.channel.abort(AbortReason.BAD_CIPHERTEXT, error.party, str(error)) from error
        opened = Sum(request=request.hash, cohort=frozenset(bodies), length=length, attempt=attempt, keyed=keyed)
        party.journal.agree(context.round, request.hash, attempt, attempts=party.cipher.budget.attempts)
        return Continue(Agreed(party, opened), self._agreement(opened))

    def _require_epoch(self) -> None:
        """The noise budget is for so many rounds under one key: a key that was kept longer opens nothing."""
        key, round = self.party.key, self.party.terms.channel.context.round
        last = key.epoch + self.party.cipher.budget.rounds - 1
        if not key.epoch <= round <= last:
            detail = f"the key serves the rounds {key.epoch} to {last}"
            raise self.party.terms.channel.abort(AbortReason.BAD_KEY, key.me, detail)

    def _require_set(self, attempt: Attempt) -> None:
        terms = self.party.terms
        if len(attempt.members) != terms.answers:
            detail = f"decryptors={len(attempt.members)} must be exactly {terms.answers}"
            raise terms.channel.abort(AbortReason.THRESHOLD_LOWERED, None, detail)
        strangers = attempt.members - set(terms.decryptors)
        if strangers:
            raise terms.channel.abort(AbortReason.UNKNOWN_PARTY, min(strangers), "is no decryptor")
        if self.party.key.me not in attempt.members:
            raise terms.channel.abort(AbortReason.MISSING_SELF, self.party.key.me)

    def _agreement(self, opened: Sum) -> bytes:
        party, number = self.party, opened.attempt.number
        round = party.terms.channel.context.round
        kept = party.journal.kept(round, number, Kept.AGREEMENT)
        if kept is not None:
            return kept
        commitment = b""
        if number > 1:
            zero = party.cipher.encrypt_zero(opened.length, rng=party.rng)
            party.journal.keep(round, number, Kept.ZERO, zero)
            commitment = zero_hash(party.terms.key_hash, party.key.me, zero)
        payload = Agreement(opened.attempt, commitment).encode()
        genesis = party.terms.channel.genesis(party.key.me)
        message = party.sign(AGREE, previous=genesis, view=opened.request, payload=payload)
        party.journal.keep(round, number, Kept.AGREEMENT, message)
        return message


@dataclass(frozen=True, slots=True)
class Agreed:
    """A decryptor that has signed sum and set."""

    party: Decryptor
    opened: Sum

    def next(self, inbound: bytes) -> Continue[ClientState, bytes]:
        """Check that the whole set agreed to the same, then answer, or show the encryption of zero.

        Raises:
            ProtocolAbort: an agreement is missing, refused, or to another sum or set.
        """
        if inbound[:1] == bytes((Asks.OPEN,)):
            return Waiting(self.party).next(inbound)
        channel = self.party.terms.channel
        if inbound[:1] != bytes((Asks.ANSWER,)):
            raise channel.abort(AbortReason.WRONG_ROUND, None, "the set's agreements must come first")
        bundle = memoryview(inbound)[1:]
        agreements = read_agreements(self.party.terms, self.opened.attempt, self.opened.request, bundle)
        view = hashlib.sha256(bundle).digest()
        if self.opened.attempt.number == 1:
            return answer(self.party, self.opened, view)
        promised = {sender: one.zero for sender, (_, one) in agreements.items()}
        heads = {sender: envelope.digest for sender, (envelope, _) in agreements.items()}
        round = channel.context.round
        zero = self.party.journal.kept(round, self.opened.attempt.number, Kept.ZERO) or b""
        message = self.party.sign(ZERO, previous=heads[self.party.key.me], view=view, payload=zero)
        return Continue(Zeroed(self.party, self.opened, promised, heads, view), message)


@dataclass(frozen=True, slots=True)
class Zeroed:
    """A decryptor that has shown its encryption of zero."""

    party: Decryptor
    opened: Sum
    promised: Mapping[ClientId, bytes]
    heads: Mapping[ClientId, bytes]
    view: bytes

    def next(self, inbound: bytes) -> Continue[ClientState, bytes]:
        """Add everyone's encryption of zero to the sum, then answer.

        Raises:
            ProtocolAbort: one is missing, malformed, or not the committed one.
        """
        if inbound[:1] == bytes((Asks.OPEN,)):
            return Waiting(self.party).next(inbound)
        channel, cipher = self.party.terms.channel, self.party.cipher
        if inbound[:1] != bytes((Asks.ANSWER_WITH_ZEROS,)):
            raise channel.abort(AbortReason.WRONG_ROUND, None, "the set's encryptions of zero must come first")
        bundle = memoryview(inbound)[1:]
        zeros = read_zeros(self.party.terms, bundle, self.promised, Expected(phase=ZERO, previous=self.heads, view=self.view))
        try:
            keyed = cipher.sum_half(zeros, Half.KEYED, self.opened.length)
        except BadCiphertextError as error:
            raise channel.abort(AbortReason.BAD_CIPHERTEXT, error.party, str(error)) from error
        cipher.budget.ring.add(keyed, self.opened.keyed)
        return answer(self.party, replace(self.opened, keyed=keyed), hashlib.sha256(bundle).digest())


@dataclass(frozen=True, slots=True)
class Answered:
    """A decryptor that has answered: it repeats its answer, or takes part in another attempt at the same sum."""

    party: Decryptor
    message: bytes = field(repr=False)

    def next(self, inbound: bytes) -> Continue[ClientState, bytes]:
        """Repeat the answer byte for byte, or take another request, which the journal judges."""
        if inbound[:1] == bytes((Asks.OPEN,)):
            return Waiting(self.party).next(inbound)
        return Continue(self, self.message)


def read_agreements(
    terms: Terms, attempt: Attempt, request: bytes, bundle: bytes | memoryview
) -> dict[ClientId, tuple[Envelope, Agreement]]:
    """Return everyone's agreement to open the sum named ``request`` by ``attempt``, with its envelope.

    Raises:
        ProtocolAbort: one is missing or refused (INCONSISTENT_VIEW: another sum), or SECOND_SET, another set.
    """
    previous = {member: terms.channel.genesis(member) for member in attempt.members}
    found = read_bundle(terms.channel, bundle, Expected(phase=AGREE, previous=previous, view=request))
    agreements = {}
    for sender, envelope in found.items():
        with terms.channel.decoding(sender):
            agreements[sender] = (envelope, read_agreement(envelope.payload))
        if agreements[sender][1].attempt != attempt:
            raise terms.channel.abort(AbortReason.SECOND_SET, sender, "agreed to another set or attempt")
    return agreements


def read_zeros(
    terms: Terms, bundle: bytes | memoryview, promised: Mapping[ClientId, bytes], expected: Expected
) -> dict[ClientId, memoryview]:
    """Return the encryptions of zero in ``bundle``, each the one that its sender committed to.

    Raises:
        ProtocolAbort: one is missing or refused, or BAD_COMMITMENT.
    """
    found = read_bundle(terms.channel, bundle, expected)
    bodies = {sender: envelope.payload or memoryview(b"") for sender, envelope in found.items()}
    for sender, body in bodies.items():
        if zero_hash(terms.key_hash, sender, body) != promised[sender]:
            raise terms.channel.abort(AbortReason.BAD_COMMITMENT, sender, "encryption of zero")
    return bodies


def answer(party: Decryptor, opened: Sum, view: bytes) -> Continue[ClientState, bytes]:
    """Answer for ``opened``, bound to the bundle ``view``; the answer is on disk before it is returned.

    Raises:
        ProtocolAbort: DIFFERENCING, another cohort's sum over the same model was answered for.
    """
    terms, number = party.terms, opened.attempt.number
    context = terms.channel.context
    message = party.journal.kept(context.round, number, Kept.ANSWER)
    if message is None:
        if party.ledger is not None:
            # Not before: agreements alone open nothing, and another cohort may go on where too few decryptors answered.
            party.ledger.admit_cohort(context.model_hash, opened.cohort, round=context.round)
        body = masked_answer(party, opened, view)
        genesis = terms.channel.genesis(party.key.me)
        message = party.sign(ANSWER, previous=genesis, view=view, payload=body)
        party.journal.keep(context.round, number, Kept.ANSWER, message)
    return Continue(Answered(party, message), message)


def masked_answer(party: Decryptor, opened: Sum, view: bytes) -> bytes:
    """Return lambda_j s_j c1 + E_j plus the masks of every pair in the set, as bytes."""
    ring, me = party.cipher.budget.ring, party.key.me
    points = tuple(sorted(point_of(member) for member in opened.attempt.members))
    weights = weights_at_zero(points, ring.primes)
    decryptor = PartialDecryptor(party.key.share, weights[point_of(me)], party.cipher.budget)
    context = context_digest(WIRE_ID, party.terms.channel.context)
    out = np.empty((len(opened.keyed), element_size(ring)), np.uint8)
    for index, part in enumerate(chunks(len(opened.keyed))):
        total = decryptor.answer(opened.keyed[part], rng=party.rng)
        for peer in sorted(opened.attempt.members - {me}):
            mask = expand_uniform(_mask_key(party.key.masks[peer], context, view, index), ring, len(total))
            (ring.add if me < peer else ring.subtract)(total, mask)
        out[part] = encode_elements(total, ring)
    return out.tobytes()


def _mask_key(pair: Secret, context: bytes, view: bytes, index: int) -> Secret:
    return derive(pair, tag(WIRE_ID, Usage.PAIR_MASK, context, view, u32(index)))
