"""The figure of predicted against measured latency."""

from collections.abc import Sequence
from html import escape

from plotly import graph_objects as go

TEN_PERCENT = 0.10


def latency_figure(
    title: str, measured_ms: Sequence[float], predicted_ms: Sequence[float], again_ms: Sequence[float]
) -> go.Figure:
    """One point a network; on the diagonal both times are equal, between the dotted lines they are within 10%.

    Args:
        title: of the figure.
        measured_ms: once.
        predicted_ms: by the table.
        again_ms: measured a second time.
    """
    every = (*measured_ms, *predicted_ms, *again_ms)
    low, high = 0.95 * min(every), 1.05 * max(every)
    figure = go.Figure()
    figure.add_scatter(x=measured_ms, y=again_ms, name="measured again", mode="markers", marker=_marker("#bbbbbb", 6))
    figure.add_scatter(x=measured_ms, y=predicted_ms, name="predicted", mode="markers", marker=_marker("#0072b2", 7))
    for factor, dash in ((1.0, "solid"), (1 - TEN_PERCENT, "dot"), (1 + TEN_PERCENT, "dot")):
        ends = {"x0": low, "y0": factor * low, "x1": high, "y1": factor * high}
        figure.add_shape(type="line", **ends, line={"color": "#555555", "width": 1, "dash": dash}, layer="below")
    figure.update_layout(
        title={"text": escape(title)},
        template="plotly_white",
        xaxis={"title": {"text": "Measured (ms)"}, "range": [low, high]},
        yaxis={"title": {"text": "Predicted, or measured again (ms)"}, "range": [low, high]},
        legend={"x": 0.02, "y": 0.98},
    )
    return figure


def _marker(color: str, size: int) -> dict[str, object]:
    return {"color": color, "size": size}
