"""The messages of a committed homomorphic round, in signed envelopes bound to run, round, roster and model.

A *commitment* hashes a client's ciphertexts with its number, the vector's length and the public key. A *commitment list* is
all of them. An *upload* is the ciphertexts in an envelope that signs the list as what its sender saw. A *request* is the
list with the survivors' uploads. An *answer* is a decryptor's share or opened sum, in an envelope that signs the request.

Nothing is decrypted or multiplied here. Bodies are views on the message: a vector of megabytes is not copied to be checked.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from securefl.crypto.domain import Usage, tag
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason
from securefl.secagg.base import DECRYPTOR_BASE
from securefl.secagg.codec import HASH_SIZE, Reader, party_list, prefixed, u16, u32, u64
from securefl.secagg.envelope import NO_VIEW, Channel, Slip, head_size, open_envelope, seal
from securefl.types import ClientId

COMMIT, UPLOAD, ANSWER = 1, 2, 3
"""Phases of the envelopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every party of a round holds on to, whatever the operator says.

    Attributes:
        channel: protocol, context, and everyone's Ed25519 key, decryptors under their own numbers.
        key_hash: SHA-256 of the public key that ciphertexts are under.
        minimum: clients that a sum must have.
        answers: decryptors that must answer.
        maximum_length: coordinates that a vector may have.
    """

    channel: Channel
    key_hash: bytes
    minimum: int
    answers: int
    maximum_length: int

    @property
    def decryptors(self) -> list[ClientId]:
        """The decryptors' numbers."""
        return sorted(party for party in self.channel.keys if party > DECRYPTOR_BASE)

    @property
    def clients(self) -> int:
        """How many partners the roster lists."""
        return len(self.channel.keys) - len(self.decryptors)


@dataclass(frozen=True, slots=True)
class Commitment:
    """A client's signed promise of its ciphertexts; ``digest`` chains its upload to it."""

    sender: ClientId
    length: int
    value: bytes
    digest: bytes
    encoded: bytes = field(repr=False)


def commitment_size(terms: Terms) -> int:
    """Return the bytes of every commitment of a round."""
    return head_size(terms.channel.wire_id) + 4 + HASH_SIZE


def commitment_value(terms: Terms, sender: ClientId, length: int, body_hash: bytes) -> bytes:
    """Return the hash that commits ``sender`` to ciphertexts with SHA-256 ``body_hash``.

    The sender's number is inside, so that a commitment that is copied can't be opened by the copier; ciphertexts are random
    enough to need no nonce.
    """
    fields = (b"commitment", terms.key_hash, u16(sender), u32(length), body_hash)
    return hashlib.sha256(tag(terms.channel.wire_id, Usage.ENVELOPE, *fields)).digest()


def commit(terms: Terms, me: ClientId, signer: SigningKey, *, length: int, body: bytes) -> Commitment:
    """Return client ``me``'s commitment to ``body``, the ciphertexts of a vector of ``length`` coordinates."""
    value = commitment_value(terms, me, length, hashlib.sha256(body).digest())
    slip = Slip(phase=COMMIT, sender=me, previous=terms.channel.genesis(me), view=NO_VIEW)
    sealed = seal(terms.channel, slip, (u32(length), value), key=signer)
    return Commitment(me, length, value, sealed.digest, sealed.message)


def read_commitment(terms: Terms, message: bytes | memoryview) -> Commitment:
    """Return the commitment in ``message``, its signature verified.

    Raises:
        ProtocolAbort: malformed, another run, round, roster or model, a stranger, a bad signature, or a length out of bounds.
    """
    envelope = open_envelope(terms.channel, message, COMMIT)
    sender = envelope.sender
    if sender > DECRYPTOR_BASE:
        raise terms.channel.abort(AbortReason.UNKNOWN_PARTY, sender, "a decryptor commits to nothing")
    with terms.channel.decoding(sender):
        reader = Reader(envelope.payload or b"")
        length, value = reader.u32(), reader.take(HASH_SIZE)
        reader.finish()
    if not 1 <= length <= terms.maximum_length:
        raise terms.channel.abort(AbortReason.MALFORMED, sender, f"length={length} must be in 1..{terms.maximum_length}")
    return Commitment(sender, length, value, envelope.digest, bytes(message))


