"""The masking protocol as a scheme: one round bound to its context, and the set-up of a run with every party's keys."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from securefl.crypto.keystream import Cipher
from securefl.crypto.signature import SigningKey
from securefl.errors import ParameterError
from securefl.quantize import Quantizer
from securefl.secagg.base import ClientState, Continue, RoundContext, ServerState
from securefl.secagg.codec import HASH_SIZE
from securefl.secagg.envelope import Channel
from securefl.secagg.journal import Journal, MemoryJournal
from securefl.secagg.ledger import Ledger
from securefl.secagg.masking.client import advertise_keys
from securefl.secagg.masking.graph import SECURITY_BITS, Graph, complete, log2_failure, ring
from securefl.secagg.masking.graph_choice import SHARE_SIZE, choose_seed, commit_share, reveal_share, round_seed
from securefl.secagg.masking.inputs import require_input
from securefl.secagg.masking.member import Member
from securefl.secagg.masking.messages import PHASES, WIRE_ID
from securefl.secagg.masking.server import Advertising, Operator
from securefl.secagg.policy import ExposureRule, Policy
from securefl.secagg.roster import Partner, Roster, SignedRoster
from securefl.types import ClientId, RingVector, Rng, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskingOptions:
    """What the roster of a run fixes; by default one tolerated colluder and the smallest threshold with 2t > n + c."""

    colluders: int = 1
    minimum: int = 2
    threshold: int | None = None
    cipher: Cipher = Cipher.AES_256
    exposure: ExposureRule = ExposureRule.WARN
    sum_tags: int = 0
    neighbours: int = 0
    circle_threshold: int = 0

    def policy(self, parties: int) -> Policy:
        """Return the policy for ``parties`` clients; raises ParameterError."""
        if self.threshold is None:
            return Policy.smallest(parties, colluders=self.colluders, minimum=self.minimum)
        return Policy(parties=parties, threshold=self.threshold, colluders=self.colluders, minimum=self.minimum)


@dataclass(frozen=True, slots=True)
class Party:
    """One client's side of a run: its identity key, its journal and its ledger."""

    identity: SigningKey
    journal: Journal
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class PairwiseMasking:
    """One round of the masking protocol."""

    context: RoundContext
    roster: Roster
    parties: Mapping[ClientId, Party] = field(repr=False)
    ring_seed: bytes = b""
    wire_id: ClassVar[bytes] = WIRE_ID
    phases: ClassVar[tuple[str, ...]] = PHASES

    @property
    def channel(self) -> Channel:
        """What envelopes of this round are written and checked with."""
        return Channel(wire_id=WIRE_ID, context=self.context, keys=self.roster.keys)

    @property
    def graph(self) -> Graph:
        """Who shares masks with whom: everyone, unless the roster fixes a number of neighbours."""
        roster = self.roster
        if not roster.neighbours:
            return complete(roster.clients, roster.policy)
        if len(self.ring_seed) != HASH_SIZE:
            raise ParameterError(f"ring_seed of {len(self.ring_seed)} bytes must have {HASH_SIZE}: partners choose it")
        seed = round_seed(WIRE_ID, self.ring_seed, self.context)
        return ring(roster.clients, roster.neighbours, roster.circle_threshold, seed=seed)

    def client(self, me: ClientId, update: RingVector, *, rng: Rng) -> Continue[ClientState, bytes]:
        """Begin the round as client ``me``.

        Raises:
            ProtocolAbort: WRONG_ROSTER or ROUND_REUSED; nothing was sent.
            ParameterError: the update is no vector of the roster's ring.
        """
        require_input(self.context, self.roster, update)
        party = self.parties[me]
        member = Member(
            me=me, channel=self.channel, roster=self.roster, identity=party.identity, journal=party.journal,
            ledger=party.ledger, graph=self.graph,
        )  # fmt: skip
        return advertise_keys(member, update, rng=rng)

    def server(self, cohort: frozenset[ClientId]) -> ServerState:
        """Return the operator, waiting for the keys of ``cohort``."""
        operator = Operator(channel=self.channel, roster=self.roster, graph=self.graph)
        return Advertising(operator, cohort & self.roster.clients)

    def decryptors(self, *, rng: Rng) -> Mapping[ClientId, ClientState]:
        """There are none."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskingSetup:
    """A run: the roster that everyone signed, and every party's side, held in one process by simulations and tests."""

    run_id: bytes
    signed: SignedRoster
    parties: Mapping[ClientId, Party] = field(repr=False)
    setup_seconds: float
    warnings: tuple[str, ...] = ()
    ring_seed: bytes = b""
    name: ClassVar[str] = "masking"

    @property
    def roster_hash(self) -> bytes:
        """SHA-256 of the roster, 32 bytes."""
        return self.signed.roster.hash

    def round(self, context: RoundContext) -> PairwiseMasking:
        """Return the scheme of one round."""
        return PairwiseMasking(context, self.signed.roster, self.parties, self.ring_seed)


