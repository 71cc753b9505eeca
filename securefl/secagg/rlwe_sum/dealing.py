"""Dealt shares on their way: sealed for one holder, opened and checked by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from securefl.crypto import agreement
from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import derive
from securefl.crypto.rlwe import sharing
from securefl.crypto.rlwe.encoding import decode_elements, element_size, encode_elements
from securefl.crypto.rlwe.ring import Residues, Ring
from securefl.crypto.rlwe.samplers import uniform
from securefl.crypto.sealed import OVERHEAD_SIZE, decrypt_once, encrypt_once
from securefl.errors import DecodeError
from securefl.secagg.codec import Reader, context_digest, u16
from securefl.secagg.rlwe_sum.key import WIRE_ID
from securefl.secagg.rlwe_sum.talk import KEYGEN_WIRE_ID, KeyTerms, point_of
from securefl.types import ClientId, Rng, Secret


@dataclass(frozen=True, slots=True)
class Dealt:
    """What a dealer gives one holder: a share, shape (primes, N), and a share of the blinding values, (primes, repetitions)."""

    share: Residues = field(repr=False)
    blinding: Residues = field(repr=False)

    def encode(self, ring: Ring) -> Secret:
        """Return both as bytes."""
        return Secret(encode_elements(self.share[None], ring).tobytes() + encode_values(self.blinding))

    @classmethod
    def decode(cls, content: Secret, ring: Ring) -> Dealt:
        """Return what ``content`` holds; raises DecodeError."""
        reader = Reader(content.expose())
        share = decode_elements(reader.view(element_size(ring)), ring, 1)[0]
        blinding = read_values(reader, ring)
        reader.finish()
        return cls(share, blinding)


def encode_values(values: Residues) -> bytes:
    """Return check values, shape (primes, repetitions), as words of four bytes."""
    return values.astype("<u4").tobytes()


def read_values(reader: Reader, ring: Ring) -> Residues:
    """Return check values, shape (primes, repetitions).

    Raises:
        DecodeError: they are too short, or one is not below its prime.
    """
    count = sharing.repetitions(ring)
    words = reader.vector(len(ring.primes) * count, np.dtype("<u4")).astype(np.uint32).reshape(len(ring.primes), count)
    if (words >= ring.column).any():
        raise DecodeError("a check value is not below its prime")
    return words


def sealed_size(ring: Ring) -> int:
    """Return the bytes of what a dealer gives one holder."""
    return element_size(ring) + 4 * len(ring.primes) * sharing.repetitions(ring) + OVERHEAD_SIZE


def deal_all(secret: Residues, terms: KeyTerms, *, rng: Rng) -> dict[ClientId, Dealt]:
    """Return every holder's share of ``secret``, with blinding values that nobody knows."""
    ring, threshold = terms.ring, terms.budget.threshold
    points = [point_of(member) for member in terms.members]
    shares = sharing.deal(secret, ring, threshold=threshold, points=points, rng=rng)
    blind = uniform(ring, 1, rng=rng)[0][:, : sharing.repetitions(ring)]
    blindings = sharing.deal(blind, ring, threshold=threshold, points=points, rng=rng)
    return {member: Dealt(shares[point_of(member)], blindings[point_of(member)]) for member in terms.members}


@dataclass(frozen=True, slots=True)
class PairKeys:
    """One holder's X25519 key of the epoch and everyone's public ones: keys for pairs of holders follow from them."""

    terms: KeyTerms
    me: ClientId
    secret: Secret = field(repr=False)
    publics: Mapping[ClientId, bytes]

    def seal(self, to: ClientId, dealt: Dealt) -> bytes:
        """Return ``dealt`` sealed for holder ``to``; once for each holder."""
        return encrypt_once(self._sealing(self.me, to), dealt.encode(self.terms.ring), b"")

    def open(self, dealer: ClientId, sealed: bytes) -> Dealt:
        """Return what ``dealer`` sealed for this holder.

        Raises:
            VerificationError: it does not open.
            DecodeError: what is inside is not canonical.
        """
        return Dealt.decode(decrypt_once(self._sealing(dealer, self.me), sealed, b""), self.terms.ring)

    def masks(self) -> dict[ClientId, Secret]:
        """Return the key of every pair that this holder is in, for masks that cancel in a sum of answers."""
        return {peer: self._mask_key(peer) for peer in self.terms.members if peer != self.me}

    def _sealing(self, dealer: ClientId, to: ClientId) -> Secret:
        return self._derive(to if dealer == self.me else dealer, Usage.SHARE_SEAL, dealer, to)

    def _mask_key(self, peer: ClientId) -> Secret:
        return self._derive(peer, Usage.PAIR_MASK, *sorted((self.me, peer)))

    def _derive(self, peer: ClientId, usage: Usage, first: ClientId, second: ClientId) -> Secret:
        shared = agreement.exchange(self.secret, self.publics[peer])
        context = context_digest(KEYGEN_WIRE_ID, self.terms.channel.context)
        ends = (u16(first), u16(second), self.publics[first], self.publics[second])
        return derive(shared, tag(WIRE_ID, usage, context, *ends))
