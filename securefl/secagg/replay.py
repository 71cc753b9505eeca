"""An auditor's replay of a transcript, without any secret: signatures, chains, views, thresholds, shares, differencing.

A chain that breaks is a :class:`~securefl.errors.VerificationError`; a rule that a party broke is a :class:`Violation` in the
report, so that one bad round does not hide the others. What a replay can't say: whether an input was honest, or whether the
operator added the vectors up correctly (the vectors are not kept). Nothing else may be left out: whoever writes a transcript
could show an auditor other lists than the clients were sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from securefl.errors import DecodeError, ProtocolAbort, VerificationError
from securefl.secagg.base import RoundContext, Setup
from securefl.secagg.envelope import NO_VIEW, Channel, Envelope, head_size, open_envelope
from securefl.secagg.ledger import Ledger
from securefl.secagg.masking import MaskingSetup, StaticSetup
from securefl.secagg.masking.messages import WIRE_ID, Phase, ShareKind, Signed, decode_released, open_bundle
from securefl.secagg.masking.static import INPUT_PHASE
from securefl.secagg.masking.static import WIRE_ID as STATIC_WIRE_ID
from securefl.secagg.roster import Roster
from securefl.secagg.rounds import OPERATOR
from securefl.secagg.transcript import Recorded, RecordedRound, TranscriptHead, read_transcript
from securefl.types import ClientId

_MAY_BE_DETACHED = (Phase.SHARE_KEYS.name.lower(), Phase.MASKED_INPUT.name.lower())
"""The phases whose messages grow beyond what a transcript keeps: vectors, and sealed shares among very many clients."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that ``party`` broke in ``round`` (``None``: the operator)."""

    round: int
    party: ClientId | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """What happened in a round: who sent which phases, who survived, who dropped out before which phase."""

    round: int
    sent: Mapping[ClientId, tuple[str, ...]]
    survivors: frozenset[ClientId]
    dropped: Mapping[ClientId, str]
    messages: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptReport:
    """The result of a replay. ``signed`` is false for protocols whose messages carry no envelopes: chain only."""

    wire_id: str
    run_id: bytes
    roster_hash: bytes
    signed: bool
    last_hash: bytes
    rounds: tuple[RoundReport, ...]
    violations: tuple[Violation, ...]


def transcript_head(setup: Setup) -> TranscriptHead:
    """Return the first line of a transcript of ``setup``'s run, for :class:`~securefl.secagg.transcript.TranscriptWriter`."""
    if isinstance(setup, MaskingSetup | StaticSetup):
        wire_id = WIRE_ID if isinstance(setup, MaskingSetup) else STATIC_WIRE_ID
        return TranscriptHead(
            wire_id=wire_id,
            run_id=setup.run_id,
            roster_hash=setup.roster_hash,
            signed=setup.signed,
            head_size=head_size(wire_id),
        )
    return TranscriptHead(wire_id=setup.name.encode(), run_id=setup.run_id, roster_hash=setup.roster_hash)


def verify_transcript(path: Path, *, roster_hash: bytes | None = None, last_hash: bytes | None = None) -> TranscriptReport:
    """Return what the transcript at ``path`` shows, everything in it checked that can be checked without secrets.

    Args:
        roster_hash: the hash of the roster that the auditor trusts.
        last_hash: the published end of the chain.

    Raises:
        InputError: the file can't be read or is no transcript.
        VerificationError: the chain breaks, ends elsewhere, or rests on another or an unsigned roster.
    """
    head, rounds, last = read_transcript(path)
    if last_hash is not None and last != last_hash:
        raise VerificationError(f"transcript {path}: the chain ends at {last.hex()[:16]}, not at {last_hash.hex()[:16]}")
    if roster_hash is not None and head.roster_hash != roster_hash:
        raise VerificationError(f"transcript {path}: roster {head.roster_hash.hex()[:16]} is not the trusted one")
    roster = _trusted_roster(head)
    if roster_hash is not None and roster is None:
        raise VerificationError(f"transcript {path}: its messages are not signed, so nothing in it rests on the trusted roster")
    reports, violations = [], list(_round_order(rounds))
    for recorded in rounds:
        replay = _Replay(head, roster, recorded)
        violations += replay.violations()
        reports.append(replay.report())
    if roster is not None and head.wire_id == WIRE_ID:
        violations += _differences(roster, rounds, reports)
    return TranscriptReport(
        wire_id=head.wire_id.decode(),
        run_id=head.run_id,
        roster_hash=head.roster_hash,
        signed=roster is not None,
        last_hash=last,
        rounds=tuple(reports),
        violations=tuple(violations),
    )


