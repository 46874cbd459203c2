"""Figure of predicted latency against measured latency."""

from collections.abc import Sequence

from plotly import graph_objects as go

from nas.report.theme import BLUE, GRAY, PAPER, axis, layout

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
    figure.add_scatter(
        x=measured_ms,
        y=again_ms,
        name="measured again",
        mode="markers",
        marker=_marker(GRAY, "x-thin", 7),
        hovertemplate=_hover("measured again"),
    )
    figure.add_scatter(
        x=measured_ms,
        y=predicted_ms,
        name="predicted",
        mode="markers",
        marker=_marker(BLUE, "circle", 8),
        hovertemplate=_hover("predicted"),
    )
    for factor, dash in ((1.0, "solid"), (1 - TEN_PERCENT, "dot"), (1 + TEN_PERCENT, "dot")):
        ends = {"x0": low, "y0": factor * low, "x1": high, "y1": factor * high}
        figure.add_shape(type="line", **ends, line={"color": GRAY, "width": 1, "dash": dash}, layer="below")
    figure.update_layout(
        layout(title, f"{len(measured_ms)} networks  ·  solid line: equal  ·  dotted lines: 10% more or less"),
        xaxis=axis("Measured latency (ms)", span=(low, high)),
        yaxis=axis("Predicted, or measured again (ms)", span=(low, high)),
    )
    return figure


def _marker(color: str, symbol: str, size: int) -> dict[str, object]:
    line = {"color": color, "width": 1.5} if symbol.endswith("thin") else {"color": PAPER, "width": 1}
    return {"color": color, "symbol": symbol, "size": size, "line": line}


def _hover(what: str) -> str:
    return f"measured %{{x:.4g}} ms<br>{what} %{{y:.4g}} ms<extra></extra>"
