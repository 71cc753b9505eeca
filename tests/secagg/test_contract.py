"""What every scheme must do, whatever its cryptography: this file picks up a new scheme by itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from securefl.errors import ParameterError, SecureFLError
from securefl.quantize import Quantizer
from securefl.secagg import RoundResult, aggregate, run_round, schemes
from securefl.secagg.base import RoundContext, Setup
from securefl.secagg.paillier_sum import shipped_options
from securefl.types import ClientId, FloatVector, SystemRng

pytestmark = pytest.mark.contract
SCHEMES = sorted(schemes())
CLIENTS = tuple(ClientId(i) for i in range(1, 6))
WEIGHTS = dict(zip(CLIENTS, (3, 1, 7, 2, 5), strict=True))
LENGTH = 301
MODEL = b"m" * 32
OPTIONS = {"paillier": shipped_options(2048)}
"""A dealer of a fresh threshold key would be waited for; every other scheme runs with its defaults."""


def make_updates(length: int = LENGTH) -> dict[ClientId, FloatVector]:
    generator = np.random.default_rng(7)
    return {me: generator.uniform(-0.9, 0.9, length) for me in CLIENTS}


@pytest.fixture(scope="module")
def quantizer() -> Quantizer:
    return Quantizer.for_sum(len(CLIENTS), clip=1.0, max_weight=8)


@pytest.fixture(scope="module", params=SCHEMES)
def setup(request: pytest.FixtureRequest, quantizer: Quantizer) -> Setup:
    return schemes()[request.param](
        CLIENTS, quantizer=quantizer, run_id=b"r" * 32, rng=SystemRng(), options=OPTIONS.get(request.param)
    )


_round = iter(range(1, 10_000))


def play(
    setup: Setup, quantizer: Quantizer, updates: Mapping[ClientId, FloatVector], dropouts: Mapping[ClientId, str] | None = None
) -> RoundResult:
    round = next(_round)
    return run_round(
        setup, updates, weights=WEIGHTS, round=round, model_hash=round.to_bytes(32, "big"), rng=SystemRng(),
        quantizer=quantizer, dropouts=dropouts,
    )  # fmt: skip


def test_the_sum_is_the_sum_in_clear_within_the_bound(setup: Setup, quantizer: Quantizer) -> None:
    updates = make_updates()
    result = play(setup, quantizer, updates)
    expected = sum(WEIGHTS[me] * update for me, update in updates.items())
    assert result.survivors == frozenset(CLIENTS)
    assert result.weight == sum(WEIGHTS.values())
    assert result.clipped == 0
    assert result.max_abs_error == pytest.approx(float(np.abs(result.total - expected).max()))
    assert result.max_abs_error <= result.quantization_bound * (1 + 1e-9)


def test_a_vector_of_one_coordinate(setup: Setup, quantizer: Quantizer) -> None:
    updates = make_updates(1)
    result = play(setup, quantizer, updates)
    assert result.max_abs_error <= result.quantization_bound * (1 + 1e-9)


def test_clipped_values_are_counted(setup: Setup, quantizer: Quantizer) -> None:
    updates = make_updates()
    updates[CLIENTS[0]][:4] = 5.0
    result = play(setup, quantizer, updates)
    assert result.clipped == 4
    assert result.max_abs_error == pytest.approx(4.0 * WEIGHTS[CLIENTS[0]], rel=1e-3)


def test_a_dropout_in_any_phase_gives_the_survivors_sum_or_an_abort(setup: Setup, quantizer: Quantizer) -> None:
    updates = make_updates()
    phases = setup.round(_context(setup, 1)).phases
    for phase in phases:
        try:
            result = play(setup, quantizer, updates, {CLIENTS[1]: phase})
        except SecureFLError:
            continue
        expected = sum(WEIGHTS[me] * updates[me] for me in result.survivors)
        assert np.abs(result.total - expected).max() <= result.quantization_bound * (1 + 1e-9)
        assert result.weight == sum(WEIGHTS[me] for me in result.survivors)


def test_nobody_left_aborts(setup: Setup, quantizer: Quantizer) -> None:
    first = setup.round(_context(setup, 1)).phases[0]
    with pytest.raises(SecureFLError):
        play(setup, quantizer, make_updates(), dict.fromkeys(CLIENTS, first))


def test_a_message_of_another_round_is_refused(setup: Setup, quantizer: Quantizer) -> None:
    """A replay of every client's first message into the next round must not be accepted."""
    vector = np.arange(9, dtype=np.uint32)
    old = setup.round(_context(setup, next(_round)))
    replayed = {}
    for me in CLIENTS:
        replayed[me] = old.client(me, vector, rng=SystemRng()).outbound
    server = setup.round(_context(setup, next(_round))).server(frozenset(CLIENTS))
    with pytest.raises(SecureFLError):
        server.next(replayed)


def test_a_truncated_message_is_refused(setup: Setup, quantizer: Quantizer) -> None:
    scheme = setup.round(_context(setup, next(_round)))
    vector = np.arange(9, dtype=np.uint32)
    messages = {me: scheme.client(me, vector, rng=SystemRng()).outbound for me in CLIENTS}
    messages[CLIENTS[0]] = messages[CLIENTS[0]][:-3]
    with pytest.raises(SecureFLError):
        scheme.server(frozenset(CLIENTS)).next(messages)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_aggregate_runs_a_whole_round(scheme: str) -> None:
    updates = make_updates(33)
    result = aggregate(scheme, updates, rng=SystemRng(), options=OPTIONS.get(scheme))
    assert np.abs(result.total - sum(updates.values())).max() <= result.quantization_bound * (1 + 1e-9)
    assert {message.sender for message in result.transcript} >= set(CLIENTS)


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(ParameterError, match="rot13"):
        aggregate("rot13", make_updates(), rng=SystemRng())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bad_inputs_are_refused(scheme: str) -> None:
    updates = make_updates()
    with pytest.raises(ParameterError, match="weights"):
        aggregate(scheme, updates, rng=SystemRng(), options=OPTIONS.get(scheme), weights={CLIENTS[0]: 1})
    with pytest.raises(ParameterError, match="phase 'lunch'"):
        aggregate(scheme, updates, rng=SystemRng(), options=OPTIONS.get(scheme), dropouts={CLIENTS[0]: "lunch"})
    with pytest.raises(ParameterError, match="lengths"):
        aggregate(scheme, {**updates, CLIENTS[0]: np.zeros(3)}, rng=SystemRng(), options=OPTIONS.get(scheme))
    with pytest.raises(ParameterError, match=r"client 2.* not finite"):
        aggregate(scheme, {**updates, CLIENTS[1]: np.full(LENGTH, np.nan)}, rng=SystemRng(), options=OPTIONS.get(scheme))


def _context(setup: Setup, round: int) -> RoundContext:
    return RoundContext(run_id=setup.run_id, round=round, roster_hash=setup.roster_hash, model_hash=MODEL)
