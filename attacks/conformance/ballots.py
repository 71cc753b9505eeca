"""A homomorphic round in the hands of a malicious operator: commitments, uploads, and whatever request it likes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from attacks.conformance.lab import Lab, context_of, ring_of, updates_of
from securefl.errors import TooFewClients
from securefl.secagg.base import ClientState, Continue, OpenedSum, Setup
from securefl.secagg.codec import u16
from securefl.secagg.committed import CommittedScheme, Opening
from securefl.secagg.committed_messages import (
    CommitmentList,
    Upload,
    encode_request,
    list_commitments,
    read_commitment,
    read_upload,
)
from securefl.types import ClientId, RingVector


class Ballots:
    """One round of a homomorphic sum whose operator does what it likes; ``models`` are the hashes that clients are shown."""

    def __init__(
        self,
        lab: Lab,
        setup: Setup,
        *,
        round: int = 1,
        models: Mapping[ClientId, bytes] | None = None,
        inputs: Mapping[ClientId, NDArray[np.float64]] | None = None,
    ) -> None:
        self.lab, self.setup = lab, setup
        updates = updates_of() if inputs is None else inputs
        self.clients = sorted(updates)
        self.inputs: dict[ClientId, RingVector] = {c: ring_of(u, lab.quantizer()) for c, u in updates.items()}
        shown = {c: bytes(32) for c in self.clients} | dict(models or {})
        schemes = {model: cast(CommittedScheme, setup.round(context_of(setup, round, model))) for model in shown.values()}
        self.scheme = schemes[shown[self.clients[0]]]
        self.states: dict[ClientId, ClientState] = {}
        self.commits: dict[ClientId, bytes] = {}
        for client in self.clients:
            step = schemes[shown[client]].client(client, self.inputs[client], rng=lab.rng)
            self.states[client], self.commits[client] = step.state, step.outbound
        self.decryptors: dict[ClientId, ClientState] = dict(self.scheme.decryptors(rng=lab.rng))

    @property
    def length(self) -> int:
        """Coordinates of a vector, the weight included."""
        return len(next(iter(self.inputs.values())))

    @property
    def cipher(self) -> Any:
        """The scheme's public side."""
        return self.scheme.cipher

    def body(self, client: ClientId) -> bytes:
        """Return the ciphertexts that a client has committed to: the operator gets them with the upload."""
        return bytes(self.uploads([client])[client].body)

    def commitments(self) -> CommitmentList:
        """Return the list of all commitments."""
        terms = self.scheme.terms
        return list_commitments(terms, {me: read_commitment(terms, message) for me, message in self.commits.items()})

    def uploads(self, clients: Iterable[ClientId] | None = None) -> dict[ClientId, Upload]:
        """Return what ``clients`` upload on the list of all commitments; it is the clients who check it first.

        Raises:
            ProtocolAbort: a client refuses the list.
        """
        raw = u16(len(self.commits)) + b"".join(self.commits[client] for client in sorted(self.commits))
        steps = {client: self.states[client].next(raw) for client in (self.clients if clients is None else clients)}
        listed, maximum = self.commitments(), self.cipher.maximum_body(self.length)
        return {
            client: read_upload(self.scheme.terms, listed, step.outbound, maximum_body=maximum)
            for client, step in steps.items()
            if isinstance(step, Continue)
        }

    def open(self, uploads: Mapping[ClientId, Upload], decryptors: Iterable[ClientId] | None = None) -> OpenedSum:
        """Return what ``decryptors`` open for a request of ``uploads``.

        Raises:
            ProtocolAbort: a decryptor refuses.
        """
        terms, listed = self.scheme.terms, self.commitments()
        request = encode_request(listed, uploads)
        chosen = sorted(self.decryptors) if decryptors is None else list(decryptors)
        steps = {party: self.decryptors[party].next(request) for party in chosen[: max(terms.answers, 1)]}
        answers = {party: step.outbound for party, step in steps.items() if isinstance(step, Continue)}
        if len(answers) < terms.answers:
            raise TooFewClients(round=terms.channel.context.round, have=len(answers), need=terms.answers)
        bodies = {client: upload.body for client, upload in uploads.items()}
        return Opening(terms, self.cipher, listed, bodies).next(answers).result

    def open_all(self) -> NDArray[np.float64]:
        """Return the sum of everybody, in steps."""
        return self.open(self.uploads()).total.astype(np.float64)
