"""An arm's name is its recipe: what each one means, and which are refused with a reason."""

from __future__ import annotations

import math

import pytest

from securefl.config import ALL_ARMS, RunConfig
from securefl.recipes import Privacy, Recipe, Unit, needed_arm, recipe_of


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("pooled", None),
        ("masking", Recipe("masking")),
        ("masking-static+guard", Recipe("masking-static", guarded=True)),
        ("dp", Recipe("masking", privacy=Privacy(Unit.RECORD))),
        ("dp=3", Recipe("masking", privacy=Privacy(Unit.RECORD, 3.0))),
        ("masking+guard+dp=0.5", Recipe("masking", guarded=True, privacy=Privacy(Unit.RECORD, 0.5))),
        ("partner-dp=inf", Recipe("masking", privacy=Privacy(Unit.PARTNER, math.inf))),
        ("bfv+partner-dp=8", Recipe("bfv", privacy=Privacy(Unit.PARTNER, 8.0))),
        ("central-dp", Recipe("plaintext", privacy=Privacy(Unit.CENTRAL))),
    ],
)
def test_a_name_is_its_recipe(name: str, recipe: Recipe | None) -> None:
    assert recipe_of(name) == recipe
    if recipe is not None:
        assert recipe_of(recipe.arm) == recipe


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is unknown"),
        ("gossip", "is unknown"),
        ("masking+dp+guard", "is unknown"),
        ("dp=", "is unknown"),
        ("dp=1.2.3", "is unknown"),
        ("dp=-1", "is unknown"),
        ("dp=0", "must be > 0"),
        ("ckks+partner-dp", "needs an exact sum"),
        ("masking+central-dp", "is a reference on plaintext sums"),
    ],
)
def test_a_name_that_promises_what_nothing_keeps_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        recipe_of(name)


def test_a_homomorphic_arm_continues_masking_and_a_private_one_starts_anew() -> None:
    assert needed_arm("bfv") == "masking"
    assert needed_arm("ckks+guard") == "masking+guard"
    assert needed_arm("bfv+partner-dp=8") is None
    assert needed_arm("masking") is None
    assert needed_arm("standalone") is None


def test_an_arm_runs_with_the_epsilon_of_its_name() -> None:
    config = RunConfig(arms=ALL_ARMS)
    assert config.for_arm("dp=3").dp.epsilon == 3.0
    assert config.for_arm("dp") is config
    assert config.for_arm("masking") is config
