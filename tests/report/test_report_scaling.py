"""Tests of the figures of a fit and of a comparison: their content, and their drawing."""

import io
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from PIL import Image

from nas.report.files import png_bytes, write_html
from nas.report.scaling import KINDS, PAPER, Coefficients, Curve, Panel, comparison_figure, fit_figure
from nas.report.theme import HEIGHT_PX, SERIES, VERMILION, WIDTH_PX
from tests.report.browser import browse, find_browser

POINTS = [
    Coefficients((0.5, 0.25, 0.25), 0.61, "first", "winner"),
    Coefficients((0.2, 0.3, 0.5), 0.605, "second", "tied with the best"),
    Coefficients((1.0, 0.0, 0.0), 0.4, "third"),
    Coefficients((0.0, 0.0, 1.0), 0.5, "fourth"),
    Coefficients((0.26, 0.28, 0.46), None, PAPER, PAPER),
]
# Corners of depth, width and resolution in a triangle with sides of length 1.
CORNERS = (0.5 + 0.75**0.5 * 1j, 0, 1)
BASE = Curve("base", [60.0], [0.5], [(0.49, 0.52)], ["the base"])
WIDE = Curve("width", [120.0, 180.0], [0.55, 0.6], [None, (0.58, 0.61)], ["wide", "wider"])
DEEP = Curve("depth", [119.0, 181.0], [0.52, 0.53], [(0.5, 0.55), (0.5, 0.57)], ["deep", "deeper"])


def trace(figure: go.Figure, name: str) -> Any:
    (found,) = (trace for trace in figure.data if name in (trace.name, trace.meta) and trace.x != (None,))
    return found


def test_the_points_of_a_fit_are_grouped_by_kind() -> None:
    figure = fit_figure("a fit", [Panel("at phi 1", POINTS)])
    assert [each.meta for each in figure.data if each.meta] == ["scored", "tied with the best", "winner", PAPER]
    assert {*KINDS} == {each.name for each in figure.data if each.name and each.showlegend is None}
    for kind in KINDS:
        of_kind = [point for point in POINTS if point.kind == kind]
        drawn = trace(figure, kind)
        # Barycentric coordinates: the mean of the corners, weighted by the shares.
        weighted = [sum(share * corner for share, corner in zip(each.shares, CORNERS, strict=True)) for each in of_kind]
        assert list(zip(drawn.x, drawn.y, strict=True)) == [pytest.approx((at.real, at.imag)) for at in weighted]
        assert list(drawn.hovertext) == [point.hover for point in of_kind]
        assert drawn.marker.symbol == KINDS[kind]["symbol"]
    assert trace(figure, "scored").marker.color == (0.4, 0.5)
    assert trace(figure, PAPER).marker.color == VERMILION
    assert trace(figure, PAPER).marker.coloraxis is None
    notes = {note.text: complex(note.x, note.y) for note in figure.layout.annotations if note.yref == "y"}
    assert set(notes) == {"<b>depth</b>", "<b>width</b>", "<b>resolution</b>"}
    for word, corner in zip(("depth", "width", "resolution"), CORNERS, strict=True):
        assert abs(notes[f"<b>{word}</b>"] - corner) < 0.06


def test_the_sides_of_the_triangle_are_equally_long() -> None:
    layout = fit_figure("a fit", [Panel("at phi 1", POINTS)]).layout
    assert layout.yaxis.scaleanchor == "x"
    assert [abs(a - b) for a, b in combinations(CORNERS, 2)] == pytest.approx([1, 1, 1])


def test_a_kind_without_points_is_not_drawn() -> None:
    figure = fit_figure("a fit", [Panel("at phi 1", POINTS[2:4])])
    assert [each.meta for each in figure.data if each.meta] == ["scored"]


def test_two_fits_are_side_by_side_with_a_color_scale_each() -> None:
    figure = fit_figure("a fit", [Panel("at phi 1", POINTS), Panel("at phi 2", POINTS[:3])])
    drawn = [(each.xaxis, each.yaxis, each.meta) for each in figure.data if each.meta]
    assert drawn[4:] == [("x2", "y2", "scored"), ("x2", "y2", "tied with the best"), ("x2", "y2", "winner")]
    scales = {(each.xaxis, each.marker.coloraxis) for each in figure.data if each.meta and each.meta != PAPER}
    assert scales == {("x", "coloraxis"), ("x2", "coloraxis2")}
    assert [each.name for each in figure.data if each.name] == [*KINDS]
    left, right = figure.layout.xaxis.domain, figure.layout.xaxis2.domain
    assert 0 <= left[0] < left[1] < right[0] < right[1] <= 1
    assert [note.text for note in figure.layout.annotations[:2]] == ["at phi 1", "at phi 2"]