@dataclass(frozen=True, slots=True)
class CommitmentList:
    """All commitments of a round in ascending order of sender; ``hash`` is what uploads and requests are bound to."""

    by_sender: Mapping[ClientId, Commitment]
    hash: bytes
    encoded: bytes = field(repr=False)

    @property
    def length(self) -> int:
        """Coordinates of every vector."""
        return next(iter(self.by_sender.values())).length


def list_commitments(terms: Terms, commitments: Mapping[ClientId, Commitment]) -> CommitmentList:
    """Return the list of ``commitments``, checked as every reader of it will check it."""
    ordered = [commitments[sender] for sender in sorted(commitments)]
    return read_commitment_list(terms, u16(len(ordered)) + b"".join(commitment.encoded for commitment in ordered))


def read_commitment_list(terms: Terms, message: bytes | memoryview) -> CommitmentList:
    """Return the list in ``message``: every signature verified, senders ascending, lengths equal, enough clients.

    Raises:
        ProtocolAbort: malformed, a commitment is refused, a sender comes twice, lengths differ, or too few committed.
    """
    channel, size = terms.channel, commitment_size(terms)
    with channel.decoding():
        reader = Reader(message)
        count = reader.u16()
        if not terms.minimum <= count <= terms.clients:
            detail = f"commitments={count} must be {terms.minimum} to {terms.clients}"
            raise channel.abort(AbortReason.TOO_FEW_CLIENTS, None, detail)
        parts = [reader.view(size) for _ in range(count)]
        reader.finish()
    commitments = [read_commitment(terms, part) for part in parts]
    for left, right in itertools.pairwise(commitments):
        if left.sender >= right.sender:
            raise channel.abort(AbortReason.DUPLICATE_PARTY, right.sender, "commitments must be in ascending order of sender")
        if left.length != right.length:
            detail = f"length={right.length} differs from {left.length} of client {left.sender}"
            raise channel.abort(AbortReason.MALFORMED, right.sender, detail)
    encoded = bytes(message)
    return CommitmentList({one.sender: one for one in commitments}, hashlib.sha256(encoded).digest(), encoded)


@dataclass(frozen=True, slots=True)
class Upload:
    """A client's ciphertexts, sent once the list is fixed."""

    sender: ClientId
    body: memoryview = field(repr=False)
    encoded: bytes | memoryview = field(repr=False)


def upload(terms: Terms, own: Commitment, signer: SigningKey, *, commitments: CommitmentList, body: bytes) -> bytes:
    """Return the upload of ``body``, to which ``own`` commits, under the list that its sender has checked."""
    slip = Slip(phase=UPLOAD, sender=own.sender, previous=own.digest, view=commitments.hash)
    return seal(terms.channel, slip, (body,), key=signer).message


def read_upload(terms: Terms, commitments: CommitmentList, message: bytes | memoryview, *, maximum_body: int) -> Upload:
    """Return the upload in ``message``: signed under this very list, and its body the one that was committed.

    Raises:
        ProtocolAbort: malformed or too long, another round, a sender without commitment, a bad signature, another list, or
            ciphertexts that are not the committed ones.
    """
    channel = terms.channel
    limit = head_size(channel.wire_id) + maximum_body
    if len(message) > limit:
        raise channel.abort(AbortReason.MALFORMED, None, f"upload of {len(message)} bytes must have <= {limit}")
    envelope = open_envelope(channel, message, UPLOAD)
    sender = envelope.sender
    committed = commitments.by_sender.get(sender)
    if committed is None:
        raise channel.abort(AbortReason.UNKNOWN_PARTY, sender, "uploads without a commitment")
    if envelope.view != commitments.hash or envelope.previous != committed.digest:
        raise channel.abort(AbortReason.INCONSISTENT_SURVIVORS, sender, "signed another list of commitments")
    if commitment_value(terms, sender, committed.length, envelope.payload_hash) != committed.value:
        raise channel.abort(AbortReason.BAD_COMMITMENT, sender, "ciphertexts are not the committed ones")
    return Upload(sender, envelope.payload or memoryview(b""), message)


