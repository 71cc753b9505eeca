"""The rule that makes verdicts: each of its branches, and that nothing but a tested view can pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from made_run import made_arm, write_run

from securefl.errors import InputError
from securefl.records import ArmRecord, AttackRecord, AuditRecord, ConformanceRecord, ControlRecord, VerdictRecord, View
from securefl.report.appetite import VIEWS, Appetite, load_appetite
from securefl.report.assemble import assemble
from securefl.report.sections import heat_map, options_table
from securefl.report.verdicts import Finding, judge, judge_all, options, verdicts

POLICY = """
title = "Test appetite"
statement = "for tests"
not_judged = ["precision"]
[appetite.V1.recovery]
max_exact = 0.10
[appetite.V1.any]
max_accuracy_above_chance = 0.10
[appetite.V4.membership]
max_auc = 0.60
[appetite.V4.membership_rmia]
max_auc = 0.55
"""
MASKING = made_arm("masking")


@pytest.fixture
def appetite(tmp_path: Path) -> Appetite:
    """Return the appetite of these tests."""
    path = tmp_path / "appetite.toml"
    path.write_text(POLICY, encoding="utf-8")
    return load_appetite(path)


def attack(low: float | None, high: float | None, **more: object) -> AttackRecord:
    """Return an attack that ran with this interval."""
    value = None if low is None or high is None else (low + high) / 2
    base = {"name": "recovery", "view": "V1", "arm": "masking", "release": "exposed", "status": "run", "metric": "exact"}
    return AttackRecord.model_validate(base | {"value": value, "ci_low": low, "ci_high": high, "chance": 0.0} | more)


def control(held: bool = True, **more: object) -> ControlRecord:
    """Return a control on the reference arm for view V1."""
    base = {"name": "recovery works", "arm": "plaintext", "metric": "exact", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6}
    return ControlRecord.model_validate(
        base | {"held": held, "expected": "more than 0", "because": "half came back", "views": ("V1",)} | more
    )


def audit_of(
    attacks: Sequence[AttackRecord], controls: Sequence[ControlRecord], played: Sequence[ConformanceRecord] = ()
) -> AuditRecord:
    """Return an audit."""
    return AuditRecord(attacks=tuple(attacks), controls=tuple(controls), conformance=tuple(played))


def of_view(
    appetite: Appetite,
    attacks: list[AttackRecord],
    controls: list[ControlRecord],
    view: View = "V1",
    arms: tuple[ArmRecord, ...] = (MASKING,),
) -> VerdictRecord:
    """Return the verdict of one view."""
    return next(v for v in verdicts(arms, audit_of(attacks, controls), appetite)[0] if v.view == view)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.11, 0.30, "fail"),
        (0.101, 0.102, "fail"),
        (0.05, 0.30, "inconclusive"),
        (0.10, 0.30, "inconclusive"),
        (0.00, 0.10, "pass"),
        (0.00, 0.03, "pass"),
        (None, None, "inconclusive"),
    ],
)
def test_the_interval_decides(appetite: Appetite, low: float | None, high: float | None, verdict: str) -> None:
    assert of_view(appetite, [attack(low, high)], [control()]).verdict == verdict


def test_the_reason_names_attack_arm_release_figure_interval_and_limit(appetite: Appetite) -> None:
    found = of_view(appetite, [attack(0.28, 0.46, value=0.367, k=44, n=120)], [control()])
    assert found.arm == "masking"
    for part in ("recovery", "masking", "on a deliberately small batch", "36.7", "44 of 120", "28.0", "46.0", "10.0"):
        assert part in found.because


def test_a_view_without_an_attack_is_not_tested(appetite: Appetite) -> None:
    idle = [attack(None, None, status=status, metric=None, reason="later") for status in ("not_run", "refused")]
    for attacks in ([], idle):
        found = verdicts((MASKING,), audit_of(attacks, [control()]), appetite)
        assert {v.verdict for v in found[0]} == {"not tested"}
        assert {v.verdict for v in found[1]} == {"not tested"}
        assert [v.view for v in found[0]] == list(VIEWS)


def test_no_pass_without_a_control_that_held(appetite: Appetite) -> None:
    safe = [attack(0.0, 0.03)]
    assert of_view(appetite, safe, []).verdict == "inconclusive"
    assert of_view(appetite, safe, [control(held=False)]).verdict == "inconclusive"
    assert of_view(appetite, safe, [control(), control(held=False, arm=None)]).verdict == "inconclusive"
    assert of_view(appetite, safe, [control(views=("V4",))]).verdict == "inconclusive"
    assert of_view(appetite, safe, [control(), control(held=False, arm="dp")]).verdict == "pass"


def test_a_failed_control_does_not_hide_a_leak(appetite: Appetite) -> None:
    assert of_view(appetite, [attack(0.3, 0.5)], [control(held=False)]).verdict == "fail"


def test_a_blind_attack_that_sees_members_undermines_membership_both_ways(appetite: Appetite) -> None:
    member = {"name": "membership: loss", "view": "V4", "metric": "auc", "asset": "membership", "chance": 0.5}
    blind = control(held=False, name="blind membership", arm="masking", views=("V4",))
    for low, high in ((0.7, 0.8), (0.45, 0.52)):
        assert of_view(appetite, [attack(low, high, **member)], [blind], "V4").verdict == "inconclusive"
    held = control(name="blind membership", arm="masking", views=("V4",))
    assert of_view(appetite, [attack(0.7, 0.8, **member)], [held], "V4").verdict == "fail"
    assert of_view(appetite, [attack(0.45, 0.52, **member)], [held], "V4").verdict == "pass"


def test_what_the_appetite_does_not_mention_is_no_pass(appetite: Appetite) -> None:
    silent = attack(0.0, 0.01, name="something new", metric="shares")
    assert judge(silent, appetite, []).finding is Finding.UNLIMITED
    found = of_view(appetite, [attack(0.0, 0.03), silent], [control()])
    assert found.verdict == "inconclusive"
    assert "no limit" in found.because


def test_a_metric_that_only_describes_is_not_judged(appetite: Appetite) -> None:
    described = attack(0.9, 1.0, metric="precision")
    assert judge_all([described], appetite, []) == ()
    assert of_view(appetite, [attack(0.0, 0.03), described], [control()]).verdict == "pass"


def test_the_longest_name_wins_and_chance_moves_the_limit(appetite: Appetite) -> None:
    rmia = attack(0.56, 0.59, name="membership: RMIA", view="V4", metric="auc", chance=0.5)
    loss = attack(0.56, 0.59, name="membership: loss", view="V4", metric="auc", chance=0.5)
    assert judge(rmia, appetite, []).finding is Finding.ABOVE
    assert judge(loss, appetite, []).finding is Finding.WITHIN
    label = attack(0.55, 0.65, name="label inference", metric="accuracy", chance=0.6)
    seen = judge(label, appetite, [])
    assert seen.limit == pytest.approx(0.7)
    assert seen.used == pytest.approx(0.0)
    assert judge(label.model_copy(update={"chance": None}), appetite, []).finding is Finding.UNLIMITED


def test_the_worst_option_decides_and_an_untested_one_forbids_a_pass(appetite: Appetite) -> None:
    arms = (made_arm("pooled"), made_arm("standalone"), MASKING, made_arm("dp"))
    assert options(arms) == ("masking", "dp")
    good, bad = attack(0.0, 0.03), attack(0.3, 0.5, arm="dp")
    assert of_view(appetite, [good, bad], [control()], arms=arms).arm == "dp"
    assert of_view(appetite, [good, bad], [control()], arms=arms).verdict == "fail"
    assert of_view(appetite, [good], [control()], arms=arms).verdict == "inconclusive"
    assert of_view(appetite, [good, attack(0.0, 0.02, arm="dp")], [control()], arms=arms).verdict == "pass"
    forbidden = attack(0.9, 1.0, arm="pooled")
    assert of_view(appetite, [good, attack(0.0, 0.02, arm="dp"), forbidden], [control()], arms=arms).verdict == "pass"


def test_a_lost_compound_speaks_before_a_lost_bit(appetite: Appetite) -> None:
    bits = attack(0.99, 1.0, asset="substructure", value=0.99)
    compound = attack(0.2, 0.3, name="recovery of compounds")
    assert "compounds" in of_view(appetite, [bits, compound], [control()]).because


def deviation(outcome: str, view: View = "V5", broken: str = "tests/x.py::test_y") -> ConformanceRecord:
    """Return a deviation that was played."""
    base = {"name": "mask_reuse", "view": view, "arm": "masking", "scheme": "masking", "reason": "round number was used before"}
    return ConformanceRecord.model_validate(base | {"outcome": outcome, "broken_variant": broken})


@pytest.mark.parametrize(
    ("played", "verdict"),
    [
        ([], "not tested"),
        (["refused", "failed"], "pass"),
        (["refused", "succeeded"], "fail"),
    ],
)
def test_deviations_decide_where_nothing_was_measured(appetite: Appetite, played: list[str], verdict: str) -> None:
    audit = audit_of([], [], [deviation(outcome) for outcome in played])
    found = next(v for v in verdicts((MASKING,), audit, appetite)[0] if v.view == "V5")
    assert found.verdict == verdict


def test_refused_deviations_say_nothing_about_what_another_view_sees(appetite: Appetite) -> None:
    audit = audit_of([], [], [deviation("refused", view="V2c")])
    assert next(v for v in verdicts((MASKING,), audit, appetite)[0] if v.view == "V2c").verdict == "inconclusive"


def test_a_deviation_that_never_succeeds_anywhere_proves_nothing(appetite: Appetite) -> None:
    audit = audit_of([], [], [deviation("refused", broken="")])
    assert next(v for v in verdicts((MASKING,), audit, appetite)[0] if v.view == "V5").verdict == "inconclusive"


def test_a_deviation_that_succeeds_outweighs_an_attack_that_stays_within(appetite: Appetite) -> None:
    safe = [attack(0.0, 0.03)]
    for outcome, verdict in (("refused", "pass"), ("succeeded", "fail")):
        audit = audit_of(safe, [control()], [deviation(outcome, view="V1")])
        assert next(v for v in verdicts((MASKING,), audit, appetite)[0] if v.view == "V1").verdict == verdict


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title = 1", "title"),
        ("= nonsense", "appetite"),
        ('title="t"\nstatement="s"\n[appetite.V9.x]\nmax_exact=0.1', "V9"),
        ('title="t"\nstatement="s"\n[appetite.V1.x]\nmax_exact=1.5', "1.5 must be between 0 and 1"),
        ('title="t"\nstatement="s"\n[appetite.V1.x]\nmax_exact=nan', "between 0 and 1"),
        ('title="t"\nstatement="s"\n[appetite.V1.x]\nexact=0.5', "max_METRIC"),
        ('title="t"\nstatement="s"\nextra=1\n[appetite.V1.x]\nmax_exact=0.5', "extra"),
    ],
)
def test_a_bad_policy_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load_appetite(path)
    assert "\n" not in str(caught.value)


def test_a_missing_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        load_appetite(tmp_path / "nowhere.toml")


def test_the_shipped_appetite_loads_and_limits_every_view_that_can_be_tested() -> None:
    shipped = load_appetite()
    assert {limit.view for limit in shipped.limits} >= {"V1", "V2", "V3", "V4"}
    assert len(shipped.sha256) == 64


def test_what_is_above_a_limit_under_chance_is_shaded_as_such_and_is_the_gravest(tmp_path: Path) -> None:
    """With few compounds a limit can lie under chance: the cell was pale as the safest, and the options showed another one."""
    policy = tmp_path / "few.toml"
    limits = '[appetite.V1.differential]\nmax_tpr_at_fpr_0 = 0.01\n[appetite.V1.trajectory]\nmax_auc = 0.55\n'
    policy.write_text(f'title = "t"\nstatement = "s"\nnot_judged = []\n{limits}', encoding="utf-8")
    member = {"asset": "membership", "view": "V1", "arm": "masking"}
    above = attack(0.024, 0.30, name="differential", metric="tpr_at_fpr_0", chance=0.04, k=3, n=26, **member)
    unsettled = attack(0.38, 0.69, name="trajectory", metric="auc", chance=0.5, **member)
    judged = judge_all([unsettled, above], load_appetite(policy), [])
    report = assemble(write_run(tmp_path / "run", arms=("plaintext", "masking"), audited=False))[0]
    _, rows = heat_map(report, judged)
    assert {row.attack: row.cells[0].level for row in rows} == {"differential": "w3", "trajectory": "c2"}
    (row,) = options_table(report, judged).rows
    assert row[4].note.startswith("TPR at FPR 0")


def test_an_asset_that_was_tried_in_vain_is_not_called_unattacked(tmp_path: Path) -> None:
    report = assemble(write_run(tmp_path, arms=("plaintext", "masking"), audited=False))[0]
    reason = "no two recovered compounds share a task: no label to infer"
    tried = attack(None, None, status="not_run", metric=None, asset="label", reason=reason)
    (row,) = options_table(report.model_copy(update={"attacks": (tried,)}), []).rows
    assert [cell.note for cell in row[2:5]] == ["not attacked", reason, "not attacked"]
