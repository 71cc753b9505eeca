"""A homomorphic sum whose decryptors recompute it: commit, upload, open. Shared by Paillier, CKKS and BFV.

1. *commit*: every client signs a commitment to its ciphertexts; the operator relays the list of all commitments.
2. *upload*: a client that finds its own commitment in a list of at least the minimum sends its ciphertexts, signed together
   with the hash of the list. From here nobody can choose a ciphertext that depends on another's in the same sum: a late
   partner can neither cancel nor copy. What remains is a partner that builds on a ciphertext of *another* sum, which the
   operator shows it: of an earlier round under the same key, or of a client to whom it gave an earlier list. Paillier's
   uploads carry a proof against that; the lattice schemes take encryptors to be honest.
3. *open*: the operator relays the survivors' uploads to the decryptors. Each decryptor verifies every signature and
   commitment, *computes the sum itself* and opens only that. A sum or a hash supplied by the operator is never decrypted.
   It refuses fewer survivors than the minimum, a second, different request in a round, and survivors whose sum, with the
   sums over the same model that it opened before, would show too few partners.

Guarantees, given that the decryptors that must answer do not all collude with the operator: the operator, and any partners
with it, learn the sum over at least ``minimum`` survivors and the error that the scheme states, nothing else about honest
vectors. A bad answer is left out and its sender named, as long as enough good ones are there. NOT protected: robustness
against partners (one bad ciphertext ends the round and names its sender), the correctness of a dishonest partner's value, a
single decryptor's honesty where the configuration is named ``single-decryptor``, and an operator that announces another sum
than was opened: answers are signed, but clients, who left after their upload, are not shown them.

This replaces the shared decryption key of common toolkits, where any client and the operator can open every single update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Protocol, TypeAlias, TypeVar

from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason, DecodeError, ProtocolAbort, TooFewClients, VerificationError
from securefl.secagg.base import ClientState, Continue, Finished, OpenedSum, ServerState
from securefl.secagg.committed_messages import (
    Commitment,
    CommitmentList,
    Request,
    Terms,
    Upload,
    commit,
    encode_answer,
    encode_request,
    list_commitments,
    read_answer,
    read_commitment,
    read_commitment_list,
    read_request,
    read_upload,
    request_hash,
    upload,
)
from securefl.secagg.journal import Journal
from securefl.secagg.ledger import Ledger
from securefl.types import ClientId, RingVector, Rng

T = TypeVar("T")
Bodies = Mapping[ClientId, memoryview]
"""Ciphertexts of the survivors, as they were committed."""


class BadCiphertextError(DecodeError):
    """Ciphertexts of ``party`` are refused: malformed, or of other parameters. Raised before any arithmetic on them."""

    def __init__(self, party: ClientId, message: str) -> None:
        self.party = party
        super().__init__(message)


def blame(sender: ClientId, step: Callable[[], T]) -> T:
    """Return what ``step`` gives; what it can't decode is ``sender``'s fault.

    Raises:
        BadCiphertextError: ``step`` raised a DecodeError.
    """
    try:
        return step()
    except DecodeError as error:
        raise BadCiphertextError(sender, str(error)) from error


class BadAnswerError(VerificationError):
    """The answer of decryptor ``party`` is malformed or does not verify."""

    def __init__(self, party: ClientId, message: str) -> None:
        self.party = party
        super().__init__(message)


class SumCipher(Protocol):
    """What a round's public key can do: the part of a homomorphic scheme that clients and the operator use."""

    def maximum_body(self, length: int) -> int:
        """Return the most bytes that the ciphertexts of ``length`` coordinates take."""
        ...

    def encrypt(self, update: RingVector, *, me: ClientId, rng: Rng) -> bytes:
        """Return client ``me``'s ciphertexts of ``update``, shape (d,), with a proof where the scheme needs one.

        Raises:
            CapacityError: a coordinate is outside the range whose sum is proven not to wrap.
        """
        ...

    def combine(self, answers: Mapping[ClientId, memoryview], bodies: Bodies, length: int) -> OpenedSum:
        """Return the sum that the decryptors' ``answers`` open.

        Raises:
            BadAnswerError: an answer is malformed or does not verify.
            DecodeError: the opened sum is no vector.
        """
        ...


class SumOpener(Protocol):
    """A decryptor's share of the key, with its count of releases."""

    def open(self, bodies: Bodies, length: int, *, rng: Rng) -> bytes:
        """Return the answer for the sum of ``bodies``, summed here.

        Raises:
            BadCiphertextError: a body is refused.
            CapacityError: the key has given all its releases.
        """
        ...


AskDecryptors: TypeAlias = "Callable[[Request], Continue[ServerState, Mapping[ClientId, bytes]]]"
"""What the operator does once it has all uploads: its next state, and what it sends to which decryptors."""


def ask_everyone(terms: Terms, cipher: SumCipher, request: Request) -> Continue[ServerState, Mapping[ClientId, bytes]]:
    """Relay the uploads to every decryptor at once: whoever answers, answers alone."""
    bodies = {sender: one.body for sender, one in request.uploads.items()}
    message = encode_request(request.commitments, request.uploads)
    return Continue(Opening(terms, cipher, request.commitments, bodies), dict.fromkeys(terms.decryptors, message))


