"""The key schedule: which key masks what, derived from which secret, bound to what. SPEC.md prints it as a table.

Every key is HKDF-SHA256 of its secret under a domain tag that names run, round, roster hash, model hash, both parties with
their advertised keys, and the stream; so a key serves one vector (or one message) and a different model gives other masks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from securefl.crypto.agreement import exchange
from securefl.crypto.commitment import commit, verify_commitment
from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import derive
from securefl.errors import AbortReason, VerificationError
from securefl.secagg.codec import context_digest, u8, u16
from securefl.secagg.envelope import Channel
from securefl.types import ClientId, Secret

VECTOR_STREAM = 0
"""The stream that masks the vector; others mask the tags of a verifiable sum."""


@dataclass(frozen=True, slots=True)
class KeyEnd:
    """One end of a pair: whose key, which public key."""

    client: ClientId
    public: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeySchedule:
    """The keys of one round of one protocol."""

    channel: Channel

    def pair_mask(self, secret: Secret, own: KeyEnd, peer: KeyEnd, *, stream: int = VECTOR_STREAM) -> Secret:
        """Return the mask key of an unordered pair: both ends compute the same; the lower client number adds it.

        Raises:
            ProtocolAbort: BAD_KEY, the peer's public key is unusable.
        """
        low, high = sorted((own, peer), key=lambda end: end.client)
        fields = (u16(low.client), low.public, u16(high.client), high.public, u8(stream))
        return derive(self._exchange(secret, peer), self._tag(Usage.PAIR_MASK, *fields))

    def share_seal(self, secret: Secret, sender: KeyEnd, recipient: KeyEnd, *, sending: bool) -> Secret:
        """Return the key of the one message from ``sender`` to ``recipient``; ``secret`` is the sender's if ``sending``."""
        shared = self._exchange(secret, recipient if sending else sender)
        fields = (u16(sender.client), sender.public, u16(recipient.client), recipient.public)
        return derive(shared, self._tag(Usage.SHARE_SEAL, *fields))

    def share_binding(self, key_list: bytes, sender: ClientId, recipient: ClientId) -> bytes:
        """Return the associated data of one sealed share pair; ``key_list`` is the hash of all advertised keys."""
        return self._tag(Usage.SHARE_SEAL, key_list, u16(sender), u16(recipient))

    def self_mask(self, seed: Secret, owner: ClientId, *, stream: int = VECTOR_STREAM) -> Secret:
        """Return the key of the mask that ``owner`` adds for itself."""
        return derive(seed, self._tag(Usage.SELF_MASK, u16(owner), u8(stream)))

    def commitment(self, seed: Secret, owner: ClientId) -> bytes:
        """Return the commitment to ``owner``'s self-mask seed, 32 bytes."""
        return commit(seed, self._tag(Usage.SEED_COMMITMENT, u16(owner)))

    def verify_seed(self, seed: Secret, owner: ClientId, commitment: bytes) -> None:
        """Check a reconstructed seed against what its owner advertised.

        Raises:
            ProtocolAbort: BAD_COMMITMENT; the seed must not be used.
        """
        try:
            verify_commitment(commitment, seed, self._tag(Usage.SEED_COMMITMENT, u16(owner)))
        except VerificationError as error:
            raise self.channel.abort(AbortReason.BAD_COMMITMENT, owner, "self-mask seed") from error

    def _exchange(self, secret: Secret, peer: KeyEnd) -> Secret:
        try:
            return exchange(secret, peer.public)
        except VerificationError as error:
            raise self.channel.abort(AbortReason.BAD_KEY, peer.client, str(error)) from error

    def _tag(self, usage: Usage, *fields: bytes) -> bytes:
        return tag(self.channel.wire_id, usage, context_digest(self.channel.wire_id, self.channel.context), *fields)
