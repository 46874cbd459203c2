"""Tests of the figure of predicted against measured latency: its content, and its drawing."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from plotly import graph_objects as go

from nas.report.files import html_bytes, write_html, write_png
from nas.report.latency import latency_figure
from nas.report.theme import BLUE, GRAY, HEIGHT_PX, WIDTH_PX
from tests.report.browser import browse, find_browser, listening_proxy

MEASURED, PREDICTED, AGAIN = [4.0, 5.0, 8.0, 9.5], [4.1, 4.5, 8.4, 12.0], [4.0, 5.1, 7.9, 9.4]
times = st.lists(st.tuples(*[st.floats(1e-3, 1e5)] * 3), min_size=1, max_size=8)


def made(title: str = "demo: MAPE 9.9%, measured twice 1.0%") -> go.Figure:
    return latency_figure(title, MEASURED, PREDICTED, AGAIN)


def points(figure: go.Figure, name: str) -> list[tuple[float, float]]:
    (trace,) = (trace for trace in figure.data if trace.name == name)
    return list(zip(trace.x, trace.y, strict=True))


def test_each_network_has_a_predicted_and_a_repeated_point() -> None:
    assert points(made(), "predicted") == list(zip(MEASURED, PREDICTED, strict=True))
    assert points(made(), "measured again") == list(zip(MEASURED, AGAIN, strict=True))
    assert made().layout.title.text == "<b>demo: MAPE 9.9%, measured twice 1.0%</b>"
    assert made().layout.xaxis.title.text == "Measured latency (ms)"


@given(times)
@settings(max_examples=30)
def test_every_point_is_inside_the_axes(rows: list[tuple[float, float, float]]) -> None:
    measured, predicted, again = (list(column) for column in zip(*rows, strict=True))
    figure = latency_figure("x", measured, predicted, again)
    assert figure.layout.xaxis.range == figure.layout.yaxis.range
    low, high = figure.layout.xaxis.range
    assert all(low < value < high for row in rows for value in row)


def test_lines_show_equality_and_deviations_of_ten_percent() -> None:
    def slope(line: Any) -> float:
        return float(round((line.y1 - line.y0) / (line.x1 - line.x0), 9))

    lines = made().layout.shapes
    assert [(slope(line), line.line.dash) for line in lines] == [(1.0, "solid"), (0.9, "dot"), (1.1, "dot")]
    assert all(line.y0 / line.x0 == pytest.approx(slope(line)) for line in lines)


def test_the_title_is_escaped() -> None:
    assert made("<a href='x'>").layout.title.text == "<b>&lt;a href=&#x27;x&#x27;&gt;</b>"
    assert b"<title>a &lt;b&gt;</title>" in html_bytes(made(), "a <b>")


@pytest.mark.slow
def test_a_page_draws_every_point_without_a_network(tmp_path: Path) -> None:
    write_html(tmp_path / "page.html", made(), "demo: MAPE 9.9%")
    with listening_proxy() as (proxy, requested):
        drawn = browse(tmp_path / "page.html", f"--proxy-server={proxy}")
    assert requested == []
    texts = ('class="point"', ">Measured latency (ms)<", ">measured again<", ">predicted<", "MAPE 9.9%")
    counts = [drawn.count(text) for text in texts]
    assert (counts[0], [count > 0 for count in counts[1:]]) == (2 * len(MEASURED), [True] * 4)


@pytest.mark.slow
def test_a_png_image_has_the_right_size_and_colors(tmp_path: Path) -> None:
    find_browser()
    pytest.importorskip("kaleido", reason="kaleido draws the image")
    write_png(tmp_path / "x.png", made())
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (2 * WIDTH_PX, 2 * HEIGHT_PX)
        data = image.convert("RGB").tobytes()
    colors = Counter(zip(data[::3], data[1::3], data[2::3], strict=True))
    assert colors[255, 255, 255] > 0.3 * 4 * WIDTH_PX * HEIGHT_PX
    for expected in (BLUE[1:], GRAY[1:]):
        red, green, blue = bytes.fromhex(expected)
        assert colors[red, green, blue] > 300, expected
