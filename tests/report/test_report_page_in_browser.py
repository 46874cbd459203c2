"""Tests of a report page in Chromium: selection, copying, widths, light, dark, print, loading again, accessibility."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

import nas
from nas.api.report import render_report
from nas.studies.opening import open_storage
from tests.report.browser import visit
from tests.report.studies import run_search

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
TRIALS = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page of a search, `report.html`, and the same page while the search goes on."""
    made = tmp_path_factory.mktemp("report")
    view, storage = run_search(made, trials=TRIALS)
    nas.report(view.name, out=made / "report.html", storage=storage)
    opened = open_storage(storage)
    (made / "watched.html").write_bytes(render_report(opened, view.name, storage, view=view, refresh_s=6.0))
    (made / "empty.html").write_bytes(
        render_report(opened, view.name, storage, view=evolve(view, records=(), expected={}, confirmed={}))
    )
    return made


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["report.html", "empty.html"])
def test_a_report_is_whole_quiet_and_accessible(
    chromium: "Browser", folder: Path, name: str, width: int, dark: bool
) -> None:
    with visit(chromium, folder / name, width=width, dark=dark) as shown:
        assert not shown.is_cut_off()
        assert shown.serious_findings() == []
        assert shown.problems == []
        levels = shown.page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((e) => Number(e.tagName[1]))")
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert shown.page.evaluate("document.documentElement.lang") == "en"


def test_a_row_is_selected_by_keyboard_and_its_commands_are_copied(chromium: "Browser", folder: Path) -> None:
    with visit(chromium, folder / "report.html") as shown:
        shown.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        row = shown.page.locator("[data-choose]").nth(1)
        number = row.get_attribute("data-choose")
        row.focus()
        shown.page.keyboard.press("Enter")
        assert row.get_attribute("aria-pressed") == "true"
        assert shown.page.locator("[data-choose][aria-pressed=true]").count() == 1
        assert shown.page.locator("#selected-title").text_content() == f"Trial {number}"
        assert f"Trial {number} is selected" in (shown.page.locator("#said").text_content() or "")
        command = shown.page.locator("#selected-commands pre").first.text_content() or ""
        assert f"nas show study:demo:trial={number} " in command
        shown.page.locator("#selected-commands [data-copy]").first.click()
        shown.page.wait_for_timeout(200)
        assert shown.page.evaluate("navigator.clipboard.readText()") == command
        assert shown.problems == []


def test_a_point_is_selected_by_a_click(chromium: "Browser", folder: Path) -> None:
    with visit(chromium, folder / "report.html") as shown:
        numbers = [int(each) for each in shown.page.evaluate(_SELECTABLE)]
        assert len(numbers) == TRIALS + 1  # and the baseline
        # The cheapest trial of the front, which no other point covers.
        at = shown.page.evaluate(_PLACE_OF_FRONT)
        shown.page.mouse.move(at["x"], at["y"])
        shown.page.wait_for_timeout(200)
        shown.page.mouse.click(at["x"], at["y"])
        shown.page.wait_for_timeout(300)
        assert shown.page.locator("#selected-title").text_content() == f"Trial {at['number']}"
        assert shown.page.evaluate(
            "document.querySelector('#front-plot .annotation-text, #front-plot .annotation') !== null"
        )
        assert shown.problems == []


_SELECTABLE = """[...new Set(document.getElementById('front-plot').data.flatMap((t) => [...(t.customdata ?? [])]))]"""
_PLACE_OF_FRONT = """(() => {
  const plot = document.getElementById('front-plot');
  plot.scrollIntoView({ block: 'center' });
  const front = plot.data.find((trace) => (trace.name ?? '').startsWith('Pareto front'));
  const box = plot.getBoundingClientRect(), { xaxis, yaxis } = plot._fullLayout;
  return {
    number: front.customdata[0],
    x: box.left + xaxis._offset + xaxis.d2p(front.x[0]), y: box.top + yaxis._offset + yaxis.d2p(front.y[0]),
  };
})()"""


def test_a_page_that_loads_itself_again_keeps_its_selection_and_place(chromium: "Browser", folder: Path) -> None:
    with visit(chromium, folder / "watched.html") as shown:
        row = shown.page.locator("[data-choose]").nth(1)
        name = row.text_content()
        row.click()
        shown.page.evaluate("scrollTo(0, 700); window.isOld = true")
        shown.wait("window.isOld === undefined && document.documentElement.dataset.figures === 'drawn'")
        assert shown.page.locator("#selected-title").text_content() == name
        assert shown.page.evaluate("Math.abs(scrollY - 700) < 50")
        shown.page.locator("#refresh").uncheck()
        shown.page.evaluate("window.isOld = true")
        shown.page.wait_for_timeout(7500)
        assert shown.page.evaluate("window.isOld === true")


def test_a_report_is_light_and_without_controls_in_print(chromium: "Browser", folder: Path) -> None:
    with visit(chromium, folder / "report.html", dark=True) as shown:
        shown.page.emulate_media(media="print")
        shown.wait("getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")
        assert shown.page.locator("nav").is_hidden()
        assert shown.page.locator("[data-copy]").first.is_hidden()
        assert len(shown.page.pdf(format="A4")) > 10_000


def test_a_report_can_be_read_without_scripts(chromium: "Browser", folder: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "report.html").as_uri())
    text = page.inner_text("main")
    context.close()
    assert "Use trial" in text
    assert "nas show study:demo:trial=" in text
