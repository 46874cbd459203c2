"""Figure of evaluators: how well each one ranks networks, and how long an evaluation takes."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from attrs import frozen

from nas.report.theme import INK, axis, bars, layout, marks


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


def fidelity_figure(title: str, evaluators: Sequence[Mark], ceiling: float | None) -> go.Figure:
    """Return a figure with a point for each evaluator: tau against the duration of an evaluation.

    Args:
        title: Title of the figure.
        evaluators: Figures of the evaluators.
        ceiling: Highest tau that the noise of the true accuracies allows, drawn as a dotted line; None if unknown.

    Example:
        >>> figure = fidelity_figure("demo", [Mark("train", 40.0, 0.7, 0.5, 0.8, networks=16)], ceiling=0.9)
        >>> figure.data[0].name
        'train (16 networks)'
    """
    figure = go.Figure([_point(mark, *marks(number)) for number, mark in enumerate(evaluators)])
    if ceiling is not None and evaluators:
        figure.add_trace(_ceiling_line(ceiling, [mark.seconds for mark in evaluators]))
    figure.update_layout(
        layout(title, "bars: 95% intervals", legend_rows=1 + len(evaluators) // 2),
        xaxis=axis("Seconds per evaluation", log=True),
        yaxis=axis("Kendall's tau", span=(_floor(evaluators), 1.02)),
    )
    return figure


def _floor(evaluators: Sequence[Mark]) -> float:
    return min([0.0, *(mark.low - 0.05 for mark in evaluators)])


def _point(mark: Mark, color: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[mark.seconds],
        y=[mark.tau],
        error_y=bars([mark.tau], [mark.low], [mark.high], color),
        name=f"{escape(mark.name)} ({mark.networks} networks)",
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 12},
        hovertemplate=f"{escape(mark.name)}<br>tau {mark.tau:.2f}, 95% interval {mark.low:.2f} to {mark.high:.2f}<br>"
        f"{mark.networks} networks, %{{x:.3g}} s each<extra></extra>",
    )


def _ceiling_line(ceiling: float, seconds: Sequence[float]) -> go.Scatter:
    return go.Scatter(
        x=[min(seconds) / 2, max(seconds) * 2],
        y=[ceiling, ceiling],
        mode="lines",
        line={"dash": "dot", "color": INK, "width": 1.5},
        name=f"highest tau that the noise of the accuracies allows: {ceiling:.2f}",
        hoverinfo="name",
    )
