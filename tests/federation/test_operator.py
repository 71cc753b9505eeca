"""The operator's arithmetic and its decision to stop, and the weights that travel inside the sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import CountingRng

from securefl.config import SecaggConfig
from securefl.errors import CapacityError, InputError, ProtocolAbort
from securefl.federation.operator import Operator
from securefl.federation.protocols import MAX_WEIGHT, quantizer_for, scaled_weights, set_up
from securefl.learning.layout import trunk_layout
from securefl.secagg import RoundCost, RoundResult
from securefl.types import ClientId

LAYOUT = trunk_layout(3, (2,))


def opened(total: list[float], weight: int) -> RoundResult:
    return RoundResult(
        total=np.array(total),
        weight=weight,
        survivors=frozenset({ClientId(1)}),
        clipped=0,
        max_abs_error=0.0,
        quantization_bound=0.0,
        cost=RoundCost(setup_seconds=0, client_seconds=0, server_seconds=0, bytes_up_per_client=0, bytes_down_per_client=0),
        transcript=(),
    )


def operator(patience: int = 2) -> Operator:
    trunk = {name: np.ones(shape, dtype=np.float32) for name, shape in LAYOUT.tensors}
    return Operator(trunk, layout=LAYOUT, aggregated=LAYOUT, patience=patience)


def test_trunk_moves_by_the_weighted_mean() -> None:
    one = operator()
    before = one.model_hash
    one.apply(opened([10.0] * 6 + [-5.0] * 2, 5), round=1)
    np.testing.assert_array_equal(one.trunk["first.weight"], np.full((3, 2), 3.0))
    np.testing.assert_array_equal(one.trunk["first.bias"], np.zeros(2))
    assert one.model_hash != before


def test_an_opened_weight_of_zero_stops_the_round() -> None:
    one = operator()
    with pytest.raises(ProtocolAbort, match="weight=0 must be >= 1"):
        one.apply(opened([0.0] * 8, 0), round=3)
    np.testing.assert_array_equal(one.trunk["first.bias"], np.ones(2))


def test_it_stops_after_patience_rounds_and_keeps_the_best() -> None:
    one = operator(patience=2)
    stopped = []
    for number, score in enumerate([-0.5, 0.2, 0.1, 0.2], start=1):
        one.apply(opened([1.0] * 8, 1), round=number)
        one.judge(score, round=number)
        stopped.append(one.should_stop(number))
    # An equal score is not better: the earlier round stays.
    assert (one.best_round, stopped) == (2, [False, False, False, True])
    assert float(one.best["first.bias"][0]) == 3.0
    assert float(one.trunk["first.bias"][0]) == 5.0


@pytest.mark.property
@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=20))
def test_weights_fit_8_bits_and_keep_the_proportions(counts: list[int]) -> None:
    weights = scaled_weights(counts)
    assert all(0 <= weight <= MAX_WEIGHT for weight in weights)
    assert all((weight == 0) == (count == 0) for weight, count in zip(weights, counts, strict=True))
    most = max(counts)
    if most <= MAX_WEIGHT:
        assert weights == counts
    else:
        for weight, count in zip(weights, counts, strict=True):
            # Half a unit of rounding, or the floor of 1 for the smallest partners.
            assert abs(weight - MAX_WEIGHT * count / most) <= 0.5 or (weight == 1 and MAX_WEIGHT * count / most < 1)


def test_capacity_is_proven_before_the_run() -> None:
    with pytest.raises(CapacityError):
        quantizer_for(SecaggConfig(), 10_000_000)


def test_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"must be one of .*masking.*plaintext"):
        set_up("none", [ClientId(1)], quantizer=quantizer_for(SecaggConfig(), 1), rng=CountingRng())
