"""A round of a committed sum that tests drive step by step, as an operator or a partner that may do what it likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.errors import AbortReason, ProtocolAbort
from securefl.quantize import Quantizer
from securefl.secagg import bfv_sum, ckks_sum, paillier_sum
from securefl.secagg.base import DECRYPTOR_BASE, ClientState, Continue, Finished, RoundContext, ServerState
from securefl.secagg.codec import u32
from securefl.secagg.committed import CommittedScheme
from securefl.secagg.committed_messages import (
    Commitment,
    CommitmentList,
    Upload,
    commit,
    encode_request,
    list_commitments,
    read_commitment,
    read_upload,
    upload,
)
from securefl.secagg.envelope import NO_VIEW, Slip, seal
from securefl.types import ClientId

CLIENTS = tuple(ClientId(i) for i in range(1, 6))
DECRYPTOR = ClientId(DECRYPTOR_BASE + 1)
RUN = b"r" * 32
LENGTH = 40
QUANTIZER = Quantizer.for_sum(len(CLIENTS), clip=1.0, max_weight=8)
VECTORS = {me: np.array([*range(-19, 20), 1 + me % 3], dtype=np.int32).view(np.uint32) * np.uint32(1) for me in CLIENTS}
SHORT = paillier_sum.PaillierOptions(decryption=paillier_sum.Decryption.SINGLE, bits=2048)
EXPECTED = np.sum([VECTORS[me].view(np.int32).astype(np.int64) for me in CLIENTS], axis=0)
SETUPS: dict[str, Callable[[], Any]] = {
    "paillier": lambda: paillier_sum.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(1), options=SHORT),
    "ckks": lambda: ckks_sum.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(1)),
    "bfv": lambda: bfv_sum.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(1)),
}
rounds = iter(range(1, 100_000))


@dataclass
class Play:
    """A round up to where the operator has the uploads: its own messages can then be replaced by a dishonest operator's."""

    scheme: CommittedScheme
    clients: dict[ClientId, ClientState]
    commits: dict[ClientId, bytes]
    server: ServerState

    def relay_list(self, commits: Mapping[ClientId, bytes] | None = None) -> tuple[ServerState, dict[ClientId, bytes]]:
        step = self.server.next(self.commits if commits is None else commits)
        assert isinstance(step, Continue)
        uploads = {}
        for me, message in step.outbound.items():
            answer = self.clients[me].next(message)
            assert isinstance(answer, Continue)
            assert isinstance(answer.state.next(b""), Finished)
            uploads[me] = answer.outbound
        return step.state, uploads

    def commitments(self) -> CommitmentList:
        terms = self.scheme.terms
        return list_commitments(terms, {me: read_commitment(terms, message) for me, message in self.commits.items()})

    def uploads(self) -> dict[ClientId, Upload]:
        listed, maximum = self.commitments(), self.scheme.cipher.maximum_body(LENGTH)
        raw = self.relay_list()[1]
        return {me: read_upload(self.scheme.terms, listed, message, maximum_body=maximum) for me, message in raw.items()}

    def decryptor(self) -> ClientState:
        return self.scheme.decryptors(rng=CountingRng(9))[DECRYPTOR]


def start(setup: Any, *, round: int | None = None, model: bytes = b"m" * 32) -> Play:
    number = next(rounds) if round is None else round
    context = RoundContext(run_id=RUN, round=number, roster_hash=setup.roster_hash, model_hash=model)
    scheme = setup.round(context)
    states, commits = {}, {}
    for me in CLIENTS:
        step = scheme.client(me, VECTORS[me], rng=CountingRng(me))
        states[me], commits[me] = step.state, step.outbound
    return Play(scheme, states, commits, scheme.server(frozenset(CLIENTS)))


def ask(play: Play, request: bytes) -> bytes:
    step = play.decryptor().next(request)
    assert isinstance(step, Continue)
    return step.outbound


def aborts(reason: AbortReason, call: Callable[[], object], *, party: int | None = None) -> None:
    with pytest.raises(ProtocolAbort) as caught:
        call()
    assert caught.value.reason is reason, caught.value
    assert caught.value.party == party


def replaced(play: Play, me: ClientId, body: bytes) -> dict[ClientId, Upload]:
    """The uploads with client ``me``'s body replaced and signed anew with its real key: a late, dishonest partner."""
    terms, listed = play.scheme.terms, play.commitments()
    uploads = play.uploads()
    message = upload(terms, listed.by_sender[me], play.scheme.parties[me].signer, commitments=listed, body=body)
    return {**uploads, me: Upload(me, memoryview(body), message)}


def spoilt(play: Play, me: ClientId, body: bytes) -> bytes:
    """The request with client ``me``'s ciphertexts ``body``, to which it commits as it should."""
    terms, signer = play.scheme.terms, play.scheme.parties[me].signer
    own = commit(terms, me, signer, length=LENGTH, body=body)
    play.commits[me] = own.encoded
    listed = play.commitments()
    steps = {one: play.clients[one].next(listed.encoded) for one in CLIENTS if one != me}
    uploads = {one: step.outbound for one, step in steps.items() if isinstance(step, Continue)}
    uploads[me] = upload(terms, own, signer, commitments=listed, body=body)
    return encode_request(listed, {one: Upload(one, memoryview(b""), message) for one, message in uploads.items()})


def forge(play: Play, own: Commitment, value: bytes) -> Commitment:
    """``own`` with another value, signed by the same partner."""
    channel = play.scheme.terms.channel
    slip = Slip(phase=1, sender=own.sender, previous=channel.genesis(own.sender), view=NO_VIEW)
    sealed = seal(channel, slip, (u32(own.length), value), key=play.scheme.parties[own.sender].signer)
    return read_commitment(play.scheme.terms, sealed.message)


def reachable(root: object) -> set[str]:
    """Names of the classes of everything that is reachable through fields, slots, mappings and sequences."""
    seen: set[int] = set()
    names: set[str] = set()
    stack = [root]
    while stack:
        one = stack.pop()
        if id(one) in seen or isinstance(one, bytes | str | int | np.ndarray | memoryview):
            continue
        seen.add(id(one))
        names.add(type(one).__name__)
        if isinstance(one, Mapping):
            stack += list(one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            stack += list(one)
        else:
            slots = [slot for kind in type(one).__mro__ for slot in getattr(kind, "__slots__", ())]
            stack += [getattr(one, slot) for slot in slots if hasattr(one, slot)]
            stack += list(getattr(one, "__dict__", {}).values())
    return names
