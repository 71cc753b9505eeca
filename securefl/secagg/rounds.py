"""A whole round in one process: quantise, drive every party's state machine, open, decode, measure.

Simulations, training runs, attacks and tests use this driver; a deployment moves the same bytes over an engine. The driver
plays the network: it loses the messages of parties that drop out, and keeps every message for the transcript. It sees all
secrets, because it holds all parties, so its figures are costs and errors, never evidence of privacy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl.errors import ParameterError
from securefl.quantize import CHUNK_LEN, Quantizer
from securefl.secagg.base import (
    DECRYPTOR_BASE,
    ChecksSum,
    ClientState,
    ClientStep,
    Finished,
    OpenedSum,
    RoundContext,
    Scheme,
    Setup,
)
from securefl.types import ClientId, FloatVector, RingVector, Rng

Encoder: TypeAlias = Callable[[FloatVector, int, Quantizer, ClientId], tuple[RingVector, int]]
"""Turns an update and its weight into a client's ring vector, and says how many values were clipped."""

OPERATOR = ClientId(0)
"""The operator's number in a transcript."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message on the wire; ``phase`` is the client message that it is, or that it asks for. Its repr shows no body."""

    sender: ClientId
    receiver: ClientId
    phase: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCost:
    """CPU seconds and bytes of one round; the client's are medians over the clients that survived.

    ``client_seconds`` holds the round's own key generation and exchange, ``setup_seconds`` what is done once a run,
    ``key_seconds`` the fresh key of a round where a decryptor makes one.
    """

    setup_seconds: float
    client_seconds: float
    server_seconds: float
    decryptor_seconds: float = 0.0
    key_seconds: float = 0.0
    bytes_up_per_client: float
    bytes_down_per_client: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """What a round opened, and what it cost.

    ``total`` is float64, shape (d,): sum of w_i * u_i over ``survivors`` as the protocol opened it. ``max_abs_error``
    compares it with the float64 sum of the actual products, clipping included; where ``clipped`` (a count over the
    survivors) is 0 it is at most ``quantization_bound``. ``warnings`` are those of the set-up (who could open single updates),
    and parties whose bad answers were left out.
    """

    total: NDArray[np.float64]
    weight: int
    survivors: frozenset[ClientId]
    clipped: int
    max_abs_error: float
    quantization_bound: float
    cost: RoundCost
    warnings: tuple[str, ...] = ()
    transcript: tuple[Message, ...] = field(repr=False)


def run_round(
    setup: Setup,
    updates: Mapping[ClientId, FloatVector],
    *,
    weights: Mapping[ClientId, int],
    round: int,
    model_hash: bytes,
    rng: Rng,
    quantizer: Quantizer,
    dropouts: Mapping[ClientId, str | None] | None = None,
    encode: Encoder | None = None,
) -> RoundResult:
    """Return what one round of ``setup``'s protocol opens for ``updates``.

    The weight travels as the last coordinate of the vector, inside the sum.

    Args:
        updates: float32 or float64, shape (d,), the same d for all.
        weights: sample counts or the like, 0..quantizer.max_weight.
        dropouts: the phase (one of the scheme's ``phases``) before whose message a client goes silent; ``None``:
            :func:`upload_phase`.
        encode: what a client puts in, :func:`encode_input` by default; noise in the ring is added here.

    Raises:
        ParameterError: shapes, weights, phases or values are outside their bounds.
        ProtocolAbort: a party stopped the round.
    """
    started = time.process_time()
    scheme = setup.round(RoundContext(run_id=setup.run_id, round=round, roster_hash=setup.roster_hash, model_hash=model_hash))
    key_seconds = time.process_time() - started
    silent = {me: phase or upload_phase(scheme.phases) for me, phase in (dropouts or {}).items()}
    _check_inputs(updates, weights, silent, scheme)
    network = _Network(scheme=scheme, dropouts=silent, rng=rng)
    clipped: dict[ClientId, int] = {}
    for me, update in updates.items():
        started = time.process_time()
        vector, clipped[me] = (encode or encode_input)(update, weights[me], quantizer, me)
        network.start_client(me, vector, started)
    opened = network.run(frozenset(updates))
    values = quantizer.dequantize(opened.total[:-1])
    weight = int(np.rint(opened.total[-1]))
    return RoundResult(
        total=values,
        weight=weight,
        survivors=opened.survivors,
        clipped=sum(clipped[me] for me in opened.survivors),
        max_abs_error=_max_error(values, {me: updates[me] for me in opened.survivors}, weights),
        quantization_bound=quantizer.error_bound(weight) + opened.error_bound * quantizer.step,
        cost=network.cost(opened.survivors, setup_seconds=setup.setup_seconds, key_seconds=key_seconds),
        warnings=(*setup.warnings, *(f"an answer of party {one} was left out: {why}" for one, why in opened.refused.items())),
        transcript=tuple(network.messages),
    )


def upload_phase(phases: Sequence[str]) -> str:
    """Return the phase whose message carries a client's vector, by the names that securefl's schemes give it; else the first.

    Whoever is silent before the first message has not sent its vector either.

    >>> upload_phase(("commit", "upload")), upload_phase(("input",))
    ('upload', 'input')
    """
    return next((phase for phase in ("masked_input", "upload") if phase in phases), phases[0])


