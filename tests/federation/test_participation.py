"""Absent once, stop, withdraw, veto: the rounds go on without, the rest is typed, and nobody's past is taken back."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import CountingRng, make_dataset

from securefl.chem.dataset import Dataset
from securefl.config import DataConfig, DepartureConfig, FederationConfig, ModelConfig, RunConfig
from securefl.errors import AbortReason, ProtocolAbort, TooFewClients
from securefl.federation.participation import Decision, Departure, planned
from securefl.federation.releases import RoundTrace, Trained
from securefl.federation.training import train_federated

CONFIG = RunConfig(
    data=DataConfig(partners=5),
    model=ModelConfig(hidden=(24, 12)),
    federation=FederationConfig(rounds=4, batch=32, learning_rate=5e-3),
)


@pytest.fixture(scope="module")
def five() -> Dataset:
    return make_dataset(partners=5)


def run(
    dataset: Dataset, *plan: tuple[int, int, str], scheme: str = "masking", config: RunConfig = CONFIG
) -> tuple[Trained, list[RoundTrace]]:
    """Train with departures (round, partner from 1, decision) as a config plans them."""
    departures = [DepartureConfig.model_validate({"round": r, "partner": p, "decision": d}) for r, p, d in plan]
    traces: list[RoundTrace] = []
    trained = train_federated(
        dataset, config=config, scheme=scheme, seed=0, rng=CountingRng(), consent=planned(departures), observer=traces.append
    )
    return trained, traces


def survivors(traces: list[RoundTrace]) -> list[list[int]]:
    return [sorted(trace.result.survivors) for trace in traces]


def test_an_absent_partner_comes_back(five: Dataset) -> None:
    trained, traces = run(five, (2, 4, "absent"))
    assert survivors(traces) == [[1, 2, 3, 4, 5], [1, 2, 3, 5], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    assert trained.departures == (Departure(2, 3, Decision.ABSENT),)
    assert sorted(trained.model.heads) == [0, 1, 2, 3, 4]


def test_who_stops_keeps_its_model_of_that_moment(five: Dataset) -> None:
    trained, traces = run(five, (3, 4, "stop"))
    assert survivors(traces) == [[1, 2, 3, 4, 5]] * 2 + [[1, 2, 3, 5]] * 2
    assert sorted(trained.model.heads) == [0, 1, 2, 4]
    assert sorted(trained.left) == [3]
    shorter, _ = run(five, config=CONFIG.model_copy(update={"federation": CONFIG.federation.model_copy(update={"rounds": 2})}))
    for name, value in shorter.model.trunk.items():
        np.testing.assert_array_equal(trained.left[3].trunk[name], value)
    np.testing.assert_array_equal(trained.left[3].heads[3].weight, shorter.model.heads[3].weight)


def test_who_withdraws_keeps_nothing_and_its_past_rounds_stay(five: Dataset) -> None:
    trained, traces = run(five, (3, 2, "withdraw"))
    assert survivors(traces)[2:] == [[1, 3, 4, 5]] * 2
    assert trained.left == {}
    assert 1 not in trained.model.heads
    whole, whole_traces = run(five)
    for name, value in whole_traces[2].before.items():
        np.testing.assert_array_equal(traces[2].before[name], value)
    assert trained.curve[:2] == whole.curve[:2]
    assert trained.curve[2:] != whole.curve[2:]


def test_a_veto_ends_the_run_with_the_rounds_that_had_consent(five: Dataset) -> None:
    trained, traces = run(five, (3, 1, "veto"))
    assert (trained.rounds, len(traces)) == (2, 2)
    assert trained.departures == (Departure(3, 0, Decision.VETO),)
    assert sorted(trained.model.heads) == [0, 1, 2, 3, 4]


def test_a_veto_before_the_first_round_is_an_abort_that_names_the_partner(five: Dataset) -> None:
    with pytest.raises(ProtocolAbort, match="party 2: a partner vetoed the round") as caught:
        run(five, (1, 2, "veto"))
    assert caught.value.reason is AbortReason.VETOED


def test_below_the_minimum_the_run_aborts(five: Dataset) -> None:
    # Five partners, one of whom may work with the operator: sums of fewer than four are not opened.
    with pytest.raises(TooFewClients):
        run(five, (2, 1, "stop"), (2, 2, "withdraw"))
    with pytest.raises(TooFewClients):
        run(five, *[(2, partner, "absent") for partner in range(1, 6)], scheme="plaintext")


@pytest.mark.parametrize("scheme", ["plaintext", "bfv", "masking-static"])
def test_every_kind_of_scheme_takes_a_smaller_cohort_or_says_why_not(five: Dataset, scheme: str) -> None:
    short = CONFIG.model_copy(update={"federation": CONFIG.federation.model_copy(update={"rounds": 2})})
    if scheme == "masking-static":
        # Static masks cancel only if everybody is there.
        with pytest.raises(ProtocolAbort):
            run(five, (2, 4, "stop"), scheme=scheme, config=short)
        return
    _, traces = run(five, (2, 4, "stop"), scheme=scheme, config=short)
    assert survivors(traces) == [[1, 2, 3, 4, 5], [1, 2, 3, 5]]


def test_the_config_plans_departures(five: Dataset) -> None:
    plan = (DepartureConfig(round=2, partner=1, decision="stop"),)
    config = CONFIG.model_copy(update={"federation": CONFIG.federation.model_copy(update={"rounds": 2, "departures": plan})})
    trained = train_federated(five, config=config, scheme="plaintext", seed=0, rng=CountingRng())
    assert trained.departures == (Departure(2, 0, Decision.STOP),)