def set_up(
    clients: Sequence[ClientId], *, quantizer: Quantizer, run_id: bytes, rng: Rng, options: object | None = None
) -> MaskingSetup:
    """Return a run for ``clients``: fresh identity keys, a roster signed by everyone and verified.

    Raises:
        ParameterError: the policy can't be met (two clients, say), or ``options`` are not :class:`MaskingOptions`.
        CapacityError: the sum of all clients could wrap.
    """
    started = time.process_time()
    if len(run_id) != 32:
        raise ParameterError(f"run_id of {len(run_id)} bytes must have 32")
    identities = {client: SigningKey.generate(rng=rng) for client in sorted(clients)}
    signed = make_roster(identities, quantizer, MaskingOptions() if options is None else options)
    roster = signed.roster
    parties = {
        client: Party(identity, MemoryJournal(), Ledger(roster.clients, roster.policy, rule=roster.exposure))
        for client, identity in identities.items()
    }
    ring_seed = _choose_ring(roster, identities, run_id, rng=rng) if roster.neighbours else b""
    seconds, warnings = time.process_time() - started, _warnings(roster)
    return MaskingSetup(
        run_id=run_id, signed=signed, parties=parties, setup_seconds=seconds, warnings=warnings, ring_seed=ring_seed
    )


def make_roster(identities: Mapping[ClientId, SigningKey], quantizer: Quantizer, options: object) -> SignedRoster:
    """Return the roster of ``identities`` under ``options``, signed by everyone and verified.

    Raises:
        ParameterError: the policy can't be met, or ``options`` are not :class:`MaskingOptions`.
        CapacityError: the sum of all clients could wrap.
    """
    if not isinstance(options, MaskingOptions):
        raise ParameterError(f"masking takes MaskingOptions, not {type(options).__name__}")
    partners = tuple(Partner(client, f"partner {client}", key.verify_key) for client, key in sorted(identities.items()))
    policy = options.policy(len(partners))
    roster = Roster(
        epoch=1, partners=partners, policy=policy, quantizer=quantizer, cipher=options.cipher, exposure=options.exposure,
        sum_tags=options.sum_tags,
        neighbours=options.neighbours,
        circle_threshold=options.circle_threshold,
    )
    signed = SignedRoster(roster, {client: roster.sign(key) for client, key in identities.items()})
    signed.verify()
    return signed


def _choose_ring(roster: Roster, identities: Mapping[ClientId, SigningKey], run_id: bytes, *, rng: Rng) -> bytes:
    """Play the commit-reveal of all partners, every side checking everything."""
    context = RoundContext(run_id=run_id, round=0, roster_hash=roster.hash, model_hash=bytes(HASH_SIZE))
    channel = Channel(wire_id=WIRE_ID, context=context, keys=roster.keys)
    shares = {me: Secret(rng.bytes(SHARE_SIZE)) for me in identities}
    sealed = {me: commit_share(channel, me, shares[me], 0, identity=key) for me, key in identities.items()}
    commits = {me: own.message for me, own in sealed.items()}
    reveals = {
        me: reveal_share(channel, me, shares[me], commits, own=sealed[me], identity=key) for me, key in identities.items()
    }
    return choose_seed(channel, commits, reveals)


def _warnings(roster: Roster) -> tuple[str, ...]:
    found, policy = [], roster.policy
    if roster.neighbours:
        dropouts = policy.parties - policy.required
        failure = log2_failure(
            policy.parties, roster.neighbours, roster.circle_threshold, colluders=policy.colluders, dropouts=dropouts
        )
        if failure > -SECURITY_BITS:
            found.append(
                f"neighbours={roster.neighbours}: with c={policy.colluders} and {dropouts} dropouts the ring fails with"
                f" probability up to 2^{failure:.1f}, above 2^-{SECURITY_BITS}; plan_graph finds one that does not"
            )
    if policy.required == policy.parties:
        found.append(f"n={policy.parties}: threshold {policy.threshold} tolerates no dropout")
    if policy.parties - policy.colluders == 2:
        found.append("with one colluder the operator learns the sum of two partners")
    if policy.colluders == 0:
        found.append("colluders=0: any partner that works with the operator breaks the guarantee")
    return tuple(found)
