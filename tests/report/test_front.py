"""Page one's sentences: what follows for private data, what is nearest, what is lost in each view."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Literal

import pytest
from made_run import write_run

from securefl.records import ReportRecord, VerdictRecord
from securefl.report import Terms
from securefl.report.appetite import VIEWS
from securefl.report.assemble import assemble
from securefl.report.front import answer, view_lines
from securefl.report.html import document
from securefl.report.pdf import for_print
from securefl.report.sections import cleared
from securefl.report.verdicts import DEVIATION, options, view_verdict
from securefl.report.words import words

Verdict = Literal["pass", "fail", "inconclusive", "not tested"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ReportRecord:
    """Return a report on four arms."""
    run = write_run(tmp_path_factory.mktemp("run"), arms=("standalone", "masking+guard", "masking", "dp"))
    return assemble(run, Terms(as_of=date(2026, 11, 21)))[0]


def judged(report: ReportRecord, found: dict[str, Verdict], **of: Verdict) -> ReportRecord:
    """Return the report with these verdicts in every view, by arm; ``of`` changes single views of all arms."""
    told = tuple(
        VerdictRecord(view=view, arm=arm, verdict=of.get(view, kind), because="why", lost="structure" if kind == "fail" else "")
        for arm, kind in found.items()
        for view in VIEWS
    )
    mine = [verdict for verdict in told if verdict.arm in options(report.arms)]
    return report.model_copy(update={"arm_verdicts": told, "verdicts": tuple(view_verdict(view, mine) for view in VIEWS)})


def sentences(report: ReportRecord) -> str:
    return " ".join(answer(report).sentences)


def test_a_pass_everywhere_says_until_when_and_with_what(report: ReportRecord) -> None:
    found = judged(report, {"masking+guard": "fail", "masking": "pass", "dp": "pass"})
    assert answer(found).tone == "pass"
    assert "private data may be used with masking and dp until 2027-05-20" in sentences(found)
    assert "Above a limit in at least one view: masking+guard." in sentences(found)


def test_without_a_day_nothing_follows(report: ReportRecord) -> None:
    found = judged(report, {"masking+guard": "pass", "masking": "pass", "dp": "pass"}).model_copy(update={"expires": None})
    assert "nothing yet, because the report has no date" in sentences(found)


def test_a_view_that_nobody_tested_keeps_private_data_out(report: ReportRecord) -> None:
    found = judged(report, {"masking+guard": "fail", "masking": "pass", "dp": "pass"}, V0="not tested")
    assert answer(found).tone == "inconclusive"
    assert "private data stay out, because nothing is known about V0. That is not a pass." in sentences(found)


def test_where_nothing_passes_the_nearest_is_named_with_what_stands_against_it(report: ReportRecord) -> None:
    found = judged(report, {"masking+guard": "fail", "masking": "fail", "dp": "inconclusive"}, V1="fail", V5="pass")
    assert answer(found).tone == "fail"
    assert "Under no option may they be used" in sentences(found)
    assert "Nearest to it is dp: above a limit in V1; not settled in V0, V2, V2c, V3 and V4." in sentences(found)
    assert "What speaks against it in V1: why." in sentences(found)


def test_nothing_settled_is_no_failure(report: ReportRecord) -> None:
    found = judged(report, {"masking+guard": "inconclusive", "masking": "inconclusive", "dp": "inconclusive"})
    assert answer(found).tone == "inconclusive"
    assert "What follows: private data stay out." in sentences(found)


def test_performance_is_one_sentence_with_what_it_is_worth_alone_and_pooled(tmp_path: Path) -> None:
    run = write_run(tmp_path, arms=("standalone", "pooled", "ckks", "masking", "dp"))
    told = answer(assemble(run)[0]).sentences[-1]
    begin = "What it is worth (R², where 1 is perfect): 0.29 training alone; 0.17 (0.15 to 0.20) with dp, worse than alone, the"
    assert told.startswith(begin)
    assert "0.41 (0.39 to 0.43) with masking, better than alone in" in told
    assert "the best of all options that no single party could open; " in told
    assert told.endswith("0.45 if all data were pooled, which nobody may do.")


def test_a_view_tells_what_is_lost_in_plain_words_and_who_stays_within(report: ReportRecord) -> None:
    found = judged(report, {"masking+guard": "fail", "masking": "pass", "dp": "pass"})
    for line in view_lines(found):
        assert line.plain == words().losses["structure"]
        assert line.passing == "Within the appetite here: masking and dp."
    nobody = view_lines(judged(report, {"masking+guard": "fail", "masking": "fail", "dp": "inconclusive"}))
    assert {line.passing for line in nobody} == {"No option stays within the appetite here."}
    everybody = view_lines(judged(report, {"masking+guard": "pass", "masking": "pass", "dp": "pass"}))
    assert {(line.plain, line.passing) for line in everybody} == {(words().meanings["pass"], "")}


def test_where_training_alone_is_above_the_limit_too_the_view_says_so(report: ReportRecord) -> None:
    """A partner's own predictions gave members away as well: page one laid it on the federation."""
    lost: dict[str, Verdict] = {"masking+guard": "fail", "masking": "fail", "dp": "fail"}
    (told,) = {line.passing for line in view_lines(judged(report, {"standalone": "fail", **lost}))}
    assert told == "No option stays within the appetite here. Nor does a partner that trains alone."
    (told,) = {line.passing for line in view_lines(judged(report, {"standalone": "not tested", **lost}))}
    assert told == "No option stays within the appetite here."


