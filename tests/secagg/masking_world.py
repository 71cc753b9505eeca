"""A masking round taken apart: the tests hold every state and every message and play the operator themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from securefl.crypto.keystream import Cipher
from securefl.quantize import Quantizer
from securefl.secagg.base import ClientState, Continue, Finished, OpenedSum, RoundContext
from securefl.secagg.envelope import head_size
from securefl.secagg.masking import MaskingOptions, MaskingSetup, PairwiseMasking, set_up
from securefl.secagg.masking.messages import WIRE_ID, Phase, encode_bundle
from securefl.types import ClientId, RingVector

MODEL = b"m" * 32
RUN = b"r" * 32


class HashRng:
    """SHA-256 in counter mode: a generator for vectors, the same bytes on every machine."""

    def __init__(self, label: str) -> None:
        self._label = label.encode()
        self._counter = 0

    def bytes(self, size: int) -> bytes:
        out = b""
        while len(out) < size:
            out += hashlib.sha256(self._label + self._counter.to_bytes(8, "little")).digest()
            self._counter += 1
        return out[:size]


def make_setup(
    n: int = 5, *, options: MaskingOptions | None = None, ring_bits: int = 32, label: str = "world", run_id: bytes = RUN
) -> MaskingSetup:
    quantizer = Quantizer(clip=1.0, scale_bits=8, ring_bits=64 if ring_bits == 64 else 32)
    clients = [ClientId(i) for i in range(1, n + 1)]
    return set_up(clients, quantizer=quantizer, run_id=run_id, rng=HashRng(label + " setup"), options=options)


def make_input(client: int, length: int, ring_bits: int = 32) -> RingVector:
    values = (np.arange(length, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(97 * client)) % np.uint64(2001)
    signed = values.astype(np.int64) - 1000
    return signed.astype(np.int32).view("<u4") if ring_bits == 32 else signed.view("<u8")


class World:
    """One round of ``n`` clients; ``send`` collects a phase, ``ask`` shows clients a bundle and collects their answers."""

    def __init__(
        self,
        n: int = 5,
        *,
        length: int = 21,
        round: int = 1,
        setup: MaskingSetup | None = None,
        model_hash: bytes = MODEL,
        ring_bits: int = 32,
        label: str = "world",
        absent: Iterable[int] = (),
    ) -> None:
        self.setup = make_setup(n, ring_bits=ring_bits, label=label) if setup is None else setup
        self.clients = [client for client in sorted(self.setup.signed.roster.clients) if client not in set(absent)]
        self.context = RoundContext(
            run_id=self.setup.run_id, round=round, roster_hash=self.setup.roster_hash, model_hash=model_hash
        )
        self.scheme: PairwiseMasking = self.setup.round(self.context)
        self.inputs = {client: make_input(client, length, ring_bits) for client in self.clients}
        self.states: dict[ClientId, ClientState] = {}
        self.sent: dict[Phase, dict[ClientId, bytes]] = {phase: {} for phase in Phase}
        self.asked: dict[Phase, bytes] = {}
        for client in self.clients:
            step = self.scheme.client(client, self.inputs[client], rng=HashRng(f"{label} round {round} client {client}"))
            self.states[client] = step.state
            self.sent[Phase.ADVERTISE_KEYS][client] = step.outbound

    def bundle(self, asks: Phase, senders: Iterable[int] | None = None, replace: dict[int, bytes] | None = None) -> bytes:
        """The operator's message, from the envelopes that ``senders`` sent in the phase before, some replaced."""
        before = dict(self.sent[Phase(asks - 1)])
        if senders is not None:
            before = {client: before[client] for client in before if client in set(senders)}
        before.update({ClientId(client): message for client, message in (replace or {}).items()})
        if asks is Phase.CONSISTENCY:
            before = {client: message[: head_size(WIRE_ID)] for client, message in before.items()}
        return encode_bundle(self.context, asks, before)

    def show(self, client: int, message: bytes, asks: Phase) -> bytes:
        """Give one client a message; its next state and its answer are kept."""
        me = ClientId(client)
        step = self.states[me].next(message)
        assert isinstance(step, Continue)
        self.states[me] = step.state
        self.sent[asks][me] = step.outbound
        return step.outbound

    def ask(self, asks: Phase, senders: Iterable[int] | None = None, clients: Iterable[int] | None = None) -> bytes:
        """Show the same bundle to ``clients`` (by default everyone in it)."""
        message = self.bundle(asks, senders)
        self.asked[asks] = message
        listed = [c for c in self.sent[Phase(asks - 1)] if senders is None or c in set(senders)]
        for client in listed if clients is None else clients:
            self.show(client, message, asks)
        return message

    def up_to(self, last: Phase) -> World:
        """Play honestly until every client has sent phase ``last``."""
        for phase in Phase:
            if Phase.ADVERTISE_KEYS < phase <= last:
                self.ask(phase)
        return self

    def open(self) -> OpenedSum:
        """Run an honest operator over what was sent."""
        state = self.scheme.server(frozenset(self.clients))
        for phase in Phase:
            step = state.next(self.sent[phase])
            if isinstance(step, Finished):
                return step.result
            state = step.state
        raise AssertionError("the operator did not finish")

    def expected(self, survivors: Iterable[int]) -> list[int]:
        """The integer sum of the survivors' inputs."""
        signed = np.int32 if self.setup.signed.roster.quantizer.ring_bits == 32 else np.int64
        total = sum(self.inputs[ClientId(client)].view(signed).astype(np.int64) for client in survivors)
        return [int(value) for value in np.asarray(total)]


CHACHA = MaskingOptions(cipher=Cipher.CHACHA20)
