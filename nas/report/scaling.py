"""Figures of scaling: the scores of the coefficients of a fit, and a comparison of scaling rules."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go
from attrs import frozen

from nas.report import theme
from nas.report.theme import ACCURACY_TICKS, DASHES, GRAY, INK, PAPER, POINT_SCALE, VERMILION, axis, bars, layout, marks

# Kinds of points of a fit with their markers; a marker without a color is colored by the score of the point.
KINDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "scored": {"symbol": "circle", "size": 13, "line": {"color": PAPER, "width": 1}},
        "tied with the best": {"symbol": "circle", "size": 16, "line": {"color": INK, "width": 2}},
        "winner": {"symbol": "star", "size": 24, "line": {"color": INK, "width": 1.5}},
        "paper's 1.2, 1.1, 1.15": {"symbol": "x-open", "size": 15, "color": VERMILION, "line": {"width": 3}},
    }
)
PAPER = "paper's 1.2, 1.1, 1.15"
_HEIGHT = math.sqrt(3) / 2  # of a triangle with sides of length 1
# Dimensions at the corners of a triangle, with the positions of their names and the side of it at which they are.
_CORNERS = (("depth", 0.5, _HEIGHT + 0.05, "bottom"), ("width", 0.0, -0.02, "top"), ("resolution", 1.0, -0.02, "top"))
_STEPS = (0.2, 0.4, 0.6, 0.8)
LOG_FROM = 4.0  # ratio of the largest to the smallest cost above which the cost axis is logarithmic


@frozen
class Coefficients:
    """Represent the coefficients of one network of a fit.

    Attributes:
        shares: Shares of depth, width and resolution in the growth of the MACs; their sum is 1.
        score: Score of the network; None for coefficients that are only marked.
        hover: Text that is shown when the mouse is over the point.
        kind: Kind of the point; a key of `KINDS`.
    """

    shares: tuple[float, float, float]
    score: float | None
    hover: str
    kind: str = "scored"


@frozen
class Panel:
    """Hold the data of one fit.

    Attributes:
        title: Title of the triangle.
        points: Coefficients to draw.
    """

    title: str
    points: Sequence[Coefficients]


@frozen
class Curve:
    """Hold the networks of one scaling rule by rising cost.

    Attributes:
        name: Name of the rule.
        costs: Cost of each network.
        accuracies: Mean accuracy of each network, from 0 to 1.
        intervals: Lower and upper end of the 95% interval of each accuracy; None where it is not known.
        hovers: Texts that are shown when the mouse is over the points.
    """

    name: str
    costs: Sequence[float]
    accuracies: Sequence[float]
    intervals: Sequence[Sequence[float] | None]
    hovers: Sequence[str]


def fit_figure(title: str, panels: Sequence[Panel]) -> go.Figure:
    """Return a figure with a triangle for each fit.

    The corners of a triangle are scaling of depth, width and resolution alone; the color of a point is its score.

    Args:
        title: Title of the figure.
        panels: Fits to draw, from left to right.

    Example:
        >>> figure = fit_figure("demo", [Panel("at phi 1", [Coefficients((0.5, 0.25, 0.25), 0.61, "first", "winner")])])
        >>> [trace.meta for trace in figure.data if trace.meta]
        ['winner']
    """
    figure = go.Figure()
    how = "corners: all growth from one dimension  ·  lines: shares in steps of 20%"
    figure.update_layout(layout(title, how, legend_rows=2))
    figure.update_layout(theme.panels([panel.title for panel in panels], columns=len(panels)))
    for number, panel in enumerate(panels):
        _add_panel(figure, panel, number, len(panels))
    return figure


def _add_panel(figure: go.Figure, panel: Panel, number: int, count: int) -> None:
    """Add a triangle with a color scale of its own, because scores at different network sizes are not comparable."""
    suffix = "" if number == 0 else str(number + 1)
    figure.add_trace(_grid(suffix))
    for kind in KINDS:
        points = [point for point in panel.points if point.kind == kind]
        if points:
            figure.add_trace(_trace(kind, points, suffix))
            if number == 0:
                figure.add_trace(_legend_entry(kind, suffix))
    hidden = {"visible": False, "fixedrange": True}
    figure.update_layout(
        {
            f"xaxis{suffix}": {**hidden, "range": [-0.14, 1.14], "constrain": "domain"},
            # One unit is as long as on the other axis, so that the triangle has equal sides.
            f"yaxis{suffix}": {
                **hidden,
                "range": [-0.12, _HEIGHT + 0.14],
                "scaleanchor": f"x{suffix}",
                "constrain": "domain",
            },
            f"coloraxis{suffix}": _scale((number + 1) / count),
        }
    )
    for word, x, y, side in _CORNERS:
        figure.add_annotation(
            text=f"<b>{word}</b>", x=x, y=y, xref=f"x{suffix}", yref=f"y{suffix}", yanchor=side, showarrow=False
        )


def _place(shares: Sequence[float]) -> tuple[float, float]:
    """Return the position of shares of depth, width and resolution in a triangle with sides of length 1.

    The corner of depth is at the top, that of width on the left and that of resolution on the right.
    """
    depth, _, resolution = shares
    return resolution + depth / 2, _HEIGHT * depth


def _grid(suffix: str) -> go.Scatter:
    """Return the sides of the triangle, and lines of equal shares in steps of 20%."""
    lines: list[tuple[float, float] | None] = []
    for share in (0.0, *_STEPS):
        rest = 1 - share
        for first, second in (
            ((share, rest, 0.0), (share, 0.0, rest)),
            ((rest, share, 0.0), (0.0, share, rest)),
            ((rest, 0.0, share), (0.0, rest, share)),
        ):
            lines += [_place(first), _place(second), None]
    return go.Scatter(
        x=[point and point[0] for point in lines],
        y=[point and point[1] for point in lines],
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        mode="lines",
        line={"color": GRAY, "width": 0.7},
        hoverinfo="skip",
        showlegend=False,
    )


def _trace(kind: str, points: Sequence[Coefficients], suffix: str) -> go.Scatter:
    color = (
        {}
        if "color" in KINDS[kind]
        else {"color": [point.score for point in points], "coloraxis": f"coloraxis{suffix}"}
    )
    places = [_place(point.shares) for point in points]
    return go.Scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        mode="markers",
        meta=kind,
        showlegend=False,
        hovertext=[point.hover for point in points],
        hoverinfo="text",
        cliponaxis=False,
        marker={**KINDS[kind], **color},
    )


def _legend_entry(kind: str, suffix: str) -> go.Scatter:
    """Return an entry of the legend: one of points that a scale colors has no color that is true of all of them."""
    marker = {"color": GRAY, **KINDS[kind], "size": 12}
    return go.Scatter(
        x=[None], y=[None], xaxis=f"x{suffix}", yaxis=f"y{suffix}", mode="markers", name=kind, marker=marker
    )


def _scale(right: float) -> dict[str, Any]:
    bar = {"title": {"text": "Score"}, "x": right, "xanchor": "right", "len": 0.6, "thickness": 12, "y": 0.6}
    return {"colorscale": [list(step) for step in POINT_SCALE], "colorbar": bar}


def comparison_figure(title: str, cost_title: str, base: Curve, curves: Sequence[Curve]) -> go.Figure:
    """Return a figure of accuracy against cost with a line for each rule.

    Each line begins at the network that was scaled, as in figure 8 of Tan & Le 2019 (arXiv 1905.11946).

    Args:
        title: Title of the figure.
        cost_title: Title of the cost axis, with its unit.
        base: Network that was scaled; it may have no points.
        curves: Networks of each rule.

    Example:
        >>> base = Curve("base", [60], [0.5], [None], ["base"])
        >>> wide = Curve("width", [120], [0.6], [(0.57, 0.63)], ["x2"])
        >>> comparison_figure("demo", "MACs (millions)", base, [wide]).data[0].x
        (60, 120)
    """
    figure = go.Figure([_line(base, curve, number) for number, curve in enumerate(curves)])
    figure.add_trace(_line(None, base, len(curves)))
    costs = [cost for curve in (base, *curves) for cost in curve.costs]
    figure.update_layout(
        layout(title, "bars: 95% intervals", legend_rows=2),
        xaxis=axis(cost_title, log=bool(costs) and max(costs) > LOG_FROM * min(costs)),
        yaxis=axis("Accuracy", ticks=ACCURACY_TICKS),
    )
    return figure


def _line(start: Curve | None, curve: Curve, number: int) -> go.Scatter:
    """Return the points of a rule, with a line from the start if there is one."""
    color, symbol = marks(number) if start else (INK, "star")
    first = start or Curve("", [], [], [], [])
    values = [*first.accuracies, *curve.accuracies]
    # The interval of the base is drawn once, and not at the start of each line.
    ends = [*([None] * len(first.costs)), *curve.intervals]
    lows, highs = ([None if both is None else both[side] for both in ends] for side in (0, 1))
    return go.Scatter(
        x=[*first.costs, *curve.costs],
        y=values,
        error_y=bars(values, lows, highs, color),
        name=escape(curve.name),
        hovertext=[*first.hovers, *curve.hovers],
        hoverinfo="text",
        mode="lines+markers" if start else "markers",
        line={"color": color, "width": 1.6, "dash": DASHES[number % len(DASHES)]},
        marker={"color": color, "symbol": symbol, "size": 10 if start else 16},
    )
