"""The page in a real browser, where there is one."""

from contextlib import closing
from dataclasses import replace

import pytest

from bnfold.report.html import render_html
from bnfold.report.model import Failure
from tests.report.html.chromium import Chromium, executable
from tests.report.html.large import large_report
from tests.report.html.test_page import EVIL, everything

pytestmark = pytest.mark.skipif(executable() is None, reason="no chromium on PATH")

VISIBLE = "[...document.querySelectorAll('details.row')].filter(row => row.checkVisibility()).length"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with closing(Chromium(tmp_path_factory.mktemp("profile"))) as running:
        yield running


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page, and asserts at the end that the browser had nothing to complain of and nothing was fetched."""
    browser.complaints.clear()
    browser.requested.clear()
    browser.size(1400, 900)

    def open_page(reports, failures=(), anchor=""):
        path = tmp_path / "report.html"
        path.write_text(render_html(reports, failures), encoding="utf-8")
        browser.open(path, anchor)
        return browser

    yield open_page
    assert browser.complaints == []
    assert {address.partition(":")[0] for address in browser.requested} <= {"file"}


def failed_report():
    made = large_report(4, 2)
    tensors = (replace(made.verification.tensors[0], passed=False, problem="differs"), *made.verification.tensors[1:])
    return replace(made, output=None, verification=replace(made.verification, status="failed", tensors=tensors))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_window(opened, browser, width, dark):
    browser.size(width, 900, dark=dark)
    long = replace(everything("a_name_without_any_place_to_break" * 9), input="x" * 300)
    page = opened([large_report(40, 30), failed_report(), long], [Failure("y" * 300, 3, "z" * 300)])
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")

    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("document.documentElement.clientWidth") <= width
    wanted = "dark" if dark else "light"
    assert page.run(f"matchMedia('(prefers-color-scheme: {wanted})').matches")
    lightness = page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(lightness) < 128) is dark


def test_on_a_phone_what_is_wrong_needs_no_scrolling(opened, browser):
    browser.size(390, 900)
    page = opened([everything("channel 3 differs: -2.5 against -2.6 in the original " * 2)])
    cells = "[...document.querySelectorAll('td.result')].map(cell => cell.getBoundingClientRect())"
    places = page.run(f"{cells}.map(place => [place.left, place.right])")

    assert len(places) > 1
    assert all(left >= 0 and right <= 390 and right - left > 300 for left, right in places)


def test_a_filter_shows_what_it_asks_for(opened):
    page = opened([large_report(12, 9)])
    assert page.run(VISIBLE) == 0

    def choose(name, value):
        page.run(
            f"(() => {{ const field = document.querySelector('.tools').elements.{name}; field.value = {value!r};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        return page.run(VISIBLE)

    assert choose("code", "BNF201") == 9
    assert page.run("document.querySelector('.tools output').textContent") == "9 of 21 nodes"
    assert page.run("document.querySelectorAll('.strip a.dim').length") == 12
    assert choose("code", "") == 0
    assert choose("fate", "folded") == 12
    assert choose("words", "denselayer4/ NORM1") == 1
    assert choose("words", "no such node") == 0
    assert choose("fate", "") == 0
    assert page.run("document.querySelector('.tools output').textContent") == "0 of 21 nodes"


def test_rows_are_sorted_by_their_figures(opened):
    made = large_report(4, 0)
    tensors = [
        replace(check, max_rel=rel)
        for check, rel in zip(made.verification.tensors, (3e-7, 2e-6, 0.0, 1e-4), strict=True)
    ]
    page = opened([replace(made, verification=replace(made.verification, tensors=tuple(tensors)))])

    def order(by):
        page.run(
            f"(() => {{ const field = document.querySelector('.tools').elements.order; field.value = {by!r};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        return page.run("[...document.querySelectorAll('.row')].map(row => row.id)")

    assert order("2") == ["n3", "n1", "n0", "n2"]
    assert order("graph") == ["n0", "n1", "n2", "n3"]


def test_a_fold_opens_on_its_drawing(opened):
    page = opened([large_report(3, 0)])
    page.run("document.querySelector('.group > summary').click()")
    assert page.run(VISIBLE) == 3
    page.run("document.querySelector('.row > summary').click()")

    assert page.run("document.querySelector('.row').open")
    assert page.run("[...document.querySelectorAll('.row .chain')].filter(each => each.checkVisibility()).length") == 2


def test_a_cell_of_the_strip_leads_to_its_row(opened):
    page = opened([large_report(3, 3)])
    page.run("document.querySelectorAll('.strip a')[3].click()")

    page.call("Runtime.evaluate", expression="new Promise(done => setTimeout(done, 50))", awaitPromise=True)
    assert page.run("location.hash") == "#n3"
    assert page.run("document.getElementById('n3').checkVisibility()")
    assert page.run("document.getElementById('n3').open")


def test_without_the_script_links_lead_to_their_rows_and_there_are_no_tools(opened, browser):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page = opened([large_report(3, 3)], anchor="#n3")
        assert page.run("document.getElementById('n3').checkVisibility()")
        assert not page.run("document.querySelector('.tools').checkVisibility()")
        assert page.run("document.querySelector('.verdict').checkVisibility()")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("name", EVIL[:5])
def test_no_name_runs(opened, name):
    page = opened([everything(name)])
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")

    assert page.run("document.scripts.length") == 1
    assert page.run("document.querySelectorAll('img, [onload], [onerror], [onmouseover]').length") == 0


def test_what_was_planned_for_three_screens_fits(opened):
    """121 BatchNorms, half of them left, as of a densenet121."""
    page = opened([large_report(62, 59)])

    assert page.run("document.documentElement.scrollHeight") <= 3 * 900
    assert page.run("document.querySelector('.strip').getBoundingClientRect().bottom") <= 900
