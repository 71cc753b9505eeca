"""The report in a real browser: no error, no request, every chart drawn, sorting works, no sideways scrolling, prints whole.

Needs a Chromium at /usr/bin/chromium (Debian: ``apt-get install chromium``); skipped with a message where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from made_run import add_everything, made_arm, made_audit, write_run

from securefl.records import write_record
from securefl.report import Terms, build
from securefl.report.editions import AUDITOR

CHROMIUM = Path("/usr/bin/chromium")
PAGE = 1039
"""CSS pixels of an A4 page between its margins of 11 mm."""
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a headless Chromium."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: install Debian's chromium to run this test")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install securefl[test]")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of an invented run's report."""
    folder = write_run(tmp_path_factory.mktemp("run"))
    build(folder)
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of an auditor's edition in which every picture and every table has something to show."""
    folder = write_run(tmp_path_factory.mktemp("everything"))
    add_everything(folder)
    build(folder, Terms(edition=AUDITOR))
    return (folder / "report-auditor.html").as_uri()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a report on twelve arms, two of them with a single key holder."""
    base = ("standalone", "single-task", "pooled", "plaintext", "masking", "masking+guard", "paillier", "ckks", "dp")
    folder = write_run(tmp_path_factory.mktemp("many"), arms=(*base, "rlwe", "bfv+guard", "masking+partner-dp=3"))
    build(folder, Terms(as_of=date(2026, 11, 21)))
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a report whose names have no place to break."""
    name = "W" * 300
    folder = write_run(tmp_path_factory.mktemp("endless"), arms=("standalone", "plaintext", "masking"), partner=name)
    arm = made_arm("masking").model_copy(update={"name": name, "guard": name, "notes": (name,)})
    write_record(arm, folder / "arms" / "masking" / "record.json")
    audit = made_audit("masking")
    attacks = tuple(a.model_copy(update={"name": name, "arm": name, "reason": name}) for a in audit.attacks)
    write_record(audit.model_copy(update={"attacks": attacks}), folder / "attacks" / "masking.json")
    build(folder)
    return (folder / "report.html").as_uri()


def opened(browser: Any, address: str, *, width: int = 1280, scheme: str = "light", script: bool = True) -> Any:
    """Return a page at a width."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script)
    page = context.new_page()
    page.goto(address)
    return page


def test_loads_without_an_error_and_without_a_request(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    assert said == []
    assert [url for url in asked if url != address and not url.startswith("data:")] == []


def test_the_policy_stops_a_script_that_slipped_in(browser: Any, address: str) -> None:
    page = opened(browser, address)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit=1\">')")
    page.wait_for_timeout(100)
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("which", "scheme"), [("address", "light"), ("address", "dark"), ("everything", "light")])
def test_no_sideways_scrolling_and_every_chart_is_drawn(
    browser: Any, request: pytest.FixtureRequest, which: str, width: int, scheme: str
) -> None:
    page = opened(browser, request.getfixturevalue(which), width=width, scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    hidden = (
        "[...document.querySelectorAll('main *')]"
        ".filter(e => !e.closest('svg') && e.getBoundingClientRect().right > innerWidth + 1)"
    )
    assert page.evaluate(f"{hidden}.map(e => e.tagName + '.' + e.className)") == []
    drawn = page.evaluate(
        "[...document.querySelectorAll('figure')].map(f => [...f.querySelectorAll('svg.chart')]"
        ".filter(s => s.getBoundingClientRect().height > 60 && s.querySelectorAll('path').length > 5).length)"
    )
    assert drawn
    assert set(drawn) == {1}


@pytest.mark.parametrize("width", [1280, 390])
def test_a_name_without_end_stays_inside_the_page(browser: Any, endless: str, width: int) -> None:
    page = opened(browser, endless, width=width)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("which", ["address", "everything"])
def test_no_text_of_a_chart_leaves_its_card(browser: Any, request: pytest.FixtureRequest, which: str, width: int) -> None:
    page = opened(browser, request.getfixturevalue(which), width=width)
    outside = page.evaluate(
        "[...document.querySelectorAll('figure')].flatMap(f => { const box = f.getBoundingClientRect();"
        " return [...f.querySelectorAll('svg.chart text')].filter(t => { const b = t.getBoundingClientRect();"
        " return b.width > 0 && (b.left < box.left - 1 || b.right > box.right + 1) }).map(t => f.id + ': ' + t.textContent) })"
    )
    assert outside == []


def test_theme_changes_the_charts_too(browser: Any, address: str) -> None:
    colour = "getComputedStyle(document.querySelector('#f-performance svg.wide text')).fill"
    light = opened(browser, address, scheme="light").evaluate(colour)
    dark = opened(browser, address, scheme="dark").evaluate(colour)
    assert light != dark


def test_sorting_orders_numbers_as_numbers(browser: Any, address: str) -> None:
    page = opened(browser, address)
    column = page.locator("#t-performance thead button", has_text="Mean")
    read = "[...document.querySelectorAll('#t-performance tbody tr')].map(r => Number(r.cells[1].dataset.order))"
    column.click()
    assert page.evaluate(read) == sorted(page.evaluate(read))
    column.click()
    assert page.evaluate(read) == sorted(page.evaluate(read), reverse=True)
    assert page.locator("#t-performance th[aria-sort=descending]").count() == 1


def test_everything_can_be_read_without_the_script(browser: Any, address: str) -> None:
    with_script, without = opened(browser, address), opened(browser, address, script=False)
    assert without.locator("main").inner_text() == with_script.locator("main").inner_text()


@pytest.mark.parametrize("which", ["address", "everything"])
def test_no_table_is_cut_in_print(browser: Any, request: pytest.FixtureRequest, which: str) -> None:
    page = opened(browser, request.getfixturevalue(which), width=718)
    page.emulate_media(media="print")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    wide = "[...document.querySelectorAll('table')].filter(t => t.getBoundingClientRect().right > 719)"
    assert page.evaluate(f"{wide}.map(t => t.id || t.className)") == []


@pytest.mark.parametrize("which", ["address", "many"])
def test_page_one_prints_on_one_page(browser: Any, request: pytest.FixtureRequest, which: str) -> None:
    page = opened(browser, request.getfixturevalue(which), width=718)  # A4 less its margins, in CSS pixels
    page.emulate_media(media="print")
    assert page.evaluate("document.querySelectorAll('.front .matrix tbody tr').length") >= 9
    assert page.evaluate("document.querySelector('.front').getBoundingClientRect().height") < PAGE
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
