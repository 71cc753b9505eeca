"""A masking round in the hands of a malicious operator: every client's state and message, and whatever bundle it likes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from attacks.conformance.lab import Lab, context_of, ring_of, updates_of
from securefl.crypto import shamir
from securefl.crypto.keystream import apply_masks
from securefl.errors import ParameterError
from securefl.secagg.base import ClientState, Continue, Finished, RoundContext, Setup
from securefl.secagg.codec import Reader
from securefl.secagg.envelope import Channel, head_size, open_envelope
from securefl.secagg.masking import MaskingSetup
from securefl.secagg.masking.keys import KeyEnd, KeySchedule
from securefl.secagg.masking.messages import WIRE_ID, Advert, Phase, ShareKind, decode_released, encode_bundle
from securefl.secagg.masking.protocol import PairwiseMasking
from securefl.types import ClientId, RingVector, Rng, Secret

VICTIM = ClientId(5)
Bundle = Mapping[ClientId, bytes]


class MaskingStage:
    """One round of the masking protocol whose operator does what it likes.

    ``models`` are the model hashes that single clients are shown; the others are shown zeros.
    """

    def __init__(
        self,
        lab: Lab,
        setup: Setup,
        *,
        round: int = 1,
        models: Mapping[ClientId, bytes] | None = None,
        inputs: Mapping[ClientId, NDArray[np.float64]] | None = None,
        rng_of: Callable[[ClientId], Rng] | None = None,
    ) -> None:
        self.setup = cast(MaskingSetup, setup)
        self.clients = sorted(self.setup.signed.roster.clients)
        self.context: RoundContext = context_of(setup, round)
        updates = updates_of(len(self.clients)) if inputs is None else inputs
        quantizer = self.setup.signed.roster.quantizer
        self.inputs: dict[ClientId, RingVector] = {c: ring_of(updates[c], quantizer) for c in self.clients}
        self._models = dict(models or {})
        self.states: dict[ClientId, ClientState] = {}
        self.sent: dict[Phase, dict[ClientId, bytes]] = {phase: {} for phase in Phase}
        for client in self.clients:
            scheme = self.scheme(self._models.get(client))
            step = scheme.client(client, self.inputs[client], rng=lab.rng if rng_of is None else rng_of(client))
            self.states[client], self.sent[Phase.ADVERTISE_KEYS][client] = step.state, step.outbound

    def scheme(self, model: bytes | None = None) -> PairwiseMasking:
        """Return the round's scheme as a client runs it that was shown ``model``."""
        context = self.context if model is None else context_of(self.setup, self.context.round, model)
        return self.setup.round(context)

    @property
    def channel(self) -> Channel:
        """The round's channel: its context and everyone's public key."""
        return self.scheme().channel

    def bundle(
        self,
        asks: Phase,
        senders: Iterable[ClientId] | None = None,
        *,
        replace: Bundle | None = None,
        model: bytes | None = None,
    ) -> bytes:
        """Return an operator's message made of what ``senders`` sent in the phase before, some of it replaced.

        It claims to be of the round on ``model``, zeros by default.
        """
        before = {c: m for c, m in self.sent[Phase(asks - 1)].items() if senders is None or c in set(senders)}
        before |= dict(replace or {})
        if asks is Phase.CONSISTENCY:
            before = {client: message[: head_size(WIRE_ID)] for client, message in before.items()}
        return encode_bundle(self.scheme(model).context, asks, before)

    def show(self, client: ClientId, message: bytes, asks: Phase) -> bytes:
        """Give a client a message, keep its next state and its answer.

        Raises:
            ProtocolAbort: the client stops.
        """
        step = self.states[client].next(message)
        if not isinstance(step, Continue):
            raise ParameterError(f"client {client} had finished before phase {asks.name}")
        self.states[client], self.sent[asks][client] = step.state, step.outbound
        return step.outbound

    def up_to(self, last: Phase) -> MaskingStage:
        """Play honestly until every client has sent phase ``last``."""
        for phase in Phase:
            if Phase.ADVERTISE_KEYS < phase <= last and not self.sent[phase]:
                self.ask(phase, self.clients, self.clients)
        return self

    def ask(self, asks: Phase, senders: Iterable[ClientId], clients: Iterable[ClientId]) -> None:
        """Show ``clients`` the bundle of ``senders``."""
        listed = list(senders)
        for client in clients:
            self.show(client, self.bundle(asks, listed, model=self._models.get(client)), asks)

    def open(self) -> NDArray[np.float64]:
        """Return the sum that an honest operator opens from what was sent, in steps.

        Raises:
            ProtocolAbort: a message breaks a rule, or too few are left.
        """
        state = self.scheme(self._models.get(self.clients[0])).server(frozenset(self.clients))
        for phase in Phase:
            step = state.next(self.sent[phase])
            if isinstance(step, Finished):
                return step.result.total.astype(np.float64)
            state = step.state
        raise ParameterError("the round is not finished: play it up to UNMASK first")

    def advert(self, client: ClientId) -> Advert:
        """Return the keys that a client advertised."""
        return Advert.decode(memoryview(self.sent[Phase.ADVERTISE_KEYS][client][head_size(WIRE_ID) :]))

    def released(self, client: ClientId, kind: ShareKind, owner: ClientId) -> Secret | None:
        """Return the share of ``kind`` of ``owner``'s secret that ``client`` released last, if it did."""
        payload = memoryview(self.sent[Phase.UNMASK][client][head_size(WIRE_ID) :])
        return next((r.share for r in decode_released(payload) if r.owner == owner and r.kind is kind), None)

    def masked(self, client: ClientId) -> RingVector:
        """Return a client's masked vector as it lies on the wire."""
        envelope = open_envelope(self.channel, self.sent[Phase.MASKED_INPUT][client], Phase.MASKED_INPUT)
        payload = memoryview(b"") if envelope.payload is None else envelope.payload
        return Reader(payload).vector(len(self.inputs[client]), self.setup.signed.roster.quantizer.dtype).copy()

    def unmask(
        self, client: ClientId, seed: Secret, mask_key: Secret, publics: Mapping[ClientId, bytes] | None = None
    ) -> RingVector:
        """Return a client's vector, given both of its secrets and the mask keys (by default the advertised ones) it saw."""
        keys, me = KeySchedule(self.channel), KeyEnd(client, self.advert(client).mask_key)
        subtract: list[Secret] = [keys.self_mask(seed, client)]
        add: list[Secret] = []
        for peer in self.clients:
            if peer != client:
                public = self.advert(peer).mask_key if publics is None else publics[peer]
                mask = keys.pair_mask(mask_key, me, KeyEnd(peer, public))
                (subtract if client < peer else add).append(mask)
        vector = self.masked(client)
        apply_masks(vector, add=add, subtract=subtract, cipher=self.setup.signed.roster.cipher)
        return vector


def combined(shares: Mapping[ClientId, Secret | None], threshold: int) -> Secret | None:
    """Return the secret that ``threshold`` of the shares give, ``None`` if they are too few."""
    held = {client: share for client, share in shares.items() if share is not None}
    return shamir.combine({client: held[client] for client in sorted(held)[:threshold]}) if len(held) >= threshold else None