def test_everything_that_can_be_lost_has_its_words() -> None:
    assert set(words().losses) == {*words().assets, DEVIATION}
    assert set(words().meanings) == {"pass", "inconclusive", "not tested"}


def test_the_nearest_option_never_stands_without_what_it_is_worth(report: ReportRecord) -> None:
    """It was named for its privacy alone, though it was worse than not joining."""
    found = judged(report, {"masking+guard": "fail", "masking": "fail", "dp": "inconclusive"})
    assert "0.17 (0.15 to 0.20) with dp, worse than alone, the nearest to the appetite" in sentences(found)


def test_plaintext_is_no_option_and_speaks_for_no_view(tmp_path: Path) -> None:
    """Every attack has to succeed there: as an option it failed every view and hid what the protocols do."""
    run = write_run(tmp_path, arms=("standalone", "plaintext", "masking", "masking+guard"))
    report = assemble(run)[0]
    assert options(report.arms) == ("masking", "masking+guard")
    assert {verdict.arm for verdict in report.verdicts} <= {None, *options(report.arms)}
    assert not any("on plaintext" in verdict.because for verdict in report.verdicts)
    alone = assemble(write_run(tmp_path / "alone", arms=("standalone", "plaintext")))[0]
    assert "no arm of this run hides a partner's update" in answer(alone).headline
    assert not cleared(alone)


def test_a_verdict_is_told_without_a_researchers_words(report: ReportRecord) -> None:
    told = " ".join(verdict.because for verdict in report.arm_verdicts)
    assert "on a deliberately small batch" in told
    assert not any(word in told for word in ("TPR", "FPR", "(release "))


def test_whoever_cheats_holds_what_its_role_holds() -> None:
    """A malicious partner has its own data and the order of the bits; the table said that it had neither."""
    seen = words().views
    assert {*seen["V1"].access, *seen["V2"].access, "deviates"} == set(seen["V5"].access)
    assert set(seen["V3"].access) | set(seen["V1"].access) <= set(seen["V4"].access)


def test_every_link_leads_somewhere_on_paper_too(tmp_path: Path) -> None:
    """A link into a folded part has no end in print, where folded parts are left out."""
    html = for_print(document(*assemble(write_run(tmp_path))))
    links = set(re.findall(r'href="#([\w-]+)"', html)) - set(re.findall(r'<use href="#([\w-]+)"', html))
    assert {"rule", "asked", "inventory", "run", "sign-off"} <= links
    assert links <= set(re.findall(r'id="([\w-]+)"', html))