def _trusted_roster(head: TranscriptHead) -> Roster | None:
    """Return the roster that the messages are checked with, ``None`` for a protocol whose messages carry no envelopes."""
    if (head.signed is not None) != (head.wire_id in (WIRE_ID, STATIC_WIRE_ID)):
        what = "must have a signed roster if its messages are signed, and else none"
        raise VerificationError(f"transcript of {head.wire_id!r} {what}")
    if head.signed is None:
        return None
    head.signed.verify()
    if head.signed.roster.hash != head.roster_hash:
        raise VerificationError("the transcript's roster does not have the hash that its first line says")
    return head.signed.roster


def _round_order(rounds: tuple[RecordedRound, ...]) -> Iterator[Violation]:
    last = 0
    for recorded in rounds:
        if recorded.round <= last:
            yield Violation(recorded.round, None, f"round={recorded.round} must be > {last}")
        last = max(last, recorded.round)


def _differences(roster: Roster, rounds: Sequence[RecordedRound], reports: Sequence[RoundReport]) -> Iterator[Violation]:
    """Yield the rounds for whose sum somebody released shares though with earlier ones it shows too few partners."""
    ledger = Ledger(roster.clients, roster.policy, rule=roster.exposure)
    for recorded, report in zip(rounds, reports, strict=True):
        if any(Phase.UNMASK.name.lower() in phases for phases in report.sent.values()):
            try:
                ledger.admit(recorded.model_hash, report.survivors, round=recorded.round)
            except ProtocolAbort as error:
                yield Violation(recorded.round, None, f"opened a {error.reason.value}: {error.detail}")


