"""The figure of evaluators: how well each ranks networks, and what a verdict takes."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from attrs import frozen

from nas.report.pareto import FONT, GRID, INK
from nas.report.scaling import COLOURS, SYMBOLS


@frozen
class Mark:
    """An evaluator: seconds a verdict takes, and Kendall's tau with its interval, on so many networks."""

    name: str
    seconds: float
    tau: float
    low: float
    high: float
    networks: int


def fidelity_figure(title: str, marks: Sequence[Mark], ceiling: float | None) -> go.Figure:
    """A point for each evaluator, up is better and left is cheaper; bars are 95% intervals.

    Args:
        title: of the figure.
        marks: the evaluators.
        ceiling: the highest tau that can be read beside a noisy truth, a dotted line; None where it is not known.
    """
    figure = go.Figure()
    for number, mark in enumerate(marks):
        # Where colours come again, symbols do not come with the same ones.
        symbol = SYMBOLS[(number + number // len(COLOURS)) % len(SYMBOLS)]
        figure.add_trace(_point(mark, COLOURS[number % len(COLOURS)], symbol))
    if ceiling is not None:
        words = f"the truth's own noise allows {ceiling:.2f}"
        figure.add_hline(y=ceiling, line={"dash": "dot", "color": INK}, annotation={"text": words, "xanchor": "right"})
    axis = {"gridcolor": GRID, "linecolor": INK, "showline": True, "ticks": "outside", "zeroline": False}
    figure.update_layout(
        title={"text": f"<b>{escape(title)}</b>", "font": {"size": 19, "color": INK}, "x": 0.02},
        font={"family": FONT, "size": 13, "color": INK},
        xaxis={**axis, "title": {"text": "seconds a verdict"}, "type": "log", "dtick": 1},
        yaxis={**axis, "title": {"text": "Kendall's tau, bars: 95% interval"}, "range": [_floor(marks), 1.02]},
        legend={"x": 1.02, "y": 1},
        plot_bgcolor="white",
        paper_bgcolor="white",
    )
    return figure


def _floor(marks: Sequence[Mark]) -> float:
    return min([0.0, *(mark.low - 0.05 for mark in marks)])


def _point(mark: Mark, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[mark.seconds],
        y=[mark.tau],
        error_y={"type": "data", "array": [mark.high - mark.tau], "arrayminus": [mark.tau - mark.low], "width": 6},
        name=f"{escape(mark.name)} ({mark.networks} networks)",
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 12},
        hovertemplate=f"{escape(mark.name)}<br>tau {mark.tau:.2f}<br>%{{x:.3g}} s<extra></extra>",
    )
