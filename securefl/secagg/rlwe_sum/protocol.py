"""The run of a threshold RLWE sum: parties, options, key epochs, and the scheme of each round."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from securefl.crypto.rlwe.budget import MAXIMUM_ATTEMPTS, NoiseBudget, smallest_budget
from securefl.crypto.rlwe.cipher import Encryptor
from securefl.errors import ParameterError
from securefl.quantize import Quantizer
from securefl.secagg.base import ClientState, Continue, RoundContext, ServerState
from securefl.secagg.committed import CollectingCommitments, Party, begin_client
from securefl.secagg.committed_messages import Request, Terms
from securefl.secagg.committed_setup import Consortium, Founding, default_policy, found
from securefl.secagg.envelope import Channel
from securefl.secagg.integer_sum import client_limit
from securefl.secagg.policy import Policy
from securefl.secagg.rlwe_sum.cipher import RlweCipher
from securefl.secagg.rlwe_sum.decryption_journal import DecryptionJournal, MemoryDecryptionJournal
from securefl.secagg.rlwe_sum.decryptor import Decryptor, Waiting
from securefl.secagg.rlwe_sum.key import WIRE_ID, MemberKey
from securefl.secagg.rlwe_sum.keygen import generate, verify_confirmations
from securefl.secagg.rlwe_sum.operator import Opening, Relay
from securefl.secagg.rlwe_sum.talk import KEYGEN_WIRE_ID, KeyTerms
from securefl.types import ClientId, RingVector, Rng


@dataclass(frozen=True, slots=True, kw_only=True)
class RlweOptions:
    """Who decrypts, and what the noise budget must cover.

    Attributes:
        policy: of the partners; the smallest one that tolerates a colluding partner where it is ``None``.
        committee: thresholds of the decryptors, 2t > n + c; every partner has a decryptor where it is ``None``.
        length: the most coordinates of a vector.
        attempts: sets of decryptors that may be tried for one sum, 1 to 3.
        epoch_rounds: rounds in a row that a key serves. Who sends a malformed upload and reads the result may learn the key.
        statistical_bits: minus the base-2 logarithm of what smudging leaves visible over a key's life.
    """

    policy: Policy | None = None
    committee: Policy | None = None
    length: int = 1 << 24
    attempts: int = MAXIMUM_ATTEMPTS
    epoch_rounds: int = 1
    statistical_bits: int = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RlweSum:
    """One round: terms and cipher are public, ``keys`` and journals every decryptor's own."""

    terms: Terms
    cipher: RlweCipher
    parties: Mapping[ClientId, Party] = field(repr=False)
    keys: Mapping[ClientId, MemberKey] = field(repr=False)
    journals: Mapping[ClientId, DecryptionJournal] = field(repr=False)
    wire_id: ClassVar[bytes] = WIRE_ID
    phases: ClassVar[tuple[str, ...]] = ("commit", "upload")

    def client(self, me: ClientId, update: RingVector, *, rng: Rng) -> Continue[ClientState, bytes]:
        """Encrypt ``update`` and commit to it.

        Raises:
            ProtocolAbort: this client has begun the round, or a later one, before.
            CapacityError: a coordinate or the length is outside what the budget covers.
        """
        return begin_client(self.terms, self.cipher, self.parties[me], me, update, rng=rng)

    def server(self, cohort: frozenset[ClientId]) -> ServerState:
        """Wait for the commitments of ``cohort``."""
        return CollectingCommitments(self.terms, self.cipher, cohort, self._ask)

    def decryptors(self, *, rng: Rng) -> Mapping[ClientId, ClientState]:
        """Return the decryptors, each waiting to be asked."""
        return {me: Waiting(self.decryptor(me, rng=rng)) for me in self.keys}

    def decryptor(self, me: ClientId, *, rng: Rng) -> Decryptor:
        """Return what decryptor ``me`` holds in this round."""
        return Decryptor(
            terms=self.terms, cipher=self.cipher, signer=self.parties[me].signer, key=self.keys[me],
            journal=self.journals[me], ledger=self.parties[me].ledger, rng=rng,
        )  # fmt: skip

    def _ask(self, request: Request) -> Relay:
        return Opening(terms=self.terms, cipher=self.cipher, request=request).ask()


