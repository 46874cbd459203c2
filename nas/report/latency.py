"""Figure of predicted latency against measured latency."""

from collections.abc import Sequence
from html import escape

from plotly import graph_objects as go

TEN_PERCENT = 0.10


def latency_figure(
    title: str, measured_ms: Sequence[float], predicted_ms: Sequence[float], again_ms: Sequence[float]
) -> go.Figure:
    """Return a figure with two points for each network: predicted latency, and latency measured a second time.

    The diagonal is where they equal the measured latency; between the dotted lines they are within 10% of it.

    Args:
        title: Title of the figure.
        measured_ms: Measured latency of each network, in milliseconds.
        predicted_ms: Latency that the latency table predicts for each network, in milliseconds.
        again_ms: Latency of each network measured a second time, in milliseconds.

    Example:
        >>> figure = latency_figure("demo", [4.0, 8.0], [4.2, 7.9], [4.0, 8.1])
        >>> [trace.name for trace in figure.data]
        ['measured again', 'predicted']
    """
    latencies = (*measured_ms, *predicted_ms, *again_ms)
    low, high = 0.95 * min(latencies), 1.05 * max(latencies)
    figure = go.Figure()
    figure.add_scatter(x=measured_ms, y=again_ms, name="measured again", mode="markers", marker=_marker("#bbbbbb", 6))
    figure.add_scatter(x=measured_ms, y=predicted_ms, name="predicted", mode="markers", marker=_marker("#0072b2", 7))
    for factor, dash in ((1.0, "solid"), (1 - TEN_PERCENT, "dot"), (1 + TEN_PERCENT, "dot")):
        ends = {"x0": low, "y0": factor * low, "x1": high, "y1": factor * high}
        figure.add_shape(type="line", **ends, line={"color": "#555555", "width": 1, "dash": dash}, layer="below")
    figure.update_layout(
        title={"text": escape(title)},
        template="plotly_white",
        xaxis={"title": {"text": "Measured latency (ms)"}, "range": [low, high]},
        yaxis={"title": {"text": "Predicted latency, or latency measured again (ms)"}, "range": [low, high]},
        legend={"x": 0.02, "y": 0.98},
    )
    return figure


def _marker(color: str, size: int) -> dict[str, object]:
    return {"color": color, "size": size}
