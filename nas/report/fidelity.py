"""Figure of evaluators: how well each one ranks networks, and how long an evaluation takes."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from attrs import frozen

from nas.report.pareto import FONT, GRID, INK
from nas.report.scaling import COLORS, SYMBOLS


@frozen
class Mark:
    """Hold the figures of one evaluator.

    Attributes:
        name: Name of the evaluator.
        seconds: Duration of one evaluation, in seconds.
        tau: Kendall's tau between the evaluator's results and the true accuracies.
        low: Lower bound of the 95% interval of tau.
        high: Upper bound of the 95% interval of tau.
        networks: Number of networks that tau is computed from.
    """

    name: str
    seconds: float
    tau: float
    low: float
    high: float
    networks: int


def fidelity_figure(title: str, marks: Sequence[Mark], ceiling: float | None) -> go.Figure:
    """Return a figure with a point for each evaluator: tau against the duration of an evaluation.

    Args:
        title: Title of the figure.
        marks: Figures of the evaluators.
        ceiling: Highest tau that the noise of the true accuracies allows, drawn as a dotted line; None if unknown.

    Example:
        >>> figure = fidelity_figure("demo", [Mark("train", 40.0, 0.7, 0.5, 0.8, networks=16)], ceiling=0.9)
        >>> figure.data[0].name
        'train (16 networks)'
    """
    figure = go.Figure()
    for number, mark in enumerate(marks):
        # When the colors start again, the symbols are shifted by one, so that no pair of color and symbol repeats.
        symbol = SYMBOLS[(number + number // len(COLORS)) % len(SYMBOLS)]
        figure.add_trace(_point(mark, COLORS[number % len(COLORS)], symbol))
    if ceiling is not None:
        label = f"highest tau that the noise of the true accuracies allows: {ceiling:.2f}"
        figure.add_hline(y=ceiling, line={"dash": "dot", "color": INK}, annotation={"text": label, "xanchor": "right"})
    axis = {"gridcolor": GRID, "linecolor": INK, "showline": True, "ticks": "outside", "zeroline": False}
    figure.update_layout(
        title={"text": f"<b>{escape(title)}</b>", "font": {"size": 19, "color": INK}, "x": 0.02},
        font={"family": FONT, "size": 13, "color": INK},
        xaxis={**axis, "title": {"text": "Seconds per evaluation"}, "type": "log", "dtick": 1},
        yaxis={**axis, "title": {"text": "Kendall's tau (bars: 95% interval)"}, "range": [_floor(marks), 1.02]},
        legend={"x": 1.02, "y": 1},
        plot_bgcolor="white",
        paper_bgcolor="white",
    )
    return figure


def _floor(marks: Sequence[Mark]) -> float:
    return min([0.0, *(mark.low - 0.05 for mark in marks)])


def _point(mark: Mark, color: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[mark.seconds],
        y=[mark.tau],
        error_y={"type": "data", "array": [mark.high - mark.tau], "arrayminus": [mark.tau - mark.low], "width": 6},
        name=f"{escape(mark.name)} ({mark.networks} networks)",
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 12},
        hovertemplate=f"{escape(mark.name)}<br>tau {mark.tau:.2f}<br>%{{x:.3g}} s<extra></extra>",
    )
