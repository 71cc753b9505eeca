"""The Poisson sampler: batch sizes vary as they must, may be empty, and never exceed the paid rate."""

from __future__ import annotations

import numpy as np
import pytest

from securefl.dp.poisson_sampling import poisson_sample, sampling_threshold
from securefl.errors import ParameterError
from securefl.types import Rng


@pytest.mark.statistical
def test_poisson_batches_vary_as_a_binomial_does(rng: Rng) -> None:
    sizes = np.array([len(poisson_sample(500, rate=0.1, rng=rng)) for _ in range(2_000)])
    assert abs(sizes.mean() - 50) < 5 * np.sqrt(45 / 2_000)
    assert 0.8 < sizes.var() / 45 < 1.2
    fixed = np.full(2_000, 50)
    assert not 0.8 < fixed.var() / 45 < 1.2


def test_poisson_sampling_can_be_empty_and_can_be_everybody(rng: Rng) -> None:
    assert any(len(poisson_sample(3, rate=0.1, rng=rng)) == 0 for _ in range(50))
    np.testing.assert_array_equal(poisson_sample(7, rate=1.0, rng=rng), np.arange(7))
    rows = poisson_sample(1_000, rate=0.5, rng=rng)
    assert (np.diff(rows) > 0).all()
    assert len(poisson_sample(0, rate=0.5, rng=rng)) == 0


def test_the_drawn_rate_is_never_above_the_paid_one() -> None:
    for rate in (1e-6, 0.1, 1 / 3, 0.999999, 1.0):
        assert sampling_threshold(rate) <= rate * 2**64
    for rate in (0.0, -0.1, 1.0001):
        with pytest.raises(ParameterError, match="sampling_rate"):
            sampling_threshold(rate)
