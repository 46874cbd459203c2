"""Figures of scaling: where a fit's coefficients lie and how they did, and rules side by side."""

from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go
from attrs import frozen

from nas.report.pareto import BLUE, FAINT_INK, FONT, GREEN, GREY, GRID, INK, VERMILION

# What a point of a fit is, and how it is drawn over the colour of its score.
KINDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "scored": {"symbol": "circle", "size": 13, "line": {"color": "white", "width": 1}},
        "tied with the best": {"symbol": "circle", "size": 16, "line": {"color": INK, "width": 2}},
        "winner": {"symbol": "star", "size": 24, "line": {"color": INK, "width": 1.5}},
        "paper's 1.2, 1.1, 1.15": {"symbol": "x-open", "size": 15, "color": VERMILION, "line": {"width": 3}},
    }
)
PAPER = "paper's 1.2, 1.1, 1.15"
COLOURS = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", GREY)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
LOG_FROM = 4.0  # times as much: a wider span of costs is drawn on a logarithmic axis


@frozen
class Coefficients:
    """A network of a fit.

    Attributes:
        shares: of depth, width and resolution in the growth of its MACs; they add up to 1.
        score: None for what is only marked.
        hover: what is said of it.
        kind: a key of `KINDS`.
    """

    shares: tuple[float, float, float]
    score: float | None
    hover: str
    kind: str = "scored"


@frozen
class Panel:
    """One fit."""

    title: str
    points: Sequence[Coefficients]


@frozen
class Curve:
    """What a rule makes: cost, accuracy and its spread between seeds (None where it is not known), by rising cost."""

    name: str
    costs: Sequence[float]
    accuracies: Sequence[float]
    spreads: Sequence[float | None]
    hovers: Sequence[str]


def fit_figure(title: str, panels: Sequence[Panel]) -> go.Figure:
    """A triangle for each fit: corners are depth, width and resolution alone, colours the score."""
    figure = go.Figure()
    for number, panel in enumerate(panels):
        _put_panel(figure, panel, number, len(panels))
    figure.update_layout(
        title={"text": f"<b>{escape(title)}</b>", "font": {"size": 19, "color": INK}, "x": 0.02},
        font={"family": FONT, "size": 13, "color": INK},
        legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.09},
        paper_bgcolor="white",
        margin={"l": 60, "r": 60, "t": 110, "b": 80},
    )
    return figure


def _put_panel(figure: go.Figure, panel: Panel, number: int, count: int) -> None:
    """One triangle with a colour scale of its own: scores at different sizes are not compared."""
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
    colour = {} if "color" in KINDS[kind] else {"color": scores, "coloraxis": axis}
    return go.Scatterternary(
        a=[point.shares[0] for point in points],
        b=[point.shares[1] for point in points],
        c=[point.shares[2] for point in points],
        mode="markers",
        name=kind,
        hovertext=[point.hover for point in points],
        hoverinfo="text",
        cliponaxis=False,
        marker={**KINDS[kind], **colour},
    )


def _plane(left: float, right: float) -> dict[str, Any]:
    axis = {"gridcolor": GRID, "linecolor": INK, "tickformat": ".0%", "tickfont": {"size": 11, "color": FAINT_INK}}
    titles = {"aaxis": "depth", "baxis": "width", "caxis": "resolution"}
    axes = {name: {**axis, "title": {"text": f"<b>{word}</b>"}} for name, word in titles.items()}
    return {"domain": {"x": [left, right], "y": [0.0, 1.0]}, "sum": 1, "bgcolor": "white", **axes}


def _scale(right: float) -> dict[str, Any]:
    bar = {"title": {"text": "score"}, "x": right + 0.005, "len": 0.6, "thickness": 12, "y": 0.62}
    return {"colorscale": "Viridis", "colorbar": bar}


def comparison_figure(title: str, cost_title: str, base: Curve, curves: Sequence[Curve]) -> go.Figure:
    """Accuracy against cost, a line for each rule from the network that was scaled, as in the paper's figure 8."""
    figure = go.Figure()
    for curve, colour, symbol in zip(curves, COLOURS * len(curves), SYMBOLS * len(curves), strict=False):
        figure.add_trace(_line(base, curve, colour, symbol))
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
        yaxis={**axis, "title": {"text": "accuracy, bars: one standard deviation between seeds"}, "tickformat": ".1%"},
        plot_bgcolor="white",
        paper_bgcolor="white",
    )
    return figure


def _line(start: Curve | None, curve: Curve, colour: str, symbol: str) -> go.Scatter:
    """A rule's points, joined to the base where there is one."""
    before = (
        ([], [], [], []) if start is None else (start.costs, start.accuracies, [None] * len(start.costs), start.hovers)
    )
    spreads = [*before[2], *curve.spreads]
    return go.Scatter(
        x=[*before[0], *curve.costs],
        y=[*before[1], *curve.accuracies],
        error_y={"type": "data", "array": [spread or 0.0 for spread in spreads], "thickness": 1.2, "width": 4},
        name=escape(curve.name),
        hovertext=[*before[3], *curve.hovers],
        hoverinfo="text",
        mode="lines+markers" if start else "markers",
        line={"color": colour, "width": 1.6},
        marker={"color": colour, "symbol": symbol, "size": 16 if start is None else 10},
    )
