"""Figures of scaling: the scores of the coefficients of a fit, and a comparison of scaling rules."""

from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go
from attrs import frozen

from nas.report.pareto import BLUE, FAINT_INK, FONT, GRAY, GREEN, GRID, INK, VERMILION

# Kinds of points of a fit with their markers; a marker without a color is colored by the score of the point.
KINDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "scored": {"symbol": "circle", "size": 13, "line": {"color": "white", "width": 1}},
        "tied with the best": {"symbol": "circle", "size": 16, "line": {"color": INK, "width": 2}},
        "winner": {"symbol": "star", "size": 24, "line": {"color": INK, "width": 1.5}},
        "paper's 1.2, 1.1, 1.15": {"symbol": "x-open", "size": 15, "color": VERMILION, "line": {"width": 3}},
    }
)
PAPER = "paper's 1.2, 1.1, 1.15"
COLORS = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", GRAY)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
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
        >>> figure.data[0].name
        'winner'
    """
    figure = go.Figure()
    for number, panel in enumerate(panels):
        _add_panel(figure, panel, number, len(panels))
    figure.update_layout(
        title={"text": f"<b>{escape(title)}</b>", "font": {"size": 19, "color": INK}, "x": 0.02},
        font={"family": FONT, "size": 13, "color": INK},
        legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.09},
        paper_bgcolor="white",
        margin={"l": 60, "r": 60, "t": 110, "b": 80},
    )
    return figure


def _add_panel(figure: go.Figure, panel: Panel, number: int, count: int) -> None:
    """Add a triangle with a color scale of its own, because scores at different network sizes are not comparable."""
    plane, axis = (name if number == 0 else f"{name}{number + 1}" for name in ("ternary", "coloraxis"))
    left, right = number / count + 0.05, (number + 1) / count - 0.09
    for kind in KINDS:
        points = [point for point in panel.points if point.kind == kind]
        if points:
            trace = _trace(kind, points, axis)
            figure.add_trace(trace.update(subplot=plane, showlegend=number == 0))
    figure.update_layout({plane: _plane(left, right), axis: _scale(right)})
    figure.add_annotation(
        text=f"<b>{escape(panel.title)}</b>", x=(left + right) / 2, y=1.12, xref="paper", yref="paper", showarrow=False
    )


def _trace(kind: str, points: Sequence[Coefficients], axis: str) -> go.Scatterternary:
    scores = [point.score for point in points]
    color = {} if "color" in KINDS[kind] else {"color": scores, "coloraxis": axis}
    return go.Scatterternary(
        a=[point.shares[0] for point in points],
        b=[point.shares[1] for point in points],
        c=[point.shares[2] for point in points],
        mode="markers",
        name=kind,
        hovertext=[point.hover for point in points],
        hoverinfo="text",
        cliponaxis=False,
        marker={**KINDS[kind], **color},
    )


def _plane(left: float, right: float) -> dict[str, Any]:
    axis = {"gridcolor": GRID, "linecolor": INK, "tickformat": ".0%", "tickfont": {"size": 11, "color": FAINT_INK}}
    titles = {"aaxis": "depth", "baxis": "width", "caxis": "resolution"}
    axes = {name: {**axis, "title": {"text": f"<b>{word}</b>"}} for name, word in titles.items()}
    return {"domain": {"x": [left, right], "y": [0.0, 1.0]}, "sum": 1, "bgcolor": "white", **axes}


def _scale(right: float) -> dict[str, Any]:
    bar = {"title": {"text": "Score"}, "x": right + 0.005, "len": 0.6, "thickness": 12, "y": 0.62}
    return {"colorscale": "Viridis", "colorbar": bar}


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
    figure = go.Figure()
    for curve, color, symbol in zip(curves, COLORS * len(curves), SYMBOLS * len(curves), strict=False):
        figure.add_trace(_line(base, curve, color, symbol))
    figure.add_trace(_line(None, base, INK, "star"))
    costs = [cost for curve in (base, *curves) for cost in curve.costs]
    axis = {"gridcolor": GRID, "linecolor": INK, "showline": True, "ticks": "outside", "zeroline": False}
    figure.update_layout(
        title={"text": f"<b>{escape(title)}</b>", "font": {"size": 19, "color": INK}, "x": 0.02},
        font={"family": FONT, "size": 13, "color": INK},
        xaxis={
            **axis,
            "title": {"text": cost_title},
            "type": "log" if costs and max(costs) > LOG_FROM * min(costs) else "linear",
        },
        yaxis={**axis, "title": {"text": "Accuracy (bars: 95% interval)"}, "tickformat": ".1%"},
        plot_bgcolor="white",
        paper_bgcolor="white",
    )
    return figure


def _line(start: Curve | None, curve: Curve, color: str, symbol: str) -> go.Scatter:
    """Return the points of a rule, with a line from the start if there is one."""
    first = (
        ([], [], [], []) if start is None else (start.costs, start.accuracies, [None] * len(start.costs), start.hovers)
    )
    accuracies = [*first[1], *curve.accuracies]
    # The interval of the base is drawn once, and not at the start of each line.
    ends = zip(accuracies, [*first[2], *curve.intervals], strict=True)
    bars = [(0.0, 0.0) if both is None else (accuracy - both[0], both[1] - accuracy) for accuracy, both in ends]
    return go.Scatter(
        x=[*first[0], *curve.costs],
        y=accuracies,
        error_y={
            "type": "data",
            "array": [above for _, above in bars],
            "arrayminus": [below for below, _ in bars],
            "thickness": 1.2,
            "width": 4,
        },
        name=escape(curve.name),
        hovertext=[*first[3], *curve.hovers],
        hoverinfo="text",
        mode="lines+markers" if start else "markers",
        line={"color": color, "width": 1.6},
        marker={"color": color, "symbol": symbol, "size": 16 if start is None else 10},
    )
