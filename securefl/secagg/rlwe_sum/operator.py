"""The operator's side of an opening: it chooses a set of decryptors, relays, and combines. It holds no key.

A decryptor that does not answer, or whose answer is malformed by itself, ends the attempt: the next one goes to another set,
with fresh encryptions of zero from all of its members, and the sum stays the same. An operator that lies about who answered
gets another masked and smudged answer, which the noise budget counts; after the last attempt the round is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from securefl.errors import AbortReason, DecodeError, ProtocolAbort, TooFewClients
from securefl.secagg.base import Continue, Finished, OpenedSum, ServerState
from securefl.secagg.codec import u8, u64
from securefl.secagg.committed import BadAnswerError, BadCiphertextError, read_answers
from securefl.secagg.committed_messages import Request, Terms, encode_request
from securefl.secagg.rlwe_sum.cipher import RlweCipher
from securefl.secagg.rlwe_sum.decryptor import read_agreements, read_zeros
from securefl.secagg.rlwe_sum.messages import ZERO, Asks, Attempt, Expected, encode_bundle
from securefl.types import ClientId

Relay: TypeAlias = "Continue[ServerState, Mapping[ClientId, bytes]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What the operator holds while a sum is opened: decryptors that did not answer (``silent``), or not well (``refused``)."""

    terms: Terms
    cipher: RlweCipher
    request: Request = field(repr=False)
    attempt: Attempt = field(default_factory=Attempt)
    silent: frozenset[ClientId] = frozenset()
    refused: Mapping[ClientId, ProtocolAbort] = field(default_factory=dict)

    def ask(self) -> Relay:
        """Begin the next attempt with the first ``threshold`` decryptors that are neither silent nor refused.

        Raises:
            ProtocolAbort: NO_ATTEMPT_LEFT, or fewer decryptors than the threshold are left; why the first was refused, if any.
        """
        gone = self.silent.union(self.refused)
        number, left = self.attempt.number + 1, [one for one in self.terms.decryptors if one not in gone]
        if number > self.cipher.budget.attempts or len(left) < self.terms.answers:
            for why in self.refused.values():
                raise why
        if number > self.cipher.budget.attempts:
            raise self.terms.channel.abort(AbortReason.NO_ATTEMPT_LEFT, None, f"attempts={self.cipher.budget.attempts}")
        if len(left) < self.terms.answers:
            raise TooFewClients(round=self.terms.channel.context.round, have=len(left), need=self.terms.answers)
        attempt = Attempt(number, frozenset(left[: self.terms.answers]))
        content = encode_request(self.request.commitments, self.request.uploads)
        message = b"".join((u8(Asks.OPEN), attempt.encode(), u64(len(content)), content))
        return Continue(AskedToAgree(replace(self, attempt=attempt)), dict.fromkeys(sorted(attempt.members), message))

    def missing(self, inbound: Mapping[ClientId, bytes]) -> frozenset[ClientId]:
        """Return the members of the set that did not answer.

        Raises:
            ProtocolAbort: somebody else did.
        """
        strangers = sorted(set(inbound) - self.attempt.members)
        if strangers:
            raise self.terms.channel.abort(AbortReason.UNKNOWN_PARTY, strangers[0], "was not asked")
        return self.attempt.members - set(inbound)

    def again(self, missing: frozenset[ClientId]) -> Relay:
        """Begin another attempt without ``missing``."""
        return replace(self, silent=self.silent | missing).ask()

    def without(self, refused: Mapping[ClientId, ProtocolAbort]) -> Relay:
        """Begin another attempt without those whose answers were ``refused``."""
        return replace(self, refused={**self.refused, **refused}).ask()

    def relay(self, asks: Asks, bundle: bytes) -> Mapping[ClientId, bytes]:
        """Return ``bundle`` for every member of the set."""
        return dict.fromkeys(sorted(self.attempt.members), u8(asks) + bundle)


@dataclass(frozen=True, slots=True)
class AskedToAgree:
    """The operator, waiting for the set's agreements."""

    opening: Opening

    def next(self, inbound: Mapping[ClientId, bytes]) -> Relay:
        """Relay the agreements; without all of them, try another set.

        Raises:
            ProtocolAbort: an agreement is refused, or no attempt is left.
        """
        opening = self.opening
        missing = opening.missing(inbound)
        if missing:
            return opening.again(missing)
        bundle = encode_bundle(inbound)
        found = read_agreements(opening.terms, opening.attempt, opening.request.hash, bundle)
        view, message = hashlib.sha256(bundle).digest(), opening.relay(Asks.ANSWER, bundle)
        if opening.attempt.number == 1:
            return Continue(AskedToAnswer(opening, view, {}), message)
        promised = {sender: one.zero for sender, (_, one) in found.items()}
        expected = Expected(phase=ZERO, previous={sender: one.digest for sender, (one, _) in found.items()}, view=view)
        return Continue(AskedForZeros(opening, promised, expected), message)


@dataclass(frozen=True, slots=True)
class AskedForZeros:
    """The operator, waiting for the set's encryptions of zero."""

    opening: Opening
    promised: Mapping[ClientId, bytes]
    expected: Expected

    def next(self, inbound: Mapping[ClientId, bytes]) -> Relay:
        """Relay the encryptions of zero; without all of them, try another set.

        Raises:
            ProtocolAbort: one is refused, or no attempt is left.
        """
        missing = self.opening.missing(inbound)
        if missing:
            return self.opening.again(missing)
        bundle = encode_bundle(inbound)
        zeros = read_zeros(self.opening.terms, bundle, self.promised, self.expected)
        waiting = AskedToAnswer(self.opening, hashlib.sha256(bundle).digest(), zeros)
        return Continue(waiting, self.opening.relay(Asks.ANSWER_WITH_ZEROS, bundle))


@dataclass(frozen=True, slots=True)
class AskedToAnswer:
    """The operator, waiting for the set's answers; ``zeros`` are the encryptions of zero in the sum."""

    opening: Opening
    view: bytes
    zeros: Mapping[ClientId, memoryview] = field(repr=False)

    def next(self, inbound: Mapping[ClientId, bytes]) -> Relay | Finished[OpenedSum]:
        """Combine the answers; without all of them, or with a malformed one, try another set.

        Raises:
            ProtocolAbort: BAD_SHARE, the sum of all answers is outside the noise bound (nobody is named: no answer carries a
                proof); BAD_CIPHERTEXT; or no attempt or too few decryptors are left (the first malformed answer is named).
        """
        opening = self.opening
        missing = opening.missing(inbound)
        if missing:
            return opening.again(missing)
        terms, channel = opening.terms, opening.terms.channel
        answers, refused = read_answers(terms, inbound, request=self.view)
        if refused:
            return opening.without(refused)
        survivors = {sender: one.body for sender, one in opening.request.uploads.items()}
        try:
            opened = opening.cipher.combine(answers, {**survivors, **self.zeros}, opening.request.commitments.length)
        except BadAnswerError as error:
            return opening.without({error.party: channel.abort(AbortReason.BAD_SHARE, error.party, str(error))})
        except BadCiphertextError as error:
            raise channel.abort(AbortReason.BAD_CIPHERTEXT, error.party, str(error)) from error
        except DecodeError as error:
            raise channel.abort(AbortReason.BAD_SHARE, None, str(error)) from error
        told = {sender: str(why) for sender, why in opening.refused.items()}
        return Finished(replace(opened, survivors=frozenset(survivors), refused=told))
