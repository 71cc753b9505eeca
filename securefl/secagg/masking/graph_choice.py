"""Choosing the ring together: every partner commits to a random share, then reveals it; the hash of all shares is the seed.

Nobody can steer the seed, because a share is fixed before any other is seen; a partner can only refuse to reveal, which
restarts the choice under the next epoch, at most three times, and the ring's failure bound is multiplied accordingly.
Envelopes are signed and bound to run and roster (round 0); each round's ring follows from the seed, run, round and roster, not
from the model, which an operator could vary until it likes the ring. What it can do is to skip round numbers: a partner that
follows it over k of them has given it k more rings to choose from, and the failure bound is to be multiplied by k + 1; a
partner follows over at most :data:`~securefl.secagg.journal.MAX_SKIP` at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from securefl.crypto.commitment import COMMITMENT_SIZE, commit, verify_commitment
from securefl.crypto.domain import Usage, tag
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason, TooFewClients, VerificationError
from securefl.secagg.base import RoundContext
from securefl.secagg.codec import context_digest, u8, u16, u32
from securefl.secagg.envelope import NO_VIEW, Channel, Sealed, Slip, open_envelope, seal
from securefl.secagg.masking.graph import MAX_RESTARTS
from securefl.types import ClientId, Secret

COMMIT_PHASE = 11
REVEAL_PHASE = 12
SHARE_SIZE = 32


def commit_share(channel: Channel, me: ClientId, share: Secret, epoch: int, *, identity: SigningKey) -> Sealed:
    """Return the signed commitment of ``me`` to its share of the seed.

    Raises:
        ProtocolAbort: TOO_FEW_CLIENTS, the choice was restarted too often.
    """
    if not 0 <= epoch <= MAX_RESTARTS:
        raise channel.abort(AbortReason.TOO_FEW_CLIENTS, detail=f"epoch={epoch} must be <= {MAX_RESTARTS}")
    slip = Slip(phase=COMMIT_PHASE, sender=me, previous=channel.genesis(me), view=NO_VIEW)
    return seal(channel, slip, [u8(epoch), commit(share, _info(channel, me, epoch))], key=identity)


def reveal_share(
    channel: Channel, me: ClientId, share: Secret, commits: Mapping[ClientId, bytes], *, own: Sealed, identity: SigningKey
) -> bytes:
    """Return the signed reveal of ``me``, once every partner's commitment is there.

    Raises:
        ProtocolAbort: a commitment is missing, changed or not signed; the share stays secret.
    """
    read_commitments(channel, commits)
    if commits[me] != own.message:
        raise channel.abort(AbortReason.MISSING_SELF, me)
    slip = Slip(phase=REVEAL_PHASE, sender=me, previous=own.digest, view=_view(commits))
    return seal(channel, slip, [share.expose()], key=identity).message


def choose_seed(channel: Channel, commits: Mapping[ClientId, bytes], reveals: Mapping[ClientId, bytes]) -> bytes:
    """Return the seed of the ring, 32 bytes.

    Raises:
        TooFewClients: a reveal is missing; begin again under the next epoch.
        ProtocolAbort: a reveal does not match its commitment, or was made on other commitments.
    """
    found = read_commitments(channel, commits)
    if set(reveals) != set(channel.keys):
        raise TooFewClients(round=channel.context.round, have=len(reveals), need=len(channel.keys))
    shares = []
    for sender in sorted(reveals):
        envelope = open_envelope(channel, reveals[sender], REVEAL_PHASE)
        if envelope.sender != sender or len(envelope.content) != SHARE_SIZE:
            raise channel.abort(AbortReason.MALFORMED, sender)
        if envelope.view != _view(commits):
            raise channel.abort(AbortReason.INCONSISTENT_VIEW, sender)
        share, (epoch, commitment) = Secret(bytes(envelope.content)), found[sender]
        try:
            verify_commitment(commitment, share, _info(channel, sender, epoch))
        except VerificationError as error:
            raise channel.abort(AbortReason.BAD_COMMITMENT, sender) from error
        shares.append(share.expose())
    return hashlib.sha256(tag(channel.wire_id, Usage.GRAPH, *shares)).digest()


def round_seed(wire_id: bytes, seed: bytes, context: RoundContext) -> bytes:
    """Return the seed of one round's ring, 32 bytes, whatever its model: that could be varied until the ring is to taste."""
    fields = (seed, context.run_id, u32(context.round), context.roster_hash)
    return hashlib.sha256(tag(wire_id, Usage.GRAPH, *fields)).digest()


def read_commitments(channel: Channel, commits: Mapping[ClientId, bytes]) -> dict[ClientId, tuple[int, bytes]]:
    """Return every partner's epoch and commitment; all partners, one epoch.

    Raises:
        ProtocolAbort: one is missing, malformed, not signed, or of another epoch than the first.
    """
    if set(commits) != set(channel.keys):
        raise TooFewClients(round=channel.context.round, have=len(commits), need=len(channel.keys))
    found = {}
    for sender in sorted(commits):
        envelope = open_envelope(channel, commits[sender], COMMIT_PHASE)
        if envelope.sender != sender or len(envelope.content) != 1 + COMMITMENT_SIZE:
            raise channel.abort(AbortReason.MALFORMED, sender)
        found[sender] = (envelope.content[0], bytes(envelope.content[1:]))
        if found[sender][0] != next(iter(found.values()))[0]:
            raise channel.abort(AbortReason.WRONG_ROUND, sender, f"epoch={found[sender][0]}")
    return found


def _info(channel: Channel, client: ClientId, epoch: int) -> bytes:
    context = context_digest(channel.wire_id, channel.context)
    return tag(channel.wire_id, Usage.GRAPH_COMMITMENT, context, u16(client), u8(epoch))


def _view(commits: Mapping[ClientId, bytes]) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(commits[client]).digest() for client in sorted(commits))).digest()
