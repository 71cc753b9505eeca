"""The order of bits is read back where frequencies tell bits apart, and not where they don't."""

from __future__ import annotations

import numpy as np

from attacks.first_layer.scramble_key import Order, run_scramble, score_scramble
from attacks.interface import AdversaryView
from attacks.score import Score


def placed(spread: float, *, informative: bool = True) -> tuple[Score, ...]:
    """The scores of the attack on 400 rows whose lengths follow the bits' frequencies, up to a relative ``spread``."""
    draw = np.random.default_rng(3)
    frequency = 1000.0 / np.arange(1, 401)
    order = draw.permutation(400)
    length = frequency[order] * np.exp(spread * draw.normal(size=400)) if informative else draw.random(400)
    delta = length[:, None] * draw.choice([-1.0, 1.0], size=(400, 8))
    view = AdversaryView(view="V2", tensors={"delta": delta, "frequency": frequency}, facts={})
    return score_scramble(run_scramble(view, {}), {}, Order(order, frequency)).scores


def test_rows_as_long_as_bits_are_common_give_the_order_away() -> None:
    assert [score.value for score in placed(0.0)] == [1.0, 1.0]
    assert all(score.low > score.chance for score in placed(0.02))


def test_lengths_without_frequencies_are_chance() -> None:
    """The negative control."""
    for control in placed(0.0, informative=False):
        assert control.low <= control.chance <= control.high
