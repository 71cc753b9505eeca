"""The Paillier sum with t of n decryptors: silent and lying decryptors, and that no one party can open."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import gmpy2
import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.crypto.shipped_primes import shipped_primes
from securefl.errors import AbortReason, ParameterError, ProtocolAbort, TooFewClients
from securefl.federation import protocols
from securefl.quantize import Quantizer
from securefl.secagg import run_round
from securefl.secagg.base import DECRYPTOR_BASE, ClientState, Continue, Finished, RoundContext, ServerState
from securefl.secagg.committed import BadAnswerError, Bodies, CommittedScheme, Opening
from securefl.secagg.committed_messages import encode_answer, read_answer, request_hash
from securefl.secagg.paillier_cipher import ThresholdOpener
from securefl.secagg.paillier_sum import PaillierOptions, ThresholdSetup, set_up, shipped_options
from securefl.secagg.policy import Policy
from securefl.types import ClientId, Rng, SystemRng

CLIENTS = tuple(ClientId(i) for i in range(1, 6))
DECRYPTORS = tuple(ClientId(DECRYPTOR_BASE + i) for i in range(1, 6))
RUN = b"t" * 32
QUANTIZER = Quantizer.for_sum(5, clip=1.0, max_weight=8)
_rounds = iter(range(1, 1000))


def options(policy: Policy | None = None) -> PaillierOptions:
    return replace(shipped_options(2048), policy=policy)


@lru_cache(maxsize=1)
def setup() -> ThresholdSetup:
    made = set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(), options=options())
    assert isinstance(made, ThresholdSetup)
    return made


def to_the_request() -> tuple[CommittedScheme, ServerState, dict[ClientId, bytes], dict[ClientId, ClientState]]:
    """A round up to the requests to the decryptors."""
    context = RoundContext(run_id=RUN, round=next(_rounds), roster_hash=setup().roster_hash, model_hash=bytes(32))
    scheme = setup().round(context)
    vector = np.array([1, 2, 3, 4], dtype=np.uint32)
    clients = {me: scheme.client(me, vector, rng=CountingRng(me)) for me in CLIENTS}
    listed = scheme.server(frozenset(CLIENTS)).next({me: step.outbound for me, step in clients.items()})
    assert isinstance(listed, Continue)
    uploads = {me: clients[me].state.next(listed.outbound[me]) for me in CLIENTS}
    requested = listed.state.next({me: step.outbound for me, step in uploads.items() if isinstance(step, Continue)})
    assert isinstance(requested, Continue)
    return scheme, requested.state, dict(requested.outbound), dict(scheme.decryptors(rng=CountingRng(9)))


def answers_of(decryptors: dict[ClientId, ClientState], requests: dict[ClientId, bytes]) -> dict[ClientId, bytes]:
    steps = {me: decryptors[me].next(request) for me, request in requests.items()}
    return {me: step.outbound for me, step in steps.items() if isinstance(step, Continue)}


def test_the_sum_is_exact_and_a_dropout_leaves_the_survivors_sum() -> None:
    updates = {me: np.random.default_rng(me).uniform(-1, 1, 150) for me in CLIENTS}
    for dropouts, weight in (({}, 5 * 8), ({CLIENTS[1]: "upload"}, 4 * 8)):
        result = run_round(
            setup(), updates, weights=dict.fromkeys(CLIENTS, 8), round=next(_rounds), model_hash=bytes([weight]) * 32,
            rng=SystemRng(), quantizer=QUANTIZER, dropouts=dropouts,
        )  # fmt: skip
        assert result.weight == weight
        assert result.max_abs_error <= result.quantization_bound


def test_four_of_five_decryptors_are_enough_and_three_are_not() -> None:
    _, state, requests, decryptors = to_the_request()
    answers = answers_of(decryptors, requests)
    assert tuple(answers) == DECRYPTORS
    with pytest.raises(TooFewClients, match="survivors=3 must be >= 4"):
        state.next({me: answers[me] for me in DECRYPTORS[:3]})
    for silent in DECRYPTORS:
        opened = state.next({me: answer for me, answer in answers.items() if me != silent})
        assert isinstance(opened, Finished)
        assert opened.result.total.tolist() == [5, 10, 15, 20]


def test_a_decryptor_that_lies_is_named_and_left_out_where_enough_others_answered() -> None:
    scheme, state, requests, decryptors = to_the_request()
    assert isinstance(state, Opening)
    answers = answers_of(decryptors, requests)
    terms, liar = scheme.terms, DECRYPTORS[2]
    named = request_hash(state.commitments, frozenset(CLIENTS))
    payload = bytes(read_answer(terms, liar, answers[liar], request=named))
    for change in (0, _proof_size() + 5, len(payload) - 1):
        forged = bytearray(payload)
        forged[change] ^= 1
        message = encode_answer(terms, liar, scheme.parties[liar].signer, request=named, body=bytes(forged))
        assert_left_out(state, {**answers, liar: message}, liar)
        with pytest.raises(ProtocolAbort) as caught:
            state.next({me: answer for me, answer in {**answers, liar: message}.items() if me != DECRYPTORS[4]})
        assert (caught.value.reason, caught.value.party) == (AbortReason.BAD_SHARE, liar)
    stranger = encode_answer(terms, liar, scheme.parties[DECRYPTORS[0]].signer, request=named, body=payload)
    for message in (b"rubbish", answers[liar][:-1], answers[DECRYPTORS[0]], stranger):
        assert_left_out(state, {**answers, liar: message}, liar)
    message = encode_answer(terms, liar, scheme.parties[liar].signer, request=named, body=payload)
    opened = state.next({**answers, liar: message})
    assert isinstance(opened, Finished)
    assert not opened.result.refused


def assert_left_out(state: Opening, answers: dict[ClientId, bytes], liar: ClientId) -> None:
    opened = state.next(answers).result
    assert opened.total.tolist() == [5, 10, 15, 20]
    assert list(opened.refused) == [liar]


def test_a_round_says_whose_answer_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ThresholdOpener.open

    def lies(self: ThresholdOpener, bodies: Bodies, length: int, *, rng: Rng) -> bytes:
        body = bytearray(honest(self, bodies, length, rng=rng))
        body[-1] ^= self.share.index == 2
        return bytes(body)

    monkeypatch.setattr(ThresholdOpener, "open", lies)
    updates = {me: np.full(3, 0.5) for me in CLIENTS}
    result = run_round(
        setup(), updates, weights=dict.fromkeys(CLIENTS, 1), round=next(_rounds), model_hash=b"l" * 32, rng=SystemRng(),
        quantizer=QUANTIZER,
    )  # fmt: skip
    assert result.weight == 5
    assert [warning for warning in result.warnings if "left out" in warning and "party 1002: share does not verify" in warning]


def _proof_size() -> int:
    key = setup().cipher.threshold
    assert key is not None
    return 16 + key.response_size


def test_a_decryptor_can_not_answer_with_another_ones_share() -> None:
    scheme, state, requests, decryptors = to_the_request()
    assert isinstance(state, Opening)
    bodies = state.bodies
    answers = {me: memoryview(scheme.openers[me].open(bodies, 4, rng=CountingRng(me))) for me in DECRYPTORS[:3]}
    with pytest.raises(BadAnswerError) as caught:
        scheme.cipher.combine({**answers, DECRYPTORS[3]: answers[DECRYPTORS[0]]}, bodies, 4)
    assert caught.value.party == DECRYPTORS[3]
    assert len(requests) == len(decryptors) == 5


@pytest.mark.parametrize("bits", [2048, 3072])
def test_a_run_refuses_a_key_that_ships_with_the_package(bits: int) -> None:
    """By its numbers: one of the two primes is enough, however it got there."""
    mine = int(gmpy2.next_prime(shipped_primes(bits)[0] + 1))
    for primes in (shipped_primes(bits), (mine, shipped_primes(bits)[1])):
        own = PaillierOptions(bits=bits, safe_primes=primes)
        with pytest.raises(ParameterError, match="ships with the package"):
            protocols.set_up("paillier", CLIENTS, quantizer=QUANTIZER, rng=CountingRng(), options=own)


def test_policy_and_dealer_are_stated() -> None:
    assert setup().answers == setup().consortium.roster.policy.threshold == 4
    assert any("trusted-dealer" in warning for warning in setup().warnings)
    assert not any("single-decryptor" in warning for warning in setup().warnings)
    assert any("test-key" in warning for warning in setup().warnings)
    with pytest.raises(ParameterError, match="threshold"):
        options(Policy(parties=5, threshold=2))