class _Network:
    """Carries messages between the parties of one round, loses those of dropped clients, counts time and bytes."""

    def __init__(self, *, scheme: Scheme, dropouts: Mapping[ClientId, str], rng: Rng) -> None:
        self.messages: list[Message] = []
        self._scheme = scheme
        self._rng = rng
        self._silent_from = {me: scheme.phases.index(phase) for me, phase in dropouts.items()}
        self._sent: dict[ClientId, int] = {}
        self._waiting: dict[ClientId, ClientState] = {}
        self._arrived: dict[ClientId, bytes] = {}
        self._seconds: dict[ClientId, float] = {OPERATOR: 0.0}

    def start_client(self, me: ClientId, vector: RingVector, started: float) -> None:
        """Start client ``me``; its clock runs since ``started``."""
        step = self._scheme.client(me, vector, rng=self._rng)
        self._seconds[me] = time.process_time() - started
        self._take(me, step)

    def run(self, cohort: frozenset[ClientId]) -> OpenedSum:
        """Run the operator until it opens the sum."""
        self._waiting.update(self._scheme.decryptors(rng=self._rng))
        state = self._scheme.server(cohort)
        while True:
            inbound, self._arrived = self._arrived, {}
            started = time.process_time()
            step = state.next(inbound)
            self._seconds[OPERATOR] += time.process_time() - started
            if isinstance(step, Finished):
                self._check(step.result)
                return step.result
            state = step.state
            for receiver, message in step.outbound.items():
                self._deliver(receiver, message)

    def _check(self, opened: OpenedSum) -> None:
        """Let every client that can check what was opened."""
        for me, party in self._waiting.items():
            if isinstance(party, ChecksSum):
                started = time.process_time()
                party.verify_sum(opened)
                self._seconds[me] += time.process_time() - started

    def _deliver(self, receiver: ClientId, message: bytes) -> None:
        party = self._waiting.get(receiver)
        if party is None:
            return
        self.messages.append(Message(OPERATOR, receiver, self._phase(receiver), message))
        started = time.process_time()
        step = party.next(message)
        self._seconds[receiver] = self._seconds.get(receiver, 0.0) + time.process_time() - started
        self._take(receiver, step)

    def _take(self, sender: ClientId, step: ClientStep) -> None:
        """Put what ``sender`` answers on the wire, unless it drops out before this message."""
        if isinstance(step, Finished):
            self._waiting.pop(sender, None)
            return
        index = self._sent.get(sender, 0)
        if index >= self._silent_from.get(sender, len(self._scheme.phases)):
            self._waiting.pop(sender, None)
            return
        self.messages.append(Message(sender, OPERATOR, self._phase(sender), step.outbound))
        self._arrived[sender] = step.outbound
        self._sent[sender] = index + 1
        self._waiting[sender] = step.state

    def _phase(self, party: ClientId) -> str:
        if party > DECRYPTOR_BASE:
            return "decrypt"
        return self._scheme.phases[min(self._sent.get(party, 0), len(self._scheme.phases) - 1)]

    def cost(self, survivors: frozenset[ClientId], *, setup_seconds: float, key_seconds: float) -> RoundCost:
        """Return the medians over ``survivors``."""
        up = dict.fromkeys(survivors, 0)
        down = dict.fromkeys(survivors, 0)
        for message in self.messages:
            if message.sender in up:
                up[message.sender] += len(message.data)
            if message.receiver in down:
                down[message.receiver] += len(message.data)
        return RoundCost(
            setup_seconds=setup_seconds,
            key_seconds=key_seconds,
            client_seconds=statistics.median(self._seconds[me] for me in survivors),
            server_seconds=self._seconds[OPERATOR],
            decryptor_seconds=sum(seconds for party, seconds in self._seconds.items() if party > DECRYPTOR_BASE),
            bytes_up_per_client=statistics.median(up.values()),
            bytes_down_per_client=statistics.median(down.values()),
        )


def _check_inputs(
    updates: Mapping[ClientId, FloatVector],
    weights: Mapping[ClientId, int],
    dropouts: Mapping[ClientId, str],
    scheme: Scheme,
) -> None:
    lengths = {len(update) for update in updates.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ParameterError(f"update lengths {sorted(lengths)} must be one length >= 1")
    if set(weights) != set(updates):
        raise ParameterError(f"weights of {sorted(weights)} must be of the clients {sorted(updates)}")
    for me, phase in dropouts.items():
        if me not in updates:
            raise ParameterError(f"dropout of client {me} who is not among {sorted(updates)}")
        if phase not in scheme.phases:
            raise ParameterError(f"dropout phase {phase!r} must be one of {', '.join(scheme.phases)}")


def encode_input(update: FloatVector, weight: int, quantizer: Quantizer, me: ClientId) -> tuple[RingVector, int]:
    """Return the ring vector that client ``me`` puts in, shape (d + 1,) with its weight last, and the number of clipped values.

    Raises:
        ParameterError: a value is NaN or infinite, or the weight is outside its bound.
    """
    vector = np.empty(len(update) + 1, quantizer.dtype)
    clipped = quantizer.encode_update(update, weight, out=vector[:-1], name=f"update of client {me}")
    vector[-1] = weight
    return vector, clipped


def _max_error(
    total: NDArray[np.float64], updates: Mapping[ClientId, FloatVector], weights: Mapping[ClientId, int]
) -> float:
    return max(
        float(np.abs(total[part] - sum(weights[me] * update[part].astype(np.float64) for me, update in updates.items())).max())
        for part in _chunks(len(total))
    )


def _chunks(length: int) -> Iterator[slice]:
    for start in range(0, length, CHUNK_LEN):
        yield slice(start, start + CHUNK_LEN)