def test_each_rule_is_a_line_from_the_base() -> None:
    figure = comparison_figure("rules", "FLOPs", BASE, [WIDE, DEEP])
    assert [each.name for each in figure.data] == ["width", "depth", "base"]
    wide, deep, base = figure.data
    assert (wide.x, wide.y) == ((60, 120, 180), (0.5, 0.55, 0.6))
    assert (deep.x, deep.y) == ((60, 119, 181), (0.5, 0.52, 0.53))
    assert (base.x, base.y, base.mode) == ((60,), (0.5,), "markers")
    above = [(0, 0, 0.01), (0, 0.03, 0.04), (0.02,)]
    below = [(0, 0, 0.02), (0, 0.02, 0.03), (0.01,)]
    for each, up, down in zip(figure.data, above, below, strict=True):
        assert each.error_y.array == pytest.approx(up)
        assert each.error_y.arrayminus == pytest.approx(down)
    assert wide.hovertext == ("the base", "wide", "wider")
    assert (wide.line.color, deep.line.color) == SERIES[:2]
    assert wide.line.dash != deep.line.dash
    assert wide.marker.symbol != deep.marker.symbol
    assert figure.layout.xaxis.title.text == "FLOPs"


def test_a_base_without_an_accuracy_does_not_shift_the_error_bars() -> None:
    figure = comparison_figure("rules", "FLOPs", Curve("base", [], [], [], []), [DEEP])
    deep = figure.data[0]
    assert (deep.x, deep.y) == ((119, 181), (0.52, 0.53))
    assert deep.error_y.array == pytest.approx((0.03, 0.04))


def test_a_figure_without_trained_networks_is_empty() -> None:
    nothing = Curve("base", [], [], [], [])
    figure = comparison_figure("rules", "FLOPs", nothing, [nothing])
    assert [each.x for each in figure.data] == [(), ()]


@pytest.mark.parametrize(("largest", "kind"), [(240.0, "linear"), (241.0, "log")])
def test_the_axis_of_a_wide_range_of_costs_is_logarithmic(largest: float, kind: str) -> None:
    curve = Curve("width", [largest], [0.6], [None], ["x"])
    assert comparison_figure("rules", "FLOPs", BASE, [curve]).layout.xaxis.type == (None if kind == "linear" else kind)


def test_more_rules_than_colors_are_drawn() -> None:
    curves = [Curve(f"rule {i}", [120.0], [0.5], [None], ["x"]) for i in range(3 * len(SERIES) + 1)]
    figure = comparison_figure("rules", "FLOPs", BASE, curves)
    assert [each.name for each in figure.data[:-1]] == [curve.name for curve in curves]


def test_texts_of_users_are_escaped() -> None:
    title = '<a href="x">'
    fit = fit_figure(title, [Panel("<i>", POINTS)])
    rules = comparison_figure(title, "FLOPs", BASE, [Curve("<b>", [1.0], [0.5], [None], ["x"])])
    assert "<a" not in fit.layout.title.text + rules.layout.title.text
    assert fit.layout.annotations[0].text == "&lt;i&gt;"
    assert rules.data[0].name == "&lt;b&gt;"


@pytest.mark.slow
def test_an_image_of_two_fits_has_the_right_size_and_colors() -> None:
    find_browser()
    pytest.importorskip("kaleido", reason="kaleido draws the image")
    drawn = png_bytes(fit_figure("a fit", [Panel("at phi 1", POINTS), Panel("at phi 2", POINTS)]))
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.size == (2 * WIDTH_PX, 2 * HEIGHT_PX)
        data = image.convert("RGB").tobytes()
    colors = Counter(zip(data[::3], data[1::3], data[2::3], strict=True))
    red, green, blue = bytes.fromhex(VERMILION[1:])
    assert colors[red, green, blue] > 100
    assert colors[255, 255, 255] > 0.3 * len(data) / 3


@pytest.mark.slow
def test_a_page_draws_every_point_of_a_comparison(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_html(file, comparison_figure("rules", "FLOPs", BASE, [WIDE, DEEP]), "rules")
    drawn = browse(file)
    # Occurrences are counted, because a failing `in` would print the whole page.
    counts = [drawn.count(text) for text in ('class="point"', ">width<", ">depth<", ">base<")]
    assert (counts[0], [count > 0 for count in counts[1:]]) == (3 + 3 + 1, [True] * 3)
