"""How numbers are written, and that the examples in the report's docstrings hold."""

from __future__ import annotations

import doctest
from itertools import pairwise
from types import ModuleType

import pytest

from securefl.records import AttackRecord
from securefl.report import json_schema, numbers, sections
from securefl.report.figures import curves
from securefl.report.numbers import DASH, decimal, figure, interval, outcome, percent, seconds, small


@pytest.mark.parametrize("module", [numbers, sections, curves, json_schema])
def test_the_examples_in_docstrings_hold(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("write", [decimal, percent, seconds, small])
def test_what_a_record_lacks_is_a_dash(write: object) -> None:
    assert callable(write)
    assert write(None) == DASH
    assert write(float("nan")) == DASH
    assert write(float("inf")) == DASH


def test_an_area_is_no_share() -> None:
    assert figure("auc", 0.5) == "0.500"
    assert figure("exact", 0.5) == "50.0\u00a0%"
    assert interval("auc", 0.4, 0.6) == "0.400\u00a0to\u00a00.600"
    assert interval("exact", None, 0.6) == "no interval"


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("tpr_at_fpr_1pct", "50.0\u00a0% of the members found at 1\u00a0% false alarms (1 of 2"),
        ("tpr_at_fpr_0_1pct", "50.0\u00a0% of the members found at 0.1\u00a0% false alarms (1 of 2"),
        ("tpr_at_fpr_0", "50.0\u00a0% of the members found at no false alarm (1 of 2"),
        ("exact", "recovered exactly 50.0\u00a0% (1 of 2"),
    ],
)
def test_a_rate_is_told_without_a_researchers_words(metric: str, told: str) -> None:
    attack = AttackRecord(
        name="x", view="V4", arm="a", release="model", status="run", metric=metric, value=0.5, k=1, n=2, ci_low=0.1, ci_high=0.9
    )
    assert outcome(attack).startswith(told)


def test_labels_that_would_overlap_move_apart_and_keep_their_order() -> None:
    placed = curves.spread([0.41, 0.10, 0.41, 0.409], 0.05)
    ordered = sorted(placed)
    assert all(high - low >= 0.05 - 1e-12 for low, high in pairwise(ordered))
    assert placed[1] == pytest.approx(0.10)
    assert placed[3] < placed[0] < placed[2]
