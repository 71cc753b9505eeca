"""Commit, upload, open, for every homomorphic scheme: the sum, dropouts, what is refused without anybody cheating."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from committed_world import (
    CLIENTS,
    DECRYPTOR,
    EXPECTED,
    QUANTIZER,
    RUN,
    SETUPS,
    VECTORS,
    Play,
    aborts,
    ask,
    reachable,
    start,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_ins import CountingRng

from securefl.errors import AbortReason, CapacityError, ParameterError, SecureFLError, TooFewClients
from securefl.secagg import bfv_sum, ckks_sum, paillier_sum
from securefl.secagg.base import Continue, Finished, OpenedSum, RoundContext
from securefl.secagg.committed_messages import (
    encode_request,
)

OPENERS = {"CkksOpener", "PaillierOpener", "BfvOpener"}


@pytest.fixture(scope="module", params=sorted(SETUPS))
def setup(request: pytest.FixtureRequest) -> Any:
    return SETUPS[request.param]()


def test_an_honest_round_opens_the_sum(setup: Any) -> None:
    play = start(setup)
    state, uploads = play.relay_list()
    step = state.next(uploads)
    assert isinstance(step, Continue)
    assert list(step.outbound) == [DECRYPTOR]
    opened = step.state.next({DECRYPTOR: ask(play, step.outbound[DECRYPTOR])})
    assert isinstance(opened, Finished)
    assert isinstance(opened.result, OpenedSum)
    assert np.abs(opened.result.total - EXPECTED).max() <= opened.result.error_bound
    assert opened.result.total[-1] == EXPECTED[-1]
    assert opened.result.survivors == frozenset(CLIENTS)


def test_a_dropout_before_the_commitment_or_the_upload_leaves_the_survivors_sum(setup: Any) -> None:
    for phase in ("commit", "upload"):
        play = start(setup, model=phase.encode().ljust(32))
        gone = CLIENTS[2]
        kept = {me: message for me, message in play.commits.items() if me != gone or phase == "upload"}
        state, uploads = play.relay_list(kept)
        uploads.pop(gone, None)
        step = state.next(uploads)
        assert isinstance(step, Continue)
        opened = step.state.next({DECRYPTOR: ask(play, step.outbound[DECRYPTOR])})
        assert isinstance(opened, Finished)
        assert opened.result.survivors == frozenset(CLIENTS) - {gone}
        expected = EXPECTED - VECTORS[gone].view(np.int32)
        assert np.abs(opened.result.total - expected).max() <= opened.result.error_bound
        assert opened.result.total[-1] == expected[-1]


def test_sums_over_one_model_whose_difference_is_one_partner_are_refused(setup: Any) -> None:
    """A re-run of a round on the same model without one partner would show that partner's vector."""
    model = b"again".ljust(32)
    play = start(setup, model=model)
    ask(play, encode_request(play.commitments(), play.uploads()))
    play = start(setup, model=model)
    uploads = play.uploads()
    fewer = encode_request(play.commitments(), {me: uploads[me] for me in CLIENTS[:4]})
    aborts(AbortReason.DIFFERENCING, partial(ask, play, fewer))


def test_fewer_than_the_minimum_stop_the_operator_and_the_clients(setup: Any) -> None:
    play = start(setup)
    few = {me: play.commits[me] for me in CLIENTS[:3]}
    with pytest.raises(TooFewClients, match="survivors=3 must be >= 4"):
        play.server.next(few)
    short = b"\3\0" + b"".join(few.values())
    aborts(AbortReason.TOO_FEW_CLIENTS, lambda: play.clients[CLIENTS[0]].next(short))
    state, uploads = play.relay_list()
    with pytest.raises(TooFewClients, match="survivors=3 must be >= 4"):
        state.next({me: uploads[me] for me in CLIENTS[:3]})


def test_no_answer_from_the_decryptor_stops_the_operator(setup: Any) -> None:
    play = start(setup)
    state, uploads = play.relay_list()
    step = state.next(uploads)
    assert isinstance(step, Continue)
    with pytest.raises(TooFewClients, match="survivors=0 must be >= 1"):
        step.state.next({})


