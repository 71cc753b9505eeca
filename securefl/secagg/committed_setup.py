"""The parties of a run with decryptors: partners on a signed roster, decryptors beside it, one hash over all of it.

In a deployment every party makes its own keys; here they are together so that a whole run fits in one process. Decryptors are
parties of their own: neither the operator nor a partner's data node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from securefl.crypto.domain import Usage, tag
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason, ParameterError, ProtocolAbort
from securefl.quantize import Quantizer
from securefl.secagg.base import DECRYPTOR_BASE, RoundContext
from securefl.secagg.committed import Party
from securefl.secagg.committed_messages import Terms
from securefl.secagg.envelope import Channel
from securefl.secagg.journal import MemoryJournal
from securefl.secagg.ledger import Ledger
from securefl.secagg.policy import Policy
from securefl.secagg.roster import Partner, Roster, SignedRoster
from securefl.types import ClientId, Rng

SECURE_MINIMUM = 3
"""Below three partners a sum tells one partner the other's update."""

MAXIMUM_LENGTH = 1 << 26
"""Coordinates that a decryptor accepts in a vector: bounds what it parses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consortium:
    """All parties of a run and what they have signed. ``hash`` covers roster, decryptors' keys and scheme parameters."""

    wire_id: bytes
    roster: Roster
    decryptors: tuple[ClientId, ...]
    parties: Mapping[ClientId, Party] = field(repr=False)
    hash: bytes

    def terms(self, context: RoundContext, *, run_id: bytes, public_key: bytes, answers: int) -> Terms:
        """Return the terms of one round under ``public_key``.

        Raises:
            ProtocolAbort: the context is of another run or roster.
        """
        if context.roster_hash != self.hash:
            raise ProtocolAbort(AbortReason.WRONG_ROSTER, round=context.round)
        if context.run_id != run_id:
            raise ProtocolAbort(AbortReason.WRONG_ROUND, round=context.round, detail="another run")
        keys = {party: self.parties[party].signer.verify_key for party in self.parties}
        return Terms(
            channel=Channel(wire_id=self.wire_id, context=context, keys=keys),
            key_hash=hashlib.sha256(public_key).digest(),
            minimum=self.roster.policy.required,
            answers=answers,
            maximum_length=MAXIMUM_LENGTH,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What a consortium is founded on: ``parameters`` are the scheme's, in bytes that everyone signs."""

    wire_id: bytes
    quantizer: Quantizer
    policy: Policy
    decryptors: int
    parameters: bytes


def default_policy(clients: int) -> Policy:
    """Return the policy of a homomorphic sum where none is asked for: at least three survivors, one colluding partner.

    Raises:
        ParameterError: fewer than three clients.
    """
    if clients < SECURE_MINIMUM:
        raise ParameterError(f"clients={clients} must be >= {SECURE_MINIMUM} for a homomorphic sum")
    return Policy.smallest(clients)


def found(clients: Sequence[ClientId], founding: Founding, *, rng: Rng) -> Consortium:
    """Return the parties of a run: every key fresh, the roster signed by every partner and verified.

    Raises:
        ParameterError: clients come twice, or the policy is for another number of them.
        CapacityError: the sum of all clients could wrap.
    """
    decryptors = tuple(ClientId(DECRYPTOR_BASE + i) for i in range(1, founding.decryptors + 1))
    keys = {party: SigningKey.generate(rng=rng) for party in (*sorted(clients), *decryptors)}
    partners = tuple(Partner(client, f"partner {client}", keys[client].verify_key) for client in sorted(clients))
    roster = Roster(epoch=1, partners=partners, policy=founding.policy, quantizer=founding.quantizer)
    signed = SignedRoster(roster, {})
    for client in sorted(clients):
        signed = signed.signed_by(client, keys[client])
    signed.verify()
    fields = (roster.hash, *(keys[decryptor].verify_key for decryptor in decryptors), founding.parameters)
    return Consortium(
        wire_id=founding.wire_id,
        roster=roster,
        decryptors=decryptors,
        parties={party: Party(key, MemoryJournal(), _ledger_of(party, roster)) for party, key in keys.items()},
        hash=hashlib.sha256(tag(founding.wire_id, Usage.ROSTER, *fields)).digest(),
    )


def _ledger_of(party: ClientId, roster: Roster) -> Ledger | None:
    """Return a decryptor's ledger; a client opens nothing and has none."""
    return Ledger(roster.clients, roster.policy, rule=roster.exposure) if party > DECRYPTOR_BASE else None
