"""What a report says of a protocol that another package brought, and that it takes nobody's word for what it hides."""

from __future__ import annotations

from pathlib import Path

from made_run import made_arm, made_audit, write_run
from stand_ins import Install

from securefl.evidence import PluginRecord
from securefl.plugins import plugins
from securefl.recipes import Opener
from securefl.records import AuditRecord, write_record
from securefl.report.assemble import assemble, build
from securefl.report.verdicts import PROTECTED, options


def _brought(run: Path, opener: Opener = "none") -> Path:
    """Write an invented run in which the guarded arm's protocol came from a package that is not installed here."""
    write_run(run, arms=("standalone", "plaintext", "masking", "ring+guard"))
    path = run / "arms" / "other-3" / "record.json"
    plugin = PluginRecord(package="ring-sum", version="0.3", exact=True, opener=opener)
    write_record(made_arm("ring+guard").model_copy(update={"scheme": "ring", "plugin": plugin}), path)
    safe = made_audit("masking+guard").model_dump_json().replace("masking+guard", "ring+guard")
    write_record(AuditRecord.model_validate_json(safe), run / "attacks" / "other-3.json")
    return run


def test_the_report_says_whose_protocol_it_is_and_passes_nothing_that_rests_on_it(
    tmp_path: Path, install_package: Install
) -> None:
    """With the same bytes where the package is installed, which is not imported for it."""
    assert plugins() == ()
    run = _brought(tmp_path / "run")
    report = build(run)
    mine = {v.view: v for v in report.arm_verdicts if v.arm == "ring+guard"}
    assert not [view for view in PROTECTED if mine[view].verdict == "pass"]
    unvouched = [v for v in mine.values() if "comes from the package ring-sum 0.3, not from securefl" in v.because]
    assert unvouched, "no verdict of the made run would have passed: the test shows nothing"
    page = (run / "report.html").read_text(encoding="utf-8")
    front = page[: page.index('id="options"')]
    for part in (front, page[page.index('id="options"') :]):
        assert "comes from the package ring-sum 0.3, not from securefl" in part
    assert "a protocol that securefl did not write" in page
    install_package("ring-sum", "raise RuntimeError('imported')", "ring = ring_sum:set_up")
    build(run)
    assert (run / "report.html").read_text(encoding="utf-8") == page


def test_what_a_package_sends_in_clear_is_no_option(tmp_path: Path) -> None:
    assert "ring+guard" in options(assemble(_brought(tmp_path / "hidden"))[0].arms)
    assert "ring+guard" not in options(assemble(_brought(tmp_path / "open", opener="open"))[0].arms)
