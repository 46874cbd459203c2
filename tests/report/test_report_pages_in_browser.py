"""Tests of the page shell in Chromium: widths, light, dark and print, the console, and accessibility."""

from pathlib import Path
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import pytest
from markupsafe import Markup

from nas.report import pages, theme
from tests.report.browser import visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
LONG = "A title of many words that does not fit into one line of a telephone"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = go.Figure()
    for number in range(6):
        color, symbol = theme.marks(number)
        marker = {"color": color, "symbol": symbol}
        drawn.add_scatter(x=[1, 9], y=[0.1, 0.2 + number / 10], name=f"series of number {number}", marker=marker)
    drawn.update_layout(
        theme.layout(LONG, "subtitle " * 30),
        xaxis=theme.axis("Latency (ms)"),
        yaxis=theme.axis("Accuracy after 3 epochs", ticks=theme.ACCURACY_TICKS),
    )
    body = Markup("<h1>Demo</h1>") + pages.figure_block(drawn, "one", "Six series.")
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_bytes(pages.render(title="demo", body=body))
    return path


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_a_page_is_whole_quiet_and_accessible(chromium: "Browser", file: Path, width: int, dark: bool) -> None:
    with visit(chromium, file, width=width, dark=dark) as shown:
        assert not shown.is_cut_off()
        assert shown.texts_cut_off() == []
        assert shown.texts_colliding("svg text") == []
        assert shown.serious_findings() == []
        assert shown.problems == []
        paper = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")


PAPER = "getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"
POINT = "getComputedStyle(document.querySelector('.plot .point')).fill"
LIGHT, DARK = ["rgb(255, 255, 255)", "rgb(0, 114, 178)"], ["rgb(21, 24, 28)", "rgb(86, 180, 233)"]


def test_figures_follow_the_reader_from_light_to_dark_and_are_light_in_print(chromium: "Browser", file: Path) -> None:
    with visit(chromium, file) as shown:
        assert [*map(shown.page.evaluate, (PAPER, POINT))] == LIGHT
        shown.page.emulate_media(color_scheme="dark")
        shown.wait(f"{PAPER} === '{DARK[0]}'")
        assert [*map(shown.page.evaluate, (PAPER, POINT))] == DARK
        shown.page.emulate_media(color_scheme="dark", media="print")
        shown.wait(f"{PAPER} === '{LIGHT[0]}'")
        assert [*map(shown.page.evaluate, (PAPER, POINT))] == LIGHT
        assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == LIGHT[0]
        width = shown.page.evaluate("document.querySelector('.plot .main-svg').clientWidth")
        assert width <= 680  # pixels of a page of A4 between its margins
        shown.page.emulate_media(color_scheme="dark", media="screen")
        shown.wait(f"{PAPER} === '{DARK[0]}'")


def test_a_page_that_is_printed_before_its_figures_are_drawn_draws_them(chromium: "Browser", file: Path) -> None:
    undrawn = "document.querySelectorAll('.plot').length - document.querySelectorAll('.plot .svg-container').length"
    early = f"""addEventListener("DOMContentLoaded", () => {{
        window.before = {undrawn}; dispatchEvent(new Event("beforeprint")); window.after = {undrawn};
        dispatchEvent(new Event("afterprint"));
    }})"""
    page = chromium.new_page()
    page.add_init_script(early)
    page.goto(file.as_uri())
    assert page.evaluate("window.before") > 0
    assert page.evaluate("window.after") == 0
    page.close()


def test_a_figure_has_the_width_of_its_place_when_the_window_changes(chromium: "Browser", file: Path) -> None:
    with visit(chromium, file) as shown:
        shown.page.set_viewport_size({"width": 400, "height": 900})
        shown.wait("document.querySelector('.plot .main-svg').clientWidth < 400")
        assert not shown.is_cut_off()
        assert shown.texts_cut_off() == []


def test_a_script_that_is_not_of_the_page_does_not_run(chromium: "Browser", file: Path) -> None:
    changed = file.parent / "changed.html"
    changed.write_text(file.read_text().replace("<h1>Demo", "<script>window.ran = true</script><h1>Demo"))
    with visit(chromium, changed) as shown:
        assert shown.page.evaluate("window.ran") is None
        assert any("Content Security Policy" in problem for problem in shown.problems)


@pytest.mark.parametrize("fault", ["{", '{"data": [], "layout": null}'])
def test_a_figure_that_cannot_be_drawn_says_so_and_the_others_are_drawn(
    chromium: "Browser", tmp_path: Path, fault: str
) -> None:
    drawn = go.Figure(go.Scatter(x=[1, 2], y=[1, 2]))
    body = Markup("").join(pages.figure_block(drawn, name, "A line.") for name in ("one", "two", "three"))
    text = pages.render(title="demo", body=body).decode()
    begin = text.index(">", text.index('id="two-data"')) + 1
    end = text.index("</script>", begin)
    (tmp_path / "page.html").write_text(text[:begin] + fault + text[end:])
    with visit(chromium, tmp_path / "page.html") as shown:
        shown.page.evaluate("nas.drawAll()")
        drawings = (
            "[...document.querySelectorAll('.plot')].map((each) => each.querySelectorAll('.main-svg').length > 0)"
        )
        assert shown.page.evaluate(drawings) == [True, False, True]
        assert shown.page.inner_text("#two-plot") == "This figure could not be drawn."
