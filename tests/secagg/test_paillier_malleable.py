"""A partner that builds its ciphertexts out of the victim's, helped by the operator: refused, and what it would learn else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import CountingRng

from securefl.crypto.paillier import add_ciphertexts, decode_ciphertexts, encode_ciphertexts
from securefl.crypto.plaintext_proof import proof_size
from securefl.errors import AbortReason, ProtocolAbort
from securefl.quantize import Quantizer
from securefl.secagg import paillier_sum
from securefl.secagg.base import ClientState, Continue, RoundContext
from securefl.secagg.committed import CommittedScheme, Opening
from securefl.secagg.committed_messages import (
    CommitmentList,
    Request,
    commit,
    encode_request,
    list_commitments,
    read_commitment,
    read_upload,
    upload,
)
from securefl.secagg.paillier_sum import Decryption, PaillierOptions, shipped_options
from securefl.types import ClientId

CLIENTS = tuple(ClientId(i) for i in range(1, 6))
VICTIM, HONEST, CHEAT = CLIENTS[0], CLIENTS[:4], CLIENTS[4]
FACTOR = 1 << 12
"""The victim's value times this stands above the sum of the others."""
RUN = b"m" * 32
QUANTIZER = Quantizer.for_sum(5, clip=1.0, max_weight=8)
VECTOR = np.arange(1, 64, dtype=np.uint32)
"""As long as a plaintext of 2048 bits has slots: random padding times the factor would pass the top slot."""
_rounds = iter(range(1, 100))


@lru_cache(maxsize=2)
def setup(decryption: Decryption) -> Any:
    single = PaillierOptions(bits=2048, decryption=Decryption.SINGLE)
    options = single if decryption is Decryption.SINGLE else shipped_options(2048)
    return paillier_sum.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(1), options=options)


class Round:
    """One round whose operator and last partner work together; the honest clients are the real ones."""

    def __init__(self, decryption: Decryption) -> None:
        made, number = setup(decryption), next(_rounds)
        context = RoundContext(run_id=RUN, round=number, roster_hash=made.roster_hash, model_hash=number.to_bytes(32, "big"))
        self.scheme: CommittedScheme = made.round(context)
        self.cipher: Any = self.scheme.cipher
        self.states: dict[ClientId, ClientState] = {}
        self.commits: dict[ClientId, bytes] = {}
        for me in HONEST:
            step = self.scheme.client(me, VECTOR * np.uint32(me), rng=CountingRng(me))
            self.states[me], self.commits[me] = step.state, step.outbound

    def listed(self, body: bytes) -> CommitmentList:
        """The list of everybody's commitments, the cheat's to ``body``."""
        terms = self.scheme.terms
        own = commit(terms, CHEAT, self.scheme.parties[CHEAT].signer, length=len(VECTOR), body=body)
        found = {me: read_commitment(terms, message) for me, message in self.commits.items()}
        return list_commitments(terms, {**found, CHEAT: own})

    def uploads(self, clients: tuple[ClientId, ...], body: bytes) -> dict[ClientId, bytes]:
        """What ``clients`` upload when they are shown that list, and the cheat's upload of ``body``."""
        listed = self.listed(body)
        steps = {me: self.states[me].next(listed.encoded) for me in clients}
        sent = {me: step.outbound for me, step in steps.items() if isinstance(step, Continue)}
        signer = self.scheme.parties[CHEAT].signer
        own = upload(self.scheme.terms, listed.by_sender[CHEAT], signer, commitments=listed, body=body)
        return {**sent, CHEAT: own}

    def ciphertexts(self, sent: Mapping[ClientId, bytes], body: bytes, sender: ClientId) -> list[Any]:
        """The ciphertexts in ``sender``'s upload: the operator has them."""
        maximum = self.cipher.maximum_body(len(VECTOR))
        found = read_upload(self.scheme.terms, self.listed(body), sent[sender], maximum_body=maximum).body
        return decode_ciphertexts(self.cipher.encryptor.public, found[proof_size(self.cipher.encryptor) :], count=1)

    def own(self) -> bytes:
        """The cheat's ciphertexts of zeros, honestly made."""
        body: bytes = self.cipher.encrypt(np.zeros(len(VECTOR), np.uint32), me=CHEAT, rng=CountingRng(8))
        return body

    def mixed(self, stolen: list[Any]) -> bytes:
        """The cheat's ciphertexts with the stolen ones mixed in, under the proof of its own."""
        public, start = self.cipher.encryptor.public, proof_size(self.cipher.encryptor)
        own = self.own()
        mine = decode_ciphertexts(public, own[start:], count=1)
        scaled = [c**FACTOR % public.n_squared for c in stolen]
        return own[:start] + encode_ciphertexts(public, add_ciphertexts(public, [mine, scaled]))

    def open(self, sent: Mapping[ClientId, bytes], body: bytes) -> NDArray[np.int64]:
        """What the decryptors open for the uploads ``sent`` under the list with ``body``."""
        terms, listed = self.scheme.terms, self.listed(body)
        maximum = self.cipher.maximum_body(len(VECTOR))
        request = Request(listed, {me: read_upload(terms, listed, sent[me], maximum_body=maximum) for me in sorted(sent)})
        message = encode_request(listed, request.uploads)
        decryptors = self.scheme.decryptors(rng=CountingRng(9))
        steps = {party: decryptors[party].next(message) for party in sorted(decryptors)[: terms.answers]}
        answers = {party: step.outbound for party, step in steps.items() if isinstance(step, Continue)}
        bodies = {me: one.body for me, one in request.uploads.items()}
        total: NDArray[np.int64] = Opening(terms, self.cipher, listed, bodies).next(answers).result.total.astype(np.int64)
        return total


def mixed_from_an_earlier_round() -> NDArray[np.int64]:
    """The victim's ciphertexts of the first round, scaled, in the sum of the second: a threshold's key lives the run."""
    first, second = Round(Decryption.THRESHOLD), Round(Decryption.THRESHOLD)
    stolen = first.ciphertexts(first.uploads(HONEST, first.own()), first.own(), VICTIM)
    body = second.mixed(stolen)
    return second.open(second.uploads(HONEST, body), body)


def mixed_from_another_list() -> NDArray[np.int64]:
    """The victim is shown a list of its own and uploads; the others then a list to which the cheat commits afterwards."""
    play = Round(Decryption.SINGLE)
    stolen = play.ciphertexts(play.uploads((VICTIM,), play.own()), play.own(), VICTIM)
    body = play.mixed(stolen)
    return play.open(play.uploads(HONEST[1:], body), body)


@pytest.mark.parametrize("attack", [mixed_from_an_earlier_round, mixed_from_another_list])
def test_a_ciphertext_made_of_the_victims_is_refused_and_its_sender_named(attack: Any) -> None:
    with pytest.raises(ProtocolAbort, match="not the sender's own of this round") as caught:
        attack()
    assert (caught.value.reason, caught.value.party) == (AbortReason.BAD_CIPHERTEXT, CHEAT)


@pytest.mark.parametrize("attack", [mixed_from_an_earlier_round, mixed_from_another_list])
def test_without_the_proof_the_opened_sum_shows_the_victims_vector(attack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securefl.secagg.paillier_cipher.verify_plaintexts", lambda *proof, binding: None)
    assert np.array_equal(attack() // FACTOR, VECTOR * VICTIM)
