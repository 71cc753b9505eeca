"""From a run's folder to report.json and report.html: same bytes, schema, every section, hostile names, bad input."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from made_run import made_arm, made_audit, write_run
from pages import Page

from securefl.errors import InputError, VerificationError
from securefl.records import AuditRecord, ReportRecord, RunRecord, TimingRecord, read_record, write_record
from securefl.report import Terms, build, schema
from securefl.report.appetite import VIEWS
from securefl.report.assemble import assemble
from securefl.report.figures.canvas import TOKENS
from securefl.report.json_schema import generate, verify_report
from securefl.report.sections import cleared
from securefl.report.tables import not_run_table
from securefl.report.words import words

HOSTILE = "<script>alert('x')</script>\"'&$\\frac{1}{0}$ {{ 7*7 }} \u202e"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an invented run with its report."""
    folder = write_run(tmp_path_factory.mktemp("run"))
    build(folder)
    return folder


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    """Return the report's HTML."""
    return (run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    """Return the report's HTML, parsed."""
    return Page(html)


def test_same_input_same_bytes(run: Path, tmp_path: Path) -> None:
    again = write_run(tmp_path / "elsewhere")
    build(again)
    for name in ("report.json", "report.html"):
        assert (again / name).read_bytes() == (run / name).read_bytes()


def test_another_figure_gives_another_report(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", arms=("standalone", "masking"), audited=False)
    arm = made_arm("masking")
    changed = arm.model_copy(update={"performance": arm.performance.model_copy(update={"mean": 0.5678})})
    write_record(changed, other / "arms" / "masking" / "record.json")
    build(other)
    assert "0.568" in (other / "report.html").read_text(encoding="utf-8")
    assert "0.568" not in (run / "report.html").read_text(encoding="utf-8")


def test_report_json_is_the_record_and_fits_the_schema(run: Path) -> None:
    report = read_record(ReportRecord, run / "report.json")
    verify_report(json.loads((run / "report.json").read_text(encoding="utf-8")))
    assert [verdict.view for verdict in report.verdicts] == list(VIEWS)
    assert len(report.arm_verdicts) == len(VIEWS) * len(report.arms)
    assert report.appetite is not None
    assert report.wall_seconds["arms"] == 262.0


def test_the_shipped_schema_is_that_of_the_records() -> None:
    again = "json.dumps(generate(), indent=1, sort_keys=True) into securefl/report/report.schema.json"
    assert schema() == generate(), f"the records changed: write {again}"


@pytest.mark.parametrize(
    ("where", "value"),
    [("verdicts", [{"view": "V9", "verdict": "pass", "because": "", "arm": None}]), ("arms", "none"), ("surprise", 1)],
)
def test_the_schema_refuses_what_is_no_report(run: Path, where: str, value: object) -> None:
    document = json.loads((run / "report.json").read_text(encoding="utf-8"))
    document[where] = value
    with pytest.raises(VerificationError):
        verify_report(document)


def test_arms_stand_in_the_order_of_the_config(run: Path) -> None:
    report = read_record(ReportRecord, run / "report.json")
    assert [arm.name for arm in report.arms] == report.config["arms"]


def test_every_view_has_its_verdict_on_page_one(run: Path, page: Page) -> None:
    report = read_record(ReportRecord, run / "report.json")
    rows = [e for e in page.all("li") if "ol" in e.parents[-1:] and "class" in e.attributes]
    assert len(rows) == len(VIEWS)
    for row, verdict in zip(rows, report.verdicts, strict=True):
        told = "".join(row.text)
        assert verdict.verdict in told
        assert verdict.view in told
        assert words().views[verdict.view].who in told
        assert verdict.because[1:] in told
    assert "Whole compounds can be read back. Within the appetite here: masking+guard and dp." in "".join(rows[1].text)


def test_not_tested_has_a_badge_like_any_verdict(page: Page) -> None:
    rows = [e for e in page.all("li") if "ol" in e.parents[-1:] and "class" in e.attributes]
    badges = [e for e in page.all("span") if e.attributes.get("class", "").startswith("badge")]
    shown = [e for e in badges if "ol" in e.parents]
    assert len(shown) == len(rows)
    assert {"badge not-tested", "badge fail", "badge pass"} == {e.attributes["class"] for e in shown}


def test_forbidden_and_comparison_arms_are_marked(page: Page) -> None:
    rows = {"".join(e.text).strip() for e in page.all("th") if e.attributes.get("scope") == "row"}
    assert "pooledforbidden" in rows
    assert "standalonecomparison" in rows


def test_every_attack_is_in_the_report(run: Path, page: Page) -> None:
    report = read_record(ReportRecord, run / "report.json")
    text = page.visible()
    for attack in report.attacks:
        if attack.status != "run":
            assert attack.reason in text
        elif attack.k is not None:
            assert f"{attack.k:,} of {attack.n:,}" in text


def test_hashes_licence_and_citation_are_there(run: Path, page: Page) -> None:
    report = read_record(ReportRecord, run / "report.json")
    text = page.visible()
    for part in (report.data.sha256, report.config_sha256, report.data.licence, report.data.citation, report.toolkit.commit):
        assert part in text


def test_figures_of_single_partners_stay_out_of_the_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", arms=("standalone", "masking"), audited=False)
    arm = made_arm("masking")
    marked = arm.performance.model_copy(update={"per_partner": {"partner-3": 0.123456}})
    write_record(arm.model_copy(update={"performance": marked}), folder / "arms" / "masking" / "record.json")
    build(folder)
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "0.1234" not in text
    assert "0.123" not in Page(text).visible()


def test_no_request_leaves_the_page(html: str, page: Page) -> None:
    for element in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            link = element.attributes.get(name, "#")
            assert link.startswith(("#", "data:,")), (element.tag, link)
    assert not page.all("img", "iframe", "object", "embed", "form", "base")
    for outside in ("@import", "url(http", "https://", "http://"):
        assert outside not in html


def test_the_policy_names_the_style_and_the_script_by_hash(page: Page) -> None:
    policy = next(e.attributes["content"] for e in page.all("meta") if e.attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert len(page.all("script")) == len(page.all("style")) == 1
    for tag in ("script", "style"):
        digest = hashlib.sha256("".join(page.first(tag).text).encode()).digest()
        assert f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_nothing_that_the_policy_would_block(page: Page) -> None:
    for element in page.elements:
        assert "style" not in element.attributes
        assert not [name for name in element.attributes if name.startswith("on")]


def test_headings_do_not_skip_a_level(page: Page) -> None:
    levels = [int(e.tag[1]) for e in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_and_pictures_can_be_read_aloud(page: Page) -> None:
    captions = len(page.all("caption"))
    labelled = [e for e in page.all("table") if "aria-labelledby" in e.attributes]
    assert captions + len(labelled) == len(page.all("table"))
    assert all(e.attributes.get("scope") in ("col", "row") for e in page.all("th"))
    charts = [e for e in page.all("svg") if e.attributes.get("class", "").startswith("chart")]
    assert len(charts) == 2 * len(page.all("figure"))
    assert all(e.attributes["role"] == "img" and len(e.attributes["aria-label"]) > 40 for e in charts)
    assert page.first("html").attributes["lang"] == "en"


def test_ids_are_unique_and_every_reference_meets_one(page: Page) -> None:
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        for value in (element.attributes.get("href", ""), element.attributes.get("clip-path", "")):
            for name in re.findall(r"^#(.+)$|url\(#(.+?)\)", value):
                assert "".join(name) in ids


def test_every_picture_is_drawn_in_the_colours_of_the_page(html: str, page: Page) -> None:
    assert {e.attributes["id"] for e in page.all("figure")} == {
        "f-performance", "f-curves", "f-cost", "f-trade-off", "f-structure", "f-label", "f-substructure", "f-membership",
    }  # fmt: skip
    assert not [number for number in TOKENS.values() if number in html]
    assert "var(--a4)" in html


def test_a_point_tells_what_it_stands_for(page: Page) -> None:
    told = ["".join(e.text) for e in page.all("title") if "svg" in e.parents]
    assert any(text.startswith("masking: recovered exactly 45.0") and "36 of 80" in text for text in told)
    assert any(text.startswith("dp: 0.17 (0.15 to 0.20)") for text in told)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", arms=("plaintext", "masking"), partner=HOSTILE)
    arm = made_arm("masking").model_copy(update={"name": HOSTILE, "notes": (HOSTILE,), "guard": HOSTILE, "warm_start": HOSTILE})
    write_record(arm, folder / "arms" / "masking" / "record.json")
    audit = made_audit("masking")
    attacks = tuple(a.model_copy(update={"name": HOSTILE, "arm": HOSTILE, "reason": HOSTILE}) for a in audit.attacks)
    controls = tuple(c.model_copy(update={"name": HOSTILE, "arm": HOSTILE, "because": HOSTILE}) for c in audit.controls)
    write_record(AuditRecord(attacks=attacks, controls=controls), folder / "attacks" / "masking.json")
    record = read_record(RunRecord, folder / "run.json")
    data = record.data.model_copy(update={"name": HOSTILE, "licence": HOSTILE, "citation": HOSTILE})
    write_record(record.model_copy(update={"data": data}), folder / "run.json")
    build(folder)
    content = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(content)
    assert len(page.all("script")) == 1
    assert "alert" not in "".join(page.first("script").text)
    assert "49 " not in "".join(page.first("title").text)
    assert HOSTILE in "".join(page.first("title").text)
    assert HOSTILE in "".join(page.first("body").text)
    assert not [e for e in page.elements if any(name.startswith("on") for name in e.attributes)]


def test_a_run_without_audits_says_so_and_passes_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", audited=False)
    report = build(folder)
    assert {verdict.verdict for verdict in report.verdicts} == {"not tested"}
    text = Page((folder / "report.html").read_text(encoding="utf-8")).visible()
    assert "No option stays within the risk appetite" in text
    assert "No attack was run on any arm" in text


def test_one_arm_that_aggregates_nothing_is_enough_for_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", arms=("single-task",))
    report = build(folder)
    assert [arm.name for arm in report.arms] == ["single-task"]
    text = Page((folder / "report.html").read_text(encoding="utf-8")).visible()
    assert "no option to judge" in text


def test_without_a_timing_record_the_arms_speak(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", arms=("standalone", "masking"))
    (folder / "timing.json").unlink()
    report, _ = assemble(folder)
    assert report.wall_seconds["arms"] == pytest.approx(sum(arm.cost.wall_seconds for arm in report.arms))


def test_the_peak_of_a_run_is_no_lower_than_that_of_an_arm(tmp_path: Path) -> None:
    """Each arm resets the process's high-water mark, so what the command saw at its end is what came after."""
    folder = write_run(tmp_path / "run", arms=("standalone", "masking"))
    timing = read_record(TimingRecord, folder / "timing.json")
    write_record(timing.model_copy(update={"peak_rss_mb": 100.0}), folder / "timing.json")
    report, _ = assemble(folder)
    assert report.peak_rss_mb == max(arm.cost.peak_rss_mb for arm in report.arms) > 100
    assert report.wall_seconds == timing.wall_seconds


def test_a_policy_of_one_s_own_changes_the_verdict(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    policy = tmp_path / "mine.toml"
    policy.write_text(
        'title="Anything goes"\nstatement="s"\nnot_judged=["single_compound_recall", "accuracy"]\n'
        "[appetite.V1.any]\nmax_exact=1.0\n",
        encoding="utf-8",
    )
    report, _ = assemble(folder, Terms(appetite=policy))
    assert report.appetite is not None
    assert report.appetite.title == "Anything goes"
    assert next(v for v in report.verdicts if v.view == "V1").verdict == "pass"
    assert next(v for v in report.verdicts if v.view == "V4").verdict == "inconclusive"


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        build(tmp_path)


def test_a_run_without_a_finished_arm_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    shutil.rmtree(folder / "arms")
    with pytest.raises(InputError, match="no finished arm"):
        build(folder)


def test_a_broken_record_is_named_and_the_old_report_stays(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", arms=("standalone", "masking"))
    (folder / "report.html").write_text("the one of yesterday", encoding="utf-8")
    (folder / "attacks" / "masking.json").write_text('{"attacks": 3}', encoding="utf-8")
    with pytest.raises(InputError, match=r"masking\.json"):
        build(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == "the one of yesterday"


def test_a_file_that_can_not_be_written_leaves_no_half_of_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", arms=("standalone",), audited=False)
    (folder / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html"):
        build(folder)
    assert not list(folder.glob("*.partial"))


def test_a_control_for_all_arms_stands_once(run: Path) -> None:
    report = read_record(ReportRecord, run / "report.json")
    assert [control.arm for control in report.controls] == [None, "plaintext"]


def test_an_option_that_escaped_a_test_is_not_cleared(run: Path, tmp_path: Path) -> None:
    assert cleared(read_record(ReportRecord, run / "report.json")) == ("masking+guard", "dp")
    folder = write_run(tmp_path / "run")
    audit = read_record(AuditRecord, folder / "attacks" / "dp.json")
    kept = tuple(attack for attack in audit.attacks if attack.view == "V4")
    write_record(audit.model_copy(update={"attacks": kept}), folder / "attacks" / "dp.json")
    report, _ = assemble(folder)
    assert [v.verdict for v in report.arm_verdicts if v.arm == "dp" and v.view == "V4"] == ["pass"]
    assert cleared(report) == ("masking+guard",)


def test_one_reason_is_one_row_whatever_the_arm(run: Path) -> None:
    report = read_record(ReportRecord, run / "report.json")
    idle = [attack for attack in report.attacks if attack.status != "run"]
    told = [attack.model_copy(update={"reason": f"{attack.arm} sends nothing"}) for attack in idle]
    rows = not_run_table(told).rows
    assert [row[0].text for row in rows] == ["this arm sends nothing"] * 2
    assert "masking+guard (as-run)" in rows[0][-1].text
