"""Two audits compared: what changed, with intervals, and what is noise; a report judged by another appetite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_run import made_arm, write_run

from securefl.errors import InputError
from securefl.records import AuditRecord, ReportRecord, read_record, write_record
from securefl.report.appetite import load_appetite
from securefl.report.assemble import assemble
from securefl.report.check import check
from securefl.report.compare import compare, difference


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> ReportRecord:
    """Return an invented report."""
    return assemble(write_run(tmp_path_factory.mktemp("before") / "run"))[0]


def changed(folder: Path, mean: float, k: int) -> ReportRecord:
    """Return the same report but for masking's mean and its recovered compounds."""
    run = write_run(folder / "run")
    arm = made_arm("masking")
    seen = arm.performance.model_copy(update={"mean": mean, "ci_low": mean - 0.02, "ci_high": mean + 0.02})
    write_record(arm.model_copy(update={"performance": seen}), run / "arms" / "masking" / "record.json")
    audit = read_record(AuditRecord, run / "attacks" / "masking.json")
    attacks = tuple(
        a.model_copy(update={"k": k, "value": k / 80, "ci_low": k / 80 - 0.1, "ci_high": k / 80 + 0.1})
        if (a.name, a.view, a.release) == ("fingerprint_recovery", "V1", "exposed")
        else a
        for a in audit.attacks
    )
    write_record(audit.model_copy(update={"attacks": attacks}), run / "attacks" / "masking.json")
    return assemble(run)[0]


def test_a_report_does_not_differ_from_itself(before: ReportRecord) -> None:
    assert compare(before, before) == ()


def test_a_large_change_is_one_and_a_small_one_is_noise(before: ReportRecord, tmp_path: Path) -> None:
    for mean, meaning in ((0.60, "up"), (0.42, "noise"), (0.20, "down")):
        found = compare(before, changed(tmp_path / str(mean), mean, 36))
        (reach,) = [one for one in found if one.kind == "performance"]
        assert reach.meaning == meaning
        assert reach.low is not None
        assert reach.high is not None
        assert (reach.low <= 0 <= reach.high) == (meaning == "noise")


def test_a_stopped_attack_shows_with_its_verdict(before: ReportRecord, tmp_path: Path) -> None:
    found = compare(before, changed(tmp_path, 0.414, 0))
    attack = next(one for one in found if one.kind == "attack")
    assert attack.meaning == "down"
    assert "fingerprint recovery" in attack.what
    verdict = [one for one in found if one.kind == "verdict"]
    assert all(one.before != one.after for one in verdict)


def test_arms_that_went_or_came_are_named(before: ReportRecord, tmp_path: Path) -> None:
    fewer = assemble(write_run(tmp_path / "run", arms=("standalone", "plaintext")))[0]
    gone = {one.what for one in compare(before, fewer) if one.meaning == "only before"}
    come = {one.what for one in compare(fewer, before) if one.meaning == "only after"}
    assert any(what.startswith("masking,") for what in gone)
    assert gone == come


@pytest.mark.statistical
def test_the_interval_of_a_difference_covers_it_in_about_95_of_100() -> None:
    """Normal samples of 40, seeded: 2,000 pairs cover in 94 to 96 %; intervals of half the width must not."""
    draw = np.random.default_rng(11)
    samples = draw.normal(0.0, 1.0, (2, 2000, 40))
    means, half = samples.mean(axis=2), 1.96 / np.sqrt(40)
    for shrink, low, high in ((1.0, 0.94, 0.96), (0.5, 0.6, 0.75)):
        spans = [difference((b, b - shrink * half, b + shrink * half), (a, a - shrink * half, a + shrink * half))
                 for b, a in zip(*means, strict=True)]  # fmt: skip
        covered = np.mean([l <= 0 <= h for _, l, h in spans])  # noqa: E741  (low)
        assert low <= covered <= high


def test_another_appetite_changes_the_verdict_and_not_the_results(before: ReportRecord, tmp_path: Path) -> None:
    lenient = tmp_path / "lenient.toml"
    lines = "\n".join(f"[appetite.{v}.any]\nmax_exact=1.0\nmax_single_compound_recall=1.0\nmax_accuracy=1.0"
                      for v in ("V1", "V2", "V3"))  # fmt: skip
    lenient.write_text(f'title="t"\nstatement="s"\n{lines}\n', encoding="utf-8")
    assert next(v for v in check(before, load_appetite()) if v.view == "V1").verdict == "fail"
    assert next(v for v in check(before, load_appetite(lenient)) if v.view == "V1").verdict == "pass"
    assert next(v for v in check(before, load_appetite(), arm="dp") if v.view == "V1").verdict == "pass"
    with pytest.raises(InputError, match="'nothing' is not in the report"):
        check(before, load_appetite(), arm="nothing")