class _Replay:
    """The replay of one round; each check yields violations and goes on where it can."""

    def __init__(self, head: TranscriptHead, roster: Roster | None, recorded: RecordedRound) -> None:
        self._wire_id = head.wire_id
        self._roster = roster
        self._recorded = recorded
        self._context = RoundContext(
            run_id=head.run_id, round=recorded.round, roster_hash=head.roster_hash, model_hash=recorded.model_hash
        )
        self._chain: dict[ClientId, bytes] = {}
        self._sent: dict[tuple[ClientId, int], bytes] = {}
        self._view: dict[ClientId, bytes] = {}
        self._survivors: frozenset[ClientId] = frozenset()
        self._released: dict[tuple[ClientId, ClientId], ShareKind] = {}

    def report(self) -> RoundReport:
        """Return who sent what and who dropped out."""
        phases = list(dict.fromkeys(m.phase for m in self._recorded.messages))
        sent: dict[ClientId, tuple[str, ...]] = {}
        for message in self._recorded.messages:
            if message.sender != OPERATOR:
                sent[message.sender] = tuple(dict.fromkeys((*sent.get(message.sender, ()), message.phase)))
        dropped = {client: phases[len(done)] for client, done in sent.items() if len(done) < len(phases)}
        return RoundReport(
            round=self._recorded.round,
            sent=sent,
            survivors=self._survivors or frozenset(sent) - frozenset(dropped),
            dropped=dropped,
            messages=len(self._recorded.messages),
            size=sum(message.size for message in self._recorded.messages),
        )

    def violations(self) -> list[Violation]:
        """Return every rule that was broken; none for protocols without envelopes."""
        if self._roster is None:
            return []
        channel = Channel(wire_id=self._wire_id, context=self._context, keys=self._roster.keys)
        found: list[Violation] = []
        views: dict[str, bytes] = {}
        for message in self._recorded.messages:
            party = None if message.sender == OPERATOR else message.sender
            try:
                if message.detached and message.phase not in _MAY_BE_DETACHED:
                    found.append(Violation(self._recorded.round, party, f"{message.phase} was recorded without its content"))
                elif self._wire_id == STATIC_WIRE_ID:
                    found += self._static_input(channel, message)
                elif party is None:
                    found += self._operator(channel, message, views)
                else:
                    found += self._client(channel, message)
            except (ProtocolAbort, DecodeError, KeyError) as error:
                found.append(Violation(self._recorded.round, party, str(error)))
        return found

    def _operator(self, channel: Channel, message: Recorded, views: dict[str, bytes]) -> Iterator[Violation]:
        phase = Phase[message.phase.upper()]
        if message.detached:
            yield self._by_operator(f"what asked for {message.phase} was recorded without its content")
            return
        self._view[message.receiver] = message.sha256
        if views.setdefault(message.phase, message.sha256) != message.sha256:
            yield self._by_operator(f"clients were shown different messages before {message.phase}")
        listed = open_bundle(channel, message.data, phase)
        if self._roster is not None and len(listed) < self._roster.policy.required:
            need = self._roster.policy.required
            yield self._by_operator(f"went on to {message.phase} with {len(listed)} clients, required {need}")
        for sender, envelope in listed.items():
            if envelope.digest != self._sent.get((sender, phase - 1)):
                yield self._by_operator(f"relayed an envelope of client {sender} that it is not on record to have sent")
        if phase is Phase.CONSISTENCY:
            self._survivors = frozenset(listed)

    def _static_input(self, channel: Channel, message: Recorded) -> Iterator[Violation]:
        """Check the one message of static masking: a signed input of this round, the same one if it comes again."""
        envelope = open_envelope(channel, message.data, INPUT_PHASE, detached=message.detached)
        if envelope.sender != message.sender:
            yield self._by(message.sender, f"sent an envelope of client {envelope.sender}")
        if self._chain.setdefault(message.sender, envelope.digest) != envelope.digest:
            yield self._by(message.sender, "sent two different inputs in one round")

    def _client(self, channel: Channel, message: Recorded) -> Iterator[Violation]:
        phase = Phase[message.phase.upper()]
        envelope = open_envelope(channel, message.data, phase, detached=message.detached)
        if envelope.digest == self._chain.get(message.sender):
            return  # a byte-identical retry
        if envelope.sender != message.sender:
            yield self._by(message.sender, f"sent an envelope of client {envelope.sender}")
        if envelope.previous != self._chain.get(message.sender, channel.genesis(message.sender)):
            yield self._by(message.sender, f"{message.phase} does not follow its previous envelope")
        if envelope.view != self._view.get(message.sender, NO_VIEW):
            yield self._by(message.sender, f"{message.phase} does not answer what it was sent")
        self._chain[message.sender] = self._sent[message.sender, phase] = envelope.digest
        yield from self._content(channel, phase, envelope)

    def _content(self, channel: Channel, phase: Phase, envelope: Envelope) -> Iterator[Violation]:
        if phase is Phase.CONSISTENCY and Signed.decode(envelope.content, frozenset(channel.keys)).survivors != self._survivors:
            yield self._by(envelope.sender, "signed other survivors than were announced")
        if phase is Phase.UNMASK:
            for row in decode_released(envelope.content):
                kind = self._released.setdefault((envelope.sender, row.owner), row.kind)
                wanted = ShareKind.SELF_MASK_SEED if row.owner in self._survivors else ShareKind.MASK_KEY
                if row.kind is not kind or row.kind is not wanted:
                    yield self._by(envelope.sender, f"released a share of {row.owner} of a kind that it must keep")

    def _by(self, party: ClientId, what: str) -> Violation:
        return Violation(self._recorded.round, party, what)

    def _by_operator(self, what: str) -> Violation:
        return Violation(self._recorded.round, None, what)
