"""Membership by surrogate heads: closed form right, a trunk that memorised is caught, an untrained one is not."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.interface import AdversaryView
from attacks.membership.candidates import Candidates
from attacks.membership.on_views import Membership, score_membership
from attacks.membership.surrogate_head import RIDGES, cell_losses, leave_one_out, run_surrogate
from attacks.membership.surrogate_views import attacker_of, without_attacker
from attacks.score import Score
from securefl.chem.dataset import Dataset


def test_leave_one_out_is_what_refitting_gives() -> None:
    """Against n separate fits, at the penalty that was chosen."""
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(30, 5)), draw.normal(size=30)
    x -= x.mean(axis=0)
    y -= y.mean()
    energy = float(np.mean(np.linalg.svd(x)[1] ** 2))
    found: list[np.ndarray] = []
    for ridge in RIDGES:
        design = np.hstack([x, np.ones((30, 1))])
        penalty = np.diag([ridge * energy] * 5 + [0.0])
        left = []
        for i in range(30):
            keep = np.arange(30) != i
            head = np.linalg.solve(design[keep].T @ design[keep] + penalty, design[keep].T @ y[keep])
            left.append(y[i] - design[i] @ head)
        found.append(np.array(left))
    best = min(found, key=lambda residual: float(np.mean(residual**2)))
    assert leave_one_out(x, y) == pytest.approx(best, abs=1e-8)


def auc_of(memorised: bool) -> Score:
    """The attack's AUC on 300 candidates whose members' values a trunk holds (or doesn't)."""
    draw = np.random.default_rng(1)
    member = np.arange(300) % 2 == 0
    value, hidden = draw.normal(size=300), draw.normal(size=(300, 12))
    if memorised:
        hidden[member, 0] = value[member] + 0.1 * draw.normal(size=int(member.sum()))
    numbers = np.arange(300, dtype=np.int64)
    who = np.full(300, -1, dtype=np.int64)
    view = AdversaryView(
        view="V1",
        tensors={
            "compound": numbers, "partner": who, "of_cell": numbers, "hidden.trained": hidden,
            "hidden.untrained": draw.normal(size=(300, 12)), "cell_row": numbers,
            "cell_task": numbers // 100, "cell_value": value,
        },
        facts={},
    )  # fmt: skip
    candidates = Candidates(member=member, compound=numbers, partner=who, of_cell=numbers)
    truth = Membership(candidates=candidates, series=numbers, partners=1, of_partner=False)
    return score_membership(run_surrogate(view, {}), {}, truth).scores[0]


def test_a_trunk_that_memorised_is_caught_and_another_is_not() -> None:
    """More means member; the interval of the control holds one half."""
    assert auc_of(memorised=True).low > 0.6
    control = auc_of(memorised=False)
    assert control.low < 0.5 < control.high


def test_tasks_without_a_head_say_nothing() -> None:
    """Too few cells, or values that are all the same."""
    hidden, ids = np.ones((9, 3)), np.arange(9, dtype=np.int64)
    assert not cell_losses(hidden, ids, np.repeat([0, 1, 1], 3).astype(np.int64), np.arange(9.0)).any()
    assert not cell_losses(hidden, ids, np.zeros(9, dtype=np.int64), np.ones(9)).any()


def test_the_attackers_own_compounds_are_no_candidates(tiny_dataset: Dataset) -> None:
    """Neither its cells nor the others' cells on its compounds."""
    attacker = attacker_of(tiny_dataset)
    own = set(tiny_dataset.cells(attacker).compound.tolist())
    left = without_attacker(tiny_dataset, attacker).activities
    assert len(left)
    assert not own & set(left.compound.tolist())