@dataclass(frozen=True, slots=True)
class Committed:
    """A client that has committed and waits for the list of commitments."""

    terms: Terms
    signer: SigningKey
    own: Commitment
    body: bytes = field(repr=False)

    def next(self, inbound: bytes) -> Continue[ClientState, bytes]:
        """Check the list and upload.

        Raises:
            ProtocolAbort: the list is refused, or does not hold this client's commitment as it was sent.
        """
        commitments = read_commitment_list(self.terms, inbound)
        listed = commitments.by_sender.get(self.own.sender)
        if listed is None or listed.encoded != self.own.encoded:
            raise self.terms.channel.abort(AbortReason.MISSING_SELF, self.own.sender)
        message = upload(self.terms, self.own, self.signer, commitments=commitments, body=self.body)
        return Continue(Uploaded(), message)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A client that has uploaded: the operator owes it no message."""

    def next(self, inbound: bytes) -> Finished[None]:
        """End the round."""
        return Finished(None)


@dataclass(frozen=True, slots=True)
class CollectingCommitments:
    """The operator, waiting for the commitments of ``cohort``; ``ask`` is how it turns to the decryptors afterwards."""

    terms: Terms
    cipher: SumCipher
    cohort: frozenset[ClientId]
    ask: AskDecryptors

    def next(self, inbound: Mapping[ClientId, bytes]) -> Continue[ServerState, Mapping[ClientId, bytes]]:
        """Relay the list of all commitments.

        Raises:
            ProtocolAbort: a commitment is refused, or fewer clients than the minimum committed.
        """
        received: dict[ClientId, Commitment] = {}
        for sender, message in inbound.items():
            commitment = read_commitment(self.terms, message)
            if sender not in self.cohort or commitment.sender != sender:
                raise self.terms.channel.abort(AbortReason.UNKNOWN_PARTY, sender)
            received[sender] = commitment
        _require_minimum(self.terms, len(received))
        commitments = list_commitments(self.terms, received)
        state = CollectingUploads(self.terms, self.cipher, commitments, self.ask)
        return Continue(state, dict.fromkeys(sorted(received), commitments.encoded))


@dataclass(frozen=True, slots=True)
class CollectingUploads:
    """The operator, waiting for the ciphertexts that the list commits to."""

    terms: Terms
    cipher: SumCipher
    commitments: CommitmentList
    ask: AskDecryptors

    def next(self, inbound: Mapping[ClientId, bytes]) -> Continue[ServerState, Mapping[ClientId, bytes]]:
        """Relay the survivors' uploads to the decryptors.

        Raises:
            ProtocolAbort: an upload is refused, or fewer clients than the minimum uploaded.
        """
        maximum = self.cipher.maximum_body(self.commitments.length)
        uploads: dict[ClientId, Upload] = {}
        for sender, message in inbound.items():
            received = read_upload(self.terms, self.commitments, message, maximum_body=maximum)
            if received.sender != sender:
                raise self.terms.channel.abort(AbortReason.UNKNOWN_PARTY, sender)
            uploads[sender] = received
        _require_minimum(self.terms, len(uploads))
        return self.ask(Request(self.commitments, uploads))


@dataclass(frozen=True, slots=True)
class Opening:
    """The operator, waiting for the decryptors' answers."""

    terms: Terms
    cipher: SumCipher
    commitments: CommitmentList
    bodies: Bodies = field(repr=False)

    def next(self, inbound: Mapping[ClientId, bytes]) -> Finished[OpenedSum]:
        """Combine as many answers as must be; a bad one is left out and its sender named where another stands in for it.

        Raises:
            ProtocolAbort: too few decryptors answered well (the first bad one is named), or what they open is no vector.
        """
        terms, request = self.terms, request_hash(self.commitments, frozenset(self.bodies))
        answers, refused = read_answers(terms, inbound, request=request)
        while len(answers) >= terms.answers:
            chosen = {sender: answers[sender] for sender in sorted(answers)[: terms.answers]}
            try:
                opened = self.cipher.combine(chosen, self.bodies, self.commitments.length)
            except BadAnswerError as error:
                del answers[error.party]
                refused[error.party] = terms.channel.abort(AbortReason.BAD_SHARE, error.party, str(error))
            except DecodeError as error:
                raise terms.channel.abort(AbortReason.BAD_CIPHERTEXT, None, str(error)) from error
            else:
                return Finished(replace(opened, refused={sender: str(why) for sender, why in refused.items()}))
        for why in refused.values():
            raise why
        raise TooFewClients(round=terms.channel.context.round, have=len(answers), need=terms.answers)


def read_answers(
    terms: Terms, inbound: Mapping[ClientId, bytes], *, request: bytes
) -> tuple[dict[ClientId, memoryview], dict[ClientId, ProtocolAbort]]:
    """Return the decryptors' answers to ``request``, and why others are refused, both by who sent them."""
    answers: dict[ClientId, memoryview] = {}
    refused: dict[ClientId, ProtocolAbort] = {}
    for sender, message in inbound.items():
        try:
            answers[sender] = read_answer(terms, sender, message, request=request)
        except ProtocolAbort as error:
            refused[sender] = error
    return answers, refused


