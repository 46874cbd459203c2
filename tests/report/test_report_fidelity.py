"""Tests of the figure of evaluators: its content, and its drawing."""

from pathlib import Path

import pytest
from PIL import Image

from nas.report.fidelity import Mark, fidelity_figure
from nas.report.files import html_bytes, write_png
from nas.report.theme import HEIGHT_PX, WIDTH_PX
from tests.report.browser import find_browser

MARKS = [Mark("zero-cost:naswot", 0.2, 0.55, 0.4, 0.68, 300), Mark("<train>", 40.0, 0.7, 0.5, 0.83, 16)]


def test_each_evaluator_is_a_point_with_its_interval() -> None:
    figure = fidelity_figure("demo", MARKS, 0.9)
    *points, ceiling = figure.data
    for mark, trace in zip(MARKS, points, strict=True):
        assert (trace.x[0], trace.y[0]) == (mark.seconds, mark.tau)
        assert trace.y[0] + trace.error_y.array[0] == pytest.approx(mark.high)
        assert trace.y[0] - trace.error_y.arrayminus[0] == pytest.approx(mark.low)
    assert figure.data[1].name == "&lt;train&gt; (16 networks)"
    assert set(ceiling.y) == {0.9}
    assert ceiling.name.endswith("noise of the accuracies allows: 0.90")


def test_an_unknown_ceiling_is_not_drawn() -> None:
    assert len(fidelity_figure("demo", MARKS, None).data) == len(MARKS)


def test_an_interval_below_zero_is_inside_the_axis() -> None:
    low, high = fidelity_figure("demo", [Mark("x", 1, 0.1, -0.6, 0.7, 9)], None).layout.yaxis.range
    assert low < -0.6
    assert high > 1


def test_the_title_is_escaped() -> None:
    assert b"<b>&lt;a&gt;</b>" not in html_bytes(fidelity_figure("<a>", MARKS, None), "t")
    assert fidelity_figure("<a>", MARKS, None).layout.title.text == "<b>&lt;a&gt;</b>"


@pytest.mark.slow
def test_the_figure_can_be_drawn(tmp_path: Path) -> None:
    find_browser()
    write_png(tmp_path / "check.png", fidelity_figure("demo", MARKS, 0.9))
    with Image.open(tmp_path / "check.png") as picture:
        assert picture.size[0] / picture.size[1] == pytest.approx(WIDTH_PX / HEIGHT_PX)
