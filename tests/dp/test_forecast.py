"""The plan that a person reads before a private training, against the training's own planning."""

from __future__ import annotations

from math import exp, sqrt

import pytest

from securefl.config import DpConfig, RunConfig
from securefl.dp.distributed import SumTerms
from securefl.dp.forecast import RecordTerms, partner_forecast, record_forecast
from securefl.errors import ParameterError
from securefl.learning.private_plan import private_plans

TERMS = RecordTerms(compounds=8000, batch=512, epochs=20, parameters=10_000)


def test_the_forecast_is_what_a_run_with_the_same_settings_plans() -> None:
    found = record_forecast(TERMS, epsilon=3.0, delta=1e-6)
    config = RunConfig(dp=DpConfig(epsilon=3.0, delta=1e-6, batch=512, rounds=20))
    (plan,) = private_plans([8000], config=config)
    assert (found.steps, found.sampling_rate, found.noise_multiplier) == (plan.steps, plan.sampling_rate, plan.noise_multiplier)
    assert (found.steps, found.sampling_rate) == (320, 0.064)
    assert found.epsilon_lower is not None
    assert 2.9 < found.epsilon_lower <= found.epsilon <= 3.0
    assert found.noise_per_coordinate == pytest.approx(found.noise_multiplier / 512)
    assert found.noise_share == pytest.approx(found.noise_per_coordinate * 100)
    assert found.noise_share_all == pytest.approx(found.noise_share / sqrt(320))
    assert found.membership_bound <= exp(3) * 1e-3 + 1e-6
    assert found.warnings == ()


def test_warnings_name_what_is_wrong() -> None:
    whole = record_forecast(RecordTerms(compounds=100, batch=512, epochs=8, parameters=10**6), epsilon=12.0, delta=1e-5)
    assert whole.steps == 8
    text = " | ".join(whole.warnings)
    for part in ("takes every record in every step", "near the bound", "weak promise", "times the largest mean gradient"):
        assert part in text
    half = record_forecast(RecordTerms(compounds=100, batch=60, epochs=2, parameters=10), epsilon=8.0, delta=1e-7)
    assert half.warnings == ("sampling rate 0.60 is large: a smaller batch needs less noise for the same budget",)


def test_a_delta_that_publishes_records_is_refused() -> None:
    with pytest.raises(ParameterError, match="delta=1e-05 must be > 0 and <= 1e-06"):
        record_forecast(RecordTerms(compounds=100_000, batch=512, epochs=1, parameters=10), epsilon=3.0, delta=1e-5)
    sums = SumTerms(parties=6, contributors=3, length=100, clipping_norm=1.0)
    with pytest.raises(ParameterError, match="at partner level"):
        partner_forecast(sums, epsilon=3.0, delta=1e-4, rounds=8)
    with pytest.raises(ParameterError, match="batch=0"):
        RecordTerms(compounds=1, batch=0, epochs=1, parameters=1)


def test_partner_level_error_falls_with_the_number_of_partners() -> None:
    few, many = (
        partner_forecast(
            SumTerms(parties=n, contributors=n - 1, length=1_000, clipping_norm=2.0), epsilon=8.0, delta=1e-6, rounds=8
        )
        for n in (6, 60)
    )
    assert few.noise_share / many.noise_share == pytest.approx(10, rel=0.15)
    assert few.unit == "partner"
    assert few.epsilon_lower is None
    assert "replaced by zero" in few.neighbouring