@dataclass(frozen=True, slots=True)
class Waiting:
    """Decryptor ``me``, waiting for the operator's request."""

    terms: Terms
    cipher: SumCipher
    me: ClientId
    party: Party
    opener: SumOpener
    rng: Rng = field(repr=False)

    def next(self, inbound: bytes) -> Continue[ClientState, bytes]:
        """Verify the request, sum the ciphertexts, and answer for that sum alone.

        Raises:
            ProtocolAbort: anything in the request is refused, or this decryptor has answered in this round before.
        """
        request = read_request(self.terms, inbound, maximum_body=self.cipher.maximum_body)
        context = self.terms.channel.context
        self.party.journal.begin(context.round)
        self.party.journal.answer(context.round, request.hash)
        bodies = {sender: one.body for sender, one in request.uploads.items()}
        lineage, ledger = context.model_hash, self.party.ledger
        if ledger is not None:
            # Equal model, equal inputs: another cohort's sum could show a few partners beside what other decryptors opened.
            ledger.require_cohort(lineage, frozenset(bodies), round=context.round)
        try:
            body = self.opener.open(bodies, request.commitments.length, rng=self.rng)
        except BadCiphertextError as error:
            raise self.terms.channel.abort(AbortReason.BAD_CIPHERTEXT, error.party, str(error)) from error
        except DecodeError as error:
            # Every ciphertext was well formed, their sum is not: a partner encrypted values outside their range.
            raise self.terms.channel.abort(AbortReason.BAD_CIPHERTEXT, None, str(error)) from error
        if ledger is not None:
            # Not before: a spoilt request opened nothing, and the cohort without the partner who spoilt it may go on.
            ledger.admit_cohort(lineage, frozenset(bodies), round=context.round)
        message = encode_answer(self.terms, self.me, self.party.signer, request=request.hash, body=body)
        return Continue(Answered(self.terms, self.cipher, request.hash, message), message)


@dataclass(frozen=True, slots=True)
class Answered:
    """A decryptor that has answered: it repeats the same answer to the same request, so that a lost message costs nothing."""

    terms: Terms
    cipher: SumCipher
    request: bytes
    message: bytes = field(repr=False)

    def next(self, inbound: bytes) -> Continue[ClientState, bytes]:
        """Repeat the answer.

        Raises:
            ProtocolAbort: this is another request.
        """
        if read_request(self.terms, inbound, maximum_body=self.cipher.maximum_body).hash != self.request:
            raise self.terms.channel.abort(AbortReason.SECOND_UNMASKING)
        return Continue(self, self.message)


@dataclass(frozen=True, slots=True)
class Party:
    """A party's signing key and its memory of the run; a decryptor's ledger opens a model for one cohort."""

    signer: SigningKey
    journal: Journal
    ledger: Ledger | None = None


def begin_client(
    terms: Terms, cipher: SumCipher, party: Party, me: ClientId, update: RingVector, *, rng: Rng
) -> Continue[ClientState, bytes]:
    """Return client ``me``'s first state with the commitment to its encrypted ``update``.

    Raises:
        ProtocolAbort: this client has begun the round, or a later one, before.
        CapacityError: a coordinate is outside the range whose sum is proven not to wrap.
    """
    party.journal.begin(terms.channel.context.round)
    body = cipher.encrypt(update, me=me, rng=rng)
    own = commit(terms, me, party.signer, length=len(update), body=body)
    return Continue(Committed(terms, party.signer, own, body), own.encoded)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedScheme:
    """One round of a homomorphic sum: terms and cipher are public, keys and openers every party's own."""

    terms: Terms
    cipher: SumCipher
    parties: Mapping[ClientId, Party] = field(repr=False)
    openers: Mapping[ClientId, SumOpener] = field(repr=False)
    phases: ClassVar[tuple[str, ...]] = ("commit", "upload")

    def client(self, me: ClientId, update: RingVector, *, rng: Rng) -> Continue[ClientState, bytes]:
        """Encrypt ``update`` and commit to it, as :func:`begin_client`."""
        return begin_client(self.terms, self.cipher, self.parties[me], me, update, rng=rng)

    def server(self, cohort: frozenset[ClientId]) -> ServerState:
        """Wait for the commitments of ``cohort``."""
        return CollectingCommitments(self.terms, self.cipher, cohort, partial(ask_everyone, self.terms, self.cipher))

    def decryptors(self, *, rng: Rng) -> Mapping[ClientId, ClientState]:
        """Return the decryptors, each waiting for a request."""
        return {
            me: Waiting(self.terms, self.cipher, me, self.parties[me], opener, rng) for me, opener in self.openers.items()
        }


def _require_minimum(terms: Terms, have: int) -> None:
    if have < terms.minimum:
        raise TooFewClients(round=terms.channel.context.round, have=have, need=terms.minimum)
