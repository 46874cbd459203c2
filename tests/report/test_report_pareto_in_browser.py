"""Tests of the figure of accuracy against cost in Chromium: labels, widths, light and dark, and accessibility."""

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest

from nas.report.files import html_bytes
from nas.report.overlay import overlay
from nas.report.overlay_figure import overlay_figure
from nas.report.pareto import pareto_figure
from nas.studies.records import Expected, Record, StudyView
from tests.report.browser import visit
from tests.report.studies import ARCH, record, study

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
LABELS = ".textpoint text"


def many(trials: int, name: str = "demo") -> StudyView:
    """Return a study whose more expensive networks are more accurate on average."""
    draw = Random(trials)  # noqa: S311
    costs = [draw.uniform(360e6, 400e6) for _ in range(trials)]
    rows = [record(i, cost, 0.3 + cost / 2e9 + draw.gauss(0, 0.03)) for i, cost in enumerate(costs)]
    pruned = [record(trials + i, 370e6 + i * 1e6, 0.3, "pruned") for i in range(trials // 10)]
    base = Record(-1, "complete", ARCH, {"macs": 385_000_000}, accuracy=0.45, label="mobilenetv2 of some length x1.16")
    view = study(*rows, *pruned, baseline=base, name=name)
    return attrs.evolve(view, expected={one.number: Expected(one.accuracy or 0, 0.01, 0.5) for one in view.front})


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("trials", [5, 50, 1000])
def test_labels_neither_collide_nor_are_cut_off(
    chromium: "Browser", tmp_path: Path, trials: int, width: int, dark: bool
) -> None:
    file = tmp_path / "page.html"
    file.write_bytes(html_bytes(pareto_figure(many(trials)), "demo"))
    with visit(chromium, file, width=width, dark=dark) as shown:
        assert not shown.is_cut_off()
        assert shown.texts_cut_off() == []
        assert shown.texts_colliding(f"{LABELS}, .annotation text, .legendtext, .xtick text, .ytick text") == []
        visible = f"[...document.querySelectorAll('{LABELS}')].filter((t) => t.style.visibility !== 'hidden').length"
        assert shown.page.evaluate(visible) > 0
        assert shown.serious_findings() == []
        assert shown.problems == []


@pytest.mark.parametrize("width", [400, 1400])
def test_a_page_of_several_studies_is_whole(chromium: "Browser", tmp_path: Path, width: int) -> None:
    file = tmp_path / "page.html"
    views = [many(30, "a study"), many(40, "another study"), many(50, "a third study")]
    file.write_bytes(html_bytes(overlay_figure(overlay(views)), "demo"))
    with visit(chromium, file, width=width) as shown:
        assert not shown.is_cut_off()
        assert shown.texts_cut_off() == []
        assert shown.texts_colliding(f"{LABELS}, .legendtext, .xtick text, .ytick text") == []
        assert shown.problems == []


def test_a_hover_text_is_a_summary(chromium: "Browser", tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_bytes(html_bytes(pareto_figure(study(record(0))), "demo"))
    with visit(chromium, file) as shown:
        star = shown.page.locator(".plot .point").last.bounding_box()
        assert star is not None
        shown.page.mouse.move(star["x"] + star["width"] / 2, star["y"] + star["height"] / 2)
        shown.wait("document.querySelector('.hovertext') !== null")
        text = shown.page.locator(".hovertext").first.text_content() or ""
        assert text.startswith("trial 0: 50.00%, recommended")
        assert "380M MACs" in text
