"""Static masking: everybody or nobody, fresh masks every round, a ratchet that turns forward only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from masking_world import MODEL, HashRng, make_input

from securefl.crypto.agreement import generate_secret
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason, ParameterError, ProtocolAbort, TooFewClients
from securefl.quantize import Quantizer
from securefl.secagg.base import Finished, RoundContext
from securefl.secagg.envelope import Channel
from securefl.secagg.journal import MAX_SKIP
from securefl.secagg.masking import MaskingOptions, StaticMasking, StaticSetup, set_up_static
from securefl.secagg.masking.static import WIRE_ID, Ratchet, advertise, agree
from securefl.types import ClientId, Secret

CLIENTS = [ClientId(i) for i in range(1, 5)]
RUN = b"r" * 32


def make() -> StaticSetup:
    return set_up_static(CLIENTS, quantizer=Quantizer(clip=1.0, scale_bits=8), run_id=RUN, rng=HashRng("static"))


def at(setup: StaticSetup, round: int, model_hash: bytes = MODEL) -> StaticMasking:
    return setup.round(RoundContext(run_id=RUN, round=round, roster_hash=setup.roster_hash, model_hash=model_hash))


def inputs(scheme: StaticMasking) -> dict[ClientId, bytes]:
    return {me: scheme.client(me, make_input(me, 33), rng=HashRng("unused")).outbound for me in CLIENTS}


def refused(scheme: StaticMasking, messages: dict[ClientId, bytes]) -> AbortReason:
    with pytest.raises(ProtocolAbort) as caught:
        scheme.server(frozenset(CLIENTS)).next(messages)
    return caught.value.reason


def test_the_masks_cancel_and_differ_in_every_round_and_model() -> None:
    setup, seen = make(), set()
    for round, model_hash in ((1, MODEL), (2, MODEL), (7, b"n" * 32)):
        scheme = at(setup, round, model_hash)
        messages = inputs(scheme)
        step = scheme.server(frozenset(CLIENTS)).next(messages)
        assert isinstance(step, Finished)
        expected = sum(make_input(me, 33).view(np.int32).astype(np.int64) for me in CLIENTS)
        assert np.array_equal(step.result.total, np.asarray(expected))
        seen |= {message[-132:] for message in messages.values()}
        assert not any(make_input(me, 33).tobytes() in message for me, message in messages.items())
    assert len(seen) == 12


@pytest.mark.parametrize("missing", CLIENTS)
def test_one_missing_means_no_sum(missing: ClientId) -> None:
    scheme = at(make(), 1)
    messages = inputs(scheme)
    del messages[missing]
    assert refused(scheme, messages) is AbortReason.TOO_FEW_CLIENTS


def test_replays_bit_flips_and_swaps_are_refused() -> None:
    setup = make()
    old, scheme = inputs(at(setup, 1)), at(setup, 2)
    messages = inputs(scheme)
    assert refused(scheme, {**messages, CLIENTS[0]: old[CLIENTS[0]]}) is AbortReason.WRONG_ROUND
    flipped = messages[CLIENTS[0]][:-1] + bytes([messages[CLIENTS[0]][-1] ^ 1])
    assert refused(scheme, {**messages, CLIENTS[0]: flipped}) is AbortReason.BAD_SIGNATURE
    assert refused(scheme, {**messages, CLIENTS[0]: messages[CLIENTS[1]]}) is AbortReason.MALFORMED
    assert refused(scheme, {**messages, CLIENTS[0]: messages[CLIENTS[0]][:-4]}) is AbortReason.MALFORMED


def test_different_models_open_nothing() -> None:
    setup = make()
    honest = inputs(at(setup, 1))
    fresh = make()
    other = at(fresh, 1, b"n" * 32).client(CLIENTS[0], make_input(1, 33), rng=HashRng("x")).outbound
    assert refused(at(setup, 1), {**honest, CLIENTS[0]: other}) is AbortReason.WRONG_MODEL


@pytest.mark.parametrize("round", [1, 2])
def test_a_round_is_not_repeated_and_not_gone_back_to(round: int) -> None:
    setup = make()
    inputs(at(setup, 2))
    with pytest.raises(ProtocolAbort) as caught:
        at(setup, round).client(CLIENTS[0], make_input(1, 33), rng=HashRng("x"))
    assert caught.value.reason is AbortReason.ROUND_REUSED


def test_a_ratchet_forgets_and_skips_are_bounded() -> None:
    context = RoundContext(run_id=RUN, round=5, roster_hash=bytes(32), model_hash=MODEL)
    skipped, stepped = (Ratchet({ClientId(2): Secret(b"c" * 32)}) for _ in range(2))
    for round in range(1, 5):
        stepped.turn(replace(context, round=round))
    assert skipped.turn(context) == stepped.turn(context)
    for round in (5, 4, 6 + MAX_SKIP):
        with pytest.raises(ProtocolAbort, match="must be in 6"):
            skipped.turn(replace(context, round=round))


def test_a_swapped_advert_aborts_the_set_up() -> None:
    setup = make()
    context = RoundContext(run_id=RUN, round=0, roster_hash=setup.roster_hash, model_hash=bytes(32))
    channel = Channel(wire_id=WIRE_ID, context=context, keys=setup.signed.roster.keys)
    secrets = {me: generate_secret(rng=HashRng(f"secret {me}")) for me in CLIENTS}
    adverts = {me: advertise(channel, me, secrets[me], identity=setup.parties[me].identity) for me in CLIENTS}
    agree(channel, CLIENTS[0], secrets[CLIENTS[0]], adverts)
    outsider = SigningKey.generate(rng=HashRng("operator"))
    forged = advertise(channel, CLIENTS[1], secrets[CLIENTS[2]], identity=outsider)
    cases = {
        AbortReason.BAD_SIGNATURE: {**adverts, CLIENTS[1]: forged},
        AbortReason.MALFORMED: {**adverts, CLIENTS[1]: adverts[CLIENTS[2]]},
        AbortReason.DUPLICATE_PARTY: {
            **adverts,
            CLIENTS[1]: advertise(channel, CLIENTS[1], secrets[CLIENTS[0]], identity=setup.parties[CLIENTS[1]].identity),
        },
        AbortReason.MISSING_SELF: {
            **adverts,
            CLIENTS[0]: advertise(
                channel, CLIENTS[0], generate_secret(rng=HashRng("x")), identity=setup.parties[CLIENTS[0]].identity
            ),
        },
    }  # fmt: skip
    for reason, relayed in cases.items():
        with pytest.raises(ProtocolAbort) as caught:
            agree(channel, CLIENTS[0], secrets[CLIENTS[0]], relayed)
        assert caught.value.reason is reason
    with pytest.raises(TooFewClients):
        agree(channel, CLIENTS[0], secrets[CLIENTS[0]], {me: adverts[me] for me in CLIENTS[:3]})


def test_a_round_number_that_the_ratchet_refuses_does_not_end_the_run() -> None:
    """Whoever names the rounds could name one out of reach: in the journal it would rule out every other."""
    setup = make()
    with pytest.raises(ProtocolAbort) as caught:
        at(setup, MAX_SKIP + 1).client(CLIENTS[0], make_input(1, 33), rng=HashRng("unused"))
    assert caught.value.reason is AbortReason.ROUND_REUSED
    assert at(setup, 1).client(CLIENTS[0], make_input(1, 33), rng=HashRng("unused")).outbound


@pytest.mark.parametrize("options", [MaskingOptions(sum_tags=2), MaskingOptions(neighbours=2, circle_threshold=2)])
def test_what_static_masking_does_not_have_is_refused_and_not_left_out_silently(options: MaskingOptions) -> None:
    clients = [ClientId(i) for i in range(1, 7)]
    with pytest.raises(ParameterError, match="static masking has none"):
        set_up_static(
            clients, quantizer=Quantizer(clip=1.0, scale_bits=8), run_id=RUN, rng=HashRng("static"), options=options
        )