class KeyEpochs:
    """The decryptors' keys over a run: a fresh joint key when the last has served its rounds."""

    __slots__ = ("_budget", "_consortium", "_current", "_encryptor", "_epoch", "_rng", "_run_id")

    def __init__(self, consortium: Consortium, budget: NoiseBudget, run_id: bytes, *, rng: Rng) -> None:
        self._consortium, self._budget, self._run_id, self._rng = consortium, budget, run_id, rng
        self._current: dict[ClientId, MemberKey] = {}
        self._encryptor: Encryptor | None = None
        self._epoch = 0

    def of_round(self, round: int) -> tuple[dict[ClientId, MemberKey], Encryptor]:
        """Return the decryptors' keys of ``round`` and the joint public key, its confirmations verified as by every client.

        Raises:
            ProtocolAbort: a decryptor stopped the key generation, or did not confirm the key.
        """
        encryptor = self._encryptor
        if encryptor is None or not self._epoch <= round < self._epoch + self._budget.rounds:
            terms = self.terms(round)
            signers = {member: self._consortium.parties[member].signer for member in terms.members}
            self._current, confirmations = generate(terms, signers, rng=self._rng)
            public = self._current[terms.members[0]].public
            verify_confirmations(terms, public, confirmations)
            encryptor, self._epoch = Encryptor(public, terms.reference, self._budget), round
            self._encryptor = encryptor
        return self._current, encryptor

    def terms(self, epoch: int) -> KeyTerms:
        """Return the terms of the key generation whose first round is ``epoch``."""
        context = RoundContext(run_id=self._run_id, round=epoch, roster_hash=self._consortium.hash, model_hash=bytes(32))
        keys = {member: self._consortium.parties[member].signer.verify_key for member in self._consortium.decryptors}
        return KeyTerms(channel=Channel(wire_id=KEYGEN_WIRE_ID, context=context, keys=keys), budget=self._budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class RlweSetup:
    """A run's parties, its noise budget and its key epochs."""

    run_id: bytes
    consortium: Consortium
    budget: NoiseBudget
    epochs: KeyEpochs = field(repr=False)
    journals: Mapping[ClientId, DecryptionJournal] = field(repr=False)
    setup_seconds: float
    warnings: tuple[str, ...]
    name: ClassVar[str] = "rlwe"

    @property
    def roster_hash(self) -> bytes:
        """SHA-256 over roster, decryptors and noise budget, 32 bytes."""
        return self.consortium.hash

    def round(self, context: RoundContext) -> RlweSum:
        """Return the scheme of one round, under the epoch's key (fresh every round by default).

        Raises:
            ProtocolAbort: the context is of another run or roster, or the key generation was stopped.
        """
        threshold = self.budget.threshold
        # Refused before a key is made for it.
        self.consortium.terms(context, run_id=self.run_id, public_key=b"", answers=threshold)
        keys, encryptor = self.epochs.of_round(context.round)
        key_hash = next(iter(keys.values())).key_hash
        terms = self.consortium.terms(context, run_id=self.run_id, public_key=key_hash, answers=threshold)
        return RlweSum(
            terms=replace(terms, maximum_length=self.budget.length),
            cipher=RlweCipher(encryptor, self.consortium.roster.quantizer),
            parties=self.consortium.parties,
            keys=keys,
            journals=self.journals,
        )


def set_up(
    clients: Sequence[ClientId], *, quantizer: Quantizer, run_id: bytes, rng: Rng, options: object | None = None
) -> RlweSetup:
    """Return a run under threshold RLWE; ``options`` is an :class:`RlweOptions`.

    Raises:
        ParameterError: the options are another scheme's, or fewer than three clients.
        CapacityError: the sum of all clients could wrap, or no secure ring carries sum, noise and smudging.
    """
    started = time.process_time()
    chosen = RlweOptions() if options is None else options
    if not isinstance(chosen, RlweOptions):
        raise ParameterError(f"rlwe takes RlweOptions, not {type(chosen).__name__}")
    policy = chosen.policy or default_policy(len(clients))
    committee = chosen.committee or policy
    budget = smallest_budget(
        holders=committee.parties, threshold=committee.threshold, clients=len(clients),
        limit=len(clients) * client_limit(quantizer), length=chosen.length, attempts=chosen.attempts,
        rounds=chosen.epoch_rounds, statistical_bits=chosen.statistical_bits,
    )  # fmt: skip
    founding = Founding(
        wire_id=WIRE_ID, quantizer=quantizer, policy=policy, decryptors=committee.parties,
        parameters=f"{budget!r} {committee!r}".encode(),
    )  # fmt: skip
    consortium = found(clients, founding, rng=rng)
    return RlweSetup(
        run_id=run_id,
        consortium=consortium,
        budget=budget,
        epochs=KeyEpochs(consortium, budget, run_id, rng=rng),
        journals={member: MemoryDecryptionJournal() for member in consortium.decryptors},
        setup_seconds=time.process_time() - started,
        warnings=(
            "RLWE decryption is not safe against malformed ciphertexts: encryptors must be honest",
            "nothing shows that a decryptor's part of the RLWE key is short: decryptors must be honest when they make it",
        ),
    )
