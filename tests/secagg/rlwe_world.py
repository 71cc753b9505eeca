"""A round of the threshold RLWE sum that tests drive step by step, as an operator that may do what it likes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.errors import AbortReason, ProtocolAbort
from securefl.quantize import Quantizer
from securefl.secagg import rlwe_sum
from securefl.secagg.base import DECRYPTOR_BASE, ClientState, Continue, Finished, OpenedSum, RoundContext, ServerState
from securefl.secagg.codec import u8, u64
from securefl.secagg.committed_messages import (
    CommitmentList,
    Request,
    Upload,
    commit,
    encode_request,
    list_commitments,
    read_commitment,
    read_upload,
    upload,
)
from securefl.secagg.rlwe_sum.messages import Asks, Attempt, encode_bundle
from securefl.secagg.rlwe_sum.protocol import RlweOptions, RlweSetup, RlweSum
from securefl.types import ClientId

CLIENTS = tuple(ClientId(i) for i in range(1, 6))
DECRYPTORS = tuple(ClientId(DECRYPTOR_BASE + i) for i in range(1, 6))
SET = frozenset(DECRYPTORS[:4])
OTHER_SET = frozenset(DECRYPTORS[1:])
RUN = b"r" * 32
LENGTH = 40
QUANTIZER = Quantizer.for_sum(len(CLIENTS), clip=1.0, max_weight=8)
VECTORS = {me: np.array([*range(-19, 20), 1 + me % 3], dtype=np.int32).view(np.uint32) * np.uint32(1) for me in CLIENTS}

_rounds = itertools.count(1)


def sum_of(survivors: Iterable[ClientId]) -> list[int]:
    """The exact sum of the survivors' vectors."""
    total: list[int] = np.sum([VECTORS[me].view(np.int32).astype(np.int64) for me in survivors], axis=0).tolist()
    return total


def make_setup(options: RlweOptions | None = None) -> RlweSetup:
    """A run of five partners, four of whose decryptors open: for short vectors, with a key that lives many rounds."""
    chosen = RlweOptions(length=8192, epoch_rounds=100) if options is None else options
    return rlwe_sum.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(1), options=chosen)


def aborts(reason: AbortReason, call: Callable[[], object], *, party: int | None = None) -> ProtocolAbort:
    """Check that ``call`` aborts for ``reason``, naming ``party``."""
    with pytest.raises(ProtocolAbort) as caught:
        call()
    assert caught.value.reason is reason, caught.value
    assert caught.value.party == party, caught.value
    return caught.value


def bodies_of(scheme: RlweSum) -> dict[ClientId, bytes]:
    """Honest ciphertexts of every client's vector."""
    return {me: scheme.cipher.encrypt(VECTORS[me], me=me, rng=CountingRng(me)) for me in CLIENTS}


@dataclass
class World:
    """A round up to where all uploads are there; ``bodies`` may be any bytes, properly committed and signed."""

    scheme: RlweSum
    bodies: dict[ClientId, bytes]
    waiting: dict[ClientId, ClientState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting = dict(self.scheme.decryptors(rng=CountingRng(9)))

    @property
    def listed(self) -> CommitmentList:
        """The commitments to ``bodies`` as they were when the world was made."""
        terms = self.scheme.terms
        signers = {me: self.scheme.parties[me].signer for me in self.bodies}
        own = {me: commit(terms, me, signers[me], length=LENGTH, body=body) for me, body in self.bodies.items()}
        return list_commitments(terms, {me: read_commitment(terms, one.encoded) for me, one in own.items()})

    def uploads(self, replaced: Mapping[ClientId, bytes] | None = None) -> dict[ClientId, Upload]:
        """The signed uploads; those of ``replaced`` are other bytes than the committed ones."""
        terms, listed = self.scheme.terms, self.listed
        sent = {**self.bodies, **(replaced or {})}
        return {
            me: Upload(
                me,
                memoryview(body),
                upload(terms, listed.by_sender[me], self.scheme.parties[me].signer, commitments=listed, body=body),
            )
            for me, body in sent.items()
        }

    def request(
        self,
        uploads: Mapping[ClientId, Upload] | None = None,
        *,
        members: frozenset[ClientId] = SET,
        attempt: int = 1,
    ) -> bytes:
        """What the operator sends to the decryptors to open the sum of ``uploads``."""
        content = encode_request(self.listed, self.uploads() if uploads is None else uploads)
        return b"".join((u8(Asks.OPEN), Attempt(attempt, members).encode(), u64(len(content)), content))

    def ask(self, member: ClientId, message: bytes) -> bytes:
        """Send ``message`` to decryptor ``member`` and return what it says."""
        step = self.waiting[member].next(message)
        assert isinstance(step, Continue)
        self.waiting[member] = step.state
        return step.outbound

    def agree(self, message: bytes, members: frozenset[ClientId] = SET) -> bytes:
        """Ask everyone in the set, and return the bundle of agreements."""
        return encode_bundle({member: self.ask(member, message) for member in members})

    def operator(self) -> Continue[ServerState, Mapping[ClientId, bytes]]:
        """The honest operator's first step once it has all uploads."""
        terms, listed = self.scheme.terms, self.listed
        maximum = self.scheme.cipher.maximum_body(LENGTH)
        read = {
            me: read_upload(terms, listed, one.encoded, maximum_body=maximum) for me, one in self.uploads().items()
        }
        return self.scheme._ask(Request(listed, read))

    def run(self, silent: Callable[[int, ClientId], bool] = lambda step, member: False) -> OpenedSum:
        """Let the honest operator open the sum; ``silent`` says which decryptor does not answer in which step."""
        return self.finish(self.operator(), silent)

    def finish(
        self,
        step: Continue[ServerState, Mapping[ClientId, bytes]],
        silent: Callable[[int, ClientId], bool] = lambda step, member: False,
    ) -> OpenedSum:
        """Let the honest operator go on from ``step``, the first that ``silent`` counts."""
        for number in itertools.count():
            said = {
                member: self.ask(member, message)
                for member, message in step.outbound.items()
                if not silent(number, member)
            }
            onward = step.state.next(said)
            if isinstance(onward, Finished):
                return onward.result
            step = onward
        raise AssertionError


def make_world(
    setup: RlweSetup, change: Callable[[dict[ClientId, bytes]], None] = lambda bodies: None, *, round: int | None = None
) -> World:
    """A world of a fresh round; ``change`` may replace ciphertexts before they are committed to."""
    number = next(_rounds) if round is None else round
    model = number.to_bytes(32, "little")
    scheme = setup.round(RoundContext(run_id=RUN, round=number, roster_hash=setup.roster_hash, model_hash=model))
    bodies = bodies_of(scheme)
    change(bodies)
    return World(scheme, bodies)


def answer_message(bundle: bytes) -> bytes:
    """Return the request for an answer under the agreed ``bundle``."""
    return bytes((Asks.ANSWER,)) + bundle