@dataclass(frozen=True, slots=True)
class Request:
    """What a decryptor is asked to open: the sum of the survivors' committed uploads."""

    commitments: CommitmentList
    uploads: Mapping[ClientId, Upload] = field(repr=False)

    @property
    def hash(self) -> bytes:
        """Names the request: the list and the survivors; the ciphertexts follow from the list."""
        return request_hash(self.commitments, frozenset(self.uploads))


def request_hash(commitments: CommitmentList, survivors: frozenset[ClientId]) -> bytes:
    """Return the hash that names the request to open the sum of ``survivors``, 32 bytes."""
    return hashlib.sha256(b"securefl committed request" + commitments.hash + party_list(survivors)).digest()


def encode_request(commitments: CommitmentList, uploads: Mapping[ClientId, Upload]) -> bytes:
    """Return the request to open the sum of ``uploads``."""
    parts: list[bytes | memoryview] = [prefixed(commitments.encoded), u16(len(uploads))]
    for sender in sorted(uploads):
        parts += [u64(len(uploads[sender].encoded)), uploads[sender].encoded]
    return b"".join(parts)


def read_request(terms: Terms, message: bytes, *, maximum_body: Callable[[int], int]) -> Request:
    """Return the request in ``message``, everything in it verified anew: the operator that sent it is not trusted.

    Args:
        maximum_body: bytes that the ciphertexts of so many coordinates may have.

    Raises:
        ProtocolAbort: malformed, a commitment or upload is refused, a survivor comes twice, or survivors are too few.
    """
    channel = terms.channel
    with channel.decoding():
        reader = Reader(message)
        commitments = read_commitment_list(terms, reader.view(reader.u32()))
        count = reader.u16()
        if count < terms.minimum:
            raise channel.abort(AbortReason.THRESHOLD_LOWERED, None, f"survivors={count} must be >= {terms.minimum}")
        parts = [reader.view(reader.u64()) for _ in range(count)]
        reader.finish()
    uploads: dict[ClientId, Upload] = {}
    for part in parts:
        one = read_upload(terms, commitments, part, maximum_body=maximum_body(commitments.length))
        if uploads and one.sender <= max(uploads):
            raise channel.abort(AbortReason.DUPLICATE_PARTY, one.sender, "uploads must be in ascending order of sender")
        uploads[one.sender] = one
    return Request(commitments, uploads)


def encode_answer(terms: Terms, me: ClientId, signer: SigningKey, *, request: bytes, body: bytes) -> bytes:
    """Return decryptor ``me``'s signed answer ``body`` to the request with hash ``request``."""
    slip = Slip(phase=ANSWER, sender=me, previous=terms.channel.genesis(me), view=request)
    return seal(terms.channel, slip, (body,), key=signer).message


def read_answer(terms: Terms, sender: ClientId, message: bytes, *, request: bytes) -> memoryview:
    """Return the body of decryptor ``sender``'s answer to the request with hash ``request``.

    Raises:
        ProtocolAbort: malformed, another round, not this decryptor, a bad signature, or the answer to another request.
    """
    envelope = open_envelope(terms.channel, message, ANSWER)
    if envelope.sender != sender or sender <= DECRYPTOR_BASE:
        raise terms.channel.abort(AbortReason.UNKNOWN_PARTY, sender, f"answer of party {envelope.sender}")
    if envelope.view != request:
        raise terms.channel.abort(AbortReason.WRONG_ROUND, sender, "answers another request")
    return envelope.payload or memoryview(b"")