def test_two_different_requests_in_a_round_are_refused_and_the_same_one_is_answered_again(setup: Any) -> None:
    play = start(setup)
    uploads, listed = play.uploads(), play.commitments()
    everyone = encode_request(listed, uploads)
    fewer = encode_request(listed, {me: uploads[me] for me in CLIENTS[:4]})
    step = play.decryptor().next(everyone)
    assert isinstance(step, Continue)
    again = step.state.next(everyone)
    assert isinstance(again, Continue)
    assert again.outbound == step.outbound
    aborts(AbortReason.SECOND_UNMASKING, lambda: step.state.next(fewer))
    # A restarted decryptor has its journal: it does not begin the same round twice.
    aborts(AbortReason.ROUND_REUSED, lambda: ask(play, fewer))


def test_a_client_does_not_begin_a_round_twice(setup: Any) -> None:
    play = start(setup)
    aborts(AbortReason.ROUND_REUSED, lambda: play.scheme.client(CLIENTS[0], VECTORS[CLIENTS[0]], rng=CountingRng()))


def test_a_run_or_roster_that_the_setup_does_not_know_is_refused(setup: Any) -> None:
    context = RoundContext(run_id=RUN, round=1, roster_hash=bytes(32), model_hash=bytes(32))
    aborts(AbortReason.WRONG_ROSTER, lambda: setup.round(context))
    aborts(AbortReason.WRONG_ROUND, lambda: setup.round(replace(context, roster_hash=setup.roster_hash, run_id=bytes(32))))


def test_a_value_whose_sum_could_wrap_is_not_encrypted(setup: Any) -> None:
    play = start(setup)
    scheme = replace(play.scheme)
    limit = QUANTIZER.max_weight * QUANTIZER.limit
    vector = np.array([limit + 1, 1], dtype=np.int32).view(np.uint32)
    with pytest.raises(CapacityError, match=f"{limit + 1} must be in"):
        scheme.cipher.encrypt(vector, me=CLIENTS[0], rng=CountingRng())


@pytest.mark.parametrize("name", sorted(SETUPS))
def test_the_operator_reaches_no_key(name: str) -> None:
    """Nothing that the operator's states hold leads to a private key or a signing key."""
    play = start(SETUPS[name]())
    state, uploads = play.relay_list()
    step = state.next(uploads)
    assert isinstance(step, Continue)
    for held in (play.server, state, step.state):
        assert not reachable(held) & ({"PrivateKey", "CkksKey", "BfvKey", "SigningKey", "SecretKey"} | OPENERS)
    assert reachable(play.scheme) & OPENERS


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=600), cut=st.integers(0, 3000))
def test_any_bytes_give_a_typed_error(setup: Any, content: bytes, cut: int) -> None:
    play = _fuzzed(setup)
    listed = play.commitments().encoded
    for message in (content, listed[:cut] + content, listed + content):
        if message == listed:
            continue
        for receive in (play.clients[CLIENTS[0]].next, play.decryptor().next, lambda m: play.server.next({CLIENTS[0]: m})):
            with pytest.raises(SecureFLError):
                receive(message)


_plays: dict[int, Play] = {}


def _fuzzed(setup: Any) -> Play:
    if id(setup) not in _plays:
        _plays[id(setup)] = start(setup)
    return _plays[id(setup)]


def test_options_of_another_scheme_and_too_few_clients_are_refused() -> None:
    for module, other in (
        (paillier_sum, ckks_sum.CkksOptions()), (ckks_sum, bfv_sum.BfvOptions()), (bfv_sum, paillier_sum.PaillierOptions())
    ):
        with pytest.raises(ParameterError, match="Options"):
            module.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(), options=other)
        with pytest.raises(ParameterError, match="clients=2 must be >= 3"):
            module.set_up(CLIENTS[:2], quantizer=QUANTIZER, run_id=RUN, rng=CountingRng())


@pytest.mark.parametrize("name", sorted(SETUPS))
def test_the_single_decryptor_is_named_in_the_warnings(name: str) -> None:
    assert any("single-decryptor" in warning for warning in SETUPS[name]().warnings)
