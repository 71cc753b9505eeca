"""The contract (securefl.secagg.contract) holds for every scheme here, a new one by itself; each check fails where it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from securefl.errors import ParameterError, VerificationError
from securefl.secagg import aggregate, contract, plaintext, run_round, schemes
from securefl.secagg.base import Finished, OpenedSum, Scheme, ServerState
from securefl.secagg.contract import CHECKS, CLIENTS, LENGTH, Contender, made_updates
from securefl.secagg.paillier_sum import shipped_options
from securefl.types import ClientId, RingVector, SystemRng

pytestmark = pytest.mark.contract
SCHEMES = sorted(schemes())
OPTIONS = {"paillier": shipped_options(2048)}
"""A dealer of a fresh threshold key would be waited for; every other scheme runs with its defaults."""


@pytest.fixture(scope="module", params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> Contender:
    return Contender.of(request.param, options=OPTIONS.get(request.param))


@pytest.mark.parametrize("check", CHECKS)
def test_every_scheme_keeps_the_contract(scheme: Contender, check: Callable[[Contender], None]) -> None:
    check(scheme)


@dataclass(frozen=True)
class BrokenServer:
    """The operator of the sum in clear, whose inbound or opened sum is spoilt."""

    inner: Any
    before: Callable[[Mapping[ClientId, bytes]], Mapping[ClientId, bytes]]
    after: Callable[[OpenedSum], OpenedSum]

    def next(self, inbound: Mapping[ClientId, bytes]) -> Finished[OpenedSum]:
        if not inbound:
            return Finished(OpenedSum(np.zeros(LENGTH + 1, np.int64), frozenset(CLIENTS)))
        step: Finished[OpenedSum] = self.inner.next(self.before(inbound))
        return Finished(self.after(step.result))


@dataclass(frozen=True)
class BrokenRound:
    """One round of the sum in clear with a defect."""

    inner: plaintext.Plaintext
    before: Callable[[Mapping[ClientId, bytes]], Mapping[ClientId, bytes]]
    after: Callable[[OpenedSum], OpenedSum]
    wire_id: ClassVar[bytes] = b"broken/1"
    phases: ClassVar[tuple[str, ...]] = ("input",)

    def client(self, me: ClientId, update: RingVector, *, rng: Any) -> Any:
        return self.inner.client(me, update, rng=rng)

    def server(self, cohort: frozenset[ClientId]) -> ServerState:
        return BrokenServer(self.inner.server(cohort), self.before, self.after)

    def decryptors(self, *, rng: Any) -> Mapping[ClientId, Any]:
        return {}


@dataclass(frozen=True)
class BrokenSetup:
    """A run of the sum in clear whose rounds have a defect; ``one`` binds all of them to the same context."""

    inner: plaintext.PlaintextSetup
    name: str = "plaintext"
    before: Callable[[Mapping[ClientId, bytes]], Mapping[ClientId, bytes]] = lambda inbound: inbound
    after: Callable[[OpenedSum], OpenedSum] = lambda opened: opened
    one: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def round(self, context: Any) -> Scheme:
        bound = replace(context, round=1, model_hash=bytes(32)) if self.one else context
        return BrokenRound(self.inner.round(bound), self.before, self.after)


def _broken(**defect: Any) -> Contender:
    """Return the sum in clear with a defect."""
    sound = Contender.of("plaintext")
    assert isinstance(sound.setup, plaintext.PlaintextSetup)
    setup: Any = BrokenSetup(sound.setup, **defect)
    return replace(sound, setup=setup)


def _one_more(opened: OpenedSum) -> OpenedSum:
    return replace(opened, total=opened.total + 1)


def _all_survived(opened: OpenedSum) -> OpenedSum:
    return replace(opened, survivors=frozenset(CLIENTS))


def _shorter(inbound: Mapping[ClientId, bytes]) -> Mapping[ClientId, bytes]:
    return {me: message[: min(map(len, inbound.values())) // 4 * 4 - 2] for me, message in inbound.items()}


@pytest.mark.parametrize(
    ("check", "defect"),
    [
        (contract.the_sum_is_the_sum_in_clear_within_its_bound, {"after": _one_more}),
        (contract.a_vector_of_one_coordinate_is_summed, {"after": _one_more}),
        (contract.a_dropout_in_any_phase_gives_the_survivors_sum_or_an_abort, {"after": _all_survived}),
        (contract.nobody_left_aborts, {}),
        (contract.a_message_of_another_round_is_refused, {"one": True}),
        (contract.a_truncated_message_is_refused, {"before": _shorter}),
        (contract.a_whole_round_runs_by_its_name, {"name": "masking"}),
        (contract.it_keeps_what_it_declares, {"after": lambda opened: replace(opened, error_bound=2.0)}),
    ],
)
def test_a_broken_scheme_breaks_the_contract(check: Callable[[Contender], None], defect: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        check(_broken(**defect))


def test_an_update_in_clear_is_seen_where_it_should_be_hidden() -> None:
    sound = Contender.of("plaintext")
    contract.an_update_is_not_in_sight(sound)  # declared open
    with pytest.raises(VerificationError, match="compresses to"):
        contract.an_update_is_not_in_sight(replace(sound, name="masking"))


def test_values_that_nobody_counts_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver counts what is clipped: only a driver that doesn't can break this check."""
    sound = Contender.of("plaintext")
    monkeypatch.setattr(contract, "run_round", lambda *given, **named: replace(run_round(*given, **named), clipped=0))
    with pytest.raises(VerificationError, match="clipped=0 must be 4"):
        contract.clipped_values_are_counted(sound)


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(ParameterError, match="rot13"):
        aggregate("rot13", made_updates(), rng=SystemRng())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bad_inputs_are_refused(scheme: str) -> None:
    updates = made_updates()
    with pytest.raises(ParameterError, match="weights"):
        aggregate(scheme, updates, rng=SystemRng(), options=OPTIONS.get(scheme), weights={CLIENTS[0]: 1})
    with pytest.raises(ParameterError, match="phase 'lunch'"):
        aggregate(scheme, updates, rng=SystemRng(), options=OPTIONS.get(scheme), dropouts={CLIENTS[0]: "lunch"})
    with pytest.raises(ParameterError, match="lengths"):
        aggregate(scheme, {**updates, CLIENTS[0]: np.zeros(3)}, rng=SystemRng(), options=OPTIONS.get(scheme))
    with pytest.raises(ParameterError, match=r"client 2.* not finite"):
        aggregate(scheme, {**updates, CLIENTS[1]: np.full(LENGTH, np.nan)}, rng=SystemRng(), options=OPTIONS.get(scheme))


@pytest.mark.parametrize("scheme", ["plaintext", "masking", "rlwe"])
def test_a_client_can_drop_out_before_its_upload_whatever_the_scheme_calls_it(scheme: str) -> None:
    """``aggregate --drop`` asked the sum in clear for a phase that it hasn't."""
    result = aggregate(scheme, made_updates(), rng=SystemRng(), dropouts={CLIENTS[1]: None})
    assert result.survivors == frozenset(CLIENTS) - {CLIENTS[1]}
